//! Objects in any object store: S3-compatible, Azure Blob, memory.
//!
//! Manifests are created, never replaced (`PutMode::Create`); packs go up in parts and are seen when
//! the last one is there. Every call ends: the client tries again a bounded number of times, and a
//! call has a time limit on top. Called on blocking threads only.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, WriteMultipart};
use tokio::runtime::Handle;

use crate::connect::{self, Connected, Secrets};
use crate::error::{BlocksError, Result};
use crate::inner::lock;
use crate::objects::Room;

/// Bytes of one part of a pack; a smaller pack goes up at once.
const PART_BYTES: usize = 8 << 20;
/// Parts on their way at once.
const PARTS_MAX: usize = 4;
/// How long one call may take, its tries included.
const CALL_TIME: Duration = Duration::from_secs(180);
/// The object that says whose store it is.
const OWNER: &str = "owner";

/// An object store and a prefix in it.
#[derive(Clone)]
pub(crate) struct Remote {
    store: Arc<dyn ObjectStore>,
    prefix: Vec<String>,
    secrets: Secrets,
    hook: Hook,
    runtime: Handle,
}

/// What is called before every call: its verb (`put`, `get`, `read`, `list`, `remove`) and the path.
type OnCall = dyn Fn(&str, &str) -> std::io::Result<()> + Send + Sync;
type Hook = Arc<Mutex<Option<Arc<OnCall>>>>;

/// An object store in memory, for tests and trials; clones share it.
#[derive(Clone, Default)]
pub struct MemoryLocation {
    objects: Arc<InMemory>,
    hook: Hook,
}

impl MemoryLocation {
    /// Calls `hook` before every call, with its verb (`put`, `get`, `read`, `list`, `remove`) and the
    /// path: it may wait, count, or let the call fail.
    pub fn on_call(
        &self,
        hook: impl Fn(&str, &str) -> std::io::Result<()> + Send + Sync + 'static,
    ) {
        *lock(&self.hook) = Some(Arc::new(hook));
    }

    /// Loses everything below a name, as an accident would.
    pub async fn lose(&self, name: &str) {
        let found = self.objects.list(Some(&Path::from(name)));
        let found: Vec<_> = found.try_collect().await.unwrap_or_default();
        for each in found {
            // What is in memory can be removed.
            let _ = self.objects.delete(&each.location).await;
        }
    }
}

impl std::fmt::Debug for MemoryLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryLocation")
    }
}

impl Remote {
    /// Uses a store in memory.
    pub fn memory(location: &MemoryLocation, runtime: Handle) -> Self {
        Self {
            store: location.objects.clone(),
            prefix: Vec::new(),
            secrets: Secrets::default(),
            hook: location.hook.clone(),
            runtime,
        }
    }

    /// Connects to an object store, see [`connect::connect`].
    pub fn connect(url: &str, options: &[(String, String)], runtime: Handle) -> Result<Self> {
        let Connected {
            store,
            prefix,
            secrets,
        } = connect::connect(url, options)?;
        Ok(Self {
            store,
            prefix,
            secrets,
            hook: Hook::default(),
            runtime,
        })
    }

    fn path(&self, room: Room, name: &str) -> Path {
        self.below([room.name(), name])
    }

