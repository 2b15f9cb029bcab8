use super::super::log::{ChangeToken, LogRow};
use super::*;
use crate::domain::Canonical;

const ERA: Era = Era { system: 7, timeline: 1, started_at: 5 };
const NEXT_ERA: Era = Era { timeline: 2, ..ERA };

fn at(millis: u64) -> Moment {
    Moment::from_nanos((1_000_000 + millis) * 1_000_000)
}

fn name(number: u64) -> Canonical {
    Canonical::of(format!("user{number}").as_bytes()).unwrap()
}

fn position(number: u64) -> LogPosition {
    LogPosition { number, token: ChangeToken(100 + number as i64) }
}

/// The read of a log with changes up to `last`, above `applied`.
fn log(applied: u64, last: u64) -> LogRead {
    let row = |seq| LogRow { seq, token: position(seq).token, names: Some(vec![name(seq)]) };
    LogRead {
        era: ERA,
        last: position(last),
        token_at_applied: (1..=last).contains(&applied).then(|| position(applied).token),
        rows: (applied + 1..=last).map(row).collect(),
        trimmed_below: 1,
        terms: LeaseTerms::default(),
    }
}

fn next(member: &mut Member, millis: u64) -> MemberAction {
    let mut random = [8, 36].into_iter();
    member.next(at(millis), || random.next().unwrap_or(0))
}

/// Follows a write by its read, which is received at `millis`.
fn read(member: &mut Member, millis: u64, read: LogRead) -> Application {
    assert_eq!(next(member, millis), MemberAction::Read { applied: member.applied_number() });
    member.read(at(millis), read)
}

/// A node that joined at 0 ms and applied the log up to `last` at 20 ms.
fn joined(last: u64) -> Member {
    let mut member = Member::new();
    assert_eq!(next(&mut member, 0), MemberAction::Connect);
    member.connected(at(0), ERA, Bell::Rings);
    assert_eq!(next(&mut member, 0), MemberAction::Register { id: NodeId(8), beat: Beat(9), era: ERA });
    member.registered();
    let application = read(&mut member, 20, log(0, last));
    assert_eq!(application.trust_until, Some(at(2700)), "it counts from the sending of the registration");
    assert_eq!(application.stale, Staleness::Everything);
    if last > 0 {
        let action = next(&mut member, 20);
        assert_eq!(action, MemberAction::Acknowledge { id: NodeId(8), position: position(last) });
        member.acknowledged();
    }
    member
}

fn reply(acknowledged: u64) -> Option<BeatReply> {
    Some(BeatReply { acknowledged, nodes: 3 })
}

/// Beats at `sent`, and gets the reply.
fn beat(member: &mut Member, sent: u64, acknowledged: u64) {
    assert_eq!(next(member, sent), MemberAction::Beat { id: NodeId(8) });
    member.beaten(reply(acknowledged));
}

#[test]
fn trust_counts_from_the_sending_of_a_beat() {
    let mut member = joined(4);
    assert_eq!(next(&mut member, 21), MemberAction::WaitUntil(at(500)));
    beat(&mut member, 510, 4);
    let application = read(&mut member, 2900, log(4, 4));
    assert_eq!(application.trust_until, Some(at(510 + 2700)));
    assert_eq!(application.stale, Staleness::Names(Vec::new()));
}

#[test]
fn the_lease_is_that_of_the_read_after_the_beat() {
    let mut member = joined(0);
    beat(&mut member, 500, 0);
    let terms = LeaseTerms { lease: Duration::from_secs(1), ..LeaseTerms::default() };
    let application = read(&mut member, 501, LogRead { terms, ..log(0, 0) });
    assert_eq!(application.trust_until, Some(at(500 + 900)));
    assert_eq!(member.step_timeout(), Duration::from_millis(900));
}

#[test]
fn a_notification_leads_to_a_read_that_extends_no_trust() {
    let mut member = joined(4);
    member.bell();
    let application = read(&mut member, 100, log(4, 6));
    assert_eq!(application.trust_until, None);
    assert_eq!(application.stale, Staleness::Names(vec![name(5), name(6)]));
    assert_eq!((application.lowest, application.applied), ((ERA, 6), 6));
    let acknowledgement = MemberAction::Acknowledge { id: NodeId(8), position: position(6) };
    assert_eq!(next(&mut member, 100), acknowledgement);
    member.acknowledged();
    assert_eq!(next(&mut member, 101), MemberAction::WaitUntil(at(500)));
}

