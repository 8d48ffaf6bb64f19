//! The store against a plain model: whatever happens, every disk holds the bytes it should.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use blocks::{CondenseLimits, Layer, LayerId, Location, ManifestId, Progress, Store, StoreOptions};
use disk::{DiskError, Extent, ExtentKind, Source};
use uuid::Uuid;

mod support;

use support::{Plain, Random, is_long};

async fn open(root: &Path, name: &str) -> Store {
    let location = Location::Directory(root.join(name));
    let mut options = StoreOptions::new(location, root.join(format!("{name}-local")), [7; 32]);
    options.cache_bytes_max = 1 << 20;
    Store::open(options).await.unwrap()
}

struct World {
    root: tempfile::TempDir,
    stores: Vec<Store>,
    disks: [BTreeMap<ManifestId, Vec<u8>>; 2],
    layers: BTreeMap<Uuid, Vec<u8>>,
    random: Random,
}

impl World {
    async fn new(seed: u64) -> Self {
        let root = tempfile::tempdir().unwrap();
        let stores = vec![open(root.path(), "a").await, open(root.path(), "b").await];
        Self {
            root,
            stores,
            disks: Default::default(),
            layers: BTreeMap::new(),
            random: Random(seed),
        }
    }

    async fn step(&mut self) {
        match self.random.below(12) {
            0 | 1 => self.ingest().await,
            2 => self.make_layer().await,
            3..=6 => self.write().await,
            7 => self.freeze().await,
            8 => self.copy().await,
            9 => self.drop_some(),
            10 => self.sweep().await,
            _ => self.reopen().await,
        }
    }

    async fn ingest(&mut self) {
        let bytes = self.random.disk();
        let done = self.stores[0]
            .ingest(Arc::new(Plain(bytes.clone())), &Progress::default())
            .await
            .unwrap();
        assert_eq!(done.size_bytes, bytes.len() as u64);
        self.disks[0].insert(done.manifest, bytes);
    }

    async fn make_layer(&mut self) {
        let id = Uuid::new_v4();
        let base = self.disks[0]
            .iter()
            .nth(self.random.below(self.disks[0].len() + 1))
            .map(|(id, b)| (*id, b.clone()));
        let mut bytes = base.as_ref().map(|(_, b)| b.clone()).unwrap_or_default();
        // Larger than its base, or smaller: what the base has beyond must never show.
        let length = match self.random.below(4) {
            0 => self.random.below(bytes.len()) + 1,
            _ => bytes.len() + self.random.below(5) * 4096 + 512,
        };
        bytes.resize(length, 0);
        let size = bytes.len() as u64;
        self.stores[0]
            .create_layer(LayerId(id), base.map(|(id, _)| id), size)
            .await
            .unwrap();
        self.layers.insert(id, bytes);
    }

    async fn pick(&mut self) -> Option<(Uuid, Layer)> {
        let id = *self
            .layers
            .keys()
            .nth(self.random.below(self.layers.len()))?;
        Some((id, self.stores[0].open_layer(LayerId(id)).await.unwrap()))
    }

    async fn write(&mut self) {
        let Some((id, layer)) = self.pick().await else {
            return;
        };
        let mut model = self.layers.remove(&id).unwrap();
        let from = self.random.below(model.len());
        let length = self.random.below(model.len() - from).min(40_000);
        match self.random.below(5) {
            0 => {
                layer
                    .write_zeroes(from as u64, length as u64)
                    .await
                    .unwrap();
                model[from..from + length].fill(0);
            }
            1 => {
                let size = self.random.below(model.len() + 9000).max(1);
                layer.resize(size as u64).await.unwrap();
                model.resize(size, 0);
            }
            _ => {
                let bytes = self.random.bytes(length);
                layer.write_at(from as u64, &bytes).await.unwrap();
                model[from..from + length].copy_from_slice(&bytes);
            }
        }
        // What one handle wrote another one flushes.
        drop(layer);
        if self.random.below(2) == 0 {
            let layer = self.stores[0].open_layer(LayerId(id)).await.unwrap();
            layer.flush().await.unwrap();
        }
        self.layers.insert(id, model);
    }

    async fn freeze(&mut self) {
        let Some((id, layer)) = self.pick().await else {
            return;
        };
        let model = self.layers[&id].clone();
        let length = if self.random.below(2) == 0 {
            model.len()
        } else {
            self.random.below(model.len())
        };
        let done = layer.freeze(Some(length as u64)).await.unwrap();
        let reader = self.stores[0].open_reader(done.manifest).await.unwrap();
        assert!(reader.read(0, length).await.unwrap() == model[..length]);
        // The digest says what the bytes are, however they came in.
        let again = self.stores[0]
            .ingest(
                Arc::new(Plain(model[..length].to_vec())),
                &Progress::default(),
            )
            .await
            .unwrap();
        assert_eq!(done.content, again.content);
        self.disks[0].insert(done.manifest, model[..length].to_vec());
        self.disks[0].insert(again.manifest, model[..length].to_vec());
    }

