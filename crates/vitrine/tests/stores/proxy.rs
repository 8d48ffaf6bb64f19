//! A way to an object store that can be cut.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on until it is told that the store is away.
pub struct Proxy {
    pub port: u16,
    is_down: watch::Sender<bool>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1.
    pub async fn to(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (is_down, watched) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, upstream, watched.clone()));
            }
        });
        Self { port, is_down }
    }

    pub fn set_down(&self, is_down: bool) {
        self.is_down.send_replace(is_down);
    }
}

async fn pass(mut client: TcpStream, upstream: SocketAddr, mut is_down: watch::Receiver<bool>) {
    if *is_down.borrow() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(upstream).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = is_down.wait_for(|is_down| *is_down) => {}
    }
}
