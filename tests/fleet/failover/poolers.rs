//! pgbouncer between gateways and PostgreSQL.

use super::gateways::*;
use crate::common::backend::Backend;
use crate::common::pgbouncer::PgBouncer;
use crate::common::postgres::PostgresServer;

/// The warning of a node whose direct connection leads through a pooler.
const SILENT: &str = "notifications of PostgreSQL do not arrive";

/// Removes 20 credentials by two gateways behind a pooler in this mode. `has_direct` tells if they have another way to the server.
fn removed_means_removed(mode: &str, has_direct: bool) {
    let (server, backend) = (PostgresServer::start(&[]), Backend::hello());
    fill(&server, &backend, 20);
    // Without what it ignores for other clients.
    let pooler = PgBouncer::start(server.address(), mode, "ignore_startup_parameters =");
    let direct = format!("direct_url = \"{}\"\n", server.url(DATABASE));
    let store = url(&pooler.url(&server, DATABASE)) + if has_direct { &direct } else { "" };
    let gateways = [gateway(&store, &backend), gateway(&store, &backend)];
    wait_until_settled(&server);
    for number in 0..20 {
        let name = format!("user{number}");
        let (by, other) = (&gateways[number % 2], &gateways[(number + 1) % 2]);
        expect(other, &name, 200);
        expect(by, &name, 200);
        let (status, text) = remove(by, &name);
        assert_eq!(status, 200, "{name}: {text}");
        expect(other, &name, 401);
        expect(by, &name, 401);
    }
    for gateway in &gateways {
        match has_direct {
            true => assert!(!gateway.log().text().contains(SILENT)),
            false => drop(gateway.log().wait_for(&[SILENT])),
        }
        assert_eq!(metric(gateway, "gatepost_revocation_waits_total{why=\"silent_node\"}"), 0);
    }
}

#[test]
fn a_pooler_of_transactions_beside_a_direct_connection_changes_nothing() {
    removed_means_removed("transaction", true);
}

#[test]
fn all_connections_through_a_pooler_of_transactions_are_said_and_polled() {
    removed_means_removed("transaction", false);
}

/// Starts two gateways at once on an empty database behind a pooler of transactions, and once more when it is filled.
fn two_may_start_at_once(has_direct: bool) {
    let (server, backend) = (PostgresServer::start(&[]), Backend::hello());
    server.psql("postgres", &format!("CREATE DATABASE {DATABASE}"));
    let pooler = PgBouncer::start(server.address(), "transaction", "ignore_startup_parameters =");
    let direct = format!("direct_url = \"{}\"\n", server.url(DATABASE));
    let store = url(&pooler.url(&server, DATABASE)) + if has_direct { &direct } else { "" };
    for _ in 0..2 {
        let mut gateways = std::thread::scope(|scope| {
            let starting = [(); 2].map(|()| scope.spawn(|| gateway(&store, &backend)));
            starting.map(|gateway| gateway.join().unwrap())
        });
        // A lock of a session would be left on a connection that the pooler keeps.
        assert_eq!(server.psql(DATABASE, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "0");
        for gateway in &mut gateways {
            assert_eq!(ready(gateway), 200, "{}", gateway.log().text());
            gateway.signal("TERM");
            assert_eq!(gateway.wait(), Some(0));
        }
        assert_eq!(server.psql(DATABASE, "SELECT count(*) FROM counter"), "1");
    }
}

#[test]
fn two_gateways_start_at_once_on_an_empty_database_behind_a_pooler() {
    two_may_start_at_once(true);
}

#[test]
fn two_gateways_start_at_once_on_an_empty_database_with_nothing_but_a_pooler() {
    two_may_start_at_once(false);
}
