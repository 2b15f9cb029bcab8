//! Sessions in the store.
//!
//! Neither the beginning of a session nor its use is a change: nobody else knows of it before. Its end is one, like that of a
//! credential. A new password and a suspension end sessions by triggers, in their own transaction, whatever tool makes them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::credentials::{Authority, account_state};
use super::statement::Statement;
use super::{
    Change, ChangeEffect, Mutation, MutationError, Row, Store, StoreError, Written, now, principal, sql,
};
use crate::domain::{
    AccountError, Canonical, Entry, Principal, PrincipalId, Session, SessionDigest, SessionId,
};

/// The most sessions of a principal at one entry. Another login ends the oldest.
pub const MOST_SESSIONS: i64 = 16;
/// The time in seconds after its end for which the row of a session stays.
const STAYS: i64 = 60 * 60;
/// The most rows that are cleared away at once.
const AT_ONCE: i64 = 500;

/// A session that is to begin.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The principal, with the hash that its password was verified against.
    pub principal: Principal,
    /// The entry that the session is for.
    pub entry: Entry,
    /// The digest of its token.
    pub digest: SessionDigest,
    /// The address of the client.
    pub source: IpAddr,
    /// The browser, in printable characters.
    pub browser: String,
    /// The time of the login, in seconds since 1970 UTC.
    pub created_at: i64,
    /// The time without use after which it ends.
    pub idle: Duration,
    /// The time after which it ends in any case.
    pub lifetime: Duration,
}

/// A session that has begun.
#[derive(Clone, Debug)]
#[must_use = "other processes must be told of the end of another session"]
pub struct BegunSession {
    /// The session, with the principal as it was verified.
    pub session: StoredSession,
    /// The change by which the oldest session ended to make room.
    pub ended: Option<Change>,
}

/// A session as it is stored, with its principal. Times are in seconds since 1970 UTC.
#[derive(Clone, Debug)]
pub struct StoredSession {
    /// The number.
    pub id: SessionId,
    /// The entry that it is for.
    pub entry: Entry,
    /// The time of the login.
    pub created_at: i64,
    /// The last time that the password was given.
    pub confirmed_at: i64,
    /// The last use that is stored.
    pub used_at: i64,
    /// The end without another use.
    pub idle_until: i64,
    /// The end in any case.
    pub ends_at: i64,
    /// The row of its principal.
    pub principal: Principal,
}

/// The last use of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionUse {
    /// The session.
    pub id: SessionId,
    /// The time, in seconds since 1970 UTC.
    pub used_at: i64,
}

impl Store {
    /// Begins a session of a principal whose password was verified, unless that has another password meanwhile. Ends the oldest ones
    /// beyond [`MOST_SESSIONS`].
    ///
    /// # Errors
    /// [`AccountError::LoginChanged`], [`AccountError::Suspended`], [`AccountError::NoSuchAccount`]: the password has to be verified
    /// again. [`MutationError::Store`].
    pub async fn begin_session(&self, new: NewSession) -> Result<BegunSession, MutationError> {
        let mut mutation = Mutation::begin(self).await?;
        // The account first, as where credentials are changed. From here on, neither a suspension nor a new password is committed
        // before this session, which they would not end.
        let principal = new.principal.id();
        account_state(&mut mutation, new.principal.account, Authority::Holder).await?;
        let login = mutation.fetch_locked(Statement::new(sql::SESSION_PRINCIPAL).number(principal.0)).await?;
        let login = login.ok_or(AccountError::LoginChanged)?;
        if login.text("hash")? != new.principal.hash.expose() {
            return Err(AccountError::LoginChanged.into());
        }
        let after = |time: Duration| new.created_at.saturating_add_unsigned(time.as_secs().max(1));
        let (idle_until, ends_at) = (after(new.idle), after(new.lifetime));
        let begin = Statement::new(sql::BEGIN_SESSION)
            .number(principal.0)
            .text(new.entry.as_str())
            .text(&new.digest.to_hex())
            .number(new.created_at)
            .number(idle_until)
            .number(ends_at)
            .text(&new.source.to_canonical().to_string())
            .text(&new.browser);
        let row = mutation.fetch(begin).await?;
        let id = row.map(|row| row.number("id")).transpose()?;
        let id = SessionId(id.ok_or_else(|| StoreError::Unavailable("a new row has no ID".to_owned()))?);
        let excess = Statement::new(sql::END_EXCESS_SESSIONS).number(principal.0).text(new.entry.as_str());
        let ended = match mutation.execute(excess.number(MOST_SESSIONS)).await? {
            0 => {
                mutation.finish().await?;
                None
            }
            _ => Some(mutation.commit(login.username("name")?.canonical(), ChangeEffect::Revokes).await?),
        };
        let NewSession { entry, created_at, principal, .. } = new;
        let (confirmed_at, used_at) = (created_at, created_at);
        let session =
            StoredSession { id, entry, created_at, confirmed_at, used_at, idle_until, ends_at, principal };
        Ok(BegunSession { session, ended })
    }

