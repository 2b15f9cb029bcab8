//! Accounts, credentials and empty databases, made by the code of the command line without a process for each.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::LazyLock;

use gatepost::cli::services::Services;
use gatepost::config::{Config, StoreSettings, StoreUrl};
use gatepost::domain::PermissionEdit;
use gatepost::service::Origin;
use gatepost::service::credentials::Addition;
use gatepost::state::store::Store;

/// The bytes of a database without accounts, with the current schema.
static EMPTY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gatepost.db");
    let settings = StoreSettings { url: StoreUrl::Sqlite(file.clone()), ..StoreSettings::default() };
    block_on(async || Store::open(&settings).await.unwrap().close().await);
    std::fs::read(file).unwrap()
});

/// Creates the database of a gateway that has none yet.
pub fn create_database(directory: &Path) {
    let file = directory.join("gatepost.db");
    let created = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    if let Ok(mut file) = created {
        file.write_all(&EMPTY).unwrap();
    }
}

/// Adds an account with these rights, a comma-separated list. A running gateway learns of it before this returns.
pub fn add_account(config: &Path, name: &str, password: &str, rights: &str) {
    let config = Config::load(config).unwrap();
    block_on(async || {
        let services = Services::open(&config).await.unwrap();
        services.accounts.add(name, password.as_bytes(), rights.parse().unwrap()).await.unwrap();
        services.close().await;
    });
}

/// Adds a credential with these permissions to an account.
pub fn add_credential(config: &Path, account: &str, name: &str, password: &str, permissions: &str) {
    let config = Config::load(config).unwrap();
    block_on(async || {
        let services = Services::open(&config).await.unwrap();
        let operator = services.credentials.operator(account, Origin::CommandLine).await.unwrap();
        let permissions = PermissionEdit::exactly(permissions.parse().unwrap());
        let password = password.as_bytes();
        let addition = Addition { username: name, password, permissions, ..Addition::default() };
        services.credentials.add(&operator, addition).await.unwrap();
        services.close().await;
    });
}

/// Adds so many credentials to an account: `prefix-001` and so on.
pub fn fill(config: &Path, account: &str, prefix: &str, count: u64) {
    let config = Config::load(config).unwrap();
    block_on(async || {
        let services = Services::open(&config).await.unwrap();
        let operator = services.credentials.operator(account, Origin::CommandLine).await.unwrap();
        for number in 1..=count {
            let permissions = PermissionEdit::exactly(
                ["email", "api,web", "email,api,web"][number as usize % 3].parse().unwrap(),
            );
            let (name, password) = (format!("{prefix}-{number:03}"), format!("many-{number}-of-these"));
            let (username, password) = (name.as_str(), password.as_bytes());
            let note = if number % 2 == 0 { "Of a test" } else { "" };
            let addition = Addition { username, password, permissions, note };
            services.credentials.add(&operator, addition).await.unwrap();
        }
        services.close().await;
    });
}

/// On a thread of its own, since the test may run in a runtime.
fn block_on(act: impl AsyncFnOnce() + Send) {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(act());
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap());
}
