//! The list of an account's credentials.

use super::answer::ConsoleAnswer;
use super::credential_words;
use super::list_address::{LIMITS, ListAddress, state_word};
use super::page_request::{PageRequest, PageResult};
use crate::domain::{Permission, Permissions, UseState};
use crate::edge::http::pages::views::{CredentialsView, EmptyList, ListChoice, ListLink, Section};
use crate::service::CredentialPageQuery;
use crate::state::store::CredentialFilter;

/// Shows a page of the list.
pub async fn show(request: &PageRequest<'_>) -> PageResult {
    let address = ListAddress::of_query(&request.query);
    let manager = request.manager()?;
    let holds = address.permission.map_or(Permissions::NONE, Permissions::only);
    let query = CredentialPageQuery {
        prefix: &address.search,
        filter: CredentialFilter { holds, use_state: address.state, has_note: false },
        cursor: address.cursor,
        limit: address.limit,
    };
    let credentials = &request.console.credentials;
    let page = credentials.page(&manager, &query).await?;
    let count = credentials.count(&request.granted).await?;
    let name = request.granted.account_name();
    let view = CredentialsView {
        frame: request.frame(Section::Credentials),
        rows: page.credentials.iter().map(|details| credential_words::row(details, request.now)).collect(),
        search: address.search.clone(),
        permissions: permissions(&address),
        states: states(&address),
        limit: address.limit,
        limits: limits(&address),
        first: page.previous.map(|_| address.at(None).to_string()),
        previous: page.previous.map(|cursor| address.at(Some(cursor)).to_string()),
        next: page.next.map(|cursor| address.at(Some(cursor)).to_string()),
        total: total(count),
        empty: empty(&address, page.previous.is_some() || page.next.is_some()),
        command: format!("gatepost credential add NAME --account {name}"),
    };
    Ok(ConsoleAnswer::page(200, &view))
}

fn permissions(address: &ListAddress) -> Vec<ListChoice> {
    let choice = |permission: Option<Permission>| ListChoice {
        value: permission.map_or("", Permission::as_str),
        text: permission.map_or("All permissions", Permission::as_str),
        is_current: address.permission == permission,
    };
    std::iter::once(None).chain(Permission::ALL.into_iter().map(Some)).map(choice).collect()
}

fn states(address: &ListAddress) -> Vec<ListChoice> {
    let choice = |state: Option<UseState>| ListChoice {
        value: state.map_or("", state_word),
        text: match state {
            None => "All states",
            Some(UseState::Active) => "Active",
            Some(UseState::Unused) => "Unused for 90 days",
            Some(UseState::NeverUsed) => "Never used",
        },
        is_current: address.state == state,
    };
    std::iter::once(None).chain(UseState::ALL.into_iter().map(Some)).map(choice).collect()
}

fn limits(address: &ListAddress) -> Vec<ListLink> {
    let link = |limit: u32| ListLink {
        text: limit.to_string(),
        address: address.with_limit(limit).to_string(),
        is_current: address.limit == limit,
    };
    LIMITS.into_iter().map(link).collect()
}

fn empty(address: &ListAddress, has_more: bool) -> EmptyList {
    match (address.is_narrowed(), address.cursor) {
        (true, _) if has_more => EmptyList::NoneSoFar,
        (true, _) => EmptyList::NoMatch,
        (false, Some(_)) => EmptyList::PastTheEnd,
        (false, None) => EmptyList::NoneYet,
    }
}

/// The number of credentials in words, with commas: `10,000 credentials`.
fn total(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{text} credential{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_commas() {
        assert_eq!(total(0), "0 credentials");
        assert_eq!(total(1), "1 credential");
        assert_eq!(total(999), "999 credentials");
        assert_eq!(total(10_000), "10,000 credentials");
        assert_eq!(total(1_234_567), "1,234,567 credentials");
    }
}
