//! Decisions about sessions, with time passed in.

use super::*;
pub use crate::domain::session::TOKEN_BYTES;
pub use crate::domain::{PrincipalId, Session, SessionCookie, SessionId, SessionToken};
use crate::service::access::SessionDecision;
use crate::state::store::{BegunSession, NewSession, SessionUse, StoredSession};

pub const IDLE: Duration = Duration::from_secs(600);
pub const LIFETIME: Duration = Duration::from_secs(3600);
pub const SECOND: Duration = Duration::from_secs(1);

/// A browser on a connection of its own.
pub struct Browser<'a> {
    pub house: &'a House,
    pub cookie: SessionCookie,
    pub memory: ConnectionMemory,
}

/// The outcome of a request with a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Allowed,
    Lacks,
    NoSession,
    Unavailable(Unavailable),
}

impl House {
    /// Begins a session as a login does.
    pub async fn begin(&self, name: &str, entry: Entry) -> BegunBrowser {
        let mut token = [0; TOKEN_BYTES];
        getrandom::fill(&mut token).unwrap();
        let principal = self.access.store.principal(&canonical(name)).await.unwrap().unwrap();
        let cookie = SessionCookie::new(principal.id(), SessionToken::new(token.into()));
        let new = NewSession {
            principal,
            entry,
            digest: cookie.digest(),
            source: HERE.parse().unwrap(),
            browser: "test".to_owned(),
            created_at: clock::unix_time_at(self.now),
            idle: IDLE,
            lifetime: LIFETIME,
        };
        let BegunSession { session, ended } = self.access.store.begin_session(new).await.unwrap();
        ended.iter().for_each(|change| self.tell(change));
        BegunBrowser { cookie, id: session.id }
    }

    pub fn browser(&self, begun: &BegunBrowser) -> Browser<'_> {
        Browser { house: self, cookie: begun.cookie.clone(), memory: ConnectionMemory::default() }
    }

    pub async fn end_session(&self, begun: &BegunBrowser) {
        let principal = begun.cookie.principal();
        let written = self.access.store.end_session(principal, begun.id).await.unwrap();
        self.tell(&written.change);
    }

    async fn sessions(&self, principal: PrincipalId) -> Vec<SessionId> {
        let sessions: Vec<Session> = self.access.store.sessions(principal).await.unwrap();
        sessions.into_iter().map(|session| session.id).collect()
    }

    /// Decides without a connection's memory, and admits the request.
    pub async fn decide(
        &self,
        cookie: &SessionCookie,
        permission: Option<Permission>,
        entry: Entry,
    ) -> SessionDecision {
        let peer = Peer::from(HERE.parse::<IpAddr>().unwrap());
        let clock = DecisionClock::starting_at(self.now);
        let decision = self.access.authorize_session_by(cookie, permission, entry, peer, clock).await;
        if let SessionDecision::Allowed(granted) = &decision {
            self.access.note_session_at(granted, self.now);
        }
        decision
    }
}

pub struct BegunBrowser {
    pub cookie: SessionCookie,
    pub id: SessionId,
}

impl Browser<'_> {
    /// Decides from the connection's memory or the cache.
    pub fn check(&self) -> Option<Granted> {
        let (house, permission) = (self.house, Permission::Web);
        house.access.check_session_at(&self.memory, &self.cookie, permission, Entry::Web, house.now)
    }

    /// Decides as the gate does.
    pub async fn decide(&self) -> SessionDecision {
        match self.check() {
            Some(granted) => {
                self.house.access.note_session_at(&granted, self.house.now);
                SessionDecision::Allowed(granted)
            }
            None => self.house.decide(&self.cookie, Some(Permission::Web), Entry::Web).await,
        }
    }

    pub async fn ask(&self) -> Outcome {
        outcome(&self.decide().await)
    }

    pub async fn granted(&self) -> Granted {
        match self.decide().await {
            SessionDecision::Allowed(granted) => granted,
            other => panic!("{other:?}"),
        }
    }

    /// Has the connection remember the session.
    pub async fn warm(&self) {
        for _ in 0..3 {
            assert_eq!(self.ask().await, Outcome::Allowed);
        }
        assert!(self.check().is_some());
    }
}