#[test]
fn the_log_is_polled_where_notifications_do_not_arrive() {
    let mut member = joined(0);
    member.failed(at(30), 0);
    assert_eq!(next(&mut member, 30), MemberAction::Connect);
    member.connected(at(30), ERA, Bell::Silent);
    beat(&mut member, 30, 0);
    read(&mut member, 40, log(0, 0));
    assert_eq!(next(&mut member, 41), MemberAction::WaitUntil(at(65)));
    assert_eq!(next(&mut member, 65), MemberAction::Read { applied: 0 });
}

#[test]
fn acknowledgements_are_coalesced_and_paced() {
    let mut member = joined(1);
    beat(&mut member, 500, 1);
    read(&mut member, 501, log(1, 2));
    assert_eq!(next(&mut member, 501), MemberAction::Acknowledge { id: NodeId(8), position: position(2) });
    member.acknowledged();
    member.bell();
    read(&mut member, 501, log(2, 3));
    assert_eq!(next(&mut member, 501), MemberAction::WaitUntil(at(502)));
    member.bell();
    read(&mut member, 501, log(3, 4));
    assert_eq!(next(&mut member, 502), MemberAction::Acknowledge { id: NodeId(8), position: position(4) });
    member.acknowledged();
    // Of 100 nodes, each acknowledges every 20 ms and reads every 10 ms.
    assert_eq!(next(&mut member, 1000), MemberAction::Beat { id: NodeId(8) });
    member.beaten(Some(BeatReply { acknowledged: 4, nodes: 100 }));
    read(&mut member, 1000, log(4, 5));
    assert!(matches!(next(&mut member, 1000), MemberAction::Acknowledge { .. }));
    member.acknowledged();
    member.bell();
    assert_eq!(next(&mut member, 1001), MemberAction::WaitUntil(at(1010)));
    read(&mut member, 1010, log(5, 6));
    assert_eq!(next(&mut member, 1010), MemberAction::WaitUntil(at(1020)));
}

#[test]
fn up_to_20_nodes_read_at_each_notification_and_more_every_10_ms() {
    for (nodes, reads_at) in [(1, 1000), (20, 1000), (21, 1010)] {
        let mut member = joined(1);
        assert_eq!(next(&mut member, 1000), MemberAction::Beat { id: NodeId(8) });
        member.beaten(Some(BeatReply { acknowledged: 1, nodes }));
        read(&mut member, 1000, log(1, 1));
        // Those that come while a read is awaited are one.
        member.bell();
        member.bell();
        if reads_at > 1000 {
            assert_eq!(next(&mut member, 1000), MemberAction::WaitUntil(at(reads_at)), "{nodes} nodes");
        }
        read(&mut member, reads_at, log(1, 1));
        assert_eq!(next(&mut member, reads_at), MemberAction::WaitUntil(at(1500)), "{nodes} nodes");
    }
}

#[test]
fn a_beat_comes_before_reads_however_many_notifications_come() {
    let mut member = joined(1);
    for millis in 21..500 {
        member.bell();
        read(&mut member, millis, log(1, 1));
    }
    member.bell();
    assert_eq!(next(&mut member, 500), MemberAction::Beat { id: NodeId(8) });
}

#[test]
fn only_the_first_read_of_a_database_is_about_what_was_done_before() {
    let mut member = Member::new();
    next(&mut member, 0);
    member.connected(at(0), ERA, Bell::Rings);
    next(&mut member, 0);
    member.registered();
    assert!(read(&mut member, 0, log(0, 4)).is_first);
    for (read_at, next_log) in [(10, log(4, 5)), (20, LogRead { rows: Vec::new(), ..log(5, 9) })] {
        member.acknowledged();
        member.bell();
        next(&mut member, read_at);
        member.acknowledged();
        let action = next(&mut member, read_at);
        assert_eq!(action, MemberAction::Read { applied: member.applied_number() });
        assert!(!member.read(at(read_at), next_log).is_first);
    }
    let restarted = Member::read(&mut member, at(30), LogRead { era: NEXT_ERA, ..log(9, 10) });
    assert!(!restarted.is_first && restarted.stale == Staleness::Everything);
    let other = Era { system: 8, ..NEXT_ERA };
    assert!(Member::read(&mut member, at(40), LogRead { era: other, ..log(10, 11) }).is_first);
}

