//! A network to PostgreSQL that fails as real ones do: it cuts, stalls, or swallows what is sent.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// The state of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Passes,
    /// Bytes arrive late: once it passes again.
    Stalls,
}

/// A relay between one kind of connection of one node and its server.
pub struct Network {
    address: SocketAddr,
    server: SocketAddr,
    flow: Mutex<Flow>,
    changed: Condvar,
    connections: Mutex<Vec<Conversation>>,
}

/// Both sides of a connection, and true once nothing of it arrives any more.
struct Conversation {
    client: TcpStream,
    server: TcpStream,
    is_swallowed: Arc<Mutex<bool>>,
}

impl Network {
    pub fn to(server: SocketAddr) -> Arc<Network> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let network = Arc::new(Network {
            address: listener.local_addr().unwrap(),
            server,
            flow: Mutex::new(Flow::Passes),
            changed: Condvar::new(),
            connections: Mutex::default(),
        });
        let accepting = network.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                accepting.relay(client);
            }
        });
        network
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Resets all connections.
    pub fn cut(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            let _ = connection.client.shutdown(Shutdown::Both);
            let _ = connection.server.shutdown(Shutdown::Both);
        }
    }

    /// Drops everything that is sent over the connections of now, and tells nobody.
    pub fn swallow(&self) {
        for connection in self.connections.lock().unwrap().iter() {
            *connection.is_swallowed.lock().unwrap() = true;
        }
    }

    pub fn stall(&self) {
        *self.flow.lock().unwrap() = Flow::Stalls;
    }

    pub fn resume(&self) {
        *self.flow.lock().unwrap() = Flow::Passes;
        self.changed.notify_all();
    }

    fn relay(self: &Arc<Network>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.server) else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let is_swallowed = Arc::new(Mutex::new(false));
        for (from, to) in [(&client, &server), (&server, &client)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let (network, is_swallowed) = (self.clone(), is_swallowed.clone());
            std::thread::spawn(move || network.forward(from, to, &is_swallowed));
        }
        let mut connections = self.connections.lock().unwrap();
        connections.retain(|connection| connection.client.peer_addr().is_ok());
        connections.push(Conversation { client, server, is_swallowed });
    }

    fn forward(&self, mut from: TcpStream, mut to: TcpStream, is_swallowed: &Mutex<bool>) {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut bytes) {
            let flow = self.flow.lock().unwrap();
            drop(self.changed.wait_while(flow, |flow| *flow == Flow::Stalls).unwrap());
            if !*is_swallowed.lock().unwrap() && to.write_all(&bytes[..length]).is_err() {
                break;
            }
        }
        if !*is_swallowed.lock().unwrap() {
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        }
    }
}
