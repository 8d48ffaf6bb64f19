//! An NBD server (<https://github.com/NetworkBlockDevice/nbd>, `doc/proto.md`): fixed newstyle
//! negotiation, simple and structured replies, `base:allocation`.
//!
//! One connection is one future over any stream; the caller listens, accepts and bounds how many
//! there are. Requests of a connection run concurrently and are answered as they finish.
//!
//! Promises: no frame of a client makes the server panic, allocate more than
//! [`MEMORY_BYTES_MAX`] or wait for ever during negotiation; every request is inside the export
//! before the export sees it. It does not authenticate: the socket's owner does.

mod command;
mod export;
mod meta_context;
mod negotiate;
mod option;
mod protocol;
mod reply;
mod transmit;

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

pub use export::{Answer, Export, ExportError, Exports, Piece};
pub use negotiate::Session;

/// Largest READ and WRITE.
pub const REQUEST_BYTES_MAX: u32 = 32 << 20;
/// Largest data of an option.
pub const OPTION_BYTES_MAX: u32 = 64 << 10;
/// Largest name of an export.
pub const NAME_BYTES_MAX: usize = 4096;
/// Options of one connection.
pub const OPTIONS_MAX: usize = 1024;
/// Requests of one connection that run at a time.
pub const IN_FLIGHT_MAX: usize = 32;
/// Data of one connection in memory: of requests that run and of replies that wait.
pub const MEMORY_BYTES_MAX: usize = 64 << 20;
/// Extents in one reply.
pub const EXTENTS_MAX: usize = 4096;
/// How long negotiation may take.
pub const NEGOTIATION: Duration = Duration::from_secs(20);

/// Why a connection ended before its client said so.
#[derive(Debug, thiserror::Error)]
pub enum NbdError {
    /// The client broke the protocol so that nothing behind can be understood.
    #[error("NBD client: {0}")]
    Protocol(&'static str),
    /// The client did not finish negotiation in time.
    #[error("NBD client did not finish negotiation in time")]
    Slow,
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves one connection until the client leaves. `STARTTLS` is answered as not available; a
/// stream that is encrypted already is served in the same way.
pub async fn serve<S>(mut stream: S, exports: &Exports) -> Result<(), NbdError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match negotiate(&mut stream, exports).await? {
        Some(session) => session.serve(stream, std::future::pending()).await,
        None => Ok(()),
    }
}

/// Serves one connection that must become encrypted first: until `STARTTLS` nothing else is
/// answered, then `upgrade` makes the encrypted stream.
pub async fn serve_tls<S, T, U, F>(stream: S, exports: &Exports, upgrade: U) -> Result<(), NbdError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
    U: FnOnce(S) -> F,
    F: Future<Output = io::Result<T>>,
{
    match negotiate_tls(stream, exports, upgrade).await? {
        Some((stream, session)) => session.serve(stream, std::future::pending()).await,
        None => Ok(()),
    }
}

/// Negotiates on a stream that stays as it is; `None` when the client leaves without an export.
pub async fn negotiate<S>(stream: &mut S, exports: &Exports) -> Result<Option<Session>, NbdError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    in_time(async {
        let has_no_zeroes = negotiate::greet(stream).await?;
        negotiate::negotiate(stream, exports, has_no_zeroes, false).await
    })
    .await
}

/// Negotiates on a stream that `upgrade` encrypts when the client says `STARTTLS`, as it must.
pub async fn negotiate_tls<S, T, U, F>(
    mut stream: S,
    exports: &Exports,
    upgrade: U,
) -> Result<Option<(T, Session)>, NbdError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
    U: FnOnce(S) -> F,
    F: Future<Output = io::Result<T>>,
{
    in_time(async {
        let has_no_zeroes = negotiate::greet(&mut stream).await?;
        if !negotiate::wait_for_starttls(&mut stream).await? {
            return Ok(None);
        }
        let mut stream = upgrade(stream).await?;
        let session = negotiate::negotiate(&mut stream, exports, has_no_zeroes, true).await?;
        Ok(session.map(|session| (stream, session)))
    })
    .await
}

impl Session {
    /// Serves requests until the client leaves, or until `stop`: then what runs is finished and
    /// answered, nothing more is taken, and the stream is closed.
    pub async fn serve<S>(self, stream: S, stop: impl Future<Output = ()>) -> Result<(), NbdError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        transmit::transmit(stream, self, stop).await
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, NbdError>>) -> Result<T, NbdError> {
    match tokio::time::timeout(NEGOTIATION, work).await {
        Ok(done) => done,
        Err(_) => Err(NbdError::Slow),
    }
}
