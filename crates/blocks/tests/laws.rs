//! Laws of the store that each had a counterexample once, or could have.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use blocks::{Kind, LayerId, Location, ManifestId, MemoryLocation, Progress, Store, StoreOptions};
use uuid::Uuid;

mod support;

use support::{Plain, Random, is_long};

fn options(root: &Path, name: &str) -> StoreOptions {
    let location = Location::Directory(root.join(name));
    StoreOptions::new(location, root.join(format!("{name}-local")), [7; 32])
}

async fn open(root: &Path, name: &str) -> Store {
    Store::open(options(root, name)).await.unwrap()
}

async fn ingest(store: &Store, bytes: &[u8]) -> ManifestId {
    let source = Arc::new(Plain(bytes.to_vec()));
    let done = store.ingest(source, &Progress::default()).await.unwrap();
    done.manifest
}

async fn sweep(store: &Store, live: &[ManifestId]) -> blocks::Swept {
    let live: BTreeSet<ManifestId> = live.iter().copied().collect();
    let plan = store.sweep_plan(&live, 0, 0).await.unwrap();
    store.sweep(plan).await.unwrap()
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let words = (0..length.div_ceil(8)).flat_map(|_| random.next().to_le_bytes());
    let mut bytes: Vec<u8> = words.collect();
    bytes.truncate(length);
    bytes
}

#[tokio::test]
async fn what_a_base_has_beyond_a_smaller_layer_never_shows() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), "a").await;
    let base = ingest(&store, &[9; 16384]).await;
    let layer = store
        .create_layer(LayerId(Uuid::new_v4()), Some(base), 5000)
        .await
        .unwrap();
    layer.resize(16384).await.unwrap();
    let mut wanted = vec![9; 5000];
    wanted.resize(16384, 0);
    assert_eq!(layer.read(0, 16384).await.unwrap(), wanted);
    let frozen = layer.freeze(None).await.unwrap();
    assert_eq!(
        frozen.content,
        store
            .manifest(ingest(&store, &wanted).await)
            .await
            .unwrap()
            .content_digest()
    );
}

#[tokio::test]
async fn who_opens_a_directory_twice_in_one_process_shares_it() {
    let root = tempfile::tempdir().unwrap();
    let (first, second) = (open(root.path(), "a").await, open(root.path(), "a").await);
    let id = ingest(&first, &noise(1, 50_000)).await;
    assert!(second.has_manifest(id).await.unwrap());
    assert_eq!(second.stat().await.unwrap().packs, 1);
    drop((first, second));
    assert!(open(root.path(), "a").await.has_manifest(id).await.unwrap());
}

#[tokio::test]
async fn a_path_may_be_relative() {
    let root = tempfile::tempdir_in(".").unwrap();
    let path = Path::new(root.path().file_name().unwrap());
    let store = open(path, "a").await;
    let bytes = noise(1, 100_000);
    let id = ingest(&store, &bytes).await;
    let reader = store.open_reader(id).await.unwrap();
    assert_eq!(reader.read(0, bytes.len()).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_layer_that_is_there_is_not_made_again() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), "a").await;
    let id = LayerId(Uuid::new_v4());
    let layer = store.create_layer(id, None, 8192).await.unwrap();
    layer.write_at(0, b"kept").await.unwrap();
    layer.flush().await.unwrap();
    let again = store.create_layer(id, None, 8192).await;
    assert_eq!(again.err().unwrap().kind(), Kind::Invalid);
    assert_eq!(layer.read(0, 4).await.unwrap(), b"kept");
    store.delete_layer(id).await.unwrap();
    assert!(layer.write_at(0, b"late").await.is_err());
    assert!(layer.freeze(None).await.is_err());
    let layer = store.create_layer(id, None, 8192).await.unwrap();
    assert_eq!(layer.read(0, 4).await.unwrap(), [0; 4]);
}

