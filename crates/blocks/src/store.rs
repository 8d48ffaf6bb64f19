//! A store as its callers see it: every call, on threads that may block.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

use disk::Source;

use crate::error::{BlocksError, Result};
use crate::files::{Files, RealFiles};
use crate::inner::{Inner, lock};
use crate::layer::{self, Layer, LayerId, Registry};
use crate::location::{Location, StoreOptions};
use crate::manifest::{Manifest, ManifestId};
use crate::objects::{Directory, Objects};
use crate::progress::Progress;
use crate::reader::Reader;
use crate::remote::Remote;
use crate::{Ingested, ingest};

/// The block store of a region; clones share it.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<Inner>, pub(crate) Arc<Registry>);

/// A directory and the place of its layers.
type Name = (PathBuf, PathBuf);

/// The directories that are open in this process: a second store on one would not know what the
/// first is doing.
static OPEN: Mutex<BTreeMap<Name, Shared>> = Mutex::new(BTreeMap::new());

/// What the handles of one directory share.
type Shared = (Weak<Inner>, Weak<Registry>);

/// What a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Bytes of packs.
    pub stored_bytes: u64,
    /// Packs.
    pub packs: u64,
    /// Frames.
    pub frames: u64,
    /// Unique blocks.
    pub blocks: u64,
    /// Manifests.
    pub manifests: u64,
    /// Layers.
    pub layers: u64,
}

impl Store {
    /// Opens a store, creating it if it is not there.
    ///
    /// Reads the directories of the packs and nothing else, so that it takes milliseconds whatever
    /// the store holds. A directory that another process works on is refused; in this process all
    /// who open it share one store.
    pub async fn open(options: StoreOptions) -> Result<Self> {
        let runtime = tokio::runtime::Handle::current();
        if let Location::Directory(root) = options.location.clone() {
            return blocking(move || Self::open_directory(root, &options)).await;
        }
        let files: Arc<dyn Files> = Arc::new(RealFiles);
        blocking(move || {
            let objects = match &options.location {
                Location::Directory(root) => {
                    Objects::Directory(Directory::open(files.clone(), root.clone())?)
                }
                Location::Remote { url, options } => {
                    Objects::Remote(Remote::connect(url, options, runtime)?)
                }
                Location::Memory(memory) => Objects::Remote(Remote::memory(memory, runtime)),
            };
            Inner::open(files, objects, &options).map(|inner| Self(Arc::new(inner), Arc::default()))
        })
        .await
    }

    fn open_directory(root: PathBuf, options: &StoreOptions) -> Result<Self> {
        let files: Arc<dyn Files> = Arc::new(RealFiles);
        files.create_directory(&root)?;
        let name = (root.canonicalize()?, options.local.clone());
        let mut open = lock(&OPEN);
        open.retain(|_, (inner, _)| inner.strong_count() > 0);
        if let Some((inner, registry)) = open.get(&name)
            && let (Some(inner), Some(registry)) = (inner.upgrade(), registry.upgrade())
            && inner.key == options.key
        {
            return Ok(Self(inner, registry));
        }
        let objects = Objects::Directory(Directory::open(files.clone(), root)?);
        let store = Self(
            Arc::new(Inner::open(files, objects, options)?),
            Arc::default(),
        );
        open.insert(name, (Arc::downgrade(&store.0), Arc::downgrade(&store.1)));
        Ok(store)
    }

    /// Stores a disk and returns its manifest.
    pub async fn ingest(&self, source: Arc<dyn Source>, progress: &Progress) -> Result<Ingested> {
        let (store, progress) = (self.clone(), progress.clone());
        blocking(move || ingest::disk(&store.0, source.as_ref(), &progress)).await
    }

    /// Returns a manifest.
    pub async fn manifest(&self, id: ManifestId) -> Result<Arc<Manifest>> {
        let store = self.clone();
        blocking(move || store.0.manifest(id)).await
    }

