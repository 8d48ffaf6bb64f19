//! A rebuilt image: the same files laid out anew, and a little that is new. Only that may be stored and moved.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;

use blocks::{Ingested, Location, Progress, Store, StoreOptions};

mod support;

use support::{Plain, Random};

const BLOCK: usize = 4096;
/// 32 MiB of content.
const BLOCKS: usize = 8192;
/// Files are runs of so many blocks at most.
const RUN_BLOCKS_MAX: usize = 64;
/// One file in so many is another in the rebuild.
const NEW_ONE_IN: usize = 40;
/// What frames, packs and their tables may take beside content that cannot be compressed, per cent.
const OVERHEAD_PERCENT: u64 = 2;

/// A file: whole blocks, no two alike.
type File = Vec<u8>;

fn file(random: &mut Random, blocks: usize) -> File {
    let words = (0..blocks * BLOCK / 8).flat_map(|_| random.next().to_le_bytes());
    words.collect()
}

fn files(random: &mut Random) -> Vec<File> {
    let (mut files, mut left) = (Vec::new(), BLOCKS);
    while left > 0 {
        let blocks = (random.below(RUN_BLOCKS_MAX) + 1).min(left);
        files.push(file(random, blocks));
        left -= blocks;
    }
    files
}

/// Builds again: some files are new, and all are in another order. Returns the bytes that are new.
fn rebuild(files: &mut [File], random: &mut Random) -> u64 {
    let mut new_bytes = 0;
    for at in 0..files.len() {
        if random.below(NEW_ONE_IN) == 0 {
            let blocks = random.below(RUN_BLOCKS_MAX) + 1;
            files[at] = file(random, blocks);
            new_bytes += files[at].len() as u64;
        }
        files.swap(at, random.below(at + 1));
    }
    new_bytes
}

/// Lays files out as a file system may: in pieces, with holes between some of them.
fn lay(files: &[File], random: &mut Random) -> Vec<u8> {
    let mut pieces = Vec::new();
    for file in files {
        let mut rest = &file[..];
        // Most files lie in one piece.
        while !rest.is_empty() {
            let whole = rest.len() / BLOCK;
            let blocks = match random.below(4) {
                0 => random.below(whole) + 1,
                _ => whole,
            };
            let (piece, left) = rest.split_at(blocks * BLOCK);
            pieces.push(piece);
            rest = left;
        }
    }
    for at in (1..pieces.len()).rev() {
        if random.below(3) == 0 {
            pieces.swap(at, random.below(at + 1));
        }
    }
    let mut disk = Vec::new();
    for piece in pieces {
        let hole = match random.below(5) {
            0 => random.below(8) * BLOCK,
            _ => 0,
        };
        disk.resize(disk.len() + hole, 0);
        disk.extend_from_slice(piece);
    }
    disk
}

async fn open(root: &Path, name: &str) -> Store {
    let location = Location::Directory(root.join(name));
    let options = StoreOptions::new(location, root.join(format!("{name}-local")), [7; 32]);
    Store::open(options).await.unwrap()
}

async fn ingest(store: &Store, bytes: &[u8]) -> Ingested {
    let source = Arc::new(Plain(bytes.to_vec()));
    store.ingest(source, &Progress::default()).await.unwrap()
}

#[tokio::test]
async fn a_rebuilt_image_stores_and_moves_only_what_is_new() {
    for seed in 1..=3 {
        let root = tempfile::tempdir().unwrap();
        let (here, there) = (open(root.path(), "a").await, open(root.path(), "b").await);
        let mut random = Random(seed);
        let mut files = files(&mut random);
        let first = ingest(&here, &lay(&files, &mut random)).await;
        let progress = Progress::default();
        let moved = there.copy_from(&here, first.manifest, &progress);
        let moved = moved.await.unwrap();
        assert!(
            moved.bytes_moved <= first.stored_bytes,
            "seed {seed}: {moved:?}, {first:?}"
        );
        for round in 0..3 {
            let new_bytes = rebuild(&mut files, &mut random);
            let disk = lay(&files, &mut random);
            let case = format!("seed {seed}, rebuild {round}, {new_bytes} new");
            assert!(new_bytes > 0 && new_bytes < first.new_bytes / 10, "{case}");

            let stored = ingest(&here, &disk).await;
            assert_eq!(stored.new_bytes, new_bytes, "{case}");
            let most = new_bytes + new_bytes * OVERHEAD_PERCENT / 100;
            assert!(stored.stored_bytes <= most, "{case}: {stored:?}");

            let progress = Progress::default();
            let moved = there.copy_from(&here, stored.manifest, &progress);
            let moved = moved.await.unwrap();
            assert!(moved.bytes_moved > 0, "{case}");
            assert!(
                moved.bytes_moved * 10 <= stored.stored_bytes * 11,
                "{case}: {moved:?}, {stored:?}"
            );
            let reader = there.open_reader(stored.manifest).await.unwrap();
            assert!(reader.read(0, disk.len()).await.unwrap() == disk, "{case}");
        }
    }
}
