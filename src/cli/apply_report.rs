//! The output of `gatepost credential apply`: the differences as lines, or all of it as a JSON object.

use std::io::{self, Write};

use serde::Serialize;
use zeroize::Zeroizing;

use super::apply_plan::{ApplyPlan, PlannedEdit};
use crate::domain::{Note, Permissions, shown};

/// The most bytes of a note in a line.
const SHOWN_NOTE: usize = 80;

/// The changes that were made so far.
#[derive(Default)]
pub struct ApplyReport {
    /// True if nothing is changed.
    pub is_dry_run: bool,
    /// The account.
    pub account: String,
    /// The names of the added ones, with the passwords that were generated for them.
    pub added: Vec<(String, Option<Zeroizing<String>>)>,
    /// The names of the edited ones.
    pub edited: Vec<String>,
    /// The names of the removed ones.
    pub removed: Vec<String>,
    /// The number of those that stay as they are.
    pub unchanged: usize,
}

#[derive(Serialize)]
struct ReportJson<'a> {
    account: &'a str,
    dry_run: bool,
    complete: bool,
    added: Vec<AddedJson<'a>>,
    edited: Vec<NamedJson<'a>>,
    removed: Vec<NamedJson<'a>>,
    unchanged: usize,
}

#[derive(Serialize)]
struct AddedJson<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<&'a str>,
}

#[derive(Serialize)]
struct NamedJson<'a> {
    name: &'a str,
}

impl ApplyReport {
    /// Notes what would be done.
    pub fn note_plan(&mut self, plan: &ApplyPlan) {
        self.added = plan.additions.iter().map(|wanted| (wanted.listed.name.to_string(), None)).collect();
        self.edited = plan.edits.iter().map(|edit| edit.name.clone()).collect();
        self.removed = plan.removals.iter().map(|removal| removal.name.clone()).collect();
    }

    /// The names of those that have a generated password, if there are any.
    pub fn generated(&self) -> Option<String> {
        let names = self.added.iter().filter(|(_, password)| password.is_some());
        let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// Writes the report as a JSON object. `is_complete` is false if a change failed, and those after it were not tried.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn write_json(&self, mut out: impl Write, is_complete: bool) -> io::Result<()> {
        let json = ReportJson {
            account: &self.account,
            dry_run: self.is_dry_run,
            complete: is_complete,
            added: self
                .added
                .iter()
                .map(|(name, password)| AddedJson {
                    name,
                    password: password.as_ref().map(|text| text.as_str()),
                })
                .collect(),
            edited: self.edited.iter().map(|name| NamedJson { name }).collect(),
            removed: self.removed.iter().map(|name| NamedJson { name }).collect(),
            unchanged: self.unchanged,
        };
        serde_json::to_writer_pretty(&mut out, &json).map_err(io::Error::from)?;
        writeln!(out)?;
        out.flush()
    }
}

/// The lines of a plan: `+` for a credential that is added, `~` for one that is edited, `-` for one that is removed.
pub fn lines_of(plan: &ApplyPlan) -> Vec<String> {
    let added = plan.additions.iter().map(|wanted| {
        let listed = &wanted.listed;
        let password = if wanted.password.is_some() { "" } else { ", generated password" };
        let note = listed.note.as_ref().map(|note| format!(", note {}", quoted(Some(note))));
        let (name, permissions) = (&listed.name, listed.permissions);
        format!("+ {name}: permissions {permissions}{}{password}", note.unwrap_or_default())
    });
    let edited = plan.edits.iter().map(|edit| format!("~ {}: {}", edit.name, differences(edit).join(", ")));
    let removed = plan
        .removals
        .iter()
        .map(|removal| format!("- {}: permissions {}", removal.name, removal.permissions));
    added.chain(edited).chain(removed).collect()
}

/// The line that sums up a plan.
pub fn summary_of(plan: &ApplyPlan, account: &str, is_dry_run: bool) -> String {
    let unchanged = plan.unchanged;
    if plan.is_empty() {
        return format!("account {account}: nothing to do, {unchanged} credentials are as listed");
    }
    let (added, edited, removed) = (plan.additions.len(), plan.edits.len(), plan.removals.len());
    let end = if is_dry_run { "; dry run, nothing was changed" } else { "" };
    format!(
        "account {account}: {added} to add, {edited} to edit, {removed} to remove, {unchanged} unchanged{end}"
    )
}

fn differences(edit: &PlannedEdit) -> Vec<String> {
    let mut words = Vec::new();
    let (before, after): (Permissions, Permissions) = edit.permissions;
    if before != after {
        words.push(format!("permissions {before} -> {after}"));
    }
    if edit.note().is_some() {
        let (before, after) = &edit.notes;
        words.push(format!("note {} -> {}", quoted(before.as_ref()), quoted(after.as_ref())));
    }
    if edit.password.is_some() {
        words.push("new password".to_owned());
    }
    words
}

fn quoted(note: Option<&Note>) -> String {
    note.map_or("none".to_owned(), |note| format!("\"{}\"", shown(note.as_str().as_bytes(), SHOWN_NOTE)))
}
