//! What the parts of a store share: its objects, its index, and the way from ids to content.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::cache::FrameCache;
use crate::error::{BlocksError, Result};
use crate::files::{self, Files};
use crate::frame::{self, FrameId};
use crate::gate::Gate;
use crate::index::{Index, Place};
use crate::layer::{LayerId, Pending};
use crate::location::StoreOptions;
use crate::manifest::{self, Manifest, ManifestId};
use crate::objects::{self, Objects, Room};
use crate::pack::{self, Pack};
use crate::packs::Looks;
use crate::segment::Segment;
use crate::store::Decoded;

/// Looks for a frame whose pack went while it was being read.
const LOOKUPS_MAX: usize = 4;

pub(crate) struct Inner {
    pub objects: Objects,
    pub local: Local,
    pub key: [u8; 32],
    pub level: i32,
    pub index: Index,
    pub gate: Arc<Gate>,
    /// Held while manifests are named, removed, or taken as a base: those moments exclude each other.
    pub names: Mutex<()>,
    /// One sweep or repair at a time.
    pub sweeping: Mutex<()>,
    /// Packs that could not be opened, and why: their frames count as missing.
    pub left_out: Mutex<BTreeMap<Uuid, String>>,
    pub looks: Looks,
    decoded: Mutex<Decoded>,
    pins: Arc<Mutex<BTreeMap<ManifestId, usize>>>,
    pub cache: FrameCache,
}

/// The files of this node alone.
pub(crate) struct Local {
    pub files: Arc<dyn Files>,
    pub directory: PathBuf,
    pub temporary: PathBuf,
    _lock: Box<dyn Send + Sync>,
}

/// Where a frame was found, and its stored bytes.
pub(crate) type StoredAt = (Place, Vec<u8>);

/// A sealed pack and its tables.
pub(crate) type Sealed = (Arc<Pack>, Vec<Segment>);

/// Keeps a manifest from being removed.
pub(crate) struct Pin {
    id: ManifestId,
    pins: Arc<Mutex<BTreeMap<ManifestId, usize>>>,
}

impl Inner {
    /// Opens the parts of a store.
    pub fn open(files: Arc<dyn Files>, objects: Objects, options: &StoreOptions) -> Result<Self> {
        let local = Local::open(files, options.local.clone())?;
        let inner = Self {
            objects,
            local,
            key: options.key,
            level: options.level,
            index: Index::new(options.index_bytes_max),
            gate: Arc::default(),
            names: Mutex::default(),
            sweeping: Mutex::default(),
            left_out: Mutex::default(),
            looks: Looks::default(),
            decoded: Mutex::default(),
            pins: Arc::default(),
            cache: options
                .cache
                .clone()
                .unwrap_or_else(|| FrameCache::new(options.cache_bytes_max)),
        };
        if let Some(owner) = &options.owner {
            // Nobody but who has the key can say it.
            let tag = blake3::keyed_hash(&options.key, owner.as_bytes());
            inner.objects.belong_to(tag.to_hex().as_str())?;
        }
        inner.look_for_packs()?;
        Ok(inner)
    }

    /// Seals a pack and makes its frames known; returns its bytes.
    pub fn seal(&self, writer: pack::Writer) -> Result<u64> {
        let Some((pack, segments)) = self.seal_unknown(writer)? else {
            return Ok(0);
        };
        let pack = self.index.add(pack);
        self.index.hook(&pack, segments.iter().map(Some));
        Ok(pack.bytes)
    }

    /// Seals a pack that takes the place of others: what it holds is to be hooked when they are gone,
    /// because the first hook of a block stays while its pack does.
    pub fn seal_unknown(&self, writer: pack::Writer) -> Result<Option<Sealed>> {
        let sealed = writer.seal(self.gate.now())?;
        Ok(sealed.map(|(pack, segments)| (Arc::new(pack), segments)))
    }

