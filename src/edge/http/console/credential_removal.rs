//! The pages that ask before credentials are removed, and remove them.

use super::answer::ConsoleAnswer;
use super::credential_words;
use super::form_fault::FormFault;
use super::page_request::{PageRequest, PageResult, errors};
use super::removal_counts::RemovalCounts;
use super::route::{ConsoleRoute, id_of};
use crate::domain::{AccountError, ChangeCondition, CredentialDetails, CredentialId};
use crate::edge::http::pages::views::{BulkRemoveRow, BulkRemoveView, RemoveView, ResultBanner, Section};
use crate::service::ManagementError;
use crate::service::credentials::Manager;

/// The most credentials that one form removes: as many as a page of the list shows.
const MOST: usize = 200;

/// Shows the question before one credential is removed, or removes it.
pub async fn answer(request: &PageRequest<'_>, id: CredentialId) -> PageResult {
    let manager = request.manager()?;
    let credentials = &request.console.credentials;
    let details = match request.is_sent {
        true => credentials.by_id_for_change(&manager, id).await?,
        false => credentials.by_id(&manager, id).await?,
    };
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
    let credentials = &request.console.credentials;
    let rows = match request.is_sent {
        true => credentials.by_ids_for_change(&manager, &selected).await?,
        false => credentials.by_ids(&manager, &selected).await?,
    };
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
    let selected = rows.iter().map(|details| (details.credential.name.as_str(), Some(details.credential.id)));
    let selected: Vec<(&str, Option<CredentialId>)> = selected.collect();
    let removed = request.console.credentials.remove_many(manager, &selected).await;
    let (outcomes, effect) = removed.map_err(|error| FormFault::from(&error))?;
    let counts = RemovalCounts::of(&outcomes);
    let text = match (&counts, rows) {
        (RemovalCounts { removed: 1, gone: 0, unconfirmed: 0, refused: 0 }, [details]) => {
            format!("Removed {}.", details.credential.name)
        }
        (counts, _) => counts.to_string(),
    };
    let effect = if counts.removed > 0 { request.effect_words(&effect) } else { String::new() };
    let banner = ResultBanner { text, effect, is_done: counts.is_complete() };
    if counts.is_complete() {
        return Ok(request.leading_to(ConsoleRoute::Credentials, &banner));
    }
    Ok(show_rest(request, rows.iter().zip(&outcomes), banner))
}

/// Shows those of which it is not known that they are removed, each with the reason.
fn show_rest<'a>(
    request: &PageRequest<'_>,
    outcomes: impl Iterator<Item = (&'a CredentialDetails, &'a Result<(), ManagementError>)>,
    banner: ResultBanner,
) -> ConsoleAnswer {
    let faults = outcomes.filter_map(|(details, outcome)| match outcome {
        Ok(()) | Err(ManagementError::NotAllowed(AccountError::NoSuchCredential)) => None,
        Err(error) => Some((details, FormFault::from(error))),
    });
    let faults: Vec<(&CredentialDetails, FormFault)> = faults.collect();
    let row = |(details, fault): &(&CredentialDetails, FormFault)| BulkRemoveRow {
        row: credential_words::row(details, request.now),
        failure: Some(fault.text.clone()),
    };
    let view = BulkRemoveView {
        frame: request.frame_with(Section::Credentials, Some(banner)),
        rows: faults.iter().map(row).collect(),
        asks_confirmation: request.asks_confirmation(),
        errors: errors(None),
    };
    // The worst one is that of the answer.
    let worst = faults.iter().map(|(_, fault)| fault).max_by_key(|fault| fault.status);
    ConsoleAnswer::form(worst, &view)
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
        true if request.is_sent => "The selected credentials are removed, and refused on every node.",
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
        let twice = [["7"; MOST].as_slice(), &["8"]].concat();
        assert_eq!(of(&twice), [7, 8]);
        let many: Vec<String> = (1..1000).map(|id| id.to_string()).collect();
        assert_eq!(selected(many.iter().map(String::as_str)).len(), MOST);
    }
}