#[tokio::test]
async fn a_sweep_spares_what_was_taken_up_after_its_plan() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), "a").await;
    let bytes: Vec<Vec<u8>> = (0..4).map(|seed| noise(seed, 300_000)).collect();
    let mut ids = Vec::new();
    for bytes in &bytes {
        ids.push(ingest(&store, bytes).await);
    }
    let plan = store.sweep_plan(&BTreeSet::new(), 0, 0).await.unwrap();
    assert_eq!(plan.manifests.len(), 4);
    let layer = store
        .create_layer(LayerId(Uuid::new_v4()), Some(ids[0]), 300_000)
        .await
        .unwrap();
    let reader = store.open_reader(ids[1]).await.unwrap();
    assert_eq!(ingest(&store, &bytes[2]).await, ids[2]);
    assert_eq!(store.sweep(plan).await.unwrap().manifests, 1);
    assert_eq!(layer.read(0, 300_000).await.unwrap(), bytes[0]);
    assert_eq!(reader.read(0, 300_000).await.unwrap(), bytes[1]);
    assert!(store.has_manifest(ids[2]).await.unwrap());
    assert!(!store.has_manifest(ids[3]).await.unwrap());
    drop(reader);
    assert_eq!(sweep(&store, &[ids[2]]).await.manifests, 1);
    assert_eq!(store.fsck().await.unwrap(), []);
}

#[tokio::test]
async fn a_freeze_is_of_one_moment_and_writers_go_on() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), "a").await;
    let size = 48 << 20;
    let layer = store
        .create_layer(LayerId(Uuid::new_v4()), None, size)
        .await
        .unwrap();
    layer.write_at(0, &noise(3, 48 << 20)).await.unwrap();
    let far = size - 4096;
    layer.write_at(0, &[0; 8]).await.unwrap();
    layer.write_at(far, &[0; 8]).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (layer, stop) = (layer.clone(), stop.clone());
        async move {
            let mut count = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                count += 1;
                // First the far end, then the near one: near is never ahead.
                layer.write_at(far, &count.to_le_bytes()).await.unwrap();
                layer.write_at(0, &count.to_le_bytes()).await.unwrap();
            }
            count
        }
    });
    let number = |bytes: Vec<u8>| u64::from_le_bytes(bytes.try_into().unwrap());
    let mut last = 0;
    for _ in 0..6 {
        let frozen = layer.freeze(None).await.unwrap();
        let reader = store.open_reader(frozen.manifest).await.unwrap();
        let near = number(reader.read(0, 8).await.unwrap());
        let far = number(reader.read(far, 8).await.unwrap());
        if last > 0 {
            assert!(
                far == near || far == near + 1,
                "{near} and {far} are of two moments"
            );
            assert!(near >= last);
        }
        last = near.max(1);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 6, "writers waited for the freeze");
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_are_frozen_together_are_of_one_moment() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), "a").await;
    // Made in an order that is not that of their names; the first has most to read.
    let mut layers = Vec::new();
    for (name, bytes) in [(2_u128, 32 << 20), (1, 4096), (3, 4096)] {
        let id = LayerId(Uuid::from_u128(name));
        let layer = store.create_layer(id, None, bytes).await.unwrap();
        layer
            .write_at(0, &noise(3, usize::try_from(bytes).unwrap()))
            .await
            .unwrap();
        layer.write_at(0, &[0; 8]).await.unwrap();
        layers.push(layer);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (layers, stop) = (layers.clone(), stop.clone());
        async move {
            let mut count = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                count += 1;
                // One after the other: none is ever ahead of one before it.
                for layer in &layers {
                    layer.write_at(0, &count.to_le_bytes()).await.unwrap();
                }
            }
            count
        }
    });
    let number = |bytes: Vec<u8>| u64::from_le_bytes(bytes.try_into().unwrap());
    let mut last = 0;
    for _ in 0..20 {
        let frozen = blocks::Layer::freeze_together(&layers).await.unwrap();
        let mut seen = Vec::new();
        for (frozen, layer) in frozen.iter().zip(&layers) {
            assert_eq!(frozen.size_bytes, layer.size_bytes());
            let reader = store.open_reader(frozen.manifest).await.unwrap();
            seen.push(number(reader.read(0, 8).await.unwrap()));
        }
        assert!(
            seen.is_sorted_by(|a, b| a >= b) && seen[0] - seen[2] <= 1 && seen[0] >= last,
            "{seen:?} are not of one moment"
        );
        last = seen[0];
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 20, "writers went on");
    let twice = [layers[0].clone(), layers[1].clone(), layers[0].clone()];
    assert!(blocks::Layer::freeze_together(&twice).await.is_err());
    // Nothing is held after a refusal.
    assert_eq!(blocks::Layer::freeze_together(&[]).await.unwrap().len(), 0);
    store
        .delete_layer(LayerId(Uuid::from_u128(3)))
        .await
        .unwrap();
    assert!(blocks::Layer::freeze_together(&layers).await.is_err());
    layers[0].write_at(0, &[1; 8]).await.unwrap();
    layers[0].freeze(None).await.unwrap();
}

