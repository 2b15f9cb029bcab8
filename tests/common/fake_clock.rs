//! A wall clock that a test sets for the processes that it starts. Their monotonic clocks are the real ones.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A clock, in a file that libfaketime reads for each look at the time.
pub struct FakeClock {
    directory: tempfile::TempDir,
}

impl FakeClock {
    /// A clock that is right.
    pub fn new() -> FakeClock {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let clock = FakeClock { directory };
        clock.set("+0");
        clock
    }

    /// Sets how far it is from the right time, such as `+10m`.
    pub fn set(&self, offset: &str) {
        // At once, so that nobody reads an empty file.
        let new = self.directory.path().join("new");
        std::fs::write(&new, offset).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    /// The variables by which a process has this clock.
    pub fn environment(&self) -> Vec<(String, String)> {
        let [library, file] = [library(), self.file()].map(|path| path.display().to_string());
        let values = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ];
        values.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("offset")
    }
}

fn library() -> PathBuf {
    let machines = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let mut libraries = machines.map(|machine| machine.join("faketime/libfaketime.so.1"));
    libraries.find(|library| library.exists()).expect("there is no libfaketime; `make test` installs it")
}
