//! The views for operators with psql, and roles that may use nothing else.

use super::{CHANGES, PRINCIPALS, filled, migrate_at};
use crate::common::postgres::PostgresServer;
use crate::common::psql::psql_at;

#[test]
fn they_show_accounts_and_credentials_without_hashes() {
    let database = filled();
    database.psql("UPDATE principal SET active = 0 WHERE id = 4");
    let accounts = "SELECT username, email, api, web, active, credentials, extract(epoch FROM created_at) FROM accounts ORDER BY id";
    assert_eq!(database.psql(accounts), "Acme|t|t|t|t|2|0.000000\nother|t|t|t|f|0|0.000000");
    let credentials = "SELECT username, account, email, api, web FROM credentials ORDER BY id";
    assert_eq!(database.psql(credentials), "acme-Mail|Acme|t|f|f\nacme-api|Acme|f|t|f");
    let columns = "SELECT string_agg(column_name, ' ' ORDER BY table_name, ordinal_position) FROM information_schema.columns
                   WHERE table_name IN ('accounts', 'credentials')";
    assert_eq!(
        database.psql(columns),
        "username email api web active credentials created_at updated_at id \
         username account email api web created_at updated_at id"
    );
}

#[test]
fn changes_through_them_are_in_the_log() {
    let database = filled();
    for (script, id, row, names) in [
        (
            "UPDATE credentials SET email = false, web = true WHERE username = 'acme-Mail'",
            2,
            "acme-Mail|4|1",
            "{acme-mail}",
        ),
        (
            "UPDATE credentials SET username = 'acme-news' WHERE username = 'acme-Mail'",
            2,
            "acme-news|4|1",
            "{acme-mail,acme-news}",
        ),
        ("UPDATE accounts SET active = false WHERE username = 'Acme'", 1, "Acme|7|0", "{acme}"),
        ("UPDATE accounts SET active = true, api = false WHERE username = 'Acme'", 1, "Acme|5|1", "{acme}"),
        ("UPDATE credentials SET web = false", 2, "acme-news|0|1", "{acme-news}"),
        ("DELETE FROM credentials WHERE username = 'acme-news'", 2, "", "{acme-news}"),
        ("DELETE FROM accounts WHERE username = 'Acme'", 3, "", "{acme}"),
    ] {
        database.psql(script);
        let found = database.psql(&format!("SELECT name, bits, active FROM principal WHERE id = {id}"));
        assert_eq!(found, row, "{script}");
        let logged = database.psql("SELECT names FROM log ORDER BY seq DESC LIMIT 1");
        assert_eq!(logged, names, "{script}");
    }
}

#[test]
fn a_removed_credential_is_counted_and_a_changed_row_has_its_time() {
    let database = filled();
    let row = "SELECT credentials, updated_at > 0 FROM principal WHERE id = 1";
    assert_eq!(database.psql(row), "2|f");
    database.psql("DELETE FROM credentials WHERE username = 'acme-Mail'");
    assert_eq!(database.psql(row), "1|f");
    database.psql("UPDATE accounts SET web = false WHERE username = 'Acme'");
    assert_eq!(database.psql(row), "1|t");
}

#[test]
fn what_cannot_be_changed_through_them_is_refused() {
    let database = filled();
    for (script, reason) in [
        ("UPDATE credentials SET account = 'other'", "only the username, the permissions, and active"),
        ("UPDATE accounts SET credentials = 9", "only the username, the permissions, and active"),
        (
            "INSERT INTO credentials (username) VALUES ('new')",
            "view credentials takes no new rows: a password has to be hashed",
        ),
        ("UPDATE accounts SET username = 'acme-api' WHERE username = 'other'", "principal_name_taken"),
        ("UPDATE credentials SET email = NULL", "violates not-null constraint"),
    ] {
        let refused = database.try_psql(script).unwrap_err();
        assert!(refused.contains(reason), "{script}: {refused}");
    }
    assert_eq!(database.psql(CHANGES), "");
}

#[test]
fn simultaneous_edits_both_remain() {
    let database = filled();
    let (mut one, mut other) = (database.session(), database.session());
    one.run("BEGIN; UPDATE credentials SET email = false WHERE username = 'acme-Mail';");
    // Waits for the row, which it has seen with the permission.
    other.start("UPDATE credentials SET web = true WHERE username = 'acme-Mail';");
    database.wait_until(&format!("cardinality(pg_blocking_pids({})) > 0", other.backend()));
    one.run("COMMIT;");
    assert_eq!(other.finish(), "");
    assert_eq!(database.psql("SELECT bits FROM principal WHERE id = 2"), "4");
}

