//! Fixed newstyle negotiation: options until the client chooses an export or leaves.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::export::{Export, Exports};
use super::meta_context;
use super::option::{self as parse, Chosen};
use super::protocol::{
    FIXED_NEWSTYLE, MAGIC, NO_ZEROES, OPTION_MAGIC, OPTION_REPLY_MAGIC, answer, option,
    transmission,
};
use super::{NAME_BYTES_MAX, NbdError, OPTION_BYTES_MAX, OPTIONS_MAX, REQUEST_BYTES_MAX};
use crate::bytes::index;

/// Sizes told as `NBD_INFO_BLOCK_SIZE`: every byte can be asked for, 4 KiB are best.
const BLOCK_MIN: u32 = 1;
const BLOCK_PREFERRED: u32 = 4096;

/// A connection whose client has chosen an export.
pub struct Session {
    pub(super) name: String,
    pub(super) export: Arc<dyn Export>,
    pub(super) is_structured: bool,
    /// `BLOCK_STATUS` may be sent, about `base:allocation`.
    pub(super) has_allocation: bool,
}

impl Session {
    /// Returns the name that the client asked for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the export that it got.
    pub fn export(&self) -> &Arc<dyn Export> {
        &self.export
    }
}

/// Sends the greeting and reads the client's flags; tells whether it knows `NO_ZEROES`.
pub(super) async fn greet<S>(stream: &mut S) -> Result<bool, NbdError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let flags = (FIXED_NEWSTYLE | NO_ZEROES).to_be_bytes();
    stream
        .write_all(&[&MAGIC[..], OPTION_MAGIC, &flags].concat())
        .await?;
    stream.flush().await?;
    let flags = stream.read_u32().await?;
    let known = u32::from(FIXED_NEWSTYLE | NO_ZEROES);
    if flags & !known != 0 || flags & u32::from(FIXED_NEWSTYLE) == 0 {
        return Err(NbdError::Protocol(
            "its flags are not those of fixed newstyle",
        ));
    }
    Ok(flags & u32::from(NO_ZEROES) != 0)
}

struct Opt {
    number: u32,
    data: Vec<u8>,
}

/// Reads one option; too much data ends the connection.
async fn read_option<S>(stream: &mut S) -> Result<Opt, NbdError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = [0; 16];
    stream.read_exact(&mut head).await?;
    if head[..8] != *OPTION_MAGIC {
        return Err(NbdError::Protocol("an option has no mark"));
    }
    let number = crate::bytes::be32(&head, 8);
    let length = crate::bytes::be32(&head, 12);
    if length > OPTION_BYTES_MAX {
        reply(stream, number, answer::TOO_BIG, b"the option is too long").await?;
        return Err(NbdError::Protocol("an option is too long"));
    }
    let mut data = vec![0; index(u64::from(length))];
    stream.read_exact(&mut data).await?;
    Ok(Opt { number, data })
}

/// Sends one reply to an option.
pub(super) async fn reply<S>(
    stream: &mut S,
    number: u32,
    kind: u32,
    data: &[u8],
) -> Result<(), NbdError>
where
    S: AsyncWrite + Unpin,
{
    let length =
        u32::try_from(data.len()).map_err(|_| NbdError::Protocol("a reply is too long"))?;
    let head = [
        &OPTION_REPLY_MAGIC.to_be_bytes()[..],
        &number.to_be_bytes(),
        &kind.to_be_bytes(),
        &length.to_be_bytes(),
        data,
    ];
    stream.write_all(&head.concat()).await?;
    stream.flush().await?;
    Ok(())
}

