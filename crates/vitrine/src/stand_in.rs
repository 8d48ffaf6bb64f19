//! A stand-in for the public cloud, for one program and as long as it runs.
//!
//! Old clients know the names of the public clouds and no other. This is a proxy on a loopback
//! port: who asks it for one of those names gets a TLS session of a CA that lives as long as the
//! program, and behind it the gallery. Every other name is refused, so nothing that was meant for
//! the gallery reaches the real cloud by mistake.
//!
//! ```text
//! program ── CONNECT management.azure.com:443 ──> stand-in ── TLS ──> gallery
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What the public cloud calls its resource manager and its sign-in.
pub const NAMES: [&str; 2] = ["management.azure.com", "login.microsoftonline.com"];
/// The longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// How long each of head, handshake and connection may take.
const STEP_LIMIT: Duration = Duration::from_secs(15);
/// Connections at a time; more wait for one to end.
const CONNECTIONS_MAX: usize = 256;

/// Where the gallery is, and how both sides speak TLS.
pub struct StandIn {
    /// `localhost:8443`.
    pub gallery: String,
    /// The name that the gallery's certificate is checked for.
    pub gallery_name: ServerName<'static>,
    /// How the gallery is spoken to.
    pub outward: TlsConnector,
    /// As whom programs are answered.
    pub inward: TlsAcceptor,
}

impl StandIn {
    /// Binds a loopback port; returns the listener and its address.
    pub async fn bind() -> anyhow::Result<(TcpListener, SocketAddr)> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .context("no loopback port can be listened on")?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    }

    /// Serves until dropped; connections end with it.
    pub async fn serve(self, listener: TcpListener) -> anyhow::Result<()> {
        let own = Arc::new(self);
        let mut open = JoinSet::new();
        loop {
            while open.len() >= CONNECTIONS_MAX {
                open.join_next().await;
            }
            let (stream, _) = listener.accept().await?;
            let own = own.clone();
            open.spawn(async move {
                if let Err(error) = own.connection(stream).await {
                    tracing::debug!("a connection through the stand-in ended: {error:#}");
                }
            });
            while open.try_join_next().is_some() {}
        }
    }

    async fn connection(&self, mut program: TcpStream) -> anyhow::Result<()> {
        let head = within(read_head(&mut program)).await?;
        if let Err(refusal) = asked_for(&head) {
            program.write_all(refusal.answer().as_bytes()).await?;
            return Ok(());
        }
        let gallery = match within(self.to_gallery()).await {
            Ok(gallery) => gallery,
            Err(error) => {
                program
                    .write_all(Refusal::NoGallery.answer().as_bytes())
                    .await?;
                return Err(error);
            }
        };
        program
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await?;
        let mut program = within(async { Ok(self.inward.accept(program).await?) }).await?;
        let mut gallery = gallery;
        tokio::io::copy_bidirectional(&mut program, &mut gallery).await?;
        Ok(())
    }

    async fn to_gallery(&self) -> anyhow::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.gallery).await?;
        Ok(self
            .outward
            .connect(self.gallery_name.clone(), stream)
            .await?)
    }
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// It is no CONNECT.
    Method,
    /// It names something else than the public cloud.
    Name,
    /// The gallery does not answer.
    NoGallery,
}

impl Refusal {
    fn answer(self) -> String {
        let status = match self {
            Self::Method => "405 Method Not Allowed",
            Self::Name => "403 Forbidden",
            Self::NoGallery => "502 Bad Gateway",
        };
        format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    }
}

/// Returns the name that a head asks for (RFC 9110, 9.3.6), when it is one of ours.
fn asked_for(head: &str) -> Result<&'static str, Refusal> {
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    if words.next() != Some("CONNECT") {
        return Err(Refusal::Method);
    }
    let authority = words.next().unwrap_or_default();
    let host = authority.strip_suffix(":443").ok_or(Refusal::Name)?;
    let found = NAMES.iter().find(|name| name.eq_ignore_ascii_case(host));
    found.copied().ok_or(Refusal::Name)
}

/// Reads to the empty line. What comes after it waits for the answer, so it is not read here.
async fn read_head(stream: &mut TcpStream) -> anyhow::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == HEAD_BYTES_MAX {
            bail!("the head is longer than {HEAD_BYTES_MAX} bytes");
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head)?)
}

async fn within<T>(step: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(STEP_LIMIT, step)
        .await
        .context("it took too long")?
}

#[cfg(test)]
mod tests {
    use super::{Refusal, asked_for};

    #[test]
    fn only_the_names_of_the_public_cloud_are_stood_in_for() {
        for (head, expected) in [
            (
                "CONNECT management.azure.com:443 HTTP/1.1\r\n\r\n",
                Ok("management.azure.com"),
            ),
            (
                "CONNECT Login.MicrosoftOnline.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
                Ok("login.microsoftonline.com"),
            ),
            (
                "CONNECT management.azure.com:80 HTTP/1.1\r\n\r\n",
                Err(Refusal::Name),
            ),
            (
                "CONNECT management.azure.com.evil.test:443 HTTP/1.1\r\n\r\n",
                Err(Refusal::Name),
            ),
            ("CONNECT 127.0.0.1:443 HTTP/1.1\r\n\r\n", Err(Refusal::Name)),
            ("CONNECT\r\n\r\n", Err(Refusal::Name)),
            (
                "GET https://management.azure.com/ HTTP/1.1\r\n\r\n",
                Err(Refusal::Method),
            ),
            ("\r\n\r\n", Err(Refusal::Method)),
        ] {
            assert_eq!(asked_for(head), expected, "{head:?}");
        }
    }
}