#[test]
fn a_role_needs_no_rights_to_the_tables() {
    let database = filled();
    let role = format!("operator_of_{}", database.name);
    database.psql(&format!(
        "CREATE ROLE {role}; GRANT SELECT ON accounts, credentials TO {role}; GRANT UPDATE, DELETE ON credentials TO {role}"
    ));
    let as_role = |script: &str| database.try_psql(&format!("SET ROLE {role};\n{script}"));
    assert_eq!(as_role("SELECT count(*) FROM accounts, credentials").unwrap(), "4");
    for table in ["principal", "log", "node", "counter", "secret"] {
        let refused = as_role(&format!("SELECT * FROM {table}")).unwrap_err();
        assert!(refused.contains("permission denied for table"), "{refused}");
    }
    let refused = as_role("DELETE FROM accounts").unwrap_err();
    assert!(refused.contains("permission denied for view accounts"), "{refused}");
    let refused = as_role("SELECT gatepost_note('{acme}')").unwrap_err();
    assert!(refused.contains("permission denied"), "{refused}");
    // The functions of the triggers, which run with the owner's rights, are not for triggers of others.
    let view = "CREATE TEMP VIEW v AS SELECT 1 AS id; \
                CREATE TRIGGER t INSTEAD OF DELETE ON v FOR EACH ROW EXECUTE FUNCTION gatepost_write_view()";
    let refused = as_role(view).unwrap_err();
    assert!(refused.contains("permission denied for function gatepost_write_view"), "{refused}");
    as_role("DELETE FROM credentials WHERE username = 'acme-Mail'").unwrap();
    assert_eq!(database.psql(CHANGES), "2|{acme-mail}");
    database.psql("UPDATE lease SET lease_ms = 1, longest_ms = 1");
    as_role("CALL gatepost_settle()").unwrap();
    // A role that may write the table need not be able to write the log.
    database.psql(&format!("GRANT SELECT, UPDATE ON principal TO {role}"));
    as_role("UPDATE principal SET bits = 0 WHERE id = 3").unwrap();
    assert_eq!(database.psql(CHANGES), "2|{acme-mail}\n3|{acme-api}");
    database.psql(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
fn the_owner_needs_no_rights_of_a_superuser() {
    let database = PostgresServer::shared().database();
    let owner = format!("owner_of_{}", database.name);
    database.psql(&format!("CREATE ROLE {owner} LOGIN; ALTER DATABASE {} OWNER TO {owner}", database.name));
    let url = database.url().replace("postgres@", &format!("{owner}@"));
    migrate_at(&url, "public");
    psql_at(&url, PRINCIPALS).unwrap();
    psql_at(&url, "UPDATE credentials SET email = false; DELETE FROM accounts WHERE username = 'other'")
        .unwrap();
    psql_at(&url, "INSERT INTO node SELECT 1, gatepost_era(), 1, number, 1, '0' FROM counter").unwrap();
    psql_at(&url, "CALL gatepost_settle()").unwrap();
    assert_eq!(psql_at(&url, CHANGES).unwrap(), "2|{acme-mail}\n3|{other}");
    database
        .psql(&format!("REASSIGN OWNED BY {owner} TO postgres; DROP OWNED BY {owner}; DROP ROLE {owner}"));
}

#[test]
fn the_documented_statements_do_what_they_say() {
    let page = include_str!("../../../docs/fleet.md");
    let statements = page.split("```sql").nth(1).and_then(|block| block.split("```").next()).unwrap();
    let database = filled();
    database.psql(
        "UPDATE lease SET lease_ms = 1, longest_ms = 1; UPDATE principal SET name = 'joe' WHERE id = 2",
    );
    database.psql(statements);
    assert_eq!(database.psql("SELECT string_agg(username, ' ') FROM credentials"), "acme-api");
    assert_eq!(database.psql("SELECT active FROM accounts WHERE username = 'Acme'"), "t");
    // As the names are stored, or in lower case.
    database.psql(&statements.replace("username", "lower(username)"));
    assert_eq!(database.psql("SELECT active FROM accounts WHERE username = 'Acme'"), "f");
}
