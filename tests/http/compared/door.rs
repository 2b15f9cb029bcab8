//! The three gateways as a client reaches them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use crate::common::{Gateway, PATIENCE};

/// The number of cases that run at the same time, each before gateways of its own.
pub const LANES: usize = 8;

/// A gateway that a client can reach.
pub enum Door {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Door {
    /// Sends the bytes and reads until the other side closes.
    pub fn send(&self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Door::Tcp(address) => {
                let stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                exchange(stream, bytes)
            }
            Door::Unix(path) => {
                let stream = UnixStream::connect(path).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                exchange(stream, bytes)
            }
        }
    }
}

fn exchange(mut stream: impl Read + Write, bytes: &[u8]) -> Vec<u8> {
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// A gateway that asks for no credential, and waits for no client.
pub fn gateway(backend: SocketAddr) -> Gateway {
    Gateway::start(&format!(
        "[api]\nlisten = [\"127.0.0.1:0\"]\nupstreams = [\"http://{backend}\"]\nhealth_interval = \"1h\"\n\
         header_timeout = \"400ms\"\nbody_timeout = \"400ms\"\n[[api.route]]\npath = \"/*\"\npermission = \"public\"\n"
    ))
}
