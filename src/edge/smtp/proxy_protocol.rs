//! Reads the header of the PROXY protocol: the client's address, which a trusted proxy sends before anything else.

use std::io;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::wire::smtp::proxy_protocol::{self, LONGEST};

/// Reads the header and not a byte more. Returns the client's address, or `None` if the proxy speaks for itself.
///
/// # Errors
/// No header is valid, or the connection ends in it.
pub async fn read(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut header = Vec::new();
    let mut room = [0; LONGEST];
    loop {
        let seen = stream.peek(&mut room[header.len()..]).await?;
        if seen == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Until the header is complete, every byte that was peeked at belongs to it.
        let before = header.len();
        header.extend_from_slice(&room[before..before + seen]);
        let parsed = proxy_protocol::parse(&header);
        let parsed = parsed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let end = parsed.map_or(header.len(), |parsed| parsed.len);
        stream.read_exact(&mut room[before..end]).await?;
        if let Some(parsed) = parsed {
            return Ok(parsed.source);
        }
    }
}
