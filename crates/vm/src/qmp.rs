//! QMP, the emulator's machine protocol: one JSON object a line, answers and events mixed.
//!
//! One connection; commands carry a number and may be sent from several tasks. Lines are bounded,
//! every command has a time limit, events that nobody decides by are dropped where they arrive.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::{broadcast, oneshot};
use tokio::task::JoinSet;

use crate::error::VmError;

/// Longest line that is read.
const LINE_BYTES_MAX: u64 = 4 << 20;
/// Events that wait for a slow reader.
const EVENTS_MAX: usize = 256;
/// How long a command may take.
pub(crate) const COMMAND: Duration = Duration::from_secs(20);

/// What a caller decides by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The guest or somebody else ended the machine.
    Shutdown { by_guest: bool, reason: String },
    /// A device is gone.
    DeviceDeleted { device: String },
    /// The guest refuses to give a device up.
    UnplugRefused { device: String },
    /// Somebody in the guest has opened or closed a serial port.
    Port { device: String, is_open: bool },
}

impl Event {
    fn read(message: &Value) -> Option<Self> {
        let data = &message["data"];
        let device = || data["device"].as_str().map(str::to_owned);
        match message["event"].as_str()? {
            "SHUTDOWN" => Some(Self::Shutdown {
                by_guest: data["guest"].as_bool().unwrap_or(false),
                reason: data["reason"].as_str().unwrap_or("unknown").to_owned(),
            }),
            "DEVICE_DELETED" => device().map(|device| Self::DeviceDeleted { device }),
            "VSERPORT_CHANGE" => Some(Self::Port {
                device: data["id"].as_str()?.to_owned(),
                is_open: data["open"].as_bool()?,
            }),
            "DEVICE_UNPLUG_GUEST_ERROR" => device().map(|device| Self::UnplugRefused { device }),
            _ => None,
        }
    }
}

type Waiting = Mutex<Pending>;

#[derive(Default)]
struct Pending {
    next: u64,
    is_closed: bool,
    answers: HashMap<u64, oneshot::Sender<Value>>,
}

/// A connection to an emulator's monitor.
pub(crate) struct Qmp {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    waiting: Arc<Waiting>,
    /// The reader has the strong one: who waits for events learns that none will come.
    events: broadcast::WeakSender<Event>,
    /// Reads until the emulator leaves; ends with this value.
    _reader: JoinSet<()>,
}

impl Qmp {
    /// Greets the emulator and leaves the negotiation mode.
    pub(crate) async fn open(stream: UnixStream) -> Result<Self, VmError> {
        let (reader, writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let greeting = tokio::time::timeout(COMMAND, read_line(&mut reader))
            .await
            .map_err(|_| slow("the greeting"))?
            .ok_or(VmError::Protocol("the emulator left before its greeting"))?;
        if greeting["QMP"].is_null() {
            return Err(VmError::Protocol("this is no QMP server"));
        }
        let waiting = Arc::new(Waiting::default());
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let mut tasks = JoinSet::new();
        let qmp = Self {
            writer: tokio::sync::Mutex::new(writer),
            waiting: waiting.clone(),
            events: events.downgrade(),
            _reader: {
                tasks.spawn(read(reader, waiting, events));
                tasks
            },
        };
        qmp.run("qmp_capabilities", json!({})).await?;
        Ok(qmp)
    }

    /// Returns the events from now on; they end when the emulator leaves.
    pub(crate) fn events(&self) -> broadcast::Receiver<Event> {
        match self.events.upgrade() {
            Some(events) => events.subscribe(),
            None => broadcast::channel(1).1,
        }
    }

    /// Runs a command and returns what it gives.
    pub(crate) async fn run(
        &self,
        command: &'static str,
        arguments: Value,
    ) -> Result<Value, VmError> {
        let answer = tokio::time::timeout(COMMAND, self.ask(command, arguments));
        let mut answer = answer.await.map_err(|_| slow(command))??;
        if let Some(error) = answer.get("error") {
            let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
            return Err(VmError::Refused {
                command,
                class: text("class"),
                reason: text("desc"),
            });
        }
        Ok(answer["return"].take())
    }

    async fn ask(&self, command: &'static str, arguments: Value) -> Result<Value, VmError> {
        let (sender, answer) = oneshot::channel();
        let number = {
            let mut pending = lock(&self.waiting);
            if pending.is_closed {
                return Err(VmError::NotRunning);
            }
            pending.next += 1;
            let number = pending.next;
            // Whoever gave up waiting left an entry behind.
            pending.answers.retain(|_, sender| !sender.is_closed());
            pending.answers.insert(number, sender);
            number
        };
        let mut line =
            json!({"execute": command, "arguments": arguments, "id": number}).to_string();
        line.push('\n');
        let mut writer = self.writer.lock().await;
        // A line that is cut by a caller who gives up would spoil the next one: it is short, and
        // the emulator reads it at once or is gone.
        writer
            .write_all(line.as_bytes())
            .await
            .map_err(|_| VmError::NotRunning)?;
        drop(writer);
        answer.await.map_err(|_| VmError::NotRunning)
    }
}

fn slow(what: &'static str) -> VmError {
    VmError::Slow {
        what,
        seconds: COMMAND.as_secs(),
    }
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, Pending> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read<R: AsyncRead + Unpin>(
    mut reader: BufReader<R>,
    waiting: Arc<Waiting>,
    events: broadcast::Sender<Event>,
) {
    while let Some(message) = read_line(&mut reader).await {
        if let Some(event) = Event::read(&message) {
            // Nobody listens: nobody decides by it.
            let _ = events.send(event);
        } else if let Some(number) = message["id"].as_u64() {
            let sender = lock(&waiting).answers.remove(&number);
            if let Some(sender) = sender {
                let _ = sender.send(message);
            }
        }
    }
    let mut pending = lock(&waiting);
    pending.is_closed = true;
    pending.answers.clear();
}

/// Reads one message; none when the emulator left or sent something that is none.
async fn read_line<R: AsyncRead + Unpin>(reader: &mut BufReader<R>) -> Option<Value> {
    let mut line = Vec::new();
    let mut bounded = reader.take(LINE_BYTES_MAX);
    bounded.read_until(b'\n', &mut line).await.ok()?;
    (line.last() == Some(&b'\n'))
        .then(|| serde_json::from_slice(&line).ok())
        .flatten()
}

#[cfg(test)]
mod tests;
