//! Objects in any object store: S3-compatible, Azure Blob, memory.
//!
//! Manifests are created, never replaced (`PutMode::Create`); packs go up in parts and are seen when
//! the last one is there. Every call ends: the client tries again a bounded number of times, and a
//! call has a time limit on top. Called on blocking threads only.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    ClientOptions, Error, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload, RetryConfig,
    WriteMultipart,
};
use tokio::runtime::Handle;

use crate::error::{BlocksError, Result};
use crate::objects::Room;

/// Bytes of one part of a pack.
const PART_BYTES: usize = 8 << 20;
/// Parts on their way at once.
const PARTS_MAX: usize = 4;
/// Tries of one request after the first.
const RETRIES_MAX: usize = 5;
/// How long the tries of one request may take.
const RETRY_TIME: Duration = Duration::from_secs(60);
/// How long one call may take, its tries included.
const CALL_TIME: Duration = Duration::from_secs(180);

/// An object store and a prefix in it.
#[derive(Clone)]
pub(crate) struct Remote {
    store: Arc<dyn ObjectStore>,
    prefix: String,
    runtime: Handle,
}

/// An object store in memory, for tests and trials; clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryLocation(Arc<InMemory>);

impl Remote {
    /// Uses a store in memory.
    pub fn memory(location: &MemoryLocation, runtime: Handle) -> Self {
        Self {
            store: location.0.clone(),
            prefix: String::new(),
            runtime,
        }
    }

    /// Connects to `s3://bucket/prefix` or `az://container/prefix`; options are those of the
    /// `object_store` crate (`aws_endpoint`, `azure_storage_account_name`, …), over the environment.
    pub fn connect(url: &str, options: &[(String, String)], runtime: Handle) -> Result<Self> {
        let invalid = |reason: String| BlocksError::Invalid { reason };
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| invalid(format!("'{url}' is not the URL of an object store")))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let retry = RetryConfig {
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIME,
            ..RetryConfig::default()
        };
        let client = ClientOptions::new().with_timeout(RETRY_TIME);
        let store: Arc<dyn ObjectStore> = match scheme {
            "s3" => {
                let mut builder = AmazonS3Builder::from_env()
                    .with_retry(retry)
                    .with_client_options(client);
                for (name, value) in options {
                    let key = name.parse().map_err(|_| unknown_option(name))?;
                    builder = builder.with_config(key, value);
                }
                Arc::new(builder.with_bucket_name(bucket).build().map_err(storage)?)
            }
            "az" => {
                let mut builder = MicrosoftAzureBuilder::from_env()
                    .with_retry(retry)
                    .with_client_options(client);
                for (name, value) in options {
                    let key = name.parse().map_err(|_| unknown_option(name))?;
                    builder = builder.with_config(key, value);
                }
                Arc::new(
                    builder
                        .with_container_name(bucket)
                        .build()
                        .map_err(storage)?,
                )
            }
            _ => {
                return Err(invalid(format!(
                    "object stores of kind '{scheme}' are not known: use s3:// or az://"
                )));
            }
        };
        Ok(Self {
            store,
            prefix: prefix.trim_matches('/').to_owned(),
            runtime,
        })
    }

    fn path(&self, room: Room, name: &str) -> Path {
        Path::from_iter([self.prefix.as_str(), room.name(), name])
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
        let payload = PutPayload::from(bytes.to_vec());
        self.run(self.store.put(&self.path(room, name), payload))
            .map_err(storage)?;
        Ok(())
    }

    pub fn ensure(&self, room: Room, name: &str, bytes: &[u8]) -> Result<()> {
        let payload = PutPayload::from(bytes.to_vec());
        let path = self.path(room, name);
        match self.run(self.store.put_opts(&path, payload, PutMode::Create.into())) {
            Ok(_) => Ok(()),
            // Named by its content: who was first wrote the same, unless it rotted since.
            Err(Error::AlreadyExists { .. }) => match self.get(room, name)? {
                Some(found) if found == bytes => Ok(()),
                _ => self.put(room, name, bytes),
            },
            Err(error) => Err(storage(error)),
        }
    }

    pub fn get(&self, room: Room, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path(room, name);
        match self.run(async { self.store.get(&path).await?.bytes().await }) {
            Ok(bytes) => Ok(Some(bytes.to_vec())),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(storage(error)),
        }
    }

    pub fn read_at(&self, room: Room, name: &str, buffer: &mut [u8], offset: u64) -> Result<()> {
        let path = self.path(room, name);
        let range = offset..offset + buffer.len() as u64;
        match self.run(self.store.get_range(&path, range)) {
            Ok(bytes) if bytes.len() == buffer.len() => {
                buffer.copy_from_slice(&bytes);
                Ok(())
            }
            Ok(_) => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            Err(Error::NotFound { .. }) => {
                Err(BlocksError::not_found(format!("{} {name}", room.name())))
            }
            Err(error) => Err(storage(error)),
        }
    }

    pub fn remove(&self, room: Room, name: &str) -> Result<()> {
        match self.run(self.store.delete(&self.path(room, name))) {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(storage(error)),
        }
    }

    pub fn list(&self, room: Room) -> Result<Vec<(String, u64)>> {
        let prefix = Path::from_iter([self.prefix.as_str(), room.name()]);
        let found: Vec<_> = self
            .run(self.store.list(Some(&prefix)).try_collect())
            .map_err(storage)?;
        Ok(found
            .into_iter()
            .filter_map(|meta| Some((meta.location.filename()?.to_owned(), meta.size)))
            .collect())
    }

    pub fn begin(&self, room: Room, name: &str) -> Result<Upload> {
        let path = self.path(room, name);
        let upload = self.run(self.store.put_multipart(&path)).map_err(storage)?;
        // Its parts are sent by tasks of the runtime.
        let _entered = self.runtime.enter();
        Ok(Upload {
            remote: self.clone(),
            parts: Some(WriteMultipart::new_with_chunk_size(upload, PART_BYTES)),
        })
    }
}

/// An upload in parts; dropped before it is published, it is aborted.
pub(crate) struct Upload {
    remote: Remote,
    parts: Option<WriteMultipart>,
}

impl Upload {
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(parts) = &mut self.parts else {
            return Ok(());
        };
        self.remote
            .run(parts.wait_for_capacity(PARTS_MAX))
            .map_err(storage)?;
        let _entered = self.remote.runtime.enter();
        parts.write(bytes);
        Ok(())
    }

    pub fn publish(mut self) -> Result<()> {
        if let Some(parts) = self.parts.take() {
            self.remote.run(parts.finish()).map_err(storage)?;
        }
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(parts) = self.parts.take()
            && let Err(error) = self.remote.run(parts.abort())
        {
            tracing::warn!(%error, "an upload was not aborted");
        }
    }
}

fn unknown_option(name: &str) -> BlocksError {
    BlocksError::Invalid {
        reason: format!("'{name}' is not an option of this object store"),
    }
}

fn storage(error: Error) -> BlocksError {
    BlocksError::Io(std::io::Error::other(error))
}
