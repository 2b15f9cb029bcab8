//! The loop of a node: registers it, beats, reads the log of changes, and applies them.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::connection::{FleetConnection, late};
use super::node_view::NodeView;
use super::rows::NodeRead;
use super::{rows, statements};
use crate::domain::Moment;
use crate::domain::fleet::{Application, Bell, Era, Member, MemberAction, Staleness};
use crate::state::store::postgres::{ReadMinimum, Servers};
use crate::state::store::{Store, StoreError};
use crate::state::{Epochs, Metrics, clock};

/// The interval at which the same failure is logged, and another one.
const COMPLAINTS: Duration = Duration::from_secs(60);
const OTHER_COMPLAINTS: Duration = Duration::from_secs(5);

/// The parts of a node that its loop keeps up to date.
pub(super) struct MemberLoop {
    servers: Servers,
    store: Store,
    minimum: Arc<ReadMinimum>,
    epochs: Arc<Epochs>,
    metrics: Arc<Metrics>,
    view: Arc<NodeView>,
    member: Member,
    connection: Option<FleetConnection>,
    /// True once the schema is known to be there.
    is_ready: bool,
    /// The era in the metrics.
    shown: Option<Era>,
    /// The last failure that was logged, and the moment, if nothing has succeeded since.
    lost: Option<(String, Moment)>,
}

impl MemberLoop {
    /// A node that is not connected.
    pub(super) fn new(
        servers: Servers,
        store: Store,
        epochs: Arc<Epochs>,
        metrics: Arc<Metrics>,
        view: Arc<NodeView>,
    ) -> MemberLoop {
        let (member, connection) = (Member::new(), None);
        let minimum = store.read_minimum();
        MemberLoop {
            servers,
            store,
            minimum,
            epochs,
            metrics,
            view,
            member,
            connection,
            is_ready: false,
            shown: None,
            lost: None,
        }
    }

    /// Runs until the node is asked to leave, and has left.
    pub(super) async fn run(mut self, mut leaves: watch::Receiver<bool>) {
        let mut is_leaving = false;
        loop {
            // Without a sender, nobody uses this node any more.
            if !is_leaving && (*leaves.borrow() || leaves.has_changed().is_err()) {
                is_leaving = true;
                self.stop();
            }
            match self.member.next(clock::now(), random) {
                MemberAction::Left => return,
                MemberAction::WaitUntil(until) => tokio::select! {
                    _ = leaves.changed(), if !is_leaving => {}
                    waited = wait(self.connection.as_mut(), until) => match waited {
                        Ok(true) => self.member.bell(),
                        Ok(false) => {}
                        Err(error) => self.fail(&error),
                    },
                },
                action => {
                    if let Err(error) = self.carry_out(action).await {
                        self.fail(&error);
                    }
                }
            }
            if self.connection.as_mut().is_some_and(FleetConnection::drain) {
                self.member.bell();
            }
            self.view.update(&self.member);
        }
    }

    /// Ends the trust of this process, which has stopped deciding.
    fn stop(&mut self) {
        self.epochs.trust().end();
        self.member.leave();
    }

    /// Carries out an action within its time limit.
    async fn carry_out(&mut self, action: MemberAction) -> Result<(), StoreError> {
        let limit = self.member.step_timeout();
        if action == MemberAction::Connect {
            // Its time limit is for each server.
            return self.connect().await;
        }
        timeout(limit, self.send(action)).await.unwrap_or_else(|_| Err(late(limit)))
    }

    async fn connect(&mut self) -> Result<(), StoreError> {
        if !self.is_ready {
            self.store.make_ready().await?;
            self.is_ready = true;
        }
        let (connection, era) = FleetConnection::open(&self.servers, self.member.step_timeout()).await?;
        let bell = connection.bell();
        self.member.connected(clock::now(), era, bell);
        self.connection = Some(connection);
        if bell == Bell::Silent {
            warn!(
                "notifications of PostgreSQL do not arrive, so changes are looked for 40 times a second: \
                 set store.direct_url to a connection without a pooler"
            );
        }
        Ok(())
    }