    /// Whether the manifest and every frame it needs are here.
    pub async fn has_manifest(&self, id: ManifestId) -> Result<bool> {
        let store = self.clone();
        blocking(move || match store.0.read_manifest(id) {
            Ok(manifest) => Ok(store.0.lacks(&manifest)?.is_empty()),
            Err(BlocksError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        })
        .await
    }

    /// Returns the manifests that are here.
    pub async fn manifests(&self) -> Result<BTreeSet<ManifestId>> {
        let store = self.clone();
        blocking(move || Ok(store.0.manifest_ids()?.into_iter().collect())).await
    }

    /// Opens a disk for reading, whatever its size; while it is open no sweep removes it.
    pub async fn open_reader(&self, id: ManifestId) -> Result<Reader> {
        let store = self.clone();
        blocking(move || {
            let (manifest, pin) = store.0.pin(id)?;
            Ok(Reader::new(store, manifest, pin))
        })
        .await
    }

    /// Creates a writable layer over a manifest, or over nothing; an id that is taken is refused.
    pub async fn create_layer(
        &self,
        id: LayerId,
        base: Option<ManifestId>,
        size_bytes: u64,
    ) -> Result<Layer> {
        let store = self.clone();
        blocking(move || Layer::create(&store, id, base, size_bytes)).await
    }

    /// Opens a layer.
    pub async fn open_layer(&self, id: LayerId) -> Result<Layer> {
        let store = self.clone();
        blocking(move || Layer::open(&store, id)).await
    }

    /// Removes a layer; one that is not there is fine. Whoever has it open gets errors from now on.
    pub async fn delete_layer(&self, id: LayerId) -> Result<()> {
        let store = self.clone();
        blocking(move || Layer::delete(&store, id)).await
    }

    /// Returns the layers of this node.
    pub async fn layers(&self) -> Result<Vec<LayerId>> {
        let store = self.clone();
        blocking(move || store.0.local.layers()).await
    }

    /// Returns what a layer of this node stands on, without opening it.
    pub async fn layer_base(&self, id: LayerId) -> Result<Option<ManifestId>> {
        let store = self.clone();
        blocking(move || layer::base_of(&store.0, id)).await
    }

    /// Returns what the store holds.
    pub async fn stat(&self) -> Result<Stat> {
        let store = self.clone();
        blocking(move || {
            let mut stat = Stat {
                manifests: store.0.manifest_ids()?.len() as u64,
                layers: store.0.local.layers()?.len() as u64,
                ..Stat::default()
            };
            for pack in store.0.packs()? {
                stat.packs += 1;
                stat.stored_bytes += pack.bytes;
                stat.frames += pack.frames;
                stat.blocks += pack.blocks;
            }
            Ok(stat)
        })
        .await
    }
}

/// Manifests kept decoded, bounded by the memory they take.
#[derive(Default)]
pub(crate) struct Decoded {
    manifests: BTreeMap<ManifestId, Arc<Manifest>>,
    bytes: usize,
}

/// Bytes of decoded manifests kept.
const DECODED_BYTES_MAX: usize = 16 << 20;

impl Decoded {
    pub fn get(&self, id: ManifestId) -> Option<Arc<Manifest>> {
        self.manifests.get(&id).cloned()
    }

    pub fn insert(&mut self, id: ManifestId, manifest: Arc<Manifest>) {
        let bytes = manifest.memory_bytes();
        if self.bytes + bytes > DECODED_BYTES_MAX {
            self.manifests.clear();
            self.bytes = 0;
        }
        self.bytes += bytes;
        self.manifests.insert(id, manifest);
    }

    pub fn remove(&mut self, id: ManifestId) {
        if let Some(gone) = self.manifests.remove(&id) {
            self.bytes = self.bytes.saturating_sub(gone.memory_bytes());
        }
    }
}

/// Runs blocking work where it holds up nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(BlocksError::Worker {
            reason: error.to_string(),
        }),
    }
}
