//! The processes: what they send, and what they make of the replies. The drivers of the state machines are as thin as those
//! of the gateway.

use std::time::Duration;

use gatepost::domain::Moment;
use gatepost::domain::fleet::{
    Bell, LogRead, MemberAction, NodesRead, RevocationVerdict, RevokerAction, WaitId, WaitReason,
};

use super::database::{Reply, Request};
use super::node::Pending;
use super::world::{Deviation, Event, Role, World};

impl World {
    /// Carries out the next action of a node.
    pub fn drive_member(&mut self, place: usize) {
        let now = self.processes[place].clock.at(self.now);
        let random = &mut self.random;
        let action = self.processes[place].member.next(now, || random.number());
        let limit = self.processes[place].member.step_timeout();
        let request = match action {
            MemberAction::WaitUntil(moment) => return self.wake_at(place, moment, Role::Member),
            MemberAction::Left => return,
            MemberAction::Connect => {
                let connection = self.connect(place, Role::Member);
                self.processes[place].member_link = Some(connection);
                Request::Connect
            }
            MemberAction::Register { id, beat, era } => Request::Register { id, beat, era },
            MemberAction::Beat { id } => Request::Beat { id },
            MemberAction::Read { applied } => Request::Read { applied },
            MemberAction::Acknowledge { id, position } => Request::Acknowledge { id, position },
            MemberAction::Settle { id, era } => Request::Settle { id, era },
            MemberAction::Trim => Request::Trim,
            MemberAction::Leave { id } => Request::Leave { id },
        };
        match self.processes[place].member_link {
            Some(connection) => self.send(connection, request, limit),
            None => self.member_failed(place),
        }
    }

    /// Carries out the next action of the loop for waits.
    pub fn drive_revoker(&mut self, place: usize) {
        let process = &mut self.processes[place];
        let now = process.clock.at(self.now);
        if let Some((era, since)) = process.member.era() {
            process.revoker.know_era(era, since);
        }
        let limit = process.member.step_timeout();
        let request = match process.revoker.next(now) {
            RevokerAction::WaitUntil(moment) => return self.wake_at(place, moment, Role::Revoker),
            RevokerAction::Look => Request::Look,
            RevokerAction::Delete { id, beat, silence } => Request::Delete { id, beat, silence },
        };
        let connection = match process.revoker_link {
            Some(connection) => connection,
            None => {
                let connection = self.connect(place, Role::Revoker);
                self.processes[place].revoker_link = Some(connection);
                connection
            }
        };
        self.send(connection, request, limit);
    }

    /// Takes a message, the end of a connection, or the end of a client's patience.
    pub fn receives(&mut self, connection: usize, event: Event) {
        let link = &mut self.connections[connection];
        let (place, role) = (link.process, link.role);
        match event {
            Event::Rings { .. } => {
                self.processes[place].member.bell();
                return self.drive_member(place);
            }
            Event::TimesOut { step, .. } if !link.is_awaiting || link.step != step => return,
            Event::Returns { .. } => link.is_awaiting = false,
            _ => {
                link.is_open = false;
                return self.lost(place, role);
            }
        }
        let Event::Returns { reply, .. } = event else { return };
        match (role, reply) {
            (Role::Member, reply) => self.member_receives(place, reply),
            (Role::Revoker, Reply::Nodes(read)) => self.looked(place, read),
            (Role::Revoker, _) => {
                self.processes[place].revoker.deleted();
                self.drive_revoker(place);
            }
            (Role::Change(name, began), Reply::Committed { number, era, mut states }) => {
                let process = &mut self.processes[place];
                if let Some(name) = name {
                    // The wait is for the other nodes. In this one, only this name is as new as the commit.
                    if self.deviation != Deviation::OwnCacheKeepsWhatIsSettled {
                        process.decisions.raise(name);
                    }
                    states = states.iter().enumerate().map(|(n, s)| if n == name { *s } else { 0 }).collect();
                }
                match self.deviation {
                    Deviation::OwnChangeSetsNoLimit => {}
                    Deviation::OwnChangeSetsEra => process.decisions.raise_lowest(era, number),
                    _ => process.decisions.raise_lowest_within_era(era, number),
                }
                let now = process.clock.at(self.now);
                let wait = process.revoker.wait(now, number, era);
                process.waits.insert(wait, Pending { began, states });
                if self.deviation == Deviation::NoWait {
                    self.answer(place, wait, RevocationVerdict::InForce(WaitReason::Nothing));
                }
                self.drive_revoker(place);
            }
            (Role::Check { name, promised, seen, lowest }, Reply::Row { era, number, state }) => {
                let is_old = lowest.is_some_and(|(known, lowest)| known != era || number < lowest);
                let may_use = self.deviation == Deviation::NoLowestNumber || !is_old;
                if !may_use || !self.processes[place].has_trust(self.now) {
                    self.outcome.undecided += 1;
                    return;
                }
                self.processes[place].decisions.insert(name, state, seen);
                self.outcome.judge(name, state, promised, || format!("read at node {place}"));
            }
            (Role::Lease(number), reply) => self.lease_receives(number, reply),
            _ => {}
        }
    }

