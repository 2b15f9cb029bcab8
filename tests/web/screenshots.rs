//! The pictures of the README, taken from the demo: `make screenshots`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;
use sqlx::{ConnectOptions, Connection};

use crate::common::servers::script;
use crate::common::{PATIENCE, binary, installed};

/// A demo; killed when dropped.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "writes docs/images: `make screenshots`"]
fn screenshots() {
    let directory = tempfile::tempdir().unwrap();
    let mut demo = Command::new(binary());
    demo.arg("demo").arg("--directory").arg(directory.path());
    for listener in ["--api", "--web", "--console", "--smtp", "--ops"] {
        demo.args([listener, "127.0.0.1:0"]);
    }
    let mut demo = Demo(demo.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut last_word = |beginning: &str| {
        let line = lines.find(|line| line.starts_with(beginning)).unwrap();
        line.split_whitespace().last().unwrap().trim_end_matches('/').to_owned()
    };
    let (console, web, holder) =
        (last_word("console, "), last_word("dashboard, "), last_word("account holder "));
    std::thread::spawn(move || lines.for_each(drop));
    grow_old(&directory.path().join("gatepost.db"));
    let into = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    std::fs::create_dir_all(&into).unwrap();
    let login: Vec<&str> = holder.splitn(2, ':').collect();
    let asked = json!({"console": console, "web": web, "login": login, "into": into});
    let status = Command::new("node")
        .arg(script("web").join("screenshots.js"))
        .arg(asked.to_string())
        .env("CLIENT", installed("playwright/node_modules/playwright-core"))
        .status()
        .unwrap();
    assert!(status.success());
    for entry in std::fs::read_dir(into).unwrap() {
        let entry = entry.unwrap();
        let size = entry.metadata().unwrap().len();
        assert!(size < 150_000, "{}: {size} bytes", entry.path().display());
    }
}

/// Gives the credentials of the example an age.
fn grow_old(database: &Path) {
    const OLD: &str = "UPDATE principal SET created_at = unixepoch() - 400 * 86400 + id * 86400 * 4, \
                       updated_at = unixepoch() - 400 * 86400 + id * 86400 * 4 + (id % 4 = 0) * 3600 * id * 20 \
                       WHERE account_id IS NOT NULL";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
        let mut connection = options.busy_timeout(PATIENCE).connect().await.unwrap();
        sqlx::query(OLD).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}