pub fn outcome(decision: &SessionDecision) -> Outcome {
    match decision {
        SessionDecision::Allowed(_) => Outcome::Allowed,
        SessionDecision::Lacks(..) => Outcome::Lacks,
        SessionDecision::NoSession => Outcome::NoSession,
        SessionDecision::Unavailable(why) => Outcome::Unavailable(*why),
    }
}

#[tokio::test]
async fn a_session_is_of_its_principal_and_entry() {
    let house = house().await;
    let begun = house.begin("seer", Entry::Web).await;
    let (cookie, web) = (&begun.cookie, Some(Permission::Web));
    let other = house.access.store.principal(&canonical("caller")).await.unwrap().unwrap().id();
    let retold = |principal| {
        let value = cookie.to_value();
        let token = value.split_once('.').unwrap().1;
        SessionCookie::parse(format!("{principal}.{token}").as_bytes()).unwrap()
    };
    let unknown = SessionCookie::new(cookie.principal(), SessionToken::new([7; TOKEN_BYTES].into()));
    // First as the store says it, and then as the cache does.
    for _ in 0..2 {
        assert!(matches!(house.decide(cookie, web, Entry::Console).await, SessionDecision::NoSession));
        assert!(matches!(house.decide(&retold(other.0), web, Entry::Web).await, SessionDecision::NoSession));
        assert!(matches!(house.decide(&unknown, web, Entry::Web).await, SessionDecision::NoSession));
        let decision = house.decide(cookie, web, Entry::Web).await;
        let SessionDecision::Allowed(granted) = decision else { panic!("{decision:?}") };
        assert_eq!((granted.name().as_str(), granted.principal()), ("seer", cookie.principal()));
        let facts = granted.session().unwrap();
        assert_eq!((facts.id, granted.session_entry()), (begun.id, Some(Entry::Web)));
        assert_eq!((facts.confirmed_at, facts.ends_at - facts.created_at), (facts.created_at, 3600));
        let lacked = house.decide(cookie, Some(Permission::Api), Entry::Web).await;
        assert!(matches!(lacked, SessionDecision::Lacks(Permission::Api, name) if name.as_str() == "seer"));
        assert_eq!(outcome(&house.decide(cookie, None, Entry::Web).await), Outcome::Allowed);
    }
    // And as the memory of a connection does.
    let browser = house.browser(&begun);
    browser.warm().await;
    let check = |cookie: &SessionCookie, permission, entry| {
        house.access.check_session_at(&browser.memory, cookie, permission, entry, house.now).is_some()
    };
    assert!(check(cookie, Permission::Web, Entry::Web));
    assert!(!check(cookie, Permission::Api, Entry::Web) && !check(cookie, Permission::Web, Entry::Console));
    assert!(
        !check(&retold(other.0), Permission::Web, Entry::Web)
            && !check(&unknown, Permission::Web, Entry::Web)
    );
    let counted = |outcome: &str| {
        house.counted(&format!(
            r#"gatepost_decisions_total{{entry="web",permission="web",outcome="{outcome}"}}"#
        ))
    };
    assert_eq!((counted("no_session"), counted("allowed") > 5), (4, true));
}