    /// Reads the session of that token, with its principal, also if it has run out.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn session(&self, digest: &SessionDigest) -> Result<Option<StoredSession>, StoreError> {
        let row = self.fetch(Statement::new(sql::SESSION).text(&digest.to_hex())).await?;
        let read = row.as_ref().map(session_row).transpose();
        read.inspect_err(|fault| self.note_fault(fault))
    }

    /// Ends a session of a principal.
    ///
    /// # Errors
    /// [`AccountError::NoSuchSession`] and [`MutationError::Store`].
    pub async fn end_session(
        &self,
        principal: PrincipalId,
        id: SessionId,
    ) -> Result<Written<()>, MutationError> {
        let statement = Statement::new(sql::END_SESSION).number(principal.0).number(id.0);
        let ended = self.end(principal, statement).await?;
        Ok(Written { value: (), change: ended.change })
    }

    /// Ends all sessions of a principal but one, or all of them. Returns their number.
    ///
    /// # Errors
    /// [`AccountError::NoSuchSession`] if there is none, and [`MutationError::Store`].
    pub async fn end_other_sessions(
        &self,
        principal: PrincipalId,
        but: Option<SessionId>,
    ) -> Result<Written<u64>, MutationError> {
        let statement = Statement::new(sql::END_OTHER_SESSIONS).number(principal.0);
        // No row has the number 0.
        self.end(principal, statement.number(but.map_or(0, |id| id.0))).await
    }

    async fn end(&self, principal: PrincipalId, statement: Statement) -> Result<Written<u64>, MutationError> {
        let mut mutation = Mutation::begin(self).await?;
        let login = mutation.fetch(Statement::new(sql::SESSION_PRINCIPAL).number(principal.0)).await?;
        let name: Canonical = login.ok_or(AccountError::NoSuchSession)?.username("name")?.canonical();
        let value = mutation.execute(statement).await?;
        if value == 0 {
            return Err(AccountError::NoSuchSession.into());
        }
        Ok(Written { value, change: mutation.commit(name, ChangeEffect::Revokes).await? })
    }

    /// Reads the sessions of a principal that have not run out, in the order of their beginning.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn sessions(&self, principal: PrincipalId) -> Result<Vec<Session>, StoreError> {
        let statement = Statement::new(sql::SESSIONS).number(principal.0).number(now());
        let rows = self.fetch_all(statement).await?;
        let mut sessions = rows.iter().map(session).collect::<Result<Vec<_>, _>>()?;
        sessions.sort_by_key(|session| session.id);
        Ok(sessions)
    }

    /// Notes that the password was given again in a session. Returns false if it has ended. Does not count as a change.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Replaced`].
    pub async fn confirm_session(
        &self,
        principal: PrincipalId,
        id: SessionId,
        confirmed_at: i64,
    ) -> Result<bool, StoreError> {
        let confirmed = async {
            let mut mutation = Mutation::begin(self).await?;
            let statement = Statement::new(sql::CONFIRM_SESSION).number(principal.0).number(id.0);
            let rows = mutation.execute(statement.number(confirmed_at)).await?;
            if rows > 0 {
                mutation.finish().await?;
            }
            Ok::<bool, MutationError>(rows > 0)
        };
        confirmed.await.map_err(MutationError::into_store_error)
    }

    /// Reads the last time that the password was given in a session; `None` if it has ended.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn confirmed_at(
        &self,
        principal: PrincipalId,
        id: SessionId,
    ) -> Result<Option<i64>, StoreError> {
        let row = self.fetch(Statement::new(sql::CONFIRMED_AT).number(principal.0).number(id.0)).await?;
        row.map(|row| row.number("confirmed_at")).transpose()
    }

    /// Writes the last uses of sessions in one transaction. One that has ended, or was used later elsewhere, is skipped. Does not count
    /// as a change.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Replaced`].
    pub async fn write_session_uses(&self, uses: &[SessionUse]) -> Result<(), StoreError> {
        let written = async {
            let mut mutation = Mutation::begin(self).await?;
            // Processes that write the same rows at once do so in the same order.
            let mut uses = uses.to_vec();
            uses.sort_by_key(|used| used.id);
            for used in uses {
                let statement = Statement::new(sql::WRITE_SESSION_USE).number(used.id.0).number(used.used_at);
                mutation.execute(statement).await?;
            }
            mutation.finish().await?;
            Ok(())
        };
        written.await.map_err(|error: MutationError| error.into_store_error())
    }

    /// Clears away sessions that ran out an hour ago, some hundreds at a time. That is no change: they ended by themselves, for everybody.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Replaced`].
    pub async fn clear_sessions(&self) -> Result<u64, StoreError> {
        let over = now() - STAYS;
        if self.fetch(Statement::new(sql::OVER_SESSION).number(over)).await?.is_none() {
            return Ok(0);
        }
        let cleared = async {
            let mut mutation = Mutation::begin(self).await?;
            let statement = Statement::new(sql::CLEAR_SESSIONS).number(over).number(AT_ONCE);
            let rows = mutation.clear(statement).await?;
            mutation.finish().await?;
            Ok::<u64, MutationError>(rows)
        };
        cleared.await.map_err(MutationError::into_store_error)
    }
}

fn session_row(row: &Row) -> Result<StoredSession, StoreError> {
    Ok(StoredSession {
        id: SessionId(row.number("session_id")?),
        entry: entry(row)?,
        created_at: row.number("created_at")?,
        confirmed_at: row.number("confirmed_at")?,
        used_at: row.number("used_at")?,
        idle_until: row.number("idle_until")?,
        ends_at: row.number("ends_at")?,
        principal: principal(row)?,
    })
}

fn session(row: &Row) -> Result<Session, StoreError> {
    Ok(Session {
        id: SessionId(row.number("id")?),
        entry: entry(row)?,
        created_at: row.number("created_at")?,
        used_at: row.number("used_at")?,
        ends_at: row.number("ends_at")?,
        source: row.text("source")?.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        browser: row.text("browser")?,
    })
}

fn entry(row: &Row) -> Result<Entry, StoreError> {
    let word = row.text("entry")?;
    Entry::of_word(&word)
        .ok_or_else(|| StoreError::Unavailable(format!("column entry: unknown entry '{word}'")))
}
