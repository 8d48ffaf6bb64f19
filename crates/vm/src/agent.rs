//! The QEMU guest agent's protocol: one JSON object a line over a serial port, answered in order.
//!
//! Whoever answers is the guest, which may be hostile: every answer has a time limit and a length,
//! a long text in it is shortened to its end while it arrives, and what comes before the answer to
//! our own `guest-sync-delimited` is skipped, because it was meant for somebody before us.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};

use crate::error::VmError;
use crate::serial::printable;

/// Bytes of each output of a command that are kept: the last ones.
pub const OUTPUT_BYTES_MAX: usize = 4096;
/// What stands before the answer to `guest-sync-delimited`, and is in no JSON.
const MARK: u8 = 0xff;
/// What is skipped before that answer.
const SKIPPED_BYTES_MAX: usize = 1 << 20;
/// Longest answer: an agent keeps 16 MiB of each output, and sends them as base64.
const ANSWER_BYTES_MAX: usize = 48 << 20;
/// Most of an answer that is kept.
const KEPT_BYTES_MAX: usize = 128 << 10;
/// A text in an answer is shortened to at least this; a whole number of base64's groups.
const TEXT_BYTES_MIN: usize = 8192;
/// How long an agent may take to notice us.
const SYNC: Duration = Duration::from_secs(10);
/// How long it may take to answer anything else.
const ANSWER: Duration = Duration::from_secs(30);
/// Longest version that is shown.
const VERSION_CHARS_MAX: usize = 64;
/// Longest reason of a refusal that is shown.
const REASON_CHARS_MAX: usize = 200;

/// What the agent is to start.
///
/// It is secret: nothing here prints it.
pub struct GuestCommand {
    /// The program's path in the guest.
    pub path: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// `NAME=value`; the agent's own environment when there is none.
    pub environment: Vec<String>,
    /// What it reads.
    pub input: Vec<u8>,
}

/// How a command in the guest ended.
#[derive(PartialEq, Eq)]
pub struct GuestExit {
    /// What it returned; none when a signal ended it.
    pub code: Option<i64>,
    /// The end of its standard output, safe to show.
    pub out: String,
    /// The end of its standard error, safe to show.
    pub err: String,
}

