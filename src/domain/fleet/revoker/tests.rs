use super::*;

const ERA: Era = Era { system: 7, timeline: 1, started_at: 5 };
const NEXT_ERA: Era = Era { timeline: 2, ..ERA };

fn at(millis: u64) -> Moment {
    Moment::from_nanos((1_000_000 + millis) * 1_000_000)
}

fn node(id: i64, applied: u64) -> NodeRow {
    NodeRow { id: NodeId(id), era: Some(ERA), beat: Beat(1), applied, settled: false }
}

fn nodes(nodes: &[NodeRow]) -> NodesRead {
    NodesRead { era: ERA, terms: LeaseTerms::default(), nodes: nodes.to_vec() }
}

/// A process that has known the era for long.
fn known() -> Revoker {
    let mut revoker = Revoker::new();
    revoker.know_era(ERA, Moment::ZERO);
    revoker
}

/// Looks at `millis`, and returns how the waits end by it.
fn look(revoker: &mut Revoker, millis: u64, read: &NodesRead) -> Vec<RevocationVerdict> {
    assert_eq!(revoker.next(at(millis)), RevokerAction::Look);
    revoker.looked(at(millis), read, Some(NodeId(1))).into_iter().map(|(_, verdict)| verdict).collect()
}

fn in_force(reason: WaitReason) -> Vec<RevocationVerdict> {
    vec![RevocationVerdict::InForce(reason)]
}

#[test]
fn a_revocation_waits_for_each_other_row() {
    let mut revoker = known();
    revoker.wait(at(0), 5, ERA);
    let own = node(1, 0);
    assert_eq!(look(&mut revoker, 1, &nodes(&[own, node(2, 4), node(3, 5)])), []);
    assert_eq!(revoker.next(at(1)), RevokerAction::WaitUntil(at(2)));
    let ended = look(&mut revoker, 2, &nodes(&[own, node(2, 5), node(3, 9)]));
    assert_eq!(ended, in_force(WaitReason::Acknowledgements));
    revoker.wait(at(3), 6, ERA);
    assert_eq!(look(&mut revoker, 3, &nodes(&[own])), in_force(WaitReason::Nothing));
}

#[test]
fn all_waits_of_a_process_share_its_looks() {
    let mut revoker = known();
    let first = revoker.wait(at(0), 5, ERA);
    let second = revoker.wait(at(0), 6, ERA);
    assert_eq!(revoker.next(at(0)), RevokerAction::Look);
    let ended = revoker.looked(at(1), &nodes(&[node(2, 5)]), None);
    assert_eq!(ended, [(first, RevocationVerdict::InForce(WaitReason::Nothing))]);
    assert_eq!(revoker.next(at(2)), RevokerAction::Look);
    let ended = revoker.looked(at(2), &nodes(&[node(2, 6)]), None);
    assert_eq!(ended, [(second, RevocationVerdict::InForce(WaitReason::Acknowledgements))]);
}

#[test]
fn looks_are_paced_by_the_number_of_nodes() {
    let mut revoker = known();
    revoker.wait(at(0), 5, ERA);
    let many: Vec<NodeRow> = (2..102).map(|id| node(id, 4)).collect();
    assert_eq!(look(&mut revoker, 0, &nodes(&many)), []);
    assert_eq!(revoker.next(at(0)), RevokerAction::WaitUntil(at(5)));
    // A new wait does not wait for its turn.
    revoker.wait(at(2), 6, ERA);
    assert_eq!(revoker.next(at(2)), RevokerAction::Look);
}

#[test]
fn a_silent_node_is_waited_for_until_its_lease_is_over() {
    let mut revoker = known();
    revoker.wait(at(0), 5, ERA);
    let silent = nodes(&[node(2, 4)]);
    assert_eq!(look(&mut revoker, 2999, &silent), []);
    assert_eq!(look(&mut revoker, 3000, &silent), in_force(WaitReason::SilentNode));
}

#[test]
fn the_longest_lease_is_that_of_the_look() {
    let mut revoker = known();
    revoker.wait(at(0), 5, ERA);
    let longest = Duration::from_secs(10);
    let terms = LeaseTerms { longest, ..LeaseTerms::default() };
    let longer = NodesRead { terms, ..nodes(&[node(2, 4)]) };
    assert_eq!(look(&mut revoker, 9999, &longer), []);
    assert_eq!(look(&mut revoker, 10_000, &longer), in_force(WaitReason::SilentNode));
}

#[test]
fn a_look_that_was_sent_before_the_commit_does_not_count() {
    let mut revoker = known();
    assert_eq!(revoker.next(at(0)), RevokerAction::Look);
    revoker.wait(at(1), 5, ERA);
    assert_eq!(revoker.looked(at(5000), &nodes(&[]), None), []);
    assert_eq!(look(&mut revoker, 5000, &nodes(&[])), in_force(WaitReason::Nothing));
}

