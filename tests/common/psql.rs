//! psql, as a script of an operator uses it, and as a session that an operator leaves open.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::postgres::program;

/// Runs a script by psql at that URL, up to its first error. Returns the rows that it printed, their columns separated by `|`.
pub fn psql_at(url: &str, script: &str) -> Result<String, String> {
    let mut command = Command::new(program("psql"));
    // Without the user's own settings, for a machine to read.
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url]).env("PGCONNECT_TIMEOUT", "10");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(script.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// An open session of psql. It continues after an error, like a session of a human.
pub struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    backend: i32,
}

impl Session {
    /// Connects.
    pub fn open(url: &str) -> Session {
        // Errors come with the rows, in the order in which they happen.
        let mut command = Command::new("sh");
        command.args(["-c", "exec stdbuf -oL \"$0\" -X -q -A -t -v VERBOSITY=terse \"$1\" 2>&1"]);
        command.arg(program("psql")).arg(url).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut session = Session { child, input, output, backend: 0 };
        session.backend = session.run("SELECT pg_backend_pid();").parse().expect("it does not connect");
        session
    }

    /// The process of the server that serves this session.
    pub fn backend(&self) -> i32 {
        self.backend
    }

    /// Runs statements, and returns what they print: rows, errors, and notifications that have come.
    pub fn run(&mut self, script: &str) -> String {
        self.start(script);
        self.finish()
    }

    /// Starts statements that may have to wait.
    pub fn start(&mut self, script: &str) {
        writeln!(self.input, "{script}\n\\echo {MARK}").unwrap();
        self.input.flush().unwrap();
    }

    /// Waits for the end of the statements of [`Session::start`], and returns what they printed.
    pub fn finish(&mut self) -> String {
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            let length = self.output.read_line(&mut line).unwrap();
            if length == 0 || line.trim_end() == MARK {
                return printed.trim_end().to_owned();
            }
            printed += &line;
        }
    }
}

/// The line after all that statements print.
const MARK: &str = "--- end of statements ---";

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