#[tokio::test]
async fn what_takes_the_right_away_ends_or_refuses_a_session_at_once() {
    let house = house().await;
    let begun = house.begin("seer", Entry::Web).await;
    let browser = house.browser(&begun);
    browser.warm().await;
    house.edit("seer", None, r#"{"web": 0, "api": 1}"#).await;
    assert_eq!(browser.ask().await, Outcome::Lacks, "a cleared permission");
    house.edit("seer", None, r#"{"web": 1}"#).await;
    browser.warm().await;
    let rights =
        house.access.store.set_rights(&canonical("holder"), Permissions::only(Permission::Api)).await;
    house.tell(&rights.unwrap().change);
    assert_eq!(browser.ask().await, Outcome::Lacks, "a right of the account");
    let rights = house.access.store.set_rights(&canonical("holder"), Permissions::ALL).await;
    house.tell(&rights.unwrap().change);
    browser.warm().await;

    house.edit("seer", Some("another one 2"), "{}").await;
    assert_eq!(browser.ask().await, Outcome::NoSession, "a new password");
    house.edit("seer", Some(PASSWORD), "{}").await;
    assert_eq!(browser.ask().await, Outcome::NoSession, "the old password again");

    let begun = house.begin("seer", Entry::Web).await;
    let browser = house.browser(&begun);
    browser.warm().await;
    house.set_active(false).await;
    assert_eq!(browser.ask().await, Outcome::NoSession, "a suspension");
    house.set_active(true).await;
    assert_eq!(browser.ask().await, Outcome::NoSession, "for good");

    let begun = house.begin("seer", Entry::Web).await;
    let browser = house.browser(&begun);
    browser.warm().await;
    house.remove("seer").await;
    assert_eq!(browser.ask().await, Outcome::NoSession, "a removal");
    assert_eq!(house.checks(), 0, "none of it costs a password check");
}

#[tokio::test]
async fn a_logout_ends_its_session_and_no_other() {
    let house = house().await;
    let (one, other) = (house.begin("seer", Entry::Web).await, house.begin("seer", Entry::Web).await);
    let foreign = house.begin("holder", Entry::Web).await;
    let browsers = [house.browser(&one), house.browser(&other), house.browser(&foreign)];
    for browser in &browsers {
        browser.warm().await;
    }
    house.end_session(&one).await;
    assert_eq!(browsers[0].ask().await, Outcome::NoSession);
    assert_eq!(browsers[1].ask().await, Outcome::Allowed);
    assert_eq!(browsers[2].ask().await, Outcome::Allowed);
    assert_eq!(house.sessions(other.cookie.principal()).await, [other.id]);
}

#[tokio::test]
async fn a_renewed_hash_ends_no_session() {
    let house = house().await;
    let begun = house.begin("seer", Entry::Web).await;
    let browser = house.browser(&begun);
    browser.warm().await;
    let (name, store) = (canonical("seer"), &house.access.store);
    let old = store.principal(&name).await.unwrap().unwrap().hash;
    let new = StoredHash::new(bcrypt::hash(PASSWORD, COST).unwrap());
    assert!(store.renew_hash(&name, &old, &new).await.unwrap());
    house.access.epochs.raise(&name);
    browser.warm().await;
    let granted = browser.granted().await;
    assert_eq!(house.still(&granted, Permission::Web).await, Ok(true));
}

#[tokio::test]
async fn a_session_ends_by_itself_when_its_time_is_over() {
    // Far more than a busy machine needs for a decision, during which the clock goes on, and far less than the session lasts.
    const MARGIN: Duration = Duration::from_secs(60);
    let mut house = house().await;
    let begun = house.begin("seer", Entry::Web).await;
    let created = house.access.store.sessions(begun.cookie.principal()).await.unwrap()[0].created_at;
    let outcome_after = async |house: &mut House, after: Duration, warm: bool| {
        house.now = clock::moment_at(created) + after;
        let browser = house.browser(&begun);
        if warm {
            browser.warm().await;
        }
        browser.ask().await
    };
    // Without any use.
    assert_eq!(outcome_after(&mut house, IDLE + SECOND, false).await, Outcome::NoSession);
    // Each use puts it off, up to the end of its life.
    let mut after = IDLE - MARGIN;
    while after < LIFETIME - MARGIN {
        assert_eq!(outcome_after(&mut house, after, true).await, Outcome::Allowed, "{after:?}");
        after += IDLE - 2 * MARGIN;
    }
    assert_eq!(outcome_after(&mut house, LIFETIME - MARGIN, true).await, Outcome::Allowed);
    // Then the end of its life is nearer than that of its idle time, and it is exact.
    let browser = house.browser(&begun);
    browser.warm().await;
    let granted = browser.granted().await;
    let ends = granted.verified().session.as_ref().unwrap().runs_out();
    let lasted = ends.since(clock::moment_at(created));
    assert!((LIFETIME - SECOND..=LIFETIME + SECOND).contains(&lasted), "{lasted:?}");
    let is_found = |now| {
        let (memory, cookie) = (&browser.memory, &begun.cookie);
        house.access.check_session_at(memory, cookie, Permission::Web, Entry::Web, now).is_some()
    };
    assert!(is_found(ends.before(Duration::from_nanos(1))));
    assert!(!is_found(ends));
    assert_eq!(outcome_after(&mut house, LIFETIME + SECOND, false).await, Outcome::NoSession);
}

// On a connection that has remembered it, and from the cache.
#[tokio::test]
async fn what_is_remembered_of_a_session_ends_with_it() {
    let mut house = house().await;
    let begun = house.begin("seer", Entry::Web).await;
    let (memory, began) = (ConnectionMemory::default(), house.now);
    let check = |house: &House| {
        house
            .access
            .check_session_at(&memory, &begun.cookie, Permission::Web, Entry::Web, house.now)
            .is_some()
    };
    assert_eq!(house.browser(&begun).ask().await, Outcome::Allowed);
    assert!(check(&house) && check(&house) && check(&house));
    // As long as the entry lasts, the store is not asked.
    house.access.store.close().await;
    house.now = began + (IDLE.min(AuthSettings::default().cache_ttl) - 2 * SECOND);
    assert!(check(&house));
    house.now = began + 2 * LIFETIME;
    assert!(!check(&house));
    assert_eq!(
        house.browser(&begun).ask().await,
        Outcome::Unavailable(Unavailable::Store),
        "it has to be read"
    );
}

#[tokio::test]
async fn a_use_elsewhere_keeps_a_session_alive() {
    let mut house = house().await;
    let begun = house.begin("seer", Entry::Web).await;
    let browser = house.browser(&begun);
    browser.warm().await;
    let granted = browser.granted().await;
    // By another node, which has written it.
    let used_at = clock::unix_time_at(house.now) + 500;
    house.access.store.write_session_uses(&[SessionUse { id: begun.id, used_at }]).await.unwrap();
    house.now += IDLE + 10 * SECOND;
    let late = Browser { house: &house, cookie: begun.cookie.clone(), memory: ConnectionMemory::default() };
    assert!(late.check().is_none(), "as far as this process knows, it has run out");
    assert_eq!(late.ask().await, Outcome::Allowed);
    assert_eq!(house.still(&granted, Permission::Web).await, Ok(true));
    let Some(session) = &granted.verified().session else { panic!("it is by a session") };
    assert!(session.is_alive(house.now), "what is open knows of it as well");
    // A use that is older than the stored one changes nothing.
    house
        .access
        .store
        .write_session_uses(&[SessionUse { id: begun.id, used_at: used_at - 400 }])
        .await
        .unwrap();
    assert_eq!(house.access.store.sessions(begun.cookie.principal()).await.unwrap()[0].used_at, used_at);
}

#[tokio::test]
async fn the_last_use_is_written_once_a_minute_and_survives_a_restart() {
    let mut house = house().await;
    let begun = house.begin("seer", Entry::Web).await;
    let created = clock::unix_time_at(house.now);
    let stored = async |house: &House| {
        house.access.store.sessions(begun.cookie.principal()).await.unwrap()[0].used_at - created
    };
    let before = house.access.store.changes().await.unwrap();
    house.now += 100 * SECOND;
    house.browser(&begun).warm().await;
    house.now += 100 * SECOND;
    house.browser(&begun).warm().await;
    assert_eq!(stored(&house).await, 0, "no request waits for it");
    house.access.write_uses().await;
    assert!((199..=200).contains(&stored(&house).await));
    assert_eq!(house.access.store.changes().await.unwrap(), before, "nobody has to be told");
    // Another process, or this one after a restart, finds it.
    let settings = AuthSettings::default();
    let (store, hasher) = (house.access.store.clone(), house.access.hasher.clone());
    let again =
        Access::new(store, hasher, Arc::new(Epochs::new()), Arc::new(Metrics::new()), &settings).unwrap();
    house.access = Arc::new(again);
    house.now += IDLE - 2 * SECOND;
    assert_eq!(house.browser(&begun).ask().await, Outcome::Allowed);
    house.now += IDLE;
    assert_eq!(house.browser(&begun).ask().await, Outcome::NoSession);
}

#[tokio::test]
async fn a_decision_by_itself_is_no_use() {
    let mut house = house().await;
    let begun = house.begin("seer", Entry::Web).await;
    let browser = house.browser(&begun);
    browser.warm().await;
    let memory = browser.memory;
    house.now += 100 * SECOND;
    let (access, cookie, here) = (house.access.clone(), &begun.cookie, HERE.parse::<IpAddr>().unwrap());
    assert!(access.check_session_at(&memory, cookie, Permission::Web, Entry::Web, house.now).is_some());
    for permission in [Permission::Web, Permission::Api] {
        let (clock, peer) = (DecisionClock::starting_at(house.now), here.into());
        let decision = access.authorize_session_by(cookie, Some(permission), Entry::Web, peer, clock).await;
        assert!(!matches!(decision, SessionDecision::NoSession), "{decision:?}");
    }
    house.now += IDLE - 99 * SECOND;
    assert_eq!(house.browser(&begun).ask().await, Outcome::NoSession);
}

#[tokio::test]
async fn a_use_that_cannot_be_written_is_kept() {
    let mut house = house().await;
    let begun = house.begin("seer", Entry::Web).await;
    house.now += 100 * SECOND;
    house.browser(&begun).warm().await;
    let place = house._folder.path().join("gatepost.db");
    house.access.store.close().await;
    house.access.write_uses().await;
    let settings = StoreSettings { url: StoreUrl::Sqlite(place), ..StoreSettings::default() };
    let store = Store::open(&settings).await.unwrap();
    let used_at = async || store.sessions(begun.cookie.principal()).await.unwrap()[0].used_at;
    let before = used_at().await;
    house.access.session_uses.write(&store).await;
    assert!((99..=100).contains(&(used_at().await - before)));
    assert!(house.access.session_uses.known(begun.id).is_none(), "it is written");
}

#[tokio::test]
async fn an_open_tunnel_lives_as_long_as_its_session() {
    let mut house = house().await;
    let (one, other) = (house.begin("seer", Entry::Web).await, house.begin("seer", Entry::Web).await);
    let (granted, staying) = (house.browser(&one).granted().await, house.browser(&other).granted().await);
    assert_eq!(house.still(&granted, Permission::Web).await, Ok(true));
    house.edit("seer", None, r#"{"web": 0}"#).await;
    assert_eq!(house.still(&granted, Permission::Web).await, Ok(false));
    house.edit("seer", None, r#"{"web": 1}"#).await;
    assert_eq!(house.still(&granted, Permission::Web).await, Ok(true));
    house.end_session(&one).await;
    assert_eq!(house.still(&granted, Permission::Web).await, Ok(false), "the password is still right");
    assert_eq!(house.access.permissions_now(&granted).await, Ok(None));
    assert_eq!(house.still(&staying, Permission::Web).await, Ok(true));
    house.now += IDLE + SECOND;
    assert_eq!(house.still(&staying, Permission::Web).await, Ok(false), "time is over");
}

#[tokio::test]
async fn the_end_of_its_time_is_waited_for() {
    let house = house().await;
    let begun = house.begin("seer", Entry::Web).await;
    let granted = house.browser(&begun).granted().await;
    let soon = tokio::time::timeout(Duration::from_millis(20), house.access.until_session_runs_out(&granted));
    assert!(soon.await.is_err());
    let by_password = house.granted("seer", PASSWORD, Permission::Web).await;
    let never = house.access.until_session_runs_out(&by_password);
    assert!(tokio::time::timeout(Duration::from_millis(20), never).await.is_err());
    // One that has almost run out.
    let row = house.access.store.session(&begun.cookie.digest()).await.unwrap().unwrap();
    let at = clock::unix_time_at(clock::now());
    let row = StoredSession { used_at: at - 600, idle_until: at + 1, ends_at: at + 1, ..row };
    let granted = house.access.begin_session(&by_password, &row, begun.cookie.digest());
    tokio::time::timeout(Duration::from_secs(30), house.access.until_session_runs_out(&granted))
        .await
        .unwrap();
    assert!(clock::now() >= clock::moment_at(at + 1));
}
