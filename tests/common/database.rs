//! Locks, changes and damage of a gateway's database by other processes.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::Gateway;

/// The file of a gateway.
pub fn file_of(gateway: &Gateway) -> PathBuf {
    gateway.directory.path().join("gatepost.db")
}

/// sqlite3 of another process: runs a script with a database open, as `db`, and tells when it got to `say()`; goes on and ends
/// when its input ends.
pub struct Other(Child);

impl Other {
    pub fn run(database: &Path, script: &str) -> Other {
        let python = format!(
            "import sqlite3, sys\ndef say():\n    print('said', flush=True)\n    sys.stdin.read()\n\
             db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=10)\n{script}\n"
        );
        let mut command = Command::new("python3");
        command.args(["-c", &python]).arg(database).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python3 has to be installed");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "said\n");
        Other(child)
    }

    pub fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

/// A database that can't be read until it is repaired.
pub struct Damage {
    file: PathBuf,
    /// The content before the damage.
    pub whole: Vec<u8>,
}

impl Damage {
    /// To a gateway's database, in which nobody may be writing. The gateway needs `read_connections = 1`, so that what it
    /// remembers of the file is known.
    pub fn of(gateway: &Gateway) -> Damage {
        let file = file_of(gateway);
        // All of it in the one file, and nothing that the gateway remembers of it still stands.
        let checkpoint = "db.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchall()\nsay()";
        Other::run(&file, &format!("db.execute('PRAGMA user_version = 7')\n{checkpoint}")).end();
        let whole = fs::read(&file).unwrap();
        overwrite(&file, &vec![0xa5; whole.len()]);
        Damage { file, whole }
    }

    pub fn repair(self) {
        overwrite(&self.file, &self.whole);
        // And written to: SQLite keeps even damaged pages in memory until somebody has written.
        Other::run(&self.file, "db.execute('PRAGMA user_version = 8')\nsay()").end();
    }
}

/// Writes in place, so that processes that have the file open see it.
fn overwrite(file: &Path, bytes: &[u8]) {
    fs::OpenOptions::new().write(true).open(file).unwrap().write_all(bytes).unwrap();
}