    fn member_receives(&mut self, place: usize, reply: Reply) {
        let bell = if self.notifies { Bell::Rings } else { Bell::Silent };
        let process = &mut self.processes[place];
        let now = process.clock.at(self.now);
        match reply {
            Reply::Connected(era) => process.member.connected(now, era, bell),
            Reply::Beaten(reply) => process.member.beaten(reply),
            Reply::Read(read) => self.member_reads(place, now, read),
            _ => {
                // A commit without a value: of the step that is under way.
                process.member.registered();
                process.member.acknowledged();
                process.member.settled();
                process.member.trimmed();
            }
        }
        self.drive_member(place);
    }

    fn member_reads(&mut self, place: usize, now: Moment, mut read: LogRead) {
        let process = &mut self.processes[place];
        if self.deviation == Deviation::NoTokens {
            let token = process.token.filter(|_| process.member.applied_number() <= read.last.number);
            read.token_at_applied = token.or(read.token_at_applied);
        }
        let trust = read.terms.trust();
        process.token = Some(read.last.token);
        let mut application = process.member.read(now, read);
        match self.deviation {
            Deviation::TrustFromReply => {
                application.trust_until = application.trust_until.map(|_| now.after(trust));
            }
            Deviation::BellExtendsTrust => application.trust_until = Some(now.after(trust)),
            _ => {}
        }
        process.decisions.apply(&application);
    }

    fn member_failed(&mut self, place: usize) {
        let number = self.random.number();
        let process = &mut self.processes[place];
        process.member_link = None;
        let now = process.clock.at(self.now);
        process.member.failed(now, number);
        self.drive_member(place);
    }

    fn lost(&mut self, place: usize, role: Role) {
        match role {
            Role::Member => self.member_failed(place),
            Role::Revoker => {
                let process = &mut self.processes[place];
                process.revoker_link = None;
                let now = process.clock.at(self.now);
                for (wait, verdict) in process.revoker.failed(now) {
                    self.answer(place, wait, verdict);
                }
                self.drive_revoker(place);
            }
            Role::Check { .. } => self.outcome.undecided += 1,
            Role::Change(name, began) => {
                // The outcome is unknown: 503, and the own name is raised.
                if let Some(name) = name {
                    self.processes[place].decisions.raise(name);
                }
                self.outcome.note("unknown", self.now - began);
                self.end_of_command(place);
            }
            Role::Lease(number) => self.lease_lost(number),
            Role::Plain => {}
        }
    }

    fn looked(&mut self, place: usize, mut read: NodesRead) {
        match self.deviation {
            Deviation::ShortWait => read.terms.longest /= 2,
            Deviation::NoGrace => {
                let era = Some(read.era);
                read.nodes.iter_mut().for_each(|node| (node.settled, node.era) = (true, era));
            }
            _ => {}
        }
        let process = &mut self.processes[place];
        let now = process.clock.at(self.now);
        let own = process.member.id();
        // This connection may lead to an old primary, which still answers.
        let is_other_era = process.member.era().is_some_and(|(era, _)| era != read.era);
        let ended = process.revoker.looked(now, &read, own);
        if is_other_era && let Some(connection) = process.revoker_link.take() {
            self.connections[connection].is_open = false;
        }
        for (wait, verdict) in ended {
            self.answer(place, wait, verdict);
        }
        self.drive_revoker(place);
    }

    fn answer(&mut self, place: usize, wait: WaitId, verdict: RevocationVerdict) {
        let Some(pending) = self.processes[place].waits.remove(&wait) else { return };
        if let RevocationVerdict::InForce(_) = verdict {
            self.outcome.promise(&pending.states);
        }
        self.outcome.note(verdict.reason().as_str(), self.now - pending.began);
        self.end_of_command(place);
    }

    /// Ends a command whose change was answered.
    fn end_of_command(&mut self, place: usize) {
        let process = &mut self.processes[place];
        if process.is_command && process.waits.is_empty() {
            process.is_running = false;
        }
    }

    fn wake_at(&mut self, place: usize, moment: Moment, role: Role) {
        if moment == Moment::MAX {
            return;
        }
        let process = &self.processes[place];
        let (time, incarnation) = (process.clock.time_of(moment), process.incarnation);
        self.at(time, Event::Wakes { process: place, incarnation, role });
    }

    /// Checks a credential on a node.
    pub fn check(&mut self) {
        self.after(self.size.check_interval, Event::Checks);
        let place = self.random.below(self.size.nodes as u64) as usize;
        let name = self.random.below(super::database::NAMES as u64) as usize;
        let process = &self.processes[place];
        if !process.is_running || process.is_stopped(self.now) {
            return;
        }
        if !process.has_trust(self.now) {
            self.outcome.undecided += 1;
            return;
        }
        let promised = self.outcome.promised()[name];
        if let Some(state) = process.decisions.cached(name) {
            return self.outcome.judge(name, state, promised, || format!("cached at node {place}"));
        }
        let (seen, lowest) = (process.decisions.sequence(), process.decisions.lowest);
        let connection = self.connect(place, Role::Check { name, promised, seen, lowest });
        self.send(connection, Request::Row { name }, Duration::from_secs(2));
    }
}
