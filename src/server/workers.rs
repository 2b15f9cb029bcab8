//! The worker threads, from their start to their end.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use pingora_core::listeners::tls::Acceptor;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::edge::http::server::HttpServer;
use crate::edge::http::service::HttpService;
use crate::edge::net::in_flight::InFlight;
use crate::edge::net::listener::{self, AdmissionLimits};
use crate::edge::net::refused_connections::RefusedConnections;
use crate::edge::net::worker::{self, Work};
use crate::edge::smtp::server::SmtpServer;
use crate::edge::smtp::service::{ServedListener, SmtpService};
use crate::edge::smtp::worker::SmtpWorker;

/// The interval at which a worker closes idle connections to backends that were kept for too long.
const SWEEP: Duration = Duration::from_secs(5);

/// The time that a mail client has to read the reply to a message that a stop cut off.
const FAREWELL: Duration = Duration::from_secs(1);

/// A socket that every worker accepts from.
pub struct Listening {
    /// The socket.
    pub socket: TcpListener,
    /// The acceptor of TLS handshakes, if the socket has TLS.
    pub tls: Option<Arc<Acceptor>>,
    /// The entry it belongs to.
    pub site: Arc<HttpService>,
    /// The conditions for connections of the entry.
    pub limits: AdmissionLimits,
}

/// A socket of the SMTP entry.
pub struct MailListening {
    /// The socket.
    pub socket: TcpListener,
    /// The listener that it belongs to.
    pub listener: Arc<ServedListener>,
    /// The entry.
    pub entry: Arc<SmtpService>,
    /// The conditions for connections of the entry.
    pub limits: AdmissionLimits,
}

/// All workers.
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    requests: Arc<InFlight>,
    cut_off: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts `count` workers on the sockets.
    ///
    /// # Errors
    /// The system refuses a thread, or a second handle of a socket.
    pub fn start(
        count: usize,
        listening: &[Listening],
        mail: &[MailListening],
        sites: &[Arc<HttpService>],
        stop: &watch::Receiver<bool>,
        deadline: Duration,
    ) -> std::io::Result<Workers> {
        let requests = InFlight::new(usize::MAX);
        let multiplexed = InFlight::new(usize::MAX);
        let cut_off = Arc::new(AtomicUsize::new(0));
        let mut works: Vec<Work> = Vec::new();
        for worker in 0..count {
            let mut accepting = Vec::new();
            for listening in listening {
                let server = HttpServer {
                    site: listening.site.clone(),
                    worker,
                    requests: requests.clone(),
                    multiplexed: multiplexed.clone(),
                    stop: stop.clone(),
                };
                let site = listening.site.clone();
                let refusals = RefusedConnections::new(site.entry, &site.metrics, &site.refusals, &site.ids);
                let count = move |address| site.count_connection(address);
                let serve = move |connection| server.clone().serve(connection);
                let (socket, tls) = (listening.socket.try_clone()?, listening.tls.clone());
                let limits = listening.limits.clone();
                accepting.push(listener::accept(socket, tls, limits, count, refusals, stop.clone(), serve));
            }
            let mut accepting_mail = Vec::new();
            for listening in mail {
                let mail_worker = SmtpWorker {
                    entry: listening.entry.clone(),
                    index: worker,
                    under_way: requests.clone(),
                    stop: stop.clone(),
                };
                let address = listening.socket.local_addr()?;
                let server =
                    SmtpServer { worker: mail_worker, listener: listening.listener.clone(), address };
                let full = server.clone();
                let refuse = move |stream: &TcpStream, source, limit| full.refuse(stream, source, limit);
                // On the heap, because the future of a task is moved a few times.
                let serve =
                    move |stream, peer, entered| Box::pin(server.clone().serve(stream, peer, entered));
                let socket = listening.socket.try_clone()?;
                accepting_mail.push(listener::accept_streams(
                    socket,
                    listening.limits.clone(),
                    stop.clone(),
                    refuse,
                    serve,
                ));
            }
            let entries: Vec<Arc<SmtpService>> = mail.iter().map(|mail| mail.entry.clone()).collect();
            let (sites, requests, cut_off) = (sites.to_vec(), requests.clone(), cut_off.clone());
            let multiplexed = multiplexed.clone();
            let mut stop = stop.clone();
            works.push(Box::pin(async move {
                for accept in accepting {
                    tokio::spawn(accept);
                }
                for accept in accepting_mail {
                    tokio::spawn(accept);
                }
                tokio::spawn(sweep(sites, worker));
                let _ = stop.wait_for(|stop| *stop).await;
                let emptied = async {
                    requests.emptied().await;
                    // A request over HTTP/2 ends when its response is queued, and not when the response has been sent.
                    multiplexed.emptied().await;
                    // Idle sessions say goodbye.
                    for entry in &entries {
                        entry.sessions.emptied().await;
                    }
                };
                if tokio::time::timeout(deadline, emptied).await.is_err() {
                    // Before the runtime of this worker is dropped, which ends its tasks and their counts.
                    cut_off.fetch_max(requests.count(), Ordering::Relaxed);
                    let told = async {
                        for entry in &entries {
                            entry.cut_off.send_replace(true);
                            entry.sessions.emptied().await;
                        }
                    };
                    let _ = tokio::time::timeout(FAREWELL, told).await;
                }
            }));
        }
        Ok(Workers { threads: worker::start(works)?, requests, cut_off })
    }

    /// The number of workers.
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// The number of open requests and sessions.
    pub fn requests(&self) -> usize {
        self.requests.count()
    }

    /// Waits until every worker has ended. Returns the number of requests that were cut off.
    pub async fn join(self) -> usize {
        let threads = self.threads;
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // The panic of a worker is logged.
                let _ = thread.join();
            }
        });
        let _ = joined.await;
        self.cut_off.load(Ordering::Relaxed)
    }
}

async fn sweep(sites: Vec<Arc<HttpService>>, worker: usize) {
    let mut tick = tokio::time::interval(SWEEP);
    loop {
        tick.tick().await;
        for site in &sites {
            site.plan.load().sweep(worker);
        }
    }
}
