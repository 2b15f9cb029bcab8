//! `gatepost credential apply FILE`: makes the credentials of an account equal to a file.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use zeroize::Zeroizing;

use super::CommandError;
use super::apply_plan::{ApplyPlan, PlannedEdit, WantedCredential};
use super::apply_report::{ApplyReport, lines_of, summary_of};
use super::output::{say, unless_broken};
use super::password::read_file;
use super::services::Services;
use crate::config::{ConfigError, ConfigErrors, CredentialFile, ListedCredential};
use crate::domain::{
    AccountId, CredentialDetails, NewPassword, Note, PermissionEdit, Principal, PrincipalKind, Username,
};
use crate::server::{complain, read_config};
use crate::service::credentials::{Addition, Edit, Manager};
use crate::service::{CredentialPageQuery, Origin};

/// The longest text on standard input, as for a file.
const LONGEST: u64 = 1024 * 1024;

/// The credentials of a page.
const PAGE: u32 = 200;

/// The options of `gatepost credential apply`.
#[derive(Debug, Args)]
pub struct ApplyOptions {
    /// Read the credentials from this file (TOML); - for standard input.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// The account holder's username, if the file does not name the account.
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
    pub account: Option<String>,
    /// Show what would change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Accept a file without credentials, and remove all credentials of the account.
    #[arg(long)]
    pub allow_empty: bool,
    /// Print a JSON object, with the passwords that were generated.
    #[arg(long)]
    pub json: bool,
}

/// A file that was read, with the name for its errors.
pub struct ApplyFile {
    name: String,
    file: CredentialFile,
    account: String,
}

impl ApplyOptions {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`CommandError::BadFile`] with all its errors, or [`CommandError::NoAccount`].
    pub fn read(&self) -> Result<ApplyFile, CommandError> {
        let is_stdin = self.file == Path::new("-");
        let name = if is_stdin { "standard input".to_owned() } else { self.file.display().to_string() };
        let text = if is_stdin { read_stdin(&name)? } else { read_config(&self.file)? };
        let file = CredentialFile::parse(&text, &name)?;
        let account = match (&self.account, &file.account) {
            (Some(option), Some(listed)) if !listed.name.eq_ignore_ascii_case(option) => {
                let reason = format!("the file is for account {}, and --account names {option}", listed.name);
                return Err(ConfigErrors::new(&name, vec![ConfigError::at(&listed.place, reason)]).into());
            }
            (Some(option), _) => option.clone(),
            (None, Some(listed)) => listed.name.clone(),
            (None, None) => return Err(CommandError::NoAccount(name)),
        };
        Ok(ApplyFile { name, file, account })
    }

    /// Compares the account with the file, prints the differences, and makes them.
    ///
    /// # Errors
    /// [`CommandError`]. Before the first change, all errors are told at once. A change that fails ends the command; those before it
    /// are made, and the command can be repeated.
    pub async fn run(&self, file: ApplyFile, services: &Services) -> Result<(), CommandError> {
        let ApplyFile { name, file, account } = file;
        let operator = match self.dry_run {
            true => services.credentials.operator(&account, Origin::CommandLine).await?,
            false => services.credentials.revoking_operator(&account, Origin::CommandLine).await?,
        };
        let current = all_credentials(services, &operator).await?;
        if file.credentials.is_empty() && !current.is_empty() && !self.allow_empty {
            return Err(CommandError::EmptyFile(name, current.len()));
        }
        let plan = plan(&name, file, current, services, &account).await?;
        let mut report = ApplyReport {
            is_dry_run: self.dry_run,
            account,
            unchanged: plan.unchanged,
            ..ApplyReport::default()
        };
        if !self.json {
            lines_of(&plan).iter().for_each(|line| say(line));
            say(&summary_of(&plan, &report.account, self.dry_run));
        }
        let applied = match self.dry_run {
            true => {
                report.note_plan(&plan);
                Ok(())
            }
            false => Applying { services, operator: &operator, json: self.json }.run(plan, &mut report).await,
        };
        if !self.json {
            return applied;
        }
        let written = report.write_json(io::stdout().lock(), applied.is_ok());
        match report.generated() {
            None => unless_broken(written)?,
            // Told nowhere else, so a reader that went away is an error, too.
            Some(names) => {
                if let Err(error) = written {
                    applied.err().iter().for_each(|error| complain(&error.to_string()));
                    return Err(CommandError::PasswordNotTold(names, error));
                }
            }
        }
        applied
    }
}

