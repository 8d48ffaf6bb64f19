//! One object store that several nodes use, and that goes away: in memory, with a hook before every call.

mod support;

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use blocks::{
    BlocksError, FrameCache, Kind, Location, ManifestId, MemoryLocation, Progress, ScrubLimits,
    Store, StoreOptions,
};
use support::{Plain, Random};

const KEY: [u8; 32] = [3; 32];

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let words = (0..length.div_ceil(8)).flat_map(|_| random.next().to_le_bytes());
    words.take(length).collect()
}

async fn node(root: &Path, name: &str, memory: &MemoryLocation) -> Result<Store, BlocksError> {
    let location = Location::Memory(memory.clone());
    Store::open(StoreOptions::new(location, root.join(name), KEY)).await
}

async fn ingest(store: &Store, bytes: &[u8]) -> Result<ManifestId, BlocksError> {
    let source = Arc::new(Plain(bytes.to_vec()));
    let done = store.ingest(source, &Progress::default()).await?;
    Ok(done.manifest)
}

async fn read(store: &Store, id: ManifestId, length: usize) -> Result<Vec<u8>, BlocksError> {
    store.open_reader(id).await?.read(0, length).await
}

async fn sweep(store: &Store, live: &[ManifestId]) -> u64 {
    let live: BTreeSet<ManifestId> = live.iter().copied().collect();
    let plan = store.sweep_plan(&live, 1, 0).await.unwrap();
    store.sweep(plan).await.unwrap().freed_bytes
}

/// What was called, and whether calls fail.
#[derive(Clone, Default)]
struct Watch {
    calls: Arc<Mutex<Vec<(String, String)>>>,
    is_down: Arc<AtomicBool>,
}

impl Watch {
    fn on(memory: &MemoryLocation) -> Self {
        let watch = Self::default();
        let seen = watch.clone();
        memory.on_call(move |verb, path| {
            let call = (verb.to_owned(), path.to_owned());
            seen.calls.lock().unwrap().push(call);
            match seen.is_down.load(Ordering::SeqCst) {
                true => Err(io::Error::other("the object store is away")),
                false => Ok(()),
            }
        });
        watch
    }

    fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    fn count(&self, verb: &str, room: &str) -> usize {
        let calls = self.calls.lock().unwrap();
        let these = calls
            .iter()
            .filter(|(v, p)| v == verb && p.starts_with(room));
        these.count()
    }

