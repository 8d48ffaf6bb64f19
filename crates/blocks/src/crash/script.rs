//! One run of everything that a store does, with a record of what it acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::disk::CrashDisk;
use super::open;
use super::support::{Plain, Random};
use crate::{CondenseLimits, Layer, LayerId, ManifestId, Progress, Store};

const SECTOR: usize = 512;
const LAYER: LayerId = LayerId(Uuid::from_u128(7));

/// What was acknowledged.
#[derive(Clone, Default)]
pub struct World {
    disks: [BTreeMap<ManifestId, Vec<u8>>; 2],
    /// What the layer may hold: each sector is that of one of these.
    layer: Option<Vec<Vec<u8>>>,
    /// A sync failed: what it should have kept is never certain again.
    is_uncertain: bool,
    /// What the layer holds for the next process: what was acknowledged last, or, once a change
    /// failed, that or the change.
    exact: Vec<Vec<u8>>,
}

impl World {
    /// Makes what is there before the script runs.
    pub async fn begin(disk: &CrashDisk, seed: u64) -> Self {
        let mut world = Self::default();
        let mut random = Random(seed ^ 77);
        for name in ["a", "b"] {
            drop(open(disk, name).unwrap());
        }
        let store = open(disk, "a").unwrap();
        for _ in 0..2 {
            world.ingest(&store, random.disk()).await;
        }
        assert_eq!(world.disks[0].len(), 2);
        world
    }

    pub fn again(&self) -> Self {
        self.clone()
    }

    /// Does everything, going on after errors.
    pub async fn run(&mut self, disk: &CrashDisk, seed: u64) {
        let mut random = Random(seed ^ 99);
        let (Ok(store), Ok(other)) = (open(disk, "a"), open(disk, "b")) else {
            return;
        };
        self.ingest(&store, random.disk()).await;
        self.make_layer(&store).await;
        for _ in 0..3 {
            self.write(&store, &mut random).await;
        }
        self.resize(&store, &mut random).await;
        self.write(&store, &mut random).await;
        self.freeze(&store).await;
        self.write(&store, &mut random).await;
        self.copy(&store, &other).await;
        // One in two disks is not wanted any more: packs become thin.
        let gone: Vec<ManifestId> = self.disks[0].keys().copied().step_by(2).collect();
        for id in &gone {
            self.disks[0].remove(id);
        }
        self.sweep(&store, 0).await;
        Self::condense(&store).await;
        self.write(&store, &mut random).await;
        self.freeze(&store).await;
        self.copy(&store, &other).await;
        Self::condense(&other).await;
        self.disks[1].clear();
        self.sweep(&other, 1).await;
        self.write_unflushed(&store, &mut random).await;
    }

    async fn ingest(&mut self, store: &Store, bytes: Vec<u8>) {
        let source = Arc::new(Plain(bytes.clone()));
        if let Ok(done) = store.ingest(source, &Progress::default()).await {
            self.disks[0].insert(done.manifest, bytes);
        }
    }

    async fn make_layer(&mut self, store: &Store) {
        let Some((base, bytes)) = self.disks[0].iter().next() else {
            return;
        };
        let mut bytes = bytes.clone();
        bytes.resize(bytes.len() + 5000, 0);
        let size = bytes.len() as u64;
        if store.create_layer(LAYER, Some(*base), size).await.is_ok() {
            self.exact = vec![bytes.clone()];
            self.layer = Some(vec![bytes]);
        } else {
            drop(store.delete_layer(LAYER).await);
        }
    }

    async fn open_layer(&self, store: &Store) -> Option<Layer> {
        self.layer.as_ref()?;
        store.open_layer(LAYER).await.ok()
    }

    /// Notes what the layer holds after a change that may have failed, and whether it is durable.
    async fn note(&mut self, store: &Store, wanted: Vec<u8>, is_done: bool, is_flushed: bool) {
        let Some(history) = &mut self.layer else {
            return;
        };
        if is_done && !self.is_uncertain {
            self.exact.clear();
        }
        if !self.is_uncertain {
            self.exact.push(wanted.clone());
        }
        history.push(wanted);
        if !is_done {
            // After a change that failed nobody knows what is there, flushed or not.
            self.is_uncertain = true;
            if let Ok(layer) = store.open_layer(LAYER).await {
                let size = usize::try_from(layer.size_bytes()).unwrap();
                if let Ok(found) = layer.read(0, size).await {
                    self.check_layer(&found, "after an error");
                    self.layer.as_mut().unwrap().push(found);
                }
            }
        } else if is_flushed && !self.is_uncertain {
            history.drain(..history.len() - 1);
        }
    }