#[tokio::test]
async fn a_freeze_keeps_what_was_written_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path(), "a").await;
    let mut bytes = noise(8, 12 << 20);
    let base = ingest(&store, &bytes).await;
    let layer = store
        .create_layer(LayerId(Uuid::new_v4()), Some(base), 12 << 20)
        .await
        .unwrap();
    layer.write_at(5 << 20, &[1; 4096]).await.unwrap();
    bytes[5 << 20..(5 << 20) + 4096].fill(1);
    let frozen = layer.freeze(None).await.unwrap();
    assert_eq!(frozen.new_bytes, 4096);
    let whole = store
        .ingest(Arc::new(Plain(bytes)), &Progress::default())
        .await
        .unwrap();
    assert_eq!(whole.content, frozen.content);
}

#[tokio::test]
async fn an_index_that_is_only_a_sample_still_finds_most() {
    let root = tempfile::tempdir().unwrap();
    let mut options = options(root.path(), "a");
    options.index_bytes_max = 1024;
    let store = Store::open(options.clone()).await.unwrap();
    let bytes = noise(4, 48 << 20);
    ingest(&store, &bytes).await;
    drop(store);
    let store = Store::open(options).await.unwrap();
    // The same content at other places, as after a rebuild.
    let mut moved = noise(5, 64 << 10);
    for piece in bytes.chunks(3 << 20).rev() {
        moved.extend_from_slice(piece);
    }
    let done = store
        .ingest(Arc::new(Plain(moved)), &Progress::default())
        .await
        .unwrap();
    assert!(
        done.new_bytes < 3 << 20,
        "{} of 48 MiB were stored again",
        done.new_bytes
    );
}

/// What every kind of location promises.
async fn conforms(location: Location, root: &Path) {
    let open = || {
        Store::open(StoreOptions::new(
            location.clone(),
            root.join("node"),
            [3; 32],
        ))
    };
    let store = open().await.unwrap();
    let (a, b) = (noise(1, 20 << 20), noise(2, 3 << 20));
    let (first, second) = (ingest(&store, &a).await, ingest(&store, &b).await);
    assert_eq!(ingest(&store, &a).await, first, "made again it is the same");
    drop(store);
    let store = open().await.unwrap();
    for (id, bytes) in [(first, &a), (second, &b)] {
        let reader = store.open_reader(id).await.unwrap();
        assert_eq!(reader.read(0, bytes.len()).await.unwrap(), *bytes);
    }
    let missing = ManifestId([1; 32]);
    assert!(!store.has_manifest(missing).await.unwrap());
    assert_eq!(
        store.open_reader(missing).await.err().unwrap().kind(),
        Kind::NotFound
    );
    let local = open_local(root).await;
    let copied = local
        .copy_from(&store, first, &Progress::default())
        .await
        .unwrap();
    assert_eq!(copied.bytes_moved, copied.bytes_total);
    let back = store
        .copy_from(&local, first, &Progress::default())
        .await
        .unwrap();
    assert_eq!(back.bytes_moved, 0);
    let layer = store
        .create_layer(LayerId(Uuid::new_v4()), Some(second), 3 << 20)
        .await
        .unwrap();
    layer.write_at(7, b"written").await.unwrap();
    let frozen = layer.freeze(None).await.unwrap();
    store
        .delete_layer(store.layers().await.unwrap()[0])
        .await
        .unwrap();
    drop(layer);
    let swept = sweep(&store, &[frozen.manifest]).await;
    assert_eq!(swept.manifests, 2);
    assert!(swept.freed_bytes > 10 << 20, "{swept:?}");
    assert_eq!(store.fsck().await.unwrap(), []);
    store.verify(frozen.manifest).await.unwrap();
    sweep(&store, &[]).await;
    let stat = store.stat().await.unwrap();
    assert_eq!((stat.packs, stat.manifests, stat.stored_bytes), (0, 0, 0));
}

