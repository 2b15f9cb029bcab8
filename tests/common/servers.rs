//! Backends of other languages, each a process of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A process with backends of another language; ends with the test.
pub struct Server {
    child: Child,
    pub ports: Vec<u16>,
}

impl Server {
    /// Starts it and reads that many ports, each the last number of a line of its output.
    pub fn start(command: &mut Command, count: usize) -> Server {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; `make test` installs it"));
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (sender, receiver) = std::sync::mpsc::channel();
        for lines in
            [Box::new(BufReader::new(stdout)) as Box<dyn BufRead + Send>, Box::new(BufReader::new(stderr))]
        {
            let sender = sender.clone();
            std::thread::spawn(move || {
                lines.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)))
            });
        }
        drop(sender);
        let mut said = Vec::new();
        let mut ports = Vec::new();
        while ports.len() < count {
            let line =
                receiver.recv_timeout(super::PATIENCE).unwrap_or_else(|_| panic!("{command:?}: {said:?}"));
            let digits = line.trim_end_matches(|c: char| !c.is_ascii_digit());
            ports.extend(
                digits.rsplit(|c: char| !c.is_ascii_digit()).next().and_then(|port| port.parse::<u16>().ok()),
            );
            said.push(line);
        }
        // What it says later is read and dropped, so that it never waits for a reader.
        std::thread::spawn(move || receiver.into_iter().for_each(drop));
        Server { child, ports }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file of tests/clients.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}
