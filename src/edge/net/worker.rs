//! Worker threads. Each has a runtime of its own, accepts from every listener and keeps its connections, so that a request
//! meets no lock and no other core.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::thread::JoinHandle;

use tokio::runtime::Builder;

/// The future that a worker runs to its end.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts one thread for each of `works`.
///
/// # Errors
/// The system refuses a thread or an event queue.
pub fn start(works: Vec<Work>) -> io::Result<Vec<JoinHandle<()>>> {
    works.into_iter().enumerate().map(|(number, work)| spawn(number, work)).collect()
}

fn spawn(number: usize, work: Work) -> io::Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
    std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
        runtime.block_on(work);
        // The lookup of a name cannot be cancelled and may take long. It is not waited for.
        runtime.shutdown_background();
    })
}
