//! Manifests and packs that somebody made: refused, or read as what they say, and never a panic.

use std::sync::Arc;

use super::disk::CrashDisk;
use super::open;
use super::support::{Plain, Random, is_long};
use crate::{Progress, fuzzing};

/// Good objects of a room.
async fn good(room: &str) -> Vec<Vec<u8>> {
    let disk = CrashDisk::new(3);
    let store = open(&disk, "a").unwrap();
    let mut random = Random(3);
    for _ in 0..3 {
        let source = Arc::new(Plain(random.disk()));
        store.ingest(source, &Progress::default()).await.unwrap();
    }
    let mut found = Vec::new();
    for path in disk.names() {
        if path.starts_with(format!("/a/{room}")) {
            disk.change(&path, |bytes| found.push(bytes.clone()));
        }
    }
    assert!(found.len() >= 3, "{room}");
    found
}

/// Changes some bytes, most often near one of the ends: there are the fields.
fn change(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let near = bytes.len().min(200);
        let at = match random.below(3) {
            0 => random.below(near),
            1 => bytes.len() - 1 - random.below(near),
            _ => random.below(bytes.len()),
        };
        match random.below(6) {
            0 => bytes[at] = 0xff,
            1 => bytes[at] = 0,
            2 => bytes[at] ^= 1 << random.below(8),
            3 => drop(bytes.remove(at)),
            4 => bytes.insert(at, 0x80),
            _ => bytes[at] = bytes[at].wrapping_add(1),
        }
    }
}

async fn changed_are_refused_or_right(room: &str, read: impl Fn(&[u8]) -> bool) {
    let rounds = if is_long() { 2_000_000 } else { 20_000 };
    let good = good(room).await;
    assert!(good.iter().all(|bytes| read(bytes)), "{room}");
    let (mut random, mut accepted) = (Random(11), 0);
    for round in 0..rounds {
        let mut bytes = good[round % good.len()].clone();
        change(&mut bytes, &mut random);
        accepted += usize::from(read(&bytes));
    }
    // Both happen: the changes reach beyond the first check.
    assert!(accepted > rounds / 100 && accepted < rounds, "{accepted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_manifests_are_refused_or_read_as_what_they_say() {
    changed_are_refused_or_right("manifests", fuzzing::manifest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn made_up_packs_are_refused_or_read_as_what_they_say() {
    changed_are_refused_or_right("packs", |bytes| fuzzing::pack(bytes) > 0).await;
}
