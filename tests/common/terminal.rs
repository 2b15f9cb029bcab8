//! The program on a terminal, as a person runs it.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use super::{PATIENCE, binary};

/// A terminal with the program on it; script(1), which every Debian has, makes it.
pub struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: Arc<Screen>,
    reader: Option<JoinHandle<()>>,
    /// The number of bytes of the screen that were waited for.
    seen: usize,
}

#[derive(Default)]
struct Screen {
    shown: Mutex<String>,
    more: Condvar,
}

impl Terminal {
    /// Runs the program with these arguments.
    pub fn run(arguments: &[&str]) -> Terminal {
        let quoted: Vec<String> = arguments.iter().map(|argument| format!("'{argument}'")).collect();
        let line = format!("exec '{}' {}", binary(), quoted.join(" "));
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (keyboard, mut output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let screen = Arc::new(Screen::default());
        let writing = screen.clone();
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut piece) {
                writing.shown.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..count]));
                writing.more.notify_all();
            }
        });
        Terminal { child, keyboard, screen, reader: Some(reader), seen: 0 }
    }

    /// Waits until this is shown, behind what was waited for before.
    pub fn wait_for(&mut self, text: &str) {
        self.wait(|shown| shown.find(text).map(|at| (at + text.len(), ())));
    }

    /// Waits for a whole line that holds this word.
    pub fn line_with(&mut self, word: &str) -> String {
        self.wait(|shown| {
            let end = shown.rfind('\n')? + 1;
            let line = shown[..end].lines().find(|line| line.contains(word))?;
            Some((end, line.to_owned()))
        })
    }

    /// Types these keys.
    pub fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the program has ended; its exit status, and all that was shown.
    pub fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        self.reader.take().map(JoinHandle::join).transpose().unwrap();
        (code, self.screen.shown.lock().unwrap().clone())
    }

    fn wait<T>(&mut self, found: impl Fn(&str) -> Option<(usize, T)>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut shown = self.screen.shown.lock().unwrap();
        loop {
            if let Some((end, found)) = found(&shown[self.seen..]) {
                self.seen += end;
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it was never shown; what was:\n{shown}");
            shown = self.screen.more.wait_timeout(shown, left).unwrap().0;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // With the terminal gone, the program gets SIGHUP; it is killed where it takes that for something else.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