    async fn write(&mut self, store: &Store, random: &mut Random) {
        self.write_unflushed(store, random).await;
        self.write_unflushed(store, random).await;
        let Some(layer) = self.open_layer(store).await else {
            return;
        };
        let wanted = self.layer.as_ref().unwrap().last().unwrap().clone();
        let is_flushed = layer.flush().await.is_ok();
        self.note(store, wanted, is_flushed, is_flushed).await;
    }

    async fn write_unflushed(&mut self, store: &Store, random: &mut Random) {
        let (from, length, kind) = (random.next(), random.below(30_000), random.below(4));
        let bytes = random.bytes(length);
        let Some(layer) = self.open_layer(store).await else {
            return;
        };
        let mut wanted = self.layer.as_ref().unwrap().last().unwrap().clone();
        let from = usize::try_from(from % wanted.len() as u64).unwrap();
        let length = length.min(wanted.len() - from);
        let is_done = if kind == 0 {
            wanted[from..from + length].fill(0);
            layer.write_zeroes(from as u64, length as u64).await.is_ok()
        } else {
            wanted[from..from + length].copy_from_slice(&bytes[..length]);
            layer.write_at(from as u64, &bytes[..length]).await.is_ok()
        };
        self.note(store, wanted, is_done, false).await;
    }

    async fn resize(&mut self, store: &Store, random: &mut Random) {
        for _ in 0..2 {
            let more = random.below(20_000);
            let Some(layer) = self.open_layer(store).await else {
                return;
            };
            let mut wanted = self.layer.as_ref().unwrap().last().unwrap().clone();
            let size = (wanted.len() / 2 + more).max(1);
            wanted.resize(size, 0);
            let is_done = layer.resize(size as u64).await.is_ok();
            self.note(store, wanted, is_done, is_done).await;
        }
    }

    async fn freeze(&mut self, store: &Store) {
        let Some(layer) = self.open_layer(store).await else {
            return;
        };
        let (Ok(before), Ok(done)) = (
            layer
                .read(0, usize::try_from(layer.size_bytes()).unwrap())
                .await,
            layer.freeze(None).await,
        ) else {
            return;
        };
        self.check_layer(&before, "frozen");
        self.disks[0].insert(done.manifest, before);
    }

    async fn copy(&mut self, store: &Store, other: &Store) {
        for (id, bytes) in self.disks[0].clone() {
            if other
                .copy_from(store, id, &Progress::default())
                .await
                .is_ok()
            {
                self.disks[1].insert(id, bytes);
            }
        }
    }

    async fn sweep(&self, store: &Store, which: usize) {
        let live: BTreeSet<ManifestId> = self.disks[which].keys().copied().collect();
        if let Ok(plan) = store.sweep_plan(&live, 5, 0).await {
            drop(store.sweep(plan).await);
        }
    }

    /// Writes packs anew, also where that gains nothing.
    async fn condense(store: &Store) {
        let limits = CondenseLimits {
            gain_percent_min: 0,
            ..CondenseLimits::default()
        };
        drop(store.condense(limits, 5).await);
    }

    fn check_layer(&self, found: &[u8], context: &str) {
        Self::check_sectors(self.layer.as_ref().unwrap(), found, context);
    }

    /// Checks what the next process finds when this one was killed: all that was acknowledged.
    pub async fn check_after_kill(&self, disk: &CrashDisk, context: &str) {
        self.check_content(disk, context).await;
        if self.layer.is_none() {
            return;
        }
        let store = open(disk, "a").unwrap();
        let layer = store.open_layer(LAYER).await.unwrap();
        let size = usize::try_from(layer.size_bytes()).unwrap();
        let found = layer.read(0, size).await.unwrap();
        Self::check_sectors(&self.exact, &found, &format!("{context}, killed"));
        // It goes on from there: a flush makes it durable.
        layer.flush().await.unwrap();
        drop((layer, store));
        let after = disk.crash(1, false);
        let store = open(&after, "a").unwrap();
        let layer = store.open_layer(LAYER).await.unwrap();
        let durable = layer.read(0, size).await.unwrap();
        assert!(
            durable == found,
            "{context}, killed, flushed, then without power"
        );
    }

