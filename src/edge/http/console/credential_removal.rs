//! The pages that ask before credentials are removed, and remove them.

use super::answer::ConsoleAnswer;
use super::credential_words;
use super::form_fault::FormFault;
use super::page_request::{PageRequest, PageResult, errors};
use super::route::{ConsoleRoute, id_of};
use crate::domain::{ChangeCondition, CredentialDetails, CredentialId};
use crate::edge::http::pages::views::{BulkRemoveRow, BulkRemoveView, RemoveView, ResultBanner, Section};
use crate::service::credentials::Manager;

/// The most credentials that one form removes: as many as a page of the list shows.
const MOST: usize = 200;

/// Shows the question before one credential is removed, or removes it.
pub async fn answer(request: &PageRequest<'_>, id: CredentialId) -> PageResult {
    let manager = request.manager()?;
    let details = request.console.credentials.by_id(&manager, id).await?;
    if !request.is_sent {
        let fault = request.resumed().map(|_| FormFault::resumed());
        return Ok(show(request, &details, fault.as_ref()));
    }
    match remove(request, &manager, &details).await {
        Ok(answer) => Ok(answer),
        Err(fault) => Ok(show(request, &details, Some(&fault))),
    }
}

async fn remove(
    request: &PageRequest<'_>,
    manager: &Manager,
    details: &CredentialDetails,
) -> Result<ConsoleAnswer, FormFault> {
    request.check_form().await?;
    let (name, id) = (&details.credential.name, details.credential.id);
    let condition = ChangeCondition { id: Some(id), version: None };
    let credentials = &request.console.credentials;
    let removed = credentials.remove_if(manager, name.as_str(), condition).await;
    let removed = removed.map_err(|error| FormFault::from(&error))?;
    Ok(request.done(ConsoleRoute::Credentials, format!("Removed {name}."), &removed.effect))
}

fn show(request: &PageRequest<'_>, details: &CredentialDetails, fault: Option<&FormFault>) -> ConsoleAnswer {
    let (account, name) = (request.granted.account_name(), &details.credential.name);
    let view = RemoveView {
        frame: request.frame_for(Section::Credentials, fault),
        row: credential_words::row(details, request.now),
        asks_confirmation: request.asks_confirmation(),
        errors: errors(fault),
        command: format!("gatepost credential remove {name} --account {account}"),
    };
    ConsoleAnswer::form(fault, &view)
}

/// Shows the question before the selected credentials are removed, or removes them.
pub async fn answer_selected(request: &PageRequest<'_>) -> PageResult {
    let manager = request.manager()?;
    let selected: Vec<CredentialId> = match request.is_sent {
        true => selected(request.form.all("id")),
        false => selected(request.query.all("id")),
    };
    let rows = request.console.credentials.by_ids(&manager, &selected).await?;
    let is_any_gone = rows.len() < selected.len();
    if rows.is_empty() {
        return Ok(nothing_selected(request, is_any_gone));
    }
    if !request.is_sent {
        let fault = request.resumed().map(|_| FormFault::resumed());
        return Ok(show_selected(request, &rows, fault.as_ref()));
    }
    match remove_selected(request, &manager, &rows).await {
        Ok(answer) => Ok(answer),
        Err(fault) => Ok(show_selected(request, &rows, Some(&fault))),
    }
}

async fn remove_selected(
    request: &PageRequest<'_>,
    manager: &Manager,
    rows: &[CredentialDetails],
) -> Result<ConsoleAnswer, FormFault> {
    request.check_form().await?;
    let named = |details: &'_ CredentialDetails| (details.credential.id, details.credential.name.to_string());
    let named: Vec<(CredentialId, String)> = rows.iter().map(named).collect();
    let named: Vec<(CredentialId, &str)> = named.iter().map(|(id, name)| (*id, name.as_str())).collect();
    let removed = request.console.credentials.remove_many(manager, &named).await;
    let (outcomes, effect) = removed.map_err(|error| FormFault::from(&error))?;
    let failures: Vec<(&CredentialDetails, FormFault)> = rows
        .iter()
        .zip(&outcomes)
        .filter_map(|(details, outcome)| Some((details, FormFault::from(outcome.as_ref().err()?))))
        .collect();
    let count = rows.len() - failures.len();
    let text = match count {
        1 => format!("Removed {}.", named[0].1),
        count => format!("Removed {count} credentials."),
    };
    if failures.is_empty() {
        return Ok(request.done(ConsoleRoute::Credentials, text, &effect));
    }
    Ok(show_rest(request, &failures, count))
}

/// Shows those that were not removed, each with the reason.
fn show_rest(
    request: &PageRequest<'_>,
    failures: &[(&CredentialDetails, FormFault)],
    count: usize,
) -> ConsoleAnswer {
    let row = |(details, fault): &(&CredentialDetails, FormFault)| BulkRemoveRow {
        row: credential_words::row(details, request.now),
        failure: Some(fault.text.clone()),
    };
    let text = format!("Removed {count} of {} credentials. These are left:", count + failures.len());
    let banner = ResultBanner { text, effect: String::new(), is_done: false };
    let view = BulkRemoveView {
        frame: request.frame_with(Section::Credentials, Some(banner)),
        rows: failures.iter().map(row).collect(),
        asks_confirmation: request.asks_confirmation(),
        errors: errors(None),
    };
    let status = failures.iter().map(|(_, fault)| fault.status).max().unwrap_or(200);
    ConsoleAnswer::page(status, &view)
}

/// The numbers of a selection, each once, and at most as many as a page shows.
fn selected<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<CredentialId> {
    let mut selected: Vec<CredentialId> = ids.filter_map(id_of).collect();
    selected.sort_unstable_by_key(|id| id.0);
    selected.dedup();
    selected.truncate(MOST);
    selected
}

/// Leads back to the list, and says why nothing was removed.
fn nothing_selected(request: &PageRequest<'_>, is_any_gone: bool) -> ConsoleAnswer {
    let text = match is_any_gone {
        true => "The selected credentials no longer exist.",
        false => "No credential was selected.",
    };
    let banner = ResultBanner { text: text.to_owned(), effect: String::new(), is_done: false };
    request.leading_to(ConsoleRoute::Credentials, &banner)
}

fn show_selected(
    request: &PageRequest<'_>,
    rows: &[CredentialDetails],
    fault: Option<&FormFault>,
) -> ConsoleAnswer {
    let row = |details| BulkRemoveRow { row: credential_words::row(details, request.now), failure: None };
    let view = BulkRemoveView {
        frame: request.frame_for(Section::Credentials, fault),
        rows: rows.iter().map(row).collect(),
        asks_confirmation: request.asks_confirmation(),
        errors: errors(fault),
    };
    ConsoleAnswer::form(fault, &view)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_bounded_and_has_each_once() {
        let of = |ids: &[&str]| selected(ids.iter().copied()).iter().map(|id| id.0).collect::<Vec<_>>();
        assert_eq!(of(&["7", "3", "7", "x", "", "-1"]), [3, 7]);
        let twice: Vec<String> = (0..400).map(|place| (place / 2 + 1).to_string()).collect();
        assert_eq!(selected(twice.iter().map(String::as_str)).len(), MOST);
        let many: Vec<String> = (1..1000).map(|id| id.to_string()).collect();
        assert_eq!(selected(many.iter().map(String::as_str)).len(), MOST);
    }
}
