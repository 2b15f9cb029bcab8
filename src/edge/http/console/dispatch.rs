//! The page of each route, for a principal that is logged in.

use super::answer::{ConsoleAnswer, CookieChange};
use super::page_request::{PageRequest, PageResult};
use super::route::ConsoleRoute;
use super::{activity_list, credential_add, credential_edit, credential_list, credential_removal};
use super::{own_page, session_list};
use crate::domain::PrincipalKind;
use crate::edge::http::pages::views::ResultBanner;

/// Answers a request. The caller has checked that the principal may open the page.
pub async fn answer(request: &PageRequest<'_>) -> PageResult {
    match request.route {
        ConsoleRoute::Start | ConsoleRoute::Login => Ok(ConsoleAnswer::see_other(home(request).path())),
        ConsoleRoute::Logout => log_out(request).await,
        ConsoleRoute::Credentials => credential_list::show(request).await,
        ConsoleRoute::Activity => activity_list::show(request),
        ConsoleRoute::Sessions => session_list::show(request).await,
        ConsoleRoute::Own => own_page::show(request).await,
        ConsoleRoute::OwnPassword => own_page::change_password(request).await,
        ConsoleRoute::Add
        | ConsoleRoute::Edit(_)
        | ConsoleRoute::Remove(_)
        | ConsoleRoute::RemoveSelected
        | ConsoleRoute::EndSession
        | ConsoleRoute::EndOtherSessions => {
            request.look_for_confirmation().await?;
            form(request).await
        }
    }
}

/// The pages of which a form may need the password again.
async fn form(request: &PageRequest<'_>) -> PageResult {
    match request.route {
        ConsoleRoute::Add => credential_add::answer(request).await,
        ConsoleRoute::Edit(id) => credential_edit::answer(request, id).await,
        ConsoleRoute::Remove(id) => credential_removal::answer(request, id).await,
        ConsoleRoute::RemoveSelected => credential_removal::answer_selected(request).await,
        ConsoleRoute::EndSession => session_list::end(request).await,
        _ => session_list::end_others(request).await,
    }
}

/// The first page of the principal.
fn home(request: &PageRequest<'_>) -> ConsoleRoute {
    match request.granted.kind() {
        PrincipalKind::Holder => ConsoleRoute::Credentials,
        PrincipalKind::Credential(_) => ConsoleRoute::Own,
    }
}

/// Ends the session. It is refused everywhere when the browser is answered.
async fn log_out(request: &PageRequest<'_>) -> PageResult {
    if !request.has_token() {
        let text =
            "You have logged in again since that page was opened, so you are still logged in.".to_owned();
        let banner = ResultBanner { text, effect: String::new(), is_done: false };
        return Ok(request.leading_to(home(request), &banner));
    }
    request.console.sessions.end(&request.granted, request.origin()).await?;
    let login = format!("{}?after=logout", ConsoleRoute::Login.path());
    Ok(ConsoleAnswer::see_other(login).with_cookie(CookieChange::Remove))
}
