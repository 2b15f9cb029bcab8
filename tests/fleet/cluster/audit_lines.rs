//! The line of a command in the audit trails of all gateways: once in each, whatever happens around it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use super::gateways::{add_credentials, directory, gateway};
use crate::common::backend::Backend;
use crate::common::postgres::{PostgresDatabase, PostgresServer};
use crate::common::{Gateway, command};

/// The number of lines of a gateway that hold all of these words, once it has applied all changes.
fn lines(gateway: &Gateway, words: &[&str]) -> usize {
    gateway.log().wait_for(words);
    gateway.log().text().lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

/// Removes a credential by a command, and checks that each gateway has told of it once. `meanwhile` happens while they read nothing.
fn told_once(database: &PostgresDatabase<'_>, gateways: &[Gateway], name: &str, meanwhile: &str) {
    gateways.iter().for_each(|gateway| gateway.signal("STOP"));
    let removal = ["credential", "edit", name, "--account", "acme", "--grant", "email"];
    let removed = gateways[0].command(&removal, "");
    assert!(removed.status.success(), "{removed:?}");
    database.psql(meanwhile);
    gateways.iter().for_each(|gateway| gateway.signal("CONT"));
    // A later one, which is told after it.
    let later = format!("{name}-later");
    let added = gateways[0]
        .command(&["credential", "add", &later, "--account", "acme", "--password-stdin"], "passw0rd-1-later");
    assert!(added.status.success(), "{added:?}");
    for gateway in gateways {
        gateway.log().wait_for(&["credential.add", &later, "command line"]);
        assert_eq!(lines(gateway, &["credential.edit", name, "command line"]), 1, "{name}");
    }
}

#[test]
fn it_is_told_whatever_else_the_log_holds() {
    let (database, backend) = (PostgresServer::shared().database(), Backend::hello());
    let gateways = [gateway(&database.url(), &backend), gateway(&database.url(), &backend)];
    gateways[0].account("email,api,web");
    add_credentials(&database, 600);
    told_once(&database, &gateways, "user0", "SELECT 1");
    // A change of more names than are kept.
    told_once(&database, &gateways, "user1", "UPDATE principal SET bits = 6 WHERE account_id IS NOT NULL");
    // More rows than are read at once.
    told_once(
        &database,
        &gateways,
        "user2",
        "WITH last AS (UPDATE counter SET number = number + 25000 RETURNING number, token) \
         INSERT INTO log (seq, token, names) SELECT n, CASE WHEN n = number THEN token ELSE n END, '{}' \
         FROM last, generate_series(number - 24999, number) AS n",
    );
    // Who comes later does not tell what was done before.
    let other = gateway(&database.url(), &backend);
    assert!(!other.log().text().contains("command line"), "{}", other.log().text());
}

/// Forwards connections to a server, and cuts each once it has committed a change.
fn cut_after_commit(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(server).unwrap();
            let mut answers = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let is_cut = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let cut = is_cut.clone();
            std::thread::spawn(move || {
                let mut bytes = vec![0; 64 * 1024];
                while let Ok(length @ 1..) = answers.0.read(&mut bytes) {
                    if cut.load(std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                    if answers.1.write_all(&bytes[..length]).is_err() {
                        break;
                    }
                }
                let _ = (answers.0.shutdown(Shutdown::Both), answers.1.shutdown(Shutdown::Both));
            });
            std::thread::spawn(move || {
                let (mut client, mut server, mut bytes) = (client, server, vec![0; 64 * 1024]);
                while let Ok(length @ 1..) = client.read(&mut bytes) {
                    let is_commit = bytes[..length].windows(15).any(|text| text == b"SET CONSTRAINTS");
                    is_cut.fetch_or(is_commit, std::sync::atomic::Ordering::SeqCst);
                    if server.write_all(&bytes[..length]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn it_is_told_of_a_change_whose_command_has_lost_its_connection() {
    let server = PostgresServer::shared();
    let (database, backend) = (server.database(), Backend::hello());
    let gateways = [gateway(&database.url(), &backend), gateway(&database.url(), &backend)];
    gateways[0].account("email,api,web");
    add_credentials(&database, 1);
    let cut = cut_after_commit(server.address());
    let through =
        directory(&database.url().replace(&server.address().to_string(), &cut.to_string()), &backend);
    let removal = ["credential", "remove", "user0", "--account", "acme"];
    let removed = command(&through.path().join("gatepost.toml"), &removal, "");
    assert_ne!(removed.status.code(), Some(0), "{removed:?}");
    assert!(String::from_utf8_lossy(&removed.stderr).contains("not confirmed"), "{removed:?}");
    assert_eq!(database.psql("SELECT count(*) FROM principal WHERE name = 'user0'"), "0");
    // Repeated by somebody with a connection that lasts.
    let repeated = gateways[0].command(&removal, "");
    assert_eq!(repeated.status.code(), Some(1), "{repeated:?}");
    for gateway in &gateways {
        assert_eq!(lines(gateway, &["credential.remove", "user0", "command line"]), 1);
    }
}