/// A connection to an agent that has answered.
pub(crate) struct Agent<S> {
    stream: BufReader<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Agent<S> {
    /// Finds the start of our own conversation; `number` tells it from earlier ones.
    pub(crate) async fn open(stream: S, number: u32) -> Result<Self, VmError> {
        let stream = BufReader::new(stream);
        let mut agent = Self { stream };
        // It may be in the middle of a line that somebody before us has begun.
        let synced = async {
            agent.stream.write_all(&[MARK]).await.map_err(gone)?;
            agent
                .ask("guest-sync-delimited", &json!({"id": number}))
                .await?;
            agent.skip(number).await
        };
        match tokio::time::timeout(SYNC, synced).await {
            Ok(done) => done?,
            Err(_) => return Err(VmError::NoAgent),
        }
        Ok(agent)
    }

    /// Returns its version, safe to show.
    pub(crate) async fn version(&mut self) -> Result<String, VmError> {
        let info = self.run("guest-info", &json!({})).await?;
        let text = info["version"].as_str().unwrap_or_default();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".+-~_:".contains(c);
        let is_version =
            !text.is_empty() && text.len() <= VERSION_CHARS_MAX && text.chars().all(is_plain);
        is_version
            .then(|| text.to_owned())
            .ok_or_else(|| broken("names no version"))
    }

    /// Starts a command and returns its number.
    ///
    /// [`VmError::Unclear`] when nobody can say whether it was started.
    pub(crate) async fn exec(&mut self, command: &GuestCommand) -> Result<i64, VmError> {
        let mut arguments = json!({
            "path": command.path,
            "arg": command.arguments,
            "input-data": STANDARD.encode(&command.input),
            "capture-output": true,
        });
        if !command.environment.is_empty() {
            arguments["env"] = json!(command.environment);
        }
        match self.run("guest-exec", &arguments).await {
            Ok(started) => started["pid"].as_i64().ok_or(VmError::Unclear),
            Err(refused @ VmError::AgentRefused { .. }) => Err(refused),
            Err(_) => Err(VmError::Unclear),
        }
    }

    /// Returns how a command ended; none while it runs. The agent tells it once, then forgets it.
    pub(crate) async fn exit(&mut self, number: i64) -> Result<Option<GuestExit>, VmError> {
        let state = self
            .run("guest-exec-status", &json!({"pid": number}))
            .await?;
        match state["exited"].as_bool() {
            Some(false) => Ok(None),
            Some(true) => Ok(Some(GuestExit {
                code: state["exitcode"].as_i64(),
                out: output(&state, "out-data", "out-truncated")?,
                err: output(&state, "err-data", "err-truncated")?,
            })),
            None => Err(broken("does not say whether a command has ended")),
        }
    }

    async fn run(&mut self, command: &'static str, arguments: &Value) -> Result<Value, VmError> {
        let asked = async {
            self.ask(command, arguments).await?;
            let mut left = ANSWER_BYTES_MAX;
            let line = self.line(&mut left).await?;
            serde_json::from_slice::<Value>(&line).map_err(|_| broken("sent what is no JSON"))
        };
        let mut answer =
            tokio::time::timeout(ANSWER, asked)
                .await
                .map_err(|_| VmError::Slow {
                    what: command,
                    seconds: ANSWER.as_secs(),
                })??;
        if let Some(error) = answer.get("error") {
            let said = error["desc"].as_str().unwrap_or_default();
            let said: String = said.chars().take(REASON_CHARS_MAX).collect();
            return Err(VmError::AgentRefused {
                command,
                reason: printable(said.as_bytes()),
            });
        }
        match answer.get_mut("return") {
            Some(given) => Ok(given.take()),
            None => Err(broken("sent neither an answer nor an error")),
        }
    }

    async fn ask(&mut self, command: &str, arguments: &Value) -> Result<(), VmError> {
        let mut line = json!({"execute": command, "arguments": arguments}).to_string();
        line.push('\n');
        self.stream.write_all(line.as_bytes()).await.map_err(gone)?;
        self.stream.flush().await.map_err(gone)
    }

    /// Skips everything up to the answer that holds `number`.
    async fn skip(&mut self, number: u32) -> Result<(), VmError> {
        let mut left = SKIPPED_BYTES_MAX;
        loop {
            self.skip_to_mark(&mut left).await?;
            let line = self.line(&mut left).await?;
            // Whoever was cut off in the middle of a line left one that begins with it.
            let json = line.rsplit(|byte| *byte == MARK).next().unwrap_or_default();
            let answer: Value = serde_json::from_slice(json).unwrap_or_default();
            if answer["return"] == json!(number) {
                return Ok(());
            }
        }
    }

    async fn skip_to_mark(&mut self, left: &mut usize) -> Result<(), VmError> {
        loop {
            let chunk = self.stream.fill_buf().await.map_err(gone)?;
            let mark = chunk.iter().position(|byte| *byte == MARK);
            let used = mark.map_or(chunk.len(), |at| at + 1);
            spend(left, used)?;
            self.stream.consume(used);
            if mark.is_some() {
                return Ok(());
            }
        }
    }

    /// Reads a line, its long texts shortened.
    async fn line(&mut self, left: &mut usize) -> Result<Vec<u8>, VmError> {
        let mut line = Line::default();
        loop {
            let chunk = self.stream.fill_buf().await.map_err(gone)?;
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let used = end.map_or(chunk.len(), |at| at + 1);
            spend(left, used)?;
            line.take(&chunk[..end.unwrap_or(used)])?;
            self.stream.consume(used);
            if end.is_some() {
                return Ok(line.kept);
            }
        }
    }
}

/// Counts what was read; nothing read is the end of the stream.
fn spend(left: &mut usize, used: usize) -> Result<(), VmError> {
    if used == 0 {
        return Err(VmError::NoAgent);
    }
    *left = left
        .checked_sub(used)
        .ok_or_else(|| broken("says more than it may"))?;
    Ok(())
}

/// A line of JSON while it arrives.
#[derive(Default)]
struct Line {
    kept: Vec<u8>,
    /// Where the text begins that is being read.
    text: Option<usize>,
    is_escaped: bool,
}

impl Line {
    fn take(&mut self, bytes: &[u8]) -> Result<(), VmError> {
        for byte in bytes {
            self.push(*byte);
            if self.kept.len() > KEPT_BYTES_MAX {
                return Err(broken("says more than it may"));
            }
        }
        Ok(())
    }

    fn push(&mut self, byte: u8) {
        self.kept.push(byte);
        let Some(start) = self.text else {
            if byte == b'"' {
                self.text = Some(self.kept.len());
            }
            return;
        };
        if self.is_escaped {
            self.is_escaped = false;
        } else if byte == b'\\' {
            self.is_escaped = true;
        } else if byte == b'"' {
            self.text = None;
        } else if self.kept.len() - start >= 2 * TEXT_BYTES_MIN {
            self.kept.drain(start..start + TEXT_BYTES_MIN);
        }
    }
}

/// Returns the end of an output as text that is safe to show.
fn output(state: &Value, data: &str, truncated: &str) -> Result<String, VmError> {
    let Some(encoded) = state[data].as_str() else {
        return Ok(String::new());
    };
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|_| broken("sent an output that is no base64"))?;
    let mut from = bytes.len().saturating_sub(OUTPUT_BYTES_MAX);
    // Not into the middle of a character.
    if from > 0 {
        let rest = bytes[from..].iter().take(3);
        from += rest.take_while(|byte| **byte & 0xc0 == 0x80).count();
    }
    let mut text = printable(&bytes[from..]);
    if state[truncated].as_bool() == Some(true) {
        text.push_str("\n[the agent in the guest kept only the beginning of this output]\n");
    }
    Ok(text)
}

fn gone(_: std::io::Error) -> VmError {
    VmError::NoAgent
}

fn broken(what: &'static str) -> VmError {
    VmError::Agent(what)
}

#[cfg(test)]
mod tests;