/// Compares the file with the account.
async fn plan(
    name: &str,
    file: CredentialFile,
    current: Vec<CredentialDetails>,
    services: &Services,
    account: &str,
) -> Result<ApplyPlan, CommandError> {
    let rights = services.accounts.get(account).await?.rights;
    let holder = services.accounts.find(account).await?.map(|holder| holder.account);
    let (mut wanted, mut errors) = (Vec::new(), Vec::new());
    for listed in &file.credentials {
        let found = services.accounts.find(listed.name.as_str()).await?;
        errors.extend(name_error(listed, found.as_ref().filter(|found| is_other(found, holder))));
        let password = match &listed.password_file {
            Some(file) => match read_file(&file.path).and_then(|secret| {
                NewPassword::parse_chosen(secret.expose()).map_err(|error| error.to_string())?;
                Ok(secret)
            }) {
                Ok(secret) => Some(secret),
                Err(reason) => {
                    errors.push(ConfigError::at(&file.place, format!("{}: {reason}", file.path.display())));
                    None
                }
            },
            None => None,
        };
        let has_password = match (&password, &found) {
            (Some(secret), Some(found)) if errors.is_empty() => {
                services.accounts.has_password(found, secret).await?
            }
            _ => false,
        };
        if found.is_none()
            && let Err(error) = Username::parse_new(listed.name.as_str())
        {
            errors.push(ConfigError::at(&listed.place, error.to_string()));
        }
        wanted.push(WantedCredential { listed: listed.clone(), password, has_password });
    }
    let plan = ApplyPlan::new(wanted, current);
    errors.extend(plan.above_rights(&file, rights));
    match errors.is_empty() {
        true => Ok(plan),
        false => Err(ConfigErrors::new(name, errors).into()),
    }
}

/// Returns true for a principal that is no credential of the account.
fn is_other(found: &Principal, account: Option<AccountId>) -> bool {
    Some(found.account) != account || found.kind == PrincipalKind::Holder
}

fn name_error(listed: &ListedCredential, other: Option<&Principal>) -> Option<ConfigError> {
    other.map(|_| ConfigError::at(&listed.place, format!("username '{}' is already taken", listed.name)))
}

/// Reads all credentials of the account.
async fn all_credentials(
    services: &Services,
    operator: &Manager,
) -> Result<Vec<CredentialDetails>, CommandError> {
    let mut all = Vec::new();
    let mut query = CredentialPageQuery { limit: PAGE, ..CredentialPageQuery::default() };
    loop {
        let page = services.credentials.page(operator, &query).await?;
        all.extend(page.credentials);
        query.cursor = page.next;
        if query.cursor.is_none() {
            return Ok(all);
        }
    }
}

/// The changes of a plan, while they are made.
struct Applying<'a> {
    services: &'a Services,
    operator: &'a Manager,
    json: bool,
}

impl Applying<'_> {
    /// Makes the changes: what only gives comes first, so that nobody is without a credential in between.
    async fn run(&self, plan: ApplyPlan, report: &mut ApplyReport) -> Result<(), CommandError> {
        for wanted in &plan.additions {
            self.add(wanted, report).await?;
        }
        for edit in &plan.edits {
            self.edit(edit).await?;
            report.edited.push(edit.name.clone());
        }
        for removal in &plan.removals {
            let credentials = &self.services.credentials;
            let removed = credentials.remove_if(self.operator, &removal.name, removal.condition).await;
            removed.map_err(|error| CommandError::of_credential(&removal.name, error))?;
            report.removed.push(removal.name.clone());
        }
        let changes = report.added.len() + report.edited.len() + report.removed.len();
        if changes > 0 && !self.json {
            say(&format!("{changes} changes made"));
        }
        Ok(())
    }

    async fn add(&self, wanted: &WantedCredential, report: &mut ApplyReport) -> Result<(), CommandError> {
        let WantedCredential { listed, password, .. } = wanted;
        let name = listed.name.as_str();
        let generated = match password {
            Some(_) => None,
            None => Some(generated_password()?),
        };
        let chosen = password.as_ref().map(|secret| secret.expose()).unwrap_or_default();
        let addition = Addition {
            username: name,
            password: generated.as_ref().map_or(chosen, |password| password.as_bytes()),
            permissions: PermissionEdit::exactly(listed.permissions),
            note: listed.note.as_ref().map_or("", Note::as_str),
        };
        let added = self.services.credentials.add(self.operator, addition).await;
        added.map_err(|error| CommandError::of_credential(name, error))?;
        // It is told nowhere else, so a reader that went away is an error here.
        if let Some(password) = generated.as_ref().filter(|_| !self.json) {
            let written = writeln!(io::stdout().lock(), "password of {name}: {}", password.as_str());
            written.map_err(|error| CommandError::PasswordNotTold(name.to_owned(), error))?;
        }
        report.added.push((name.to_owned(), generated));
        Ok(())
    }

    async fn edit(&self, edit: &PlannedEdit) -> Result<(), CommandError> {
        let change = Edit {
            username: &edit.name,
            password: edit.password.as_ref().map(|secret| secret.expose()),
            permissions: edit.permission_edit(),
            note: edit.note(),
            condition: edit.condition,
        };
        let edited = self.services.credentials.edit(self.operator, change).await;
        edited.map(drop).map_err(|error| CommandError::of_credential(&edit.name, error))
    }
}

fn generated_password() -> Result<Zeroizing<String>, CommandError> {
    let made = crate::domain::generated_password(getrandom::fill);
    made.ok().flatten().ok_or(CommandError::NoRandom)
}

fn read_stdin(name: &str) -> Result<String, CommandError> {
    let refuse = |reason: String| {
        CommandError::from(ConfigErrors::new(name, vec![ConfigError { line: 0, key: String::new(), reason }]))
    };
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(LONGEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| refuse(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > LONGEST {
        return Err(refuse("it is longer than 1 MiB".to_owned()));
    }
    String::from_utf8(bytes).map_err(|_| refuse("it is not UTF-8 text".to_owned()))
}
