//! A store: its directories, its index, and the way from ids to content.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use disk::Source;
use uuid::Uuid;

use crate::cache::Cache;
use crate::error::{BlocksError, Result};
use crate::frame::{self, FrameId};
use crate::index::{Index, Pack, Place};
use crate::ingest::{self, Ingested, Progress};
use crate::layer::{Layer, LayerId, Shared};
use crate::manifest::{self, Manifest, ManifestId};
use crate::pack;
use crate::reader::Reader;
use crate::storage::Directories;

/// Decompressed frames kept in memory by default.
const CACHE_BYTES: usize = 64 << 20;
/// zstd level of new frames: 3 costs a tenth more than 1 and saves 3 % (`BASELINES.md` 7).
const LEVEL: i32 = 3;
/// Manifests kept decoded.
const MANIFESTS_MAX: usize = 256;

/// Where the packs and manifests of a store lie.
#[derive(Clone, Debug)]
pub enum Location {
    /// A directory of this machine.
    Directory(PathBuf),
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Where packs and manifests lie.
    pub location: Location,
    /// Where this node keeps its writable layers.
    pub local: PathBuf,
    /// The installation's key: block identities mean nothing outside.
    pub key: [u8; 32],
    /// Bytes of decompressed frames kept in memory.
    pub cache_bytes_max: usize,
    /// zstd level of new frames.
    pub level: i32,
}

impl StoreOptions {
    /// Returns the usual options.
    pub fn new(location: Location, local: PathBuf, key: [u8; 32]) -> Self {
        Self {
            location,
            local,
            key,
            cache_bytes_max: CACHE_BYTES,
            level: LEVEL,
        }
    }
}

/// The block store of a region; clones share it.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub directories: Directories,
    pub key: [u8; 32],
    pub level: i32,
    index: RwLock<Index>,
    cache: Cache,
    manifests: Mutex<BTreeMap<ManifestId, Arc<Manifest>>>,
    /// Held for reading by all that makes references, for writing by what removes content.
    gate: RwLock<()>,
    pub open_layers: Mutex<BTreeMap<LayerId, Weak<Shared>>>,
}

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
    /// Opens a store, creating it if it is not there; the index is rebuilt from the packs.
    pub async fn open(options: StoreOptions) -> Result<Self> {
        blocking(move || Self::open_now(options)).await
    }

    fn open_now(options: StoreOptions) -> Result<Self> {
        let Location::Directory(root) = &options.location;
        fs::create_dir_all(root)?;
        fs::create_dir_all(&options.local)?;
        let directories = Directories::open(root, &options.local)?;
        let mut index = Index::default();
        for entry in fs::read_dir(&directories.packs)? {
            let path = entry?.path();
            let id = path
                .file_stem()
                .and_then(|s| s.to_str())
                .and_then(|s| Uuid::parse_str(s).ok());
            let Some(id) = id else { continue };
            let file = File::open(&path)?;
            let bytes = file.metadata()?.len();
            match pack::read_table(id, &file) {
                Ok(entries) => index.add(&Arc::new(Pack { id, file, bytes }), &entries),
                // Its frames count as missing: another region can send them again.
                Err(error) => tracing::error!(pack.id = %id, %error, "pack left out"),
            }
        }
        Ok(Self(Arc::new(Inner {
            directories,
            key: options.key,
            level: options.level,
            index: RwLock::new(index),
            cache: Cache::new(options.cache_bytes_max),
            manifests: Mutex::default(),
            gate: RwLock::default(),
            open_layers: Mutex::default(),
        })))
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
        blocking(move || match store.0.manifest(id) {
            Ok(manifest) => Ok(store.0.lacks(&manifest).is_empty()),
            Err(BlocksError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        })
        .await
    }

    /// Opens a disk for reading, whatever its size.
    pub async fn open_reader(&self, id: ManifestId) -> Result<Reader> {
        Ok(Reader::new(self.clone(), self.manifest(id).await?))
    }

    /// Creates a writable layer over a manifest, or over nothing.
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

    /// Removes a layer; one that is not there is fine.
    pub async fn delete_layer(&self, id: LayerId) -> Result<()> {
        let store = self.clone();
        blocking(move || Layer::delete(&store, id)).await
    }

    /// Returns the layers of this node.
    pub async fn layers(&self) -> Result<Vec<LayerId>> {
        let store = self.clone();
        blocking(move || Layer::list(&store)).await
    }

    /// Returns what the store holds.
    pub async fn stat(&self) -> Result<Stat> {
        let store = self.clone();
        blocking(move || {
            let manifests = store.0.manifest_ids()?.len() as u64;
            let layers = Layer::list(&store)?.len() as u64;
            let index = store.0.index();
            Ok(Stat {
                stored_bytes: index.packs().map(|pack| pack.bytes).sum(),
                packs: index.packs().count() as u64,
                frames: index.frames().count() as u64,
                blocks: index.block_count() as u64,
                manifests,
                layers,
            })
        })
        .await
    }
}

