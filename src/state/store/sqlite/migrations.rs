//! The migrations of SQLite.

use std::sync::LazyLock;

use sqlx::migrate::Migrator;

use crate::state::store::migrations::{ListedMigration, migrator};

/// Brings the schema of any released version up to date.
pub(super) static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| migrator(LISTED));

const LISTED: &[ListedMigration] = &[
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
    fn every_file_is_listed_and_released_ones_stay_as_they_are() {
        let checksums = ["d2e6dc92", "37c66119", "818a21ae", "54351c58"];
        crate::state::store::migrations::expect_listed("sqlite", LISTED, &checksums);
    }
}