async fn open_local(root: &Path) -> Store {
    let location = Location::Directory(root.join("copy"));
    Store::open(StoreOptions::new(location, root.join("copy-node"), [3; 32]))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_a_location() {
    let root = tempfile::tempdir().unwrap();
    conforms(Location::Directory(root.path().join("store")), root.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_store_in_memory_is_a_location() {
    let root = tempfile::tempdir().unwrap();
    conforms(Location::Memory(MemoryLocation::default()), root.path()).await;
}

/// Runs the promises below a prefix of its own. The variable has a URL, then `name=value` options, in words.
async fn conforms_on(variable: &str) {
    let words = std::env::var(variable).unwrap_or_else(|_| panic!("{variable}: see CONTRIBUTING"));
    let mut words = words.split_whitespace();
    let url = format!("{}/{}", words.next().unwrap(), Uuid::new_v4());
    let pairs = words.map(|word| word.split_once('=').unwrap());
    let options = pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let root = tempfile::tempdir().unwrap();
    conforms(Location::Remote { url, options }, root.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_on_s3_are_a_location() {
    conforms_on("VITRINE_TEST_S3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_on_azure_are_a_location() {
    conforms_on("VITRINE_TEST_AZURE_BLOBS").await;
}

/// Stores disks that are mostly what others have too, and reads them here and in another store.
async fn ingest_and_copy(
    store: &Store,
    other: &Store,
    kept: &[u8],
    worker: u64,
    end: Instant,
) -> u64 {
    let mut random = Random(worker);
    let mut rounds = 0;
    while Instant::now() < end {
        let mut bytes = kept.to_vec();
        let (from, seed) = (random.below(bytes.len() - 65_536), random.below(5) as u64);
        bytes[from..from + 65_536].copy_from_slice(&noise(seed, 65_536));
        let id = ingest(store, &bytes).await;
        // The sweep knows nothing of it and may be faster; the reader keeps it.
        let Ok(reader) = store.open_reader(id).await else {
            continue;
        };
        assert!(reader.read(0, bytes.len()).await.unwrap() == bytes);
        let copied = other.copy_from(store, id, &Progress::default()).await;
        if copied.is_ok()
            && let Ok(copy) = other.open_reader(id).await
        {
            assert!(copy.read(0, bytes.len()).await.unwrap() == bytes);
        }
        rounds += 1;
    }
    rounds
}

/// Makes layers, freezes them, and reads what is frozen and what is below.
async fn write_and_freeze(store: &Store, kept: ManifestId, bytes: &[u8], end: Instant) -> u64 {
    let mut rounds = 0;
    while Instant::now() < end {
        let id = LayerId(Uuid::new_v4());
        let layer = store.create_layer(id, Some(kept), 2 << 20).await.unwrap();
        let at = rounds * 4096 % (1 << 20);
        layer.write_at(at, &[3; 5000]).await.unwrap();
        let frozen = layer.freeze(None).await.unwrap();
        if let Ok(reader) = store.open_reader(frozen.manifest).await {
            let read = reader.read(0, 2 << 20).await.unwrap();
            assert!(read == layer.read(0, 2 << 20).await.unwrap());
        }
        let reader = store.open_reader(kept).await.unwrap();
        assert!(reader.read(0, 2 << 20).await.unwrap() == bytes);
        store.delete_layer(id).await.unwrap();
        rounds += 1;
    }
    rounds
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_writers_copies_and_sweeps_at_once_never_see_a_wrong_byte() {
    let time = Duration::from_secs(if is_long() { 180 } else { 4 });
    let root = tempfile::tempdir().unwrap();
    let (store, other) = (open(root.path(), "a").await, open(root.path(), "b").await);
    let kept_bytes = noise(50, 2 << 20);
    let kept = ingest(&store, &kept_bytes).await;
    let end = Instant::now() + time;
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..3_u64 {
        let (store, other, kept) = (store.clone(), other.clone(), kept_bytes.clone());
        tasks.spawn(async move { ingest_and_copy(&store, &other, &kept, worker, end).await });
    }
    tasks.spawn({
        let (store, other) = (store.clone(), other.clone());
        async move {
            let mut rounds = 0;
            while Instant::now() < end {
                sweep(&store, &[kept]).await;
                sweep(&other, &[]).await;
                rounds += 1;
            }
            rounds
        }
    });
    tasks.spawn({
        let (store, bytes) = (store.clone(), kept_bytes.clone());
        async move { write_and_freeze(&store, kept, &bytes, end).await }
    });
    while let Some(rounds) = tasks.join_next().await {
        assert!(rounds.unwrap() > 0, "a task never got through");
    }
    sweep(&store, &[kept]).await;
    sweep(&other, &[]).await;
    assert_eq!(store.fsck().await.unwrap(), []);
    assert_eq!(store.scrub().await.unwrap().faults, []);
    assert_eq!(other.stat().await.unwrap().packs, 0);
}