    /// Returns every manifest's id.
    pub fn manifest_ids(&self) -> Result<Vec<ManifestId>> {
        let names = self.objects.list(Room::Manifests)?;
        let mut ids: Vec<ManifestId> = names.iter().filter_map(|(n, _)| n.parse().ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Returns a manifest, kept decoded for the next caller.
    pub fn manifest(&self, id: ManifestId) -> Result<Arc<Manifest>> {
        if let Some(known) = lock(&self.decoded).get(id) {
            return Ok(known);
        }
        let names = lock(&self.names);
        self.manifest_named(&names, id)
    }

    fn manifest_named(&self, _names: &MutexGuard<'_, ()>, id: ManifestId) -> Result<Arc<Manifest>> {
        if let Some(known) = lock(&self.decoded).get(id) {
            return Ok(known);
        }
        let manifest = Arc::new(self.read_manifest(id)?);
        lock(&self.decoded).insert(id, manifest.clone());
        Ok(manifest)
    }

    /// Reads a manifest from the storage.
    pub fn read_manifest(&self, id: ManifestId) -> Result<Manifest> {
        let bytes = self.objects.get(Room::Manifests, &id.to_string())?;
        let bytes = bytes.ok_or_else(|| BlocksError::not_found(format!("manifest {id}")))?;
        self.looks.note_manifest();
        Manifest::decode(id, &bytes)
    }

    /// Returns a manifest and keeps it from being removed.
    pub fn pin(&self, id: ManifestId) -> Result<(Arc<Manifest>, Pin)> {
        let names = lock(&self.names);
        let manifest = self.manifest_named(&names, id)?;
        *lock(&self.pins).entry(id).or_default() += 1;
        let pins = self.pins.clone();
        Ok((manifest, Pin { id, pins }))
    }

    /// Whether somebody reads a manifest.
    pub fn is_pinned(&self, id: ManifestId) -> bool {
        lock(&self.pins).contains_key(&id)
    }

    /// Stores a manifest whose frames are all durable. Call with the gate held.
    pub fn put_manifest(&self, manifest: &Manifest) -> Result<ManifestId> {
        let bytes = manifest.encode();
        let id = manifest::id_of(&bytes);
        let _names = lock(&self.names);
        // Whoever makes it again wants it: the wait for removal starts anew.
        self.objects.remove(Room::Unreferenced, &id.to_string())?;
        self.objects
            .ensure(Room::Manifests, &id.to_string(), &bytes)?;
        Ok(id)
    }

    /// Takes a manifest as the base of something that `record` makes durable: it must be here, and
    /// its wait for removal ends.
    pub fn use_as_base(
        &self,
        base: Option<ManifestId>,
        record: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let names = lock(&self.names);
        if let Some(id) = base {
            // Another node may have swept what is remembered here.
            if self.objects.is_shared() {
                self.read_manifest(id)?;
            }
            self.manifest_named(&names, id)?;
            self.objects.remove(Room::Unreferenced, &id.to_string())?;
        }
        record()
    }

    /// Removes a manifest. Call with the names held.
    pub fn remove_manifest(&self, _names: &MutexGuard<'_, ()>, id: ManifestId) -> Result<()> {
        lock(&self.decoded).remove(id);
        self.objects.remove(Room::Manifests, &id.to_string())?;
        self.objects.remove(Room::Unreferenced, &id.to_string())
    }

    /// Returns the frames of a manifest that are not here.
    pub fn lacks(&self, manifest: &Manifest) -> Result<Vec<FrameId>> {
        self.lacks_where(manifest, |_| true)
    }

    /// Returns the frames of a manifest that are in no pack of a kind.
    pub fn lacks_where(
        &self,
        manifest: &Manifest,
        counts: impl Fn(&Place) -> bool,
    ) -> Result<Vec<FrameId>> {
        let mut missing = Vec::new();
        for frame in manifest.frames() {
            match self.places(frame) {
                Ok(places) if places.iter().any(&counts) => {}
                // A table that cannot be read counts as missing: another region can heal it.
                Ok(_) | Err(BlocksError::Damaged { .. } | BlocksError::NotFound { .. }) => {
                    missing.push(frame);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(missing)
    }

    /// Reads a frame's stored bytes, unchecked.
    pub fn read_stored(&self, place: &Place) -> Result<Vec<u8>> {
        let mut bytes = vec![0_u8; place.length as usize];
        let pack = self.index.bytes(&self.objects, place.pack.id)?;
        match pack.read_at(&mut bytes, place.offset) {
            Err(BlocksError::Io(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                let what = format!("pack {}", place.pack.id);
                Err(BlocksError::damaged(what, "it is cut short"))
            }
            Err(error) => Err(error),
            Ok(()) => Ok(bytes),
        }
    }

    /// Reads a frame from the first of its places that gives the right bytes; returns them and its
    /// stored form.
    pub fn read_frame(&self, id: FrameId) -> Result<(Vec<u8>, StoredAt)> {
        let mut last = BlocksError::not_found(format!("frame {}:{}", id.origin, id.number));
        for _ in 0..LOOKUPS_MAX {
            let mut has_moved = false;
            for place in self.places(id)? {
                match self.read_place(id, &place) {
                    Ok((raw, bytes)) => return Ok((raw, (place, bytes))),
                    Err(error) => {
                        has_moved |= matches!(error, BlocksError::NotFound { .. });
                        last = error;
                    }
                }
            }
            if !has_moved {
                break;
            }
            self.catch_up()?;
        }
        Err(last)
    }

    /// Reads a frame from one place; returns its blocks and its stored bytes.
    pub fn read_place(&self, id: FrameId, place: &Place) -> Result<(Vec<u8>, Vec<u8>)> {
        let bytes = self.read_stored(place)?;
        let length = pack::raw_bytes(place.blocks);
        let raw = frame::unpacked(id, place.codec, &place.digest, &bytes, length)?;
        Ok((raw, bytes))
    }
}

impl Local {
    fn open(files: Arc<dyn Files>, root: PathBuf) -> Result<Self> {
        files.create_directory(&root)?;
        let lock = objects::lock(files.as_ref(), &root.join("layers.lock"))?;
        let directory = root.join("layers");
        files.create_directory(&directory)?;
        let local = Self {
            temporary: root.join("temporary-layers"),
            files,
            directory,
            _lock: lock,
        };
        objects::clear(local.files.as_ref(), &local.temporary)?;
        local.clear_orphans()?;
        Ok(local)
    }

    /// Removes the data of layers that a crash left without a map.
    fn clear_orphans(&self) -> Result<()> {
        let known = self.layers()?;
        for (name, _) in self.files.list(&self.directory)? {
            let data_of = name.split_once(".data.").map(|(id, _)| id);
            let id = data_of
                .or_else(|| Pending::layer_of(&name))
                .map(Uuid::parse_str);
            if let Some(Ok(id)) = id
                && known.binary_search(&LayerId(id)).is_err()
            {
                files::remove_if_there(self.files.as_ref(), &self.directory.join(name))?;
            }
        }
        Ok(self.files.sync_directory(&self.directory)?)
    }

    /// Returns the layers that are here.
    pub fn layers(&self) -> Result<Vec<LayerId>> {
        let names = self.files.list(&self.directory)?;
        let mut ids: Vec<LayerId> = names
            .iter()
            .filter_map(|(name, _)| Uuid::parse_str(name.strip_suffix(".map")?).ok())
            .map(LayerId)
            .collect();
        ids.sort_unstable();
        Ok(ids)
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = lock(&self.pins);
        if let Some(count) = pins.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.id);
            }
        }
    }
}

/// Takes a lock; what a panicking holder left is whole, because every change is one step.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
