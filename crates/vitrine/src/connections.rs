//! How many connections are open at once, altogether and from one address, and how long slow ones may be.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Limits of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Open at once.
    pub connections_max: usize,
    /// Open at once from one address.
    pub per_address_max: usize,
    /// How long a TLS handshake, and the headers of a request, may take.
    pub header_limit: Duration,
    /// Bytes of the headers of one request.
    pub header_bytes_max: usize,
    /// Requests at once on one connection (HTTP/2).
    pub streams_max: u32,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            per_address_max: 1024,
            header_limit: Duration::from_secs(15),
            header_bytes_max: 64 << 10,
            streams_max: 256,
        }
    }
}

/// Lets connections in while there is room; those beyond are closed before a byte is read.
#[derive(Clone)]
pub struct Door {
    limits: ConnectionLimits,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection that counts until it is closed.
pub struct Counted {
    stream: TcpStream,
    address: IpAddr,
    open: Arc<Mutex<Open>>,
}

impl Door {
    /// Returns a door with nobody inside.
    pub fn new(limits: ConnectionLimits) -> Self {
        Self {
            limits,
            open: Arc::default(),
        }
    }

    fn admit(&self, stream: TcpStream) -> io::Result<Counted> {
        let address = stream.peer_addr()?.ip().to_canonical();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let held = open.by_address.get(&address).copied().unwrap_or(0);
        if open.all >= self.limits.connections_max || held >= self.limits.per_address_max {
            return Err(io::Error::other("too many connections"));
        }
        open.all += 1;
        open.by_address.insert(address, held + 1);
        Ok(Counted {
            stream,
            address,
            open: self.open.clone(),
        })
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Door {
    type Stream = Counted;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Counted, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        std::future::ready(self.admit(stream).map(|stream| (stream, service)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all = open.all.saturating_sub(1);
        if let Some(held) = open.by_address.get_mut(&self.address) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn who_comes_when_all_places_are_taken_is_turned_away_until_one_leaves() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let connect = async || {
            let (client, server) = tokio::join!(TcpStream::connect(at), listener.accept());
            (client.unwrap(), server.unwrap().0)
        };
        for (connections_max, per_address_max) in [(2, 9), (9, 2)] {
            let door = Door::new(ConnectionLimits {
                connections_max,
                per_address_max,
                ..ConnectionLimits::default()
            });
            let (_a, first) = connect().await;
            let (_b, second) = connect().await;
            let (_c, third) = connect().await;
            let first = door.admit(first).unwrap();
            let _second = door.admit(second).unwrap();
            assert!(door.admit(third).is_err());
            drop(first);
            let (_d, fourth) = connect().await;
            assert!(door.admit(fourth).is_ok());
        }
    }
}
