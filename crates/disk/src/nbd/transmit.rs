//! The transmission phase: one loop reads requests, runs them and writes replies.
//!
//! ```text
//! stream ─► input ─► (check) ─► running ─► output ─► stream
//! ```
//!
//! A request starts when fewer than [`IN_FLIGHT_MAX`] run and its data fits into
//! [`MEMORY_BYTES_MAX`]; else nothing is read, and the client waits.

use std::pin::Pin;
use std::task::Poll;

use bytes::{Buf as _, Bytes, BytesMut};
use futures::FutureExt as _;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use super::command::{check, execute, held, weight};
use super::negotiate::Session;
use super::protocol::{REQUEST_BYTES, Request, command};
use super::reply::{Body, Output, Reply};
use super::{IN_FLIGHT_MAX, MEMORY_BYTES_MAX, NbdError, REQUEST_BYTES_MAX};

/// Bytes read at once.
const INPUT_BYTES: usize = 64 << 10;
/// Replies are written before more is read when so much of them waits.
const OUTPUT_BYTES_HIGH: usize = 1 << 20;

type Running = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// Serves requests until the client disconnects or `stop` ends.
pub(super) async fn transmit<S>(
    stream: S,
    session: Session,
    stop: impl Future<Output = ()>,
) -> Result<(), NbdError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stop = std::pin::pin!(stop);
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut connection = Connection::new(session);
    loop {
        let wants_more = connection.start_all().await?;
        if connection.is_done() {
            return Ok(());
        }
        let Connection {
            running,
            output,
            input,
            is_leaving,
            ..
        } = &mut connection;
        tokio::select! {
            biased;
            () = &mut stop, if !*is_leaving => *is_leaving = true,
            Some(reply) = running.next(), if !running.is_empty() => {
                connection.finish(reply);
                while let Some(Some(reply)) = connection.running.next().now_or_never() {
                    connection.finish(reply);
                }
            }
            read = reader.read_buf(input), if wants_more && output.len() < OUTPUT_BYTES_HIGH => {
                if read? == 0 {
                    connection.leave()?;
                }
            }
            written = output.step(&mut writer), if output.has_work() => written?,
        }
    }
}

struct Connection {
    session: Session,
    input: BytesMut,
    running: FuturesUnordered<Running>,
    /// Data that running requests hold.
    running_bytes: usize,
    output: Output,
    /// No request is taken any more.
    is_leaving: bool,
}

/// What the input holds.
enum Taken {
    Request(Request, Bytes),
    /// A part of a request.
    Part,
    /// A request that has to wait for memory.
    Wait,
}

impl Connection {
    fn new(session: Session) -> Self {
        Self {
            session,
            input: BytesMut::with_capacity(INPUT_BYTES),
            running: FuturesUnordered::new(),
            running_bytes: 0,
            output: Output::default(),
            is_leaving: false,
        }
    }

    fn is_done(&self) -> bool {
        self.is_leaving && self.running.is_empty() && !self.output.has_work()
    }

    /// Starts every request that is here and may run; tells whether more should be read.
    async fn start_all(&mut self) -> Result<bool, NbdError> {
        while !self.is_leaving && self.running.len() < IN_FLIGHT_MAX {
            match self.take()? {
                Taken::Request(request, payload) => self.start(request, payload).await,
                Taken::Part => return Ok(true),
                Taken::Wait => return Ok(false),
            }
        }
        Ok(false)
    }

    /// Takes a request and its data out of the input.
    fn take(&mut self) -> Result<Taken, NbdError> {
        let Some(head) = self.input.first_chunk::<REQUEST_BYTES>() else {
            self.input.reserve(INPUT_BYTES);
            return Ok(Taken::Part);
        };
        let Some(request) = Request::parse(head) else {
            return Err(NbdError::Protocol("a request has no mark"));
        };
        let is_long = request.length > REQUEST_BYTES_MAX;
        if request.command == command::WRITE && is_long {
            return Err(NbdError::Protocol("a write is too long"));
        }
        // A long read is refused and needs no memory; a single request always fits.
        let weight = if is_long { 0 } else { weight(&request) };
        let used = self.running_bytes + self.output.len();
        if used > 0 && used + weight > MEMORY_BYTES_MAX {
            return Ok(Taken::Wait);
        }
        if request.command != command::WRITE {
            self.input.advance(REQUEST_BYTES);
            return Ok(Taken::Request(request, Bytes::new()));
        }
        let whole = REQUEST_BYTES + weight;
        if self.input.len() < whole {
            self.input.reserve(whole - self.input.len());
            return Ok(Taken::Part);
        }
        self.input.advance(REQUEST_BYTES);
        Ok(Taken::Request(
            request,
            self.input.split_to(weight).freeze(),
        ))
    }

    /// Starts a request; one that is done at once is answered at once.
    async fn start(&mut self, request: Request, payload: Bytes) {
        if request.command == command::DISCONNECT {
            self.is_leaving = true;
            return;
        }
        if let Err(error) = check(&request, &self.session) {
            let result = Err(error);
            return self
                .output
                .push(Reply { request, result }, self.session.is_structured);
        }
        let mut work: Running = Box::pin(execute(self.session.export.clone(), request, payload));
        match std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
            Poll::Ready(reply) => self.output.push(reply, self.session.is_structured),
            Poll::Pending => {
                self.running_bytes += weight(&request);
                self.running.push(work);
            }
        }
    }

    fn finish(&mut self, reply: Reply) {
        self.running_bytes -= weight(&reply.request);
        debug_assert!(
            !matches!(&reply.result, Ok(Body::Data(p)) if held(p) > weight(&reply.request)),
            "no more is read than was asked for"
        );
        self.output.push(reply, self.session.is_structured);
    }

    /// The client closed the stream: fair between two requests, not inside one.
    fn leave(&mut self) -> Result<(), NbdError> {
        self.is_leaving = true;
        match self.input.is_empty() {
            true => Ok(()),
            false => Err(NbdError::Protocol("it left inside a request")),
        }
    }
}
