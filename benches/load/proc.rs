//! Programs that are started here: their logs, their CPU time, and their end, whatever happens.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Units of `/proc/PID/stat`: the kernel shows all times in hundredths of a second, on every architecture.
const TICKS: f64 = 100.0;
/// How long a program may take until it listens.
const STARTING: Duration = Duration::from_secs(20);

/// CPU time of a process, all its threads together.
#[derive(Clone, Copy, Debug)]
pub struct CpuTime {
    /// Seconds in user space.
    pub user: f64,
    /// Seconds in the kernel.
    pub kernel: f64,
}

impl std::ops::Sub for CpuTime {
    type Output = CpuTime;

    fn sub(self, earlier: CpuTime) -> CpuTime {
        CpuTime { user: self.user - earlier.user, kernel: self.kernel - earlier.kernel }
    }
}

/// What the process with this id has used so far.
///
/// # Errors
/// Where it isn't there any more.
pub fn cpu_time(process: u32) -> Result<CpuTime> {
    let stat =
        std::fs::read_to_string(format!("/proc/{process}/stat")).context("it isn't running any more")?;
    // The second field is the name in parentheses and may hold anything; `utime` and `stime` are fields 14 and 15.
    let fields = stat.rsplit_once(')').context("an odd /proc/PID/stat")?.1;
    let mut fields =
        fields.split_ascii_whitespace().skip(11).map(|f| f.parse::<f64>().unwrap_or(0.0) / TICKS);
    let (user, kernel) = fields.next().zip(fields.next()).context("a short /proc/PID/stat")?;
    Ok(CpuTime { user, kernel })
}

/// All programs that were started. They die with it, and when this process is asked to end.
pub struct Children {
    logs: PathBuf,
    running: Arc<Mutex<Vec<Child>>>,
}

impl Children {
    /// Logs go to `scratch`, which is removed when this process is interrupted.
    ///
    /// # Errors
    /// Where the system gives no signal handlers.
    pub fn new(scratch: &Path) -> Result<Children> {
        let running = Arc::new(Mutex::new(Vec::new()));
        let children = Children { logs: scratch.to_owned(), running: running.clone() };
        let scratch = scratch.to_owned();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            use tokio::signal::unix::{SignalKind, signal};
            runtime.block_on(async {
                let (Ok(mut interrupt), Ok(mut terminate)) =
                    (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
                else {
                    return;
                };
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                kill_all(&running);
                let _ = std::fs::remove_dir_all(&scratch);
                std::process::exit(130);
            });
        })?;
        Ok(children)
    }

    /// Starts `command` and waits until it listens on `address`. Gives its process id.
    ///
    /// # Errors
    /// Where it can't be started, ends early, or doesn't listen in time.
    pub fn serve(&self, name: &str, command: &mut Command, address: SocketAddr) -> Result<u32> {
        let log = File::create(self.logs.join(format!("{name}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = self.spawn(command)?;
        let deadline = Instant::now() + STARTING;
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            if Instant::now() > deadline {
                bail!("{name} doesn't listen on {address}");
            }
            if self.has_ended(process) {
                bail!("{name} has ended");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// Runs `command` to its end.
    ///
    /// # Errors
    /// Where it can't be started.
    pub fn output(&self, command: &mut Command) -> Result<Output> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = self.spawn(command)?;
        // The pipes are read outside of the lock, so that an interruption can still kill it.
        let pipes = self.with(process, |child| (child.stdout.take(), child.stderr.take()));
        let (Some(mut stdout), Some(mut stderr)) = pipes.context("it ended at once")? else {
            bail!("it has no output");
        };
        let mut output = (Vec::new(), Vec::new());
        std::io::Read::read_to_end(&mut stdout, &mut output.0)?;
        std::io::Read::read_to_end(&mut stderr, &mut output.1)?;
        let status = self.with(process, |child| child.wait()).context("it is gone")??;
        lock(&self.running).retain(|child| child.id() != process);
        Ok(Output { status, stdout: output.0, stderr: output.1 })
    }

    /// Ends them all and waits for it.
    pub fn kill_all(&self) {
        kill_all(&self.running);
    }

    fn spawn(&self, command: &mut Command) -> Result<u32> {
        let mut running = lock(&self.running);
        let child = command.spawn().with_context(|| format!("can't start {:?}", command.get_program()))?;
        let process = child.id();
        running.push(child);
        Ok(process)
    }

    fn has_ended(&self, process: u32) -> bool {
        self.with(process, |child| child.try_wait()).is_none_or(|state| !matches!(state, Ok(None)))
    }

    fn with<T>(&self, process: u32, what: impl FnOnce(&mut Child) -> T) -> Option<T> {
        lock(&self.running).iter_mut().find(|child| child.id() == process).map(what)
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.kill_all();
    }
}

fn kill_all(running: &Mutex<Vec<Child>>) {
    for mut child in lock(running).drain(..) {
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Runs something that starts programs, with a folder for their files. Where it fails, the ends of their logs are shown.
///
/// # Errors
/// What `run` gives, or where there is no such folder.
pub fn in_scratch<T>(prefix: &str, run: impl FnOnce(&Path, &Children) -> Result<T>) -> Result<T> {
    let scratch = tempfile::Builder::new().prefix(prefix).tempdir()?;
    let children = Children::new(scratch.path())?;
    let result = run(scratch.path(), &children);
    if result.is_err() {
        tell_logs(scratch.path());
    }
    children.kill_all();
    result
}

/// nginx, where Debian puts it: only root looks there.
pub fn nginx() -> &'static Path {
    let usual = Path::new("/usr/sbin/nginx");
    if usual.exists() { usual } else { Path::new("nginx") }
}

/// The version of nginx, for the report.
pub fn nginx_version() -> String {
    let output = Command::new(nginx()).arg("-v").output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stderr).into_owned()).unwrap_or_default();
    text.trim().rsplit('/').next().unwrap_or_default().to_owned()
}

/// What the programs had to say before it went wrong.
fn tell_logs(scratch: &Path) {
    for log in logs(scratch) {
        if let Ok(text) = std::fs::read_to_string(&log)
            && !text.trim().is_empty()
        {
            let lines: Vec<&str> = text.lines().collect();
            let last = lines.len().saturating_sub(10);
            eprintln!("--- {}\n{}", log.display(), lines[last..].join("\n"));
        }
    }
}

/// The logs in `scratch` and one level below.
fn logs(scratch: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let all = list(scratch).flat_map(|path| if path.is_dir() { list(&path).collect() } else { vec![path] });
    all.filter(|path| path.extension().is_some_and(|e| e == "log")).collect()
}

/// An address of loopback that nobody listens on.
///
/// # Errors
/// Where there is none.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