    fn check_sectors(history: &[Vec<u8>], found: &[u8], context: &str) {
        let is_known = history.iter().any(|bytes| bytes.len() == found.len());
        assert!(
            is_known,
            "{context}: the layer has a size of {}",
            found.len()
        );
        // Most often all of it is that of one moment.
        if history.iter().any(|bytes| bytes == found) {
            return;
        }
        for (n, sector) in found.chunks(SECTOR).enumerate() {
            let at = n * SECTOR;
            // Beyond an older size it was zero, and so it may be for an instant of a resize.
            let is_known = history.iter().any(|bytes| {
                let old = bytes.get(at..).unwrap_or_default();
                let old = &old[..old.len().min(sector.len())];
                let (same, beyond) = sector.split_at(old.len());
                same == old && beyond.iter().all(|byte| *byte == 0)
            });
            assert!(
                is_known,
                "{context}: sector {n} of the layer of {} has {:?}, known are {:?}",
                found.len(),
                &sector[..8.min(sector.len())],
                Self::likeness(history, at, sector)
            );
        }
    }

    /// Says of each moment how much of a sector it shares, from its beginning and from its end.
    fn likeness(history: &[Vec<u8>], at: usize, sector: &[u8]) -> Vec<String> {
        let same = |(a, b): &(&u8, &u8)| a == b;
        let each = history.iter().map(|bytes| {
            let tail = bytes.get(at..).unwrap_or_default();
            let first = tail.iter().zip(sector).take_while(same).count();
            let last = tail.iter().take(sector.len()).rev();
            let last = last.zip(sector.iter().rev()).take_while(same).count();
            format!("{}: {first} … {last}", bytes.len())
        });
        each.collect()
    }

    /// Checks a store that went through an error and was not restarted.
    pub async fn check_without_crash(&mut self, disk: &CrashDisk, context: &str) {
        self.check_content(disk, context).await;
        let left: Vec<_> = disk
            .names()
            .into_iter()
            .filter(|path| path.to_str().unwrap().contains("temporary"))
            .collect();
        assert_eq!(left, Vec::<std::path::PathBuf>::new(), "{context}");
    }

    async fn check_content(&self, disk: &CrashDisk, context: &str) {
        for (name, disks) in ["a", "b"].into_iter().zip(&self.disks) {
            let store = open(disk, name).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert_eq!(store.fsck().await.unwrap(), [], "{context}");
            for (id, bytes) in disks {
                let reader = store.open_reader(*id).await;
                let reader = reader.unwrap_or_else(|error| panic!("{context}: {error}"));
                assert_eq!(
                    reader.read(0, bytes.len()).await.unwrap(),
                    *bytes,
                    "{context}"
                );
            }
            if name == "a" && self.layer.is_some() {
                let layer = store.open_layer(LAYER).await;
                let layer = layer.unwrap_or_else(|error| panic!("{context}: {error}"));
                let size = usize::try_from(layer.size_bytes()).unwrap();
                self.check_layer(&layer.read(0, size).await.unwrap(), context);
            }
        }
    }

    /// Checks that all is there, that a sweep takes nothing that is wanted, and that it takes the rest.
    pub async fn check(&mut self, disk: &CrashDisk, context: &str) {
        self.check_content(disk, context).await;
        for (which, name) in ["a", "b"].into_iter().enumerate() {
            self.sweep(&open(disk, name).unwrap(), which).await;
        }
        self.check_content(disk, context).await;
        for (which, name) in ["a", "b"].into_iter().enumerate() {
            let store = open(disk, name).unwrap();
            store.delete_layer(LAYER).await.unwrap();
            self.disks[which].clear();
            self.sweep(&store, which).await;
            // There is nothing that it would have to know about.
            Self::condense(&store).await;
        }
        let left = disk.names();
        assert!(left.is_empty(), "{context}: left behind {left:?}");
    }
}
