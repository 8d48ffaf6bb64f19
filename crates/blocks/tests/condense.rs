//! Packs that stay become smaller, and nobody who reads, copies or writes notices.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use blocks::{
    CondenseLimits, Condensed, Ingested, Location, ManifestId, MemoryLocation, Progress, Store,
    StoreOptions,
};

mod support;

use support::{Plain, Random};

const HARD: CondenseLimits = CondenseLimits {
    level: 19,
    age_min_ms: 0,
    bytes_max: u64::MAX,
    gain_percent_min: 2,
};

async fn open_at(location: Location, root: &Path) -> Store {
    let mut options = StoreOptions::new(location, root.join("node"), [7; 32]);
    options.level = -7;
    Store::open(options).await.unwrap()
}

async fn open(root: &Path) -> Store {
    open_at(Location::Directory(root.join("store")), root).await
}

async fn ingest(store: &Store, bytes: &[u8]) -> Ingested {
    let source = Arc::new(Plain(bytes.to_vec()));
    store.ingest(source, &Progress::default()).await.unwrap()
}

/// Words in an order that does not come again: text as zstd knows it.
fn text(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let mut text = String::new();
    while text.len() < length {
        let word = random.next() % 3000;
        text.push_str(&format!("word{:x} ", word * word));
    }
    text.truncate(length);
    text.into_bytes()
}

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let words = (0..length / 8).flat_map(|_| random.next().to_le_bytes());
    words.collect()
}

async fn assert_holds(store: &Store, id: ManifestId, bytes: &[u8]) {
    let reader = store.open_reader(id).await.unwrap();
    assert!(reader.read(0, bytes.len()).await.unwrap() == bytes);
    store.verify(id).await.unwrap();
    assert_eq!(store.fsck().await.unwrap(), []);
    assert_eq!(store.scrub().await.unwrap().faults, []);
}

async fn saves(location: Location, root: &Path) {
    let store = open_at(location.clone(), root).await;
    let bytes = text(1, 3 << 20);
    let id = ingest(&store, &bytes).await.manifest;
    let (before, reader) = (
        store.stat().await.unwrap(),
        store.open_reader(id).await.unwrap(),
    );
    assert!(reader.read(0, 100).await.unwrap() == bytes[..100]);
    let done = store.condense(HARD, 5).await.unwrap();
    let after = store.stat().await.unwrap();
    assert_eq!(done.packs, 1);
    assert_eq!(
        (done.bytes_before, done.bytes_after),
        (before.stored_bytes, after.stored_bytes)
    );
    assert!(
        after.stored_bytes * 100 < before.stored_bytes * 95,
        "{done:?}"
    );
    assert_eq!(
        (after.packs, after.frames, after.blocks),
        (1, before.frames, before.blocks)
    );
    assert!(
        reader.read(0, bytes.len()).await.unwrap() == bytes,
        "who has it open goes on"
    );
    assert_holds(&store, id, &bytes).await;
    assert_eq!(
        store.condense(HARD, 6).await.unwrap(),
        Condensed::default(),
        "once is enough"
    );
    drop((reader, store));
    let store = open_at(location, root).await;
    assert_holds(&store, id, &bytes).await;
    assert_eq!(
        store.condense(HARD, 7).await.unwrap(),
        Condensed::default(),
        "another process knows"
    );
    let again = ingest(&store, &bytes).await;
    assert_eq!((again.manifest, again.new_bytes), (id, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_stays_becomes_smaller() {
    let root = tempfile::tempdir().unwrap();
    saves(Location::Directory(root.path().join("store")), root.path()).await;
    let names = std::fs::read_dir(root.path().join("store/packs")).unwrap();
    assert_eq!(names.count(), 1, "the old pack is gone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_store_that_stays_becomes_smaller() {
    let root = tempfile::tempdir().unwrap();
    saves(Location::Memory(MemoryLocation::default()), root.path()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_waits_for_its_age_and_for_room_in_a_run() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let limits = CondenseLimits {
        age_min_ms: 100,
        bytes_max: 1,
        ..HARD
    };
    ingest(&store, &text(1, 1 << 20)).await;
    assert_eq!(
        store.condense(limits, 1000).await.unwrap(),
        Condensed::default()
    );
    ingest(&store, &text(2, 1 << 20)).await;
    assert_eq!(
        store.condense(limits, 1099).await.unwrap(),
        Condensed::default()
    );
    let first = store.condense(limits, 1100).await.unwrap();
    assert_eq!(
        (first.packs, first.bytes_waiting),
        (1, 0),
        "the second came later"
    );
    ingest(&store, &text(3, 1 << 20)).await;
    store.condense(limits, 1100).await.unwrap();
    let second = store.condense(limits, 1200).await.unwrap();
    assert_eq!(second.packs, 1);
    assert!(second.bytes_waiting > 0, "one pack a run: {second:?}");
    assert_eq!(store.condense(limits, 1200).await.unwrap().packs, 1);
    assert_eq!(
        store.condense(limits, 1200).await.unwrap(),
        Condensed::default()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gains_nothing_is_tried_by_a_sample_and_never_again() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    ingest(&store, &noise(1, 8 << 20)).await;
    let before = store.stat().await.unwrap();
    let done = store.condense(HARD, 1).await.unwrap();
    assert_eq!(done.packs, 0);
    assert!(done.bytes_tried <= before.stored_bytes / 15, "{done:?}");
    assert_eq!(store.stat().await.unwrap(), before);
    assert_eq!(store.condense(HARD, 2).await.unwrap(), Condensed::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_pack_is_left_as_it_is_for_the_repair() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    ingest(&store, &text(1, 1 << 20)).await;
    let packs = || std::fs::read_dir(root.path().join("store/packs")).unwrap();
    let path = packs().next().unwrap().unwrap().path();
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 70_000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 70_000).unwrap();
    for now in 0..2 {
        assert_eq!(store.condense(HARD, now).await.unwrap().packs, 0);
        let names: Vec<_> = packs().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(names, std::slice::from_ref(&path));
    }
    file.write_all_at(&byte, 70_000).unwrap();
    assert_eq!(
        store.condense(HARD, 2).await.unwrap().packs,
        1,
        "healed, it is tried again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sweep_moved_is_still_found_by_an_ingest() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path()).await;
    let (kept, gone) = (noise(1, 1 << 20), noise(2, 3 << 20));
    let both = [kept.clone(), gone].concat();
    ingest(&store, &both).await;
    let live = BTreeSet::from([ingest(&store, &kept).await.manifest]);
    let plan = store.sweep_plan(&live, 0, 0).await.unwrap();
    assert_eq!(store.sweep(plan).await.unwrap().packs, 1);
    assert_eq!(ingest(&store, &kept).await.new_bytes, 0);
}
