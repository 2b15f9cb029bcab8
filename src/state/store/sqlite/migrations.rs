//! The migrations in the binary. They are listed by hand: the macro of sqlx that lists a folder compiles SQLite a second
//! time, for the compiler's own use.

use std::sync::LazyLock;

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Brings the schema of any released version up to date.
pub(super) static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let migrations = LISTED.iter().map(|(version, description, text)| {
        let (description, text) = ((*description).into(), SqlStr::from_static(text));
        Migration::new(*version, description, MigrationType::Simple, text, false)
    });
    Migrator::with_migrations(migrations.collect())
});

/// The number, the description and the text of each migration. Its file is named by the first two.
const LISTED: [(i64, &str, &str); 6] = [
    (1, "principal", include_str!("migrations/0001_principal.sql")),
    (2, "principal cost", include_str!("migrations/0002_principal_cost.sql")),
    (3, "principal use", include_str!("migrations/0003_principal_use.sql")),
    (4, "reserved", include_str!("migrations/0004_reserved.sql")),
    (5, "session", include_str!("migrations/0005_session.sql")),
    (6, "credential list", include_str!("migrations/0006_credential_list.sql")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_listed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/state/store/sqlite/migrations");
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut files: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
        files.sort();
        let listed = LISTED
            .map(|(version, description, _)| format!("{version:04}_{}.sql", description.replace(' ', "_")));
        assert_eq!(files, listed);
    }

    #[test]
    fn released_migrations_stay_as_they_are() {
        let released = ["d2e6dc92", "37c66119", "818a21ae", "54351c58"];
        let checksums = MIGRATIONS.iter().take(released.len()).map(|migration| {
            migration.checksum[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        });
        assert_eq!(checksums.collect::<Vec<_>>(), released);
    }
}
