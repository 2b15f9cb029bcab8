//! The bare proxy: pingora-proxy as its documentation shows it, one thread, no work stealing.

use std::net::SocketAddr;

use anyhow::Result;
use async_trait::async_trait;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct Forward {
    backend: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut (),
    ) -> pingora_error::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.backend, false, String::new())))
    }
}

/// Proxies from `listen` to `backend` until the process ends, which is with the one that started it.
///
/// # Errors
/// Where `backend` isn't an address.
pub fn serve(listen: &str, backend: &str) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let configuration = ServerConf { threads: 1, work_stealing: false, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, configuration);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Forward { backend: backend.parse()? });
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever();
}