#[test]
fn an_acknowledgement_that_was_lost_is_sent_again() {
    let mut member = joined(4);
    beat(&mut member, 500, 3);
    read(&mut member, 501, log(4, 4));
    assert_eq!(next(&mut member, 501), MemberAction::Acknowledge { id: NodeId(8), position: position(4) });
}

#[test]
fn a_beat_without_a_row_joins_again() {
    let mut member = joined(4);
    assert_eq!(next(&mut member, 500), MemberAction::Beat { id: NodeId(8) });
    member.beaten(None);
    let mut random = [11, 4].into_iter();
    let action = member.next(at(510), || random.next().unwrap_or(0));
    assert_eq!(action, MemberAction::Register { id: NodeId(11), beat: Beat(1), era: ERA });
    member.registered();
    let application = read(&mut member, 520, log(4, 5));
    assert_eq!(application.stale, Staleness::Names(vec![name(5)]), "the era is the same");
    assert_eq!(application.trust_until, Some(at(510 + 2700)));
    let acknowledgement = MemberAction::Acknowledge { id: NodeId(11), position: position(5) };
    assert_eq!(next(&mut member, 521), acknowledgement, "the new row starts with 0");
}

#[test]
fn a_lost_connection_is_replaced_after_a_random_time() {
    let mut member = joined(4);
    assert_eq!(next(&mut member, 500), MemberAction::Beat { id: NodeId(8) });
    member.failed(at(600), 10_000_000_000 + 7_000_000);
    assert_eq!(next(&mut member, 600), MemberAction::WaitUntil(at(607)), "within an interval of beats");
    assert_eq!(next(&mut member, 607), MemberAction::Connect);
    member.connected(at(610), ERA, Bell::Rings);
    beat(&mut member, 611, 4);
    let application = read(&mut member, 612, log(4, 5));
    assert_eq!(application.stale, Staleness::Names(vec![name(5)]), "the log tells what is new");
}

#[test]
fn a_registration_of_unknown_outcome_is_beaten() {
    let mut member = Member::new();
    next(&mut member, 0);
    member.connected(at(0), ERA, Bell::Rings);
    assert!(matches!(next(&mut member, 0), MemberAction::Register { .. }));
    member.failed(at(10), 0);
    next(&mut member, 10);
    member.connected(at(11), ERA, Bell::Rings);
    assert_eq!(next(&mut member, 11), MemberAction::Beat { id: NodeId(8) });
}

#[test]
fn a_new_era_makes_everything_stale_and_needs_a_new_row() {
    let mut member = joined(4);
    member.failed(at(100), 0);
    next(&mut member, 100);
    member.connected(at(110), NEXT_ERA, Bell::Rings);
    assert!(matches!(next(&mut member, 110), MemberAction::Register { era: NEXT_ERA, .. }));
    member.registered();
    let application = read(&mut member, 120, LogRead { era: NEXT_ERA, ..log(4, 5) });
    assert_eq!(application.stale, Staleness::Everything);
    assert_eq!(application.lowest, (NEXT_ERA, 5));
    assert_eq!(application.went_back, None);
    assert_eq!(application.trust_until, Some(at(110 + 2700)));
}

#[test]
fn a_read_in_another_era_extends_no_trust_and_connects_again() {
    let mut member = joined(4);
    beat(&mut member, 500, 4);
    let application = read(&mut member, 510, LogRead { era: NEXT_ERA, ..log(4, 4) });
    assert_eq!((application.stale, application.trust_until), (Staleness::Everything, None));
    assert_eq!(next(&mut member, 510), MemberAction::Connect);
    member.connected(at(520), NEXT_ERA, Bell::Rings);
    assert_eq!(member.era(), Some((NEXT_ERA, at(510))), "known since the read");
    assert!(matches!(next(&mut member, 520), MemberAction::Register { era: NEXT_ERA, .. }));
}