impl Inner {
    pub fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps content from being removed while references to it are being made.
    pub fn keep(&self) -> RwLockReadGuard<'_, ()> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets nobody make references; `None` while somebody does.
    pub fn try_close(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        self.gate.try_write().ok()
    }

    /// Seals a pack and makes its frames known.
    pub fn seal(&self, writer: pack::Writer) -> Result<()> {
        if let Some((id, entries)) = writer.seal(&self.directories)? {
            let file = File::open(pack::path(&self.directories, id))?;
            let bytes = file.metadata()?.len();
            self.index_mut()
                .add(&Arc::new(Pack { id, file, bytes }), &entries);
        }
        Ok(())
    }

    pub fn manifest_path(&self, id: ManifestId) -> PathBuf {
        self.directories.manifests.join(id.to_string())
    }

    /// Returns every manifest's id.
    pub fn manifest_ids(&self) -> Result<Vec<ManifestId>> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.directories.manifests)? {
            ids.extend(
                entry?
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse::<ManifestId>().ok()),
            );
        }
        ids.sort_unstable();
        Ok(ids)
    }

    pub fn manifest(&self, id: ManifestId) -> Result<Arc<Manifest>> {
        if let Some(known) = self
            .manifests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
        {
            return Ok(known.clone());
        }
        let bytes = match fs::read(self.manifest_path(id)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(BlocksError::not_found(format!("manifest {id}")));
            }
            Err(error) => return Err(error.into()),
        };
        let manifest = Arc::new(Manifest::decode(id, &bytes)?);
        let mut known = self
            .manifests
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MANIFESTS_MAX {
            known.clear();
        }
        known.insert(id, manifest.clone());
        Ok(manifest)
    }

    pub fn forget_manifest(&self, id: ManifestId) {
        self.manifests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
    }

    /// Stores a manifest whose frames are all durable. Call with the gate held.
    pub fn put_manifest(&self, manifest: &Manifest) -> Result<ManifestId> {
        let bytes = manifest.encode();
        let id = manifest::id_of(&bytes);
        // Whoever makes it again wants it: the wait for removal starts anew.
        match fs::remove_file(self.directories.unreferenced.join(id.to_string())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let path = self.manifest_path(id);
        if !path.exists() {
            self.directories.write_durable(&path, &bytes)?;
        }
        Ok(id)
    }

    /// Returns the frames of a manifest that are not here.
    pub fn lacks(&self, manifest: &Manifest) -> Vec<FrameId> {
        let index = self.index();
        manifest
            .frames()
            .into_iter()
            .filter(|frame| !index.has(*frame))
            .collect()
    }

    /// Reads a frame's stored bytes, unchecked.
    pub fn read_stored(&self, place: &Place) -> Result<Vec<u8>> {
        let mut bytes = vec![0_u8; place.length as usize];
        place.pack.file.read_exact_at(&mut bytes, place.offset)?;
        Ok(bytes)
    }

    /// Returns a frame's blocks, checked.
    pub fn frame(&self, id: FrameId) -> Result<Arc<Vec<u8>>> {
        self.cache.get(id, || {
            let place = self.index().place(id)?;
            let bytes = self.read_stored(&place)?;
            frame::unpack(
                id,
                place.codec,
                &place.digest,
                &bytes,
                usize::from(place.blocks),
            )
        })
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