    fn forget(&self) {
        self.calls.lock().unwrap().clear();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_has_what_another_made_after_it_opened_the_store() {
    let root = tempfile::tempdir().unwrap();
    let memory = MemoryLocation::default();
    let one = node(root.path(), "one", &memory).await.unwrap();
    let two = node(root.path(), "two", &memory).await.unwrap();
    let mut made = Vec::new();
    for seed in 0..4 {
        let bytes = noise(seed, 300_000);
        let id = ingest(&one, &bytes).await.unwrap();
        assert!(two.has_manifest(id).await.unwrap());
        assert_eq!(read(&two, id, bytes.len()).await.unwrap(), bytes);
        made.push((id, bytes));
    }
    // It finds their blocks too, copies them, checks them, and gives them back.
    let source = Arc::new(Plain(made[3].1.clone()));
    let late = node(root.path(), "late", &memory).await.unwrap();
    let again = late.ingest(source, &Progress::default()).await.unwrap();
    assert_eq!(again.new_bytes, 0);
    let more = noise(9, 200_000);
    let more_id = ingest(&one, &more).await.unwrap();
    let source = Arc::new(Plain(more.clone()));
    let found = two.ingest(source, &Progress::default()).await.unwrap();
    assert_eq!((found.manifest, found.new_bytes), (more_id, 0));
    assert_eq!(two.stat().await.unwrap().packs, 5);
    assert_eq!(two.fsck().await.unwrap(), []);
    assert_eq!(late.scrub().await.unwrap().faults, []);
    drop(one);
    assert!(sweep(&late, &[]).await > 1_000_000);
    assert!(!two.has_manifest(made[0].0).await.unwrap());
    let layer = blocks::LayerId(uuid::Uuid::from_u128(1));
    let gone = two.create_layer(layer, Some(made[0].0), 300_000).await;
    assert_eq!(gone.err().unwrap().kind(), Kind::NotFound);
    assert_eq!(two.stat().await.unwrap().packs, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_node_moved_is_found_where_it_lies_now() {
    let root = tempfile::tempdir().unwrap();
    let memory = MemoryLocation::default();
    let one = node(root.path(), "one", &memory).await.unwrap();
    let kept = noise(1, 40 * 4096);
    let mut both = noise(2, 400 * 4096);
    both.extend_from_slice(&kept);
    let both_id = ingest(&one, &both).await.unwrap();
    let kept_id = ingest(&one, &kept).await.unwrap();
    let two = node(root.path(), "two", &memory).await.unwrap();
    let reader = two.open_reader(kept_id).await.unwrap();
    assert_eq!(reader.read(0, 10).await.unwrap(), kept[..10]);
    assert!(sweep(&one, &[kept_id]).await > 0, "rewritten");
    assert_eq!(reader.read(0, kept.len()).await.unwrap(), kept);
    assert!(!two.has_manifest(both_id).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_nowhere_is_looked_for_once_for_each_manifest_that_is_read() {
    let root = tempfile::tempdir().unwrap();
    let memory = MemoryLocation::default();
    let one = node(root.path(), "one", &memory).await.unwrap();
    let bytes = noise(1, 64 * 65_536);
    let id = ingest(&one, &bytes).await.unwrap();
    // The packs are lost, the manifest is not.
    let other = node(root.path(), "other", &MemoryLocation::default())
        .await
        .unwrap();
    other
        .copy_from(&one, id, &Progress::default())
        .await
        .unwrap();
    let watch = Watch::on(&memory);
    memory.lose("packs").await;
    let two = node(root.path(), "two", &memory).await.unwrap();
    let reader = two.open_reader(id).await.unwrap();
    watch.forget();
    for n in 0..64_u64 {
        let missing = reader.read(n * 65_536, 100).await.unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
    }
    let lists = watch.count("list", "packs");
    assert!((1..=2).contains(&lists), "{lists} lists for 64 misses");
    // It comes back, by whomever.
    one.copy_from(&other, id, &Progress::default())
        .await
        .unwrap();
    let reader = two.open_reader(id).await.unwrap();
    two.manifest(id).await.unwrap();
    assert!(two.has_manifest(id).await.unwrap());
    assert_eq!(reader.read(0, bytes.len()).await.unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_goes_away_is_not_damaged_and_goes_on_when_it_is_back() {
    let root = tempfile::tempdir().unwrap();
    let (memory, spare) = (MemoryLocation::default(), MemoryLocation::default());
    let store = node(root.path(), "a", &memory).await.unwrap();
    let other = node(root.path(), "b", &spare).await.unwrap();
    let bytes = noise(1, 3 << 20);
    let id = ingest(&store, &bytes).await.unwrap();
    let second = ingest(&other, &noise(2, 1 << 20)).await.unwrap();
    let watch = Watch::on(&memory);
    watch.set_down(true);
    let fresh = || node(root.path(), "fresh", &memory);
    let limits = ScrubLimits::default();
    let refused = [
        ingest(&store, &noise(3, 1 << 20)).await.map(drop),
        read(&store, id, 4096).await.map(drop),
        store.fsck().await.map(drop),
        store.scrub().await.map(drop),
        store.scrub_some(limits, 5).await.map(drop),
        store.repair(&other).await.map(drop),
        store.stat().await.map(drop),
        store.sweep_plan(&BTreeSet::new(), 1, 0).await.map(drop),
        store
            .copy_from(&other, second, &Progress::default())
            .await
            .map(drop),
        other
            .copy_from(&store, id, &Progress::default())
            .await
            .map(drop),
        fresh().await.map(drop),
    ];
    for (n, outcome) in refused.into_iter().enumerate() {
        let error = outcome.err().unwrap_or_else(|| panic!("call {n} worked"));
        assert_eq!(error.kind(), Kind::Unavailable, "call {n}: {error}");
    }
    watch.set_down(false);
    assert_eq!(store.scrub().await.unwrap().faults, []);
    assert_eq!(
        store.repair(&other).await.unwrap(),
        blocks::Repaired::default()
    );
    for store in [store, fresh().await.unwrap()] {
        assert_eq!(store.fsck().await.unwrap(), []);
        assert_eq!(read(&store, id, bytes.len()).await.unwrap(), bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fails_anywhere_loses_nothing_and_is_done_again() {
    let root = tempfile::tempdir().unwrap();
    let memory = MemoryLocation::default();
    let kept = noise(1, 2 << 20);
    let kept_id = {
        let store = node(root.path(), "a", &memory).await.unwrap();
        ingest(&store, &kept).await.unwrap()
    };
    let (left, failed) = (
        Arc::new(AtomicU64::new(u64::MAX)),
        Arc::new(AtomicU64::new(0)),
    );
    let hook = (left.clone(), failed.clone());
    memory.on_call(move |_, _| {
        let before = hook.0.fetch_sub(1, Ordering::SeqCst);
        if before != 0 {
            return Ok(());
        }
        hook.1.fetch_add(1, Ordering::SeqCst);
        Err(io::Error::other("once"))
    });
    for step in 0..200 {
        failed.store(0, Ordering::SeqCst);
        left.store(step, Ordering::SeqCst);
        let mut bytes = kept.clone();
        bytes.extend_from_slice(&noise(step + 10, 9 << 10));
        let open = || node(root.path(), "a", &memory);
        let cycle = async |store: &Store| -> Result<(), BlocksError> {
            let id = ingest(store, &bytes).await?;
            assert!(read(store, id, bytes.len()).await? == bytes);
            let live = [kept_id].into_iter().collect();
            let plan = store.sweep_plan(&live, 1, 0).await?;
            store.sweep(plan).await?;
            Ok(())
        };
        let mut first = open().await;
        let mut outcome = Ok(());
        if let Ok(store) = &first {
            outcome = cycle(store).await;
        }
        let has_failed = failed.load(Ordering::SeqCst) > 0;
        left.store(u64::MAX, Ordering::SeqCst);
        for error in first.as_ref().err().iter().chain(&outcome.as_ref().err()) {
            assert_eq!(error.kind(), Kind::Unavailable, "step {step}: {error}");
        }
        if first.is_err() {
            first = open().await;
        }
        // The same store goes on, and leaves nothing of what it could not finish.
        cycle(&first.unwrap()).await.unwrap();
        let store = open().await.unwrap();
        assert_eq!(store.fsck().await.unwrap(), []);
        assert_eq!(store.stat().await.unwrap().packs, 1, "step {step}");
        assert!(read(&store, kept_id, kept.len()).await.unwrap() == kept);
        drop(store);
        if !has_failed {
            assert!(step > 10, "only {step} calls");
            return;
        }
    }
    panic!("a cycle has fewer calls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_belongs_to_another_region_or_installation_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let memory = MemoryLocation::default();
    let open = async |name: &str, key: [u8; 32]| {
        let location = Location::Memory(memory.clone());
        let mut options = StoreOptions::new(location, root.path().join(name), key);
        options.owner = Some(name.to_owned());
        Store::open(options).await
    };
    drop(open("eastus", KEY).await.unwrap());
    open("eastus", KEY).await.unwrap();
    for (name, key) in [("westus2", KEY), ("eastus", [4; 32])] {
        let refused = open(name, key).await.err().unwrap();
        assert_eq!(refused.kind(), Kind::Foreign, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequential_reader_of_an_object_store_is_read_ahead() {
    let root = tempfile::tempdir().unwrap();
    let memory = MemoryLocation::default();
    let bytes = noise(1, 16 << 20);
    let id = {
        let store = node(root.path(), "a", &memory).await.unwrap();
        ingest(&store, &bytes).await.unwrap()
    };
    let cache = FrameCache::new(64 << 20);
    let location = Location::Memory(memory.clone());
    let mut options = StoreOptions::new(location, root.path().join("a"), KEY);
    options.cache = Some(cache.clone());
    let store = Store::open(options).await.unwrap();
    let watch = Watch::on(&memory);
    let reader = store.open_reader(id).await.unwrap();
    let piece = 64 << 10;
    let at = async |n: usize| {
        let got = reader.read((n * piece) as u64, piece).await?;
        assert!(got == bytes[n * piece..(n + 1) * piece], "piece {n}");
        Ok::<(), BlocksError>(())
    };
    for n in 0..4 {
        at(n).await.unwrap();
    }
    // Brought before anybody asks: the store may go away now.
    let limit = Instant::now() + Duration::from_secs(20);
    while cache.bytes() < 7 * piece {
        assert!(Instant::now() < limit, "{} bytes", cache.bytes());
        tokio::task::yield_now().await;
    }
    watch.set_down(true);
    for n in 4..7 {
        at(n).await.unwrap();
    }
    let refused = reader.read(12 << 20, 4096).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable);
    watch.set_down(false);
    watch.forget();
    for n in 8..256 {
        at(n).await.unwrap();
    }
    let ahead = watch.count("read", "packs");
    assert!(ahead <= 60, "{ahead} reads of the store for 248 pieces");
    // Whoever jumps about is brought what he asks for, and no more.
    let store = node(root.path(), "b", &memory).await.unwrap();
    let reader = store.open_reader(id).await.unwrap();
    watch.forget();
    for n in 0..64 {
        let n = n * 37 % 64 * 4;
        let got = reader.read((n * piece) as u64, 4096).await.unwrap();
        assert!(got == bytes[n * piece..n * piece + 4096]);
    }
    let scattered = watch.count("read", "packs");
    assert!((64..=72).contains(&scattered), "{scattered} for 64 frames");
}