#[test]
fn what_is_missing_in_the_log_makes_everything_stale() {
    let stale = |read_log: LogRead| {
        let mut member = joined(4);
        member.bell();
        let application = read(&mut member, 100, read_log);
        (application.stale, application.went_back)
    };
    let names = |numbers: [u64; 1]| Staleness::Names(numbers.map(name).to_vec());
    assert_eq!(stale(log(4, 5)), (names([5]), None));
    assert_eq!(stale(LogRead { trimmed_below: 4, ..log(4, 5) }), (names([5]), None));
    // The row that was applied last is trimmed; so are rows above it.
    let trimmed = LogRead { trimmed_below: 5, token_at_applied: None, ..log(4, 5) };
    assert_eq!(stale(trimmed), (Staleness::Everything, None));
    let trimmed = LogRead { trimmed_below: 6, token_at_applied: None, rows: Vec::new(), ..log(4, 5) };
    assert_eq!(stale(trimmed), (Staleness::Everything, None));
    // The marker counts, whatever rows are there.
    assert_eq!(stale(LogRead { trimmed_below: 6, ..log(4, 5) }), (Staleness::Everything, None));
    // Rows are cut off.
    let mut cut = log(4, 7);
    cut.rows.pop();
    assert_eq!(stale(cut), (Staleness::Everything, None));
    // One change touched too many names.
    let mut many = log(4, 6);
    many.rows[1].names = None;
    assert_eq!(stale(many), (Staleness::Everything, None));
}

#[test]
fn a_number_that_was_given_out_twice_is_noticed() {
    let back = |read_log: LogRead| {
        let mut member = joined(4);
        member.bell();
        let application = read(&mut member, 100, read_log);
        assert_eq!(application.stale, Staleness::Everything);
        application.went_back
    };
    assert_eq!(back(LogRead { token_at_applied: None, ..log(4, 3) }), Some(WentBack { from: 4, to: 3 }));
    let other = LogRead { token_at_applied: Some(ChangeToken(1)), ..log(4, 4) };
    assert_eq!(back(other), Some(WentBack { from: 4, to: 3 }));
    let other = LogRead { token_at_applied: Some(ChangeToken(1)), era: NEXT_ERA, ..log(4, 9) };
    assert_eq!(back(other), Some(WentBack { from: 4, to: 3 }));
}

#[test]
fn a_row_is_settled_after_the_longest_lease_in_one_era() {
    let mut member = joined(0);
    let longest = Duration::from_secs(10);
    let terms = LeaseTerms { longest, ..LeaseTerms::default() };
    for sent in (500..10_000).step_by(500) {
        beat(&mut member, sent, 0);
        read(&mut member, sent, LogRead { terms, ..log(0, 0) });
    }
    assert!(matches!(next(&mut member, 9999), MemberAction::WaitUntil(_)));
    beat(&mut member, 10_000, 0);
    read(&mut member, 10_000, LogRead { terms, ..log(0, 0) });
    assert_eq!(next(&mut member, 10_000), MemberAction::Settle { id: NodeId(8), era: ERA });
    member.settled();
    assert!(matches!(next(&mut member, 10_001), MemberAction::WaitUntil(_)));
}

#[test]
fn a_node_that_leaves_deletes_its_row() {
    let mut member = joined(0);
    member.leave();
    assert_eq!(next(&mut member, 30), MemberAction::Leave { id: NodeId(8) });
    member.left();
    assert_eq!(next(&mut member, 31), MemberAction::Left);
    member.failed(at(40), 0);
    assert_eq!(next(&mut member, 41), MemberAction::Left);
    // A read that was under way extends no trust.
    let mut member = joined(0);
    beat(&mut member, 500, 0);
    assert!(matches!(next(&mut member, 501), MemberAction::Read { .. }));
    member.leave();
    assert_eq!(member.read(at(502), log(0, 0)).trust_until, None);
    // Without a connection there is nothing to wait for.
    let mut member = joined(0);
    member.failed(at(30), 0);
    member.leave();
    assert_eq!(next(&mut member, 30), MemberAction::Left);
}

#[test]
fn the_log_is_trimmed_once_a_minute() {
    let mut member = joined(0);
    member.connected(at(60_000), ERA, Bell::Rings);
    beat(&mut member, 60_000, 0);
    read(&mut member, 60_000, log(0, 0));
    assert!(matches!(next(&mut member, 60_000), MemberAction::Settle { .. }));
    member.settled();
    assert_eq!(next(&mut member, 60_000), MemberAction::Trim);
    member.trimmed();
    assert_eq!(next(&mut member, 60_001), MemberAction::WaitUntil(at(60_500)));
}

#[test]
fn results_that_nobody_waits_for_change_nothing() {
    let mut member = joined(4);
    let before = member.clone();
    member.registered();
    member.beaten(None);
    member.acknowledged();
    member.settled();
    member.trimmed();
    assert_eq!(member, before);
    let application = member.read(at(50), log(4, 4));
    assert_eq!(application.trust_until, None);
}