/// Answers nothing but `STARTTLS` and `ABORT`; tells whether the stream shall become encrypted.
pub(super) async fn wait_for_starttls<S>(stream: &mut S) -> Result<bool, NbdError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for _ in 0..OPTIONS_MAX {
        let Opt { number, data } = read_option(stream).await?;
        match number {
            option::STARTTLS if data.is_empty() => {
                reply(stream, number, answer::ACK, &[]).await?;
                return Ok(true);
            }
            option::ABORT => {
                reply(stream, number, answer::ACK, &[]).await?;
                return Ok(false);
            }
            option::EXPORT_NAME => return Err(NbdError::Protocol("it wants no encryption")),
            _ => {
                let text = b"encryption is required: STARTTLS";
                reply(stream, number, answer::TLS_REQUIRED, text).await?;
            }
        }
    }
    Err(NbdError::Protocol("it sent too many options"))
}

/// Answers options until the client chooses an export; `None` when it leaves.
pub(super) async fn negotiate<S>(
    stream: &mut S,
    exports: &Exports,
    has_no_zeroes: bool,
    is_encrypted: bool,
) -> Result<Option<Session>, NbdError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut state = State {
        exports,
        is_encrypted,
        has_no_zeroes,
        is_structured: false,
        allocation_of: None,
    };
    for _ in 0..OPTIONS_MAX {
        let option = read_option(stream).await?;
        match state.answer(stream, option).await? {
            Next::Go(session) => return Ok(Some(session)),
            Next::Left => return Ok(None),
            Next::More => {}
        }
    }
    Err(NbdError::Protocol("it sent too many options"))
}

enum Next {
    More,
    Go(Session),
    Left,
}

struct State<'a> {
    exports: &'a Exports,
    is_encrypted: bool,
    has_no_zeroes: bool,
    is_structured: bool,
    /// The export that `base:allocation` was chosen for.
    allocation_of: Option<String>,
}