    async fn copy(&mut self) {
        let Some((id, bytes)) = self.disks[0]
            .iter()
            .nth(self.random.below(self.disks[0].len()))
        else {
            return;
        };
        let (id, bytes) = (*id, bytes.clone());
        self.stores[1]
            .copy_from(&self.stores[0], id, &Progress::default())
            .await
            .unwrap();
        assert!(self.stores[1].has_manifest(id).await.unwrap());
        let again = self.stores[1]
            .copy_from(&self.stores[0], id, &Progress::default())
            .await
            .unwrap();
        assert_eq!(again.bytes_moved, 0);
        self.disks[1].insert(id, bytes);
    }

    fn drop_some(&mut self) {
        for disks in &mut self.disks {
            let kept = self.random.next();
            let mut n = 0;
            disks.retain(|_, _| {
                n += 1;
                kept >> (n % 64) & 1 == 1
            });
        }
        if self.layers.len() > 3 {
            self.layers.pop_first();
        }
    }

    async fn sweep(&mut self) {
        for id in self.stores[0].layers().await.unwrap() {
            if !self.layers.contains_key(&id.0) {
                self.stores[0].delete_layer(id).await.unwrap();
            }
        }
        for (store, disks) in self.stores.iter().zip(&self.disks) {
            let live: BTreeSet<ManifestId> = disks.keys().copied().collect();
            let plan = store.sweep_plan(&live, 0, 0).await.unwrap();
            store.sweep(plan).await.unwrap();
            let limits = CondenseLimits {
                level: 12,
                gain_percent_min: 0,
                bytes_max: 200_000,
                ..CondenseLimits::default()
            };
            store.condense(limits, 0).await.unwrap();
            assert_eq!(store.fsck().await.unwrap(), []);
        }
    }

    async fn reopen(&mut self) {
        for id in self.layers.keys() {
            let layer = self.stores[0].open_layer(LayerId(*id)).await.unwrap();
            layer.flush().await.unwrap();
        }
        // Dropped first: a directory that a store works on is refused to a second one.
        self.stores.clear();
        for name in ["a", "b"] {
            self.stores.push(open(self.root.path(), name).await);
        }
    }

    async fn check(&mut self) {
        for (store, disks) in self.stores.iter().zip(&self.disks) {
            for (id, bytes) in disks {
                let reader = store.open_reader(*id).await.unwrap();
                assert_eq!(reader.read(0, bytes.len()).await.unwrap(), *bytes);
                store.verify(*id).await.unwrap();
            }
        }
        for (id, bytes) in &self.layers {
            let layer = self.stores[0].open_layer(LayerId(*id)).await.unwrap();
            assert_eq!(layer.size_bytes(), bytes.len() as u64);
            assert_eq!(layer.read(0, bytes.len()).await.unwrap(), *bytes);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_every_disk_holds_its_bytes() {
    let rounds = if is_long() { 400 } else { 12 };
    for seed in 0..rounds {
        let mut world = World::new(seed).await;
        for _ in 0..40 {
            world.step().await;
        }
        world.check().await;
        world.reopen().await;
        world.check().await;
        // Nothing is left when nothing is wanted.
        world.disks = Default::default();
        world.layers.clear();
        world.sweep().await;
        for store in &world.stores {
            let stat = store.stat().await.unwrap();
            assert_eq!(
                (stat.packs, stat.manifests, stat.layers, stat.stored_bytes),
                (0, 0, 0, 0),
                "seed {seed}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_of_32_tib_costs_what_it_holds() {
    struct Sparse;
    impl Source for Sparse {
        fn size_bytes(&self) -> u64 {
            32 << 40
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
            assert!((1 << 40..(1 << 40) + (8 << 20)).contains(&offset));
            buf.fill(u8::try_from(offset >> 20 & 0xff).unwrap() | 1);
            Ok(())
        }
        fn extent_at(&self, offset: u64) -> Result<Extent, DiskError> {
            let (start, end) = (1_u64 << 40, (1 << 40) + (8 << 20));
            let (length, kind) = match offset {
                o if o < start => (start - o, ExtentKind::Zero),
                o if o < end => (end - o, ExtentKind::Data),
                o => ((32 << 40) - o, ExtentKind::Zero),
            };
            Ok(Extent {
                offset,
                length,
                kind,
            })
        }
    }
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), "a").await;
    let done = store
        .ingest(Arc::new(Sparse), &Progress::default())
        .await
        .unwrap();
    assert_eq!(done.content_bytes, 8 << 20);
    let layer = store
        .create_layer(LayerId(Uuid::new_v4()), Some(done.manifest), 32 << 40)
        .await
        .unwrap();
    layer.write_at(20 << 40, b"far out").await.unwrap();
    let frozen = layer.freeze(None).await.unwrap();
    assert_eq!(frozen.new_bytes, 4096);
    let reader = store.open_reader(frozen.manifest).await.unwrap();
    assert_eq!(reader.read(20 << 40, 7).await.unwrap(), b"far out");
}