#[test]
fn a_young_era_is_waited_for() {
    let mut revoker = Revoker::new();
    revoker.wait(at(0), 5, ERA);
    assert_eq!(look(&mut revoker, 10, &nodes(&[node(2, 5)])), []);
    // The row of an earlier era is not enough.
    let settled = |era| NodeRow { era: Some(era), settled: true, ..node(2, 5) };
    assert_eq!(look(&mut revoker, 20, &nodes(&[settled(NEXT_ERA)])), []);
    assert_eq!(look(&mut revoker, 3000, &nodes(&[node(2, 5)])), in_force(WaitReason::UnsettledEra));

    let mut revoker = Revoker::new();
    revoker.wait(at(0), 5, ERA);
    assert_eq!(look(&mut revoker, 20, &nodes(&[settled(ERA)])), in_force(WaitReason::Nothing));
}

#[test]
fn a_row_of_an_earlier_era_is_no_silent_node() {
    let mut revoker = Revoker::new();
    revoker.know_era(ERA, at(0));
    revoker.wait(at(10), 5, ERA);
    let left = NodeRow { era: Some(NEXT_ERA), ..node(2, 4) };
    assert_eq!(look(&mut revoker, 20, &nodes(&[left])), []);
    assert_eq!(look(&mut revoker, 3005, &nodes(&[left])), []);
    assert_eq!(look(&mut revoker, 3010, &nodes(&[left])), in_force(WaitReason::UnsettledEra));
}

#[test]
fn an_era_is_known_since_the_first_look_or_the_connection_of_the_node() {
    let mut revoker = Revoker::new();
    assert_eq!(look(&mut revoker, 0, &nodes(&[])), []);
    revoker.know_era(NEXT_ERA, at(1000));
    revoker.wait(at(2990), 5, ERA);
    assert_eq!(look(&mut revoker, 2999, &nodes(&[])), []);
    assert_eq!(look(&mut revoker, 3000, &nodes(&[])), in_force(WaitReason::UnsettledEra));
    revoker.wait(at(3990), 1, NEXT_ERA);
    let next = NodesRead { era: NEXT_ERA, ..nodes(&[]) };
    assert_eq!(look(&mut revoker, 3999, &next), []);
    assert_eq!(look(&mut revoker, 4000, &next), in_force(WaitReason::UnsettledEra));
}

#[test]
fn another_era_or_a_lost_database_leaves_the_outcome_unknown() {
    let mut revoker = known();
    revoker.wait(at(0), 5, ERA);
    let next = NodesRead { era: NEXT_ERA, ..nodes(&[]) };
    assert_eq!(look(&mut revoker, 1, &next), [RevocationVerdict::Unknown]);

    let lost = revoker.wait(at(10), 6, ERA);
    assert_eq!(revoker.next(at(10)), RevokerAction::Look);
    let later = revoker.wait(at(11), 7, ERA);
    assert_eq!(revoker.failed(at(12)), [(lost, RevocationVerdict::Unknown)]);
    assert_eq!(revoker.next(at(12)), RevokerAction::WaitUntil(at(62)));
    assert_eq!(revoker.next(at(62)), RevokerAction::Look);
    assert_eq!(revoker.failed(at(18)), [(later, RevocationVerdict::Unknown)]);
}

#[test]
fn a_row_is_deleted_once_it_is_silent_for_the_longest_lease() {
    let mut revoker = known();
    let silent = NodeRow { beat: Beat(4), ..node(2, 4) };
    let rows = |beat| nodes(&[node(1, 0), NodeRow { beat: Beat(beat), ..silent }]);
    look(&mut revoker, 0, &rows(3));
    assert_eq!(revoker.next(at(1)), RevokerAction::WaitUntil(at(3000)), "nothing waits");
    // The beat changed, so the time counts from here.
    look(&mut revoker, 3000, &rows(4));
    look(&mut revoker, 6001, &rows(4));
    let silence = Duration::from_millis(3001);
    assert_eq!(revoker.next(at(6001)), RevokerAction::Delete { id: NodeId(2), beat: Beat(4), silence });
    revoker.deleted();
    // If it is still there, it is watched anew.
    look(&mut revoker, 9100, &rows(4));
    assert!(matches!(revoker.next(at(9100)), RevokerAction::WaitUntil(_)));
}

#[test]
fn the_silence_of_a_row_is_measured_by_the_longest_lease_of_now() {
    let mut revoker = known();
    look(&mut revoker, 0, &nodes(&[node(2, 4)]));
    let terms = LeaseTerms { longest: Duration::from_secs(10), ..LeaseTerms::default() };
    let longer = NodesRead { terms, ..nodes(&[node(2, 4)]) };
    look(&mut revoker, 5000, &longer);
    assert!(matches!(revoker.next(at(5000)), RevokerAction::WaitUntil(_)));
}