    fn below<'a>(&'a self, parts: impl IntoIterator<Item = &'a str>) -> Path {
        Path::from_iter(self.prefix.iter().map(String::as_str).chain(parts))
    }

    fn failed(&self, error: &Error) -> BlocksError {
        self.secrets.failed(error)
    }

    /// Says to the hook, if there is one, what comes.
    fn note(&self, verb: &str, path: &Path) -> Result<()> {
        let hook = lock(&self.hook).clone();
        Ok(hook.map_or(Ok(()), |hook| hook(verb, path.as_ref()))?)
    }

    /// Makes the store that of `owner`, or finds that it is; one that is another's is refused.
    pub fn belong_to(&self, owner: &str) -> Result<()> {
        let path = self.below([OWNER]);
        self.note("put", &path)?;
        let payload = PutPayload::from(owner.as_bytes().to_vec());
        match self.run(self.store.put_opts(&path, payload, PutMode::Create.into())) {
            Ok(_) => return Ok(()),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            Err(error) => return Err(self.failed(&error)),
        }
        let found = self.get_at(&path)?;
        if found.as_deref() == Some(owner.as_bytes()) {
            return Ok(());
        }
        Err(BlocksError::Foreign)
    }

    fn run<T>(
        &self,
        work: impl Future<Output = std::result::Result<T, Error>>,
    ) -> std::result::Result<T, Error> {
        self.runtime
            .block_on(async { tokio::time::timeout(CALL_TIME, work).await })
            .unwrap_or_else(|late| {
                Err(Error::Generic {
                    store: "object store",
                    source: Box::new(late),
                })
            })
    }

    pub fn put(&self, room: Room, name: &str, bytes: &[u8]) -> Result<()> {
        self.put_at(&self.path(room, name), bytes.to_vec())
    }

    fn put_at(&self, path: &Path, bytes: Vec<u8>) -> Result<()> {
        self.note("put", path)?;
        self.run(self.store.put(path, PutPayload::from(bytes)))
            .map_err(|error| self.failed(&error))?;
        Ok(())
    }

    pub fn ensure(&self, room: Room, name: &str, bytes: &[u8]) -> Result<()> {
        let payload = PutPayload::from(bytes.to_vec());
        let path = self.path(room, name);
        self.note("put", &path)?;
        match self.run(self.store.put_opts(&path, payload, PutMode::Create.into())) {
            Ok(_) => Ok(()),
            // Named by its content: who was first wrote the same, unless it rotted since.
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {
                match self.get(room, name)? {
                    Some(found) if found == bytes => Ok(()),
                    _ => self.put(room, name, bytes),
                }
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    pub fn get(&self, room: Room, name: &str) -> Result<Option<Vec<u8>>> {
        self.get_at(&self.path(room, name))
    }

    fn get_at(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        self.note("get", path)?;
        match self.run(async { self.store.get(path).await?.bytes().await }) {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(&error)),
        }
    }

    pub fn read_at(&self, room: Room, name: &str, buffer: &mut [u8], offset: u64) -> Result<()> {
        let path = self.path(room, name);
        let range = offset..offset + buffer.len() as u64;
        self.note("read", &path)?;
        match self.run(self.store.get_range(&path, range)) {
            Ok(bytes) if bytes.len() == buffer.len() => {
                buffer.copy_from_slice(&bytes);
                Ok(())
            }
            Ok(_) => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            Err(Error::NotFound { .. }) => {
                Err(BlocksError::not_found(format!("{} {name}", room.name())))
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    pub fn remove(&self, room: Room, name: &str) -> Result<()> {
        let path = self.path(room, name);
        self.note("remove", &path)?;
        match self.run(self.store.delete(&path)) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    pub fn list(&self, room: Room) -> Result<Vec<(String, u64)>> {
        let prefix = self.below([room.name()]);
        self.note("list", &prefix)?;
        let found: Vec<_> = self
            .run(self.store.list(Some(&prefix)).try_collect())
            .map_err(|error| self.failed(&error))?;
        Ok(found
            .into_iter()
            .filter_map(|meta| Some((meta.location.filename()?.to_owned(), meta.size)))
            .collect())
    }

    /// Starts an object that is written piece by piece.
    pub fn begin(&self, room: Room, name: &str) -> Upload {
        Upload {
            remote: self.clone(),
            path: self.path(room, name),
            first: Vec::new(),
            parts: None,
        }
    }
}

/// An upload; dropped before it is published, it is aborted. What fits into one part goes up at once:
/// a process that is killed then leaves nothing behind.
pub(crate) struct Upload {
    remote: Remote,
    path: Path,
    first: Vec<u8>,
    parts: Option<WriteMultipart>,
}

impl Upload {
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if self.parts.is_none() {
            self.first.extend_from_slice(bytes);
            if self.first.len() < PART_BYTES {
                return Ok(());
            }
            self.begin_parts()?;
            let first = std::mem::take(&mut self.first);
            return self.write(&first);
        }
        self.write(bytes)
    }

    fn begin_parts(&mut self) -> Result<()> {
        let remote = &self.remote;
        remote.note("put", &self.path)?;
        let upload = remote
            .run(remote.store.put_multipart(&self.path))
            .map_err(|error| remote.failed(&error))?;
        // Its parts are sent by tasks of the runtime.
        let _entered = remote.runtime.enter();
        self.parts = Some(WriteMultipart::new_with_chunk_size(upload, PART_BYTES));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(parts) = &mut self.parts else {
            return Ok(());
        };
        self.remote
            .run(parts.wait_for_capacity(PARTS_MAX))
            .map_err(|error| self.remote.failed(&error))?;
        let _entered = self.remote.runtime.enter();
        parts.write(bytes);
        Ok(())
    }

    pub fn publish(mut self) -> Result<()> {
        match self.parts.take() {
            Some(parts) => {
                self.remote.note("put", &self.path)?;
                self.remote
                    .run(parts.finish())
                    .map_err(|error| self.remote.failed(&error))?;
                Ok(())
            }
            None => {
                let first = std::mem::take(&mut self.first);
                self.remote.put_at(&self.path, first)
            }
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take()
            && let Err(error) = self.remote.run(parts.abort())
        {
            let error = self.remote.failed(&error);
            tracing::warn!(%error, "an upload was not aborted");
        }
    }
}