    async fn send(&mut self, action: MemberAction) -> Result<(), StoreError> {
        let limit = self.member.step_timeout();
        let Some(connection) = &mut self.connection else {
            return Err(StoreError::Unavailable("there is no connection".to_owned()));
        };
        match action {
            MemberAction::Connect | MemberAction::WaitUntil(_) | MemberAction::Left => {}
            MemberAction::Register { id, beat, era } => {
                let sent_at = clock::now();
                let rows = connection.run(statements::register(id, beat, era), limit).await?;
                rows::with_column(&rows, "id").ok_or_else(another_era)?;
                self.metrics.node().beat(sent_at);
                self.member.registered();
            }
            MemberAction::Beat { id } => {
                let sent_at = clock::now();
                let reply = rows::beat(&connection.run(statements::beat(id), limit).await?)?;
                if let Some((_, queue)) = reply {
                    self.metrics.node().beat(sent_at);
                    self.metrics.notify_queue_ratio.set(queue);
                }
                self.member.beaten(reply.map(|(reply, _)| reply));
            }
            MemberAction::Read { applied } => {
                let rows = connection.run(statements::read(applied), limit).await?;
                let received_at = clock::now();
                let NodeRead { log, news, is_announced } = rows::log(&rows)?;
                let terms = log.terms;
                self.metrics.node().saw(log.last.number);
                self.member.hears(if is_announced { connection.bell() } else { Bell::Silent });
                let application = self.member.read(received_at, log);
                let is_first = application.is_first;
                self.apply(application);
                self.view.set_terms(terms);
                self.metrics.lease_seconds.set(terms.lease.as_secs_f64());
                // A process that has just begun need not tell what was done before.
                if !is_first {
                    news.iter().for_each(|news| news.write());
                }
            }
            MemberAction::Acknowledge { id, position } => {
                connection.run(statements::acknowledge(id, position), limit).await?;
                self.member.acknowledged();
            }
            MemberAction::Settle { id, era } => {
                connection.run(statements::mark_settled(id, era), limit).await?;
                self.member.settled();
            }
            MemberAction::Trim => {
                connection.run(statements::trim(), limit).await?;
                self.member.trimmed();
            }
            MemberAction::Leave { id } => {
                connection.run(statements::leave(id), limit).await?;
                self.member.left();
            }
        }
        Ok(())
    }

    /// Carries out what a read of the log has found, in this order: a check loads its epoch, then the lowest number, and then
    /// reads.
    fn apply(&mut self, application: Application) {
        let Application { lowest: (era, number), stale, applied, trust_until, went_back, .. } = application;
        match went_back {
            Some(_) => self.minimum.reset(number, era),
            // Not lowered: an own change may have been committed since the read.
            None => self.minimum.publish(number, era),
        }
        match &stale {
            Staleness::Everything => self.epochs.raise_all(),
            Staleness::Names(names) => self.epochs.raise_each(names),
        }
        if let Some(until) = trust_until {
            self.epochs.trust().extend(until);
            if self.lost.take().is_some() {
                info!(%era, number, "connected to the cluster again");
            }
        }
        if let Some(lost) = went_back {
            self.metrics.database_went_back.inc();
            error!("PostgreSQL went back from {} to {}: revocations may be lost", lost.from, lost.to);
        }
        self.show(era, applied);
    }

    /// Shows the era and the number in the metrics.
    fn show(&mut self, era: Era, applied: u64) {
        let metrics = &self.metrics;
        if self.shown.replace(era) == Some(era) {
            metrics.node().applied(applied);
            return;
        }
        metrics.node().entered_era(applied);
        metrics.database_timeline.set(i64::from(era.timeline));
        metrics.database_start_time.set(era.started_at / 1_000_000);
    }

    /// Closes the connection after a failure. The next one comes at a random time within an interval of beats.
    fn fail(&mut self, error: &StoreError) {
        self.connection = None;
        // It may be a primary that the others have left, and that confirms no write any more.
        self.servers.skip();
        self.member.failed(clock::now(), random());
        self.view.fail(error);
        // Another reason is worth another line, and so is one that lasts.
        let (reason, now) = (error.to_string(), clock::now());
        let is_told = self.lost.as_ref().is_some_and(|(told, at)| {
            let pause = if *told == reason { COMPLAINTS } else { OTHER_COMPLAINTS };
            now.since(*at) < pause
        });
        if !is_told {
            warn!(error = reason, "no contact to the cluster: nothing is decided once trust has run out");
            self.lost = Some((reason, now));
        }
    }
}

/// Waits until that moment, or for a notification, which is true.
async fn wait(connection: Option<&mut FleetConnection>, until: Moment) -> Result<bool, StoreError> {
    let rung = async {
        match connection {
            Some(connection) => connection.rung().await,
            None => pending().await,
        }
    };
    tokio::select! {
        rung = rung => rung.map(|()| true),
        () = sleep_until(until) => Ok(false),
    }
}

/// Sleeps until that moment.
pub(super) async fn sleep_until(until: Moment) {
    match until {
        Moment::MAX => pending().await,
        until => sleep(until.since(clock::now())).await,
    }
}

fn another_era() -> StoreError {
    StoreError::Unavailable(
        "PostgreSQL was restarted meanwhile, or a pooler has changed the server".to_owned(),
    )
}

/// A random number. If there are none, the database refuses a row with an ID that exists, and another attempt follows.
fn random() -> u64 {
    let mut random = [0; 8];
    let _ = getrandom::fill(&mut random);
    u64::from_ne_bytes(random)
}
