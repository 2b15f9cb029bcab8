//! Migrations of the schema, which are part of the binary. They are listed by hand: the macro of sqlx that lists a folder compiles SQLite a
//! second time, for the compiler's own use.

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// The number, the description and the text of a migration. Its file is named by the first two.
pub(super) type ListedMigration = (i64, &'static str, &'static str);

/// The migrator of a list.
pub(super) fn migrator(listed: &[ListedMigration]) -> Migrator {
    let migrations = listed.iter().map(|(version, description, text)| {
        let (description, text) = ((*description).into(), SqlStr::from_static(text));
        Migration::new(*version, description, MigrationType::Simple, text, false)
    });
    Migrator::with_migrations(migrations.collect())
}

/// Checks that every file in the folder `migrations` of a database is listed. Released files, the first ones, must not be changed: their
/// checksums begin with these.
#[cfg(test)]
pub(super) fn expect_listed(database: &str, listed: &[ListedMigration], checksums: &[&str]) {
    let folder = format!("{}/src/state/store/{database}/migrations", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut files: Vec<String> = files.map(|name| name.into_string().unwrap()).collect();
    files.sort();
    let named = |(version, description, _): &ListedMigration| {
        format!("{version:04}_{}.sql", description.replace(' ', "_"))
    };
    assert_eq!(files, listed.iter().map(named).collect::<Vec<_>>());
    let begin = |migration: &Migration| -> String {
        migration.checksum[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    };
    assert_eq!(migrator(listed).iter().take(checksums.len()).map(begin).collect::<Vec<_>>(), checksums);
}