impl State<'_> {
    async fn answer<S>(&mut self, stream: &mut S, option: Opt) -> Result<Next, NbdError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Opt { number, data } = option;
        let wants_none = matches!(
            number,
            option::LIST | option::STARTTLS | option::STRUCTURED_REPLY
        );
        if wants_none && !data.is_empty() {
            reply(stream, number, answer::INVALID, b"the option has no data").await?;
            return Ok(Next::More);
        }
        match number {
            option::EXPORT_NAME => return self.export_name(stream, &data).await,
            option::ABORT => {
                reply(stream, number, answer::ACK, &[]).await?;
                return Ok(Next::Left);
            }
            option::LIST => {
                for name in self.exports.names() {
                    let length = u32::try_from(name.len()).unwrap_or(0).to_be_bytes();
                    let entry = [&length[..], name.as_bytes()].concat();
                    reply(stream, number, answer::SERVER, &entry).await?;
                }
                reply(stream, number, answer::ACK, &[]).await?;
            }
            option::STARTTLS if self.is_encrypted => {
                reply(stream, number, answer::INVALID, b"it is encrypted already").await?;
            }
            option::STARTTLS => {
                reply(stream, number, answer::POLICY, b"encryption is not set up").await?;
            }
            option::INFO | option::GO => return self.info(stream, number, &data).await,
            option::STRUCTURED_REPLY => {
                self.is_structured = true;
                reply(stream, number, answer::ACK, &[]).await?;
            }
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => {
                self.meta_context(stream, number, &data).await?;
            }
            _ => {
                reply(
                    stream,
                    number,
                    answer::UNSUPPORTED,
                    b"the option is not known",
                )
                .await?
            }
        }
        Ok(Next::More)
    }

    fn session(&self, name: &str, export: Arc<dyn Export>) -> Session {
        Session {
            name: name.to_owned(),
            export,
            is_structured: self.is_structured,
            has_allocation: self.allocation_of.as_deref() == Some(name),
        }
    }

    fn flags(&self, export: &dyn Export) -> u16 {
        use transmission as t;
        let mut flags = t::HAS_FLAGS | t::SEND_FLUSH | t::SEND_FUA | t::SEND_CACHE;
        if export.is_read_only() {
            flags |= t::READ_ONLY;
        } else {
            flags |= t::SEND_TRIM | t::SEND_WRITE_ZEROES | t::SEND_FAST_ZERO;
        }
        if export.is_multi_conn() {
            flags |= t::CAN_MULTI_CONN;
        }
        if self.is_structured {
            flags |= t::SEND_DF;
        }
        flags
    }

    /// The old way to choose: no error can be sent, only the connection closed.
    async fn export_name<S>(&self, stream: &mut S, data: &[u8]) -> Result<Next, NbdError>
    where
        S: AsyncWrite + Unpin,
    {
        let name = std::str::from_utf8(data).ok();
        let name = name.filter(|name| name.len() <= NAME_BYTES_MAX);
        let Some((name, export)) = name.and_then(|name| Some((name, self.exports.get(name)?)))
        else {
            return Err(NbdError::Protocol(
                "it asked for an export that is not here",
            ));
        };
        let mut out = export.size_bytes().to_be_bytes().to_vec();
        out.extend_from_slice(&self.flags(export.as_ref()).to_be_bytes());
        if !self.has_no_zeroes {
            out.extend_from_slice(&[0; 124]);
        }
        stream.write_all(&out).await?;
        stream.flush().await?;
        Ok(Next::Go(self.session(name, export)))
    }

    async fn info<S>(&self, stream: &mut S, number: u32, data: &[u8]) -> Result<Next, NbdError>
    where
        S: AsyncWrite + Unpin,
    {
        let Some(Chosen { name, infos }) = parse::choose(data) else {
            reply(stream, number, answer::INVALID, b"the option is malformed").await?;
            return Ok(Next::More);
        };
        let Some(export) = self.exports.get(name) else {
            reply(stream, number, answer::UNKNOWN, b"the export is not here").await?;
            return Ok(Next::More);
        };
        let flags = self.flags(export.as_ref()).to_be_bytes();
        let size = export.size_bytes().to_be_bytes();
        let info = [&parse::INFO_EXPORT.to_be_bytes()[..], &size, &flags].concat();
        reply(stream, number, answer::INFO, &info).await?;
        if infos.contains(&parse::INFO_NAME) {
            let info = [&parse::INFO_NAME.to_be_bytes()[..], name.as_bytes()].concat();
            reply(stream, number, answer::INFO, &info).await?;
        }
        if infos.contains(&parse::INFO_BLOCK_SIZE) {
            let mut info = parse::INFO_BLOCK_SIZE.to_be_bytes().to_vec();
            for size in [BLOCK_MIN, BLOCK_PREFERRED, REQUEST_BYTES_MAX] {
                info.extend_from_slice(&size.to_be_bytes());
            }
            reply(stream, number, answer::INFO, &info).await?;
        }
        reply(stream, number, answer::ACK, &[]).await?;
        match number {
            option::GO => Ok(Next::Go(self.session(name, export))),
            _ => Ok(Next::More),
        }
    }

    async fn meta_context<S>(
        &mut self,
        stream: &mut S,
        number: u32,
        data: &[u8],
    ) -> Result<(), NbdError>
    where
        S: AsyncWrite + Unpin,
    {
        let is_set = number == option::SET_META_CONTEXT;
        if is_set {
            // Whatever comes of it, an earlier choice is gone.
            self.allocation_of = None;
        }
        if !self.is_structured {
            let text = b"structured replies come first";
            return reply(stream, number, answer::INVALID, text).await;
        }
        let Some((name, queries)) = parse::queries(data) else {
            return reply(stream, number, answer::INVALID, b"the option is malformed").await;
        };
        if self.exports.get(name).is_none() {
            return reply(stream, number, answer::UNKNOWN, b"the export is not here").await;
        }
        let is_meant = match is_set {
            true => meta_context::is_chosen(&queries),
            false => meta_context::is_listed(&queries),
        };
        if is_meant {
            let context = meta_context::allocation(is_set);
            reply(stream, number, answer::META_CONTEXT, &context).await?;
        }
        if is_set && is_meant {
            self.allocation_of = Some(name.to_owned());
        }
        reply(stream, number, answer::ACK, &[]).await
    }
}
