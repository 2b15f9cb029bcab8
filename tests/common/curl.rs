//! curl as operators and developers run it.

use std::process::{Command, Stdio};

/// A response as curl got it.
#[derive(Debug)]
pub struct Fetched {
    pub status: u16,
    /// `1.1` or `2`.
    pub version: String,
    pub body: Vec<u8>,
    /// curl's exit code; 0 where the answer is complete and well formed.
    pub exit: i32,
}

impl Fetched {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Runs curl with these arguments; a status of 0 is a connection that ended without an answer.
pub fn curl<S: AsRef<std::ffi::OsStr>>(arguments: &[S]) -> Fetched {
    let output = Command::new("curl")
        // Nothing of the machine's own: no configuration, no proxy.
        .args(["--disable", "--silent", "--show-error", "--noproxy", "*", "--max-time", "60"])
        .args(["--write-out", "\n%{http_code} %{http_version}"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("curl has to be installed");
    let end = output.stdout.iter().rposition(|b| *b == b'\n').expect("curl wrote no status");
    let last = String::from_utf8_lossy(&output.stdout[end + 1..]).into_owned();
    let (status, version) = last.split_once(' ').unwrap();
    let body = output.stdout[..end].to_vec();
    Fetched {
        status: status.parse().unwrap(),
        version: version.to_owned(),
        body,
        exit: output.status.code().unwrap(),
    }
}
