//! Rot: a flipped bit or a cut file is found before it is served, and another store heals it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::disk::CrashDisk;
use super::open;
use super::support::{Plain, Random, is_long};
use crate::{Kind, LayerId, ManifestId, Progress, Store};

const LAYER: LayerId = LayerId(Uuid::from_u128(9));

/// Two stores with the same disks, and a layer in the first.
struct Sound {
    disk: CrashDisk,
    disks: BTreeMap<ManifestId, Vec<u8>>,
    layer: Vec<u8>,
}

async fn sound(seed: u64) -> Sound {
    let disk = CrashDisk::new(seed);
    let (store, other) = (open(&disk, "a").unwrap(), open(&disk, "b").unwrap());
    let mut random = Random(seed);
    let mut disks = BTreeMap::new();
    for _ in 0..3 {
        let bytes = random.disk();
        let source = Arc::new(Plain(bytes.clone()));
        let done = store.ingest(source, &Progress::default()).await.unwrap();
        let progress = Progress::default();
        other
            .copy_from(&store, done.manifest, &progress)
            .await
            .unwrap();
        disks.insert(done.manifest, bytes);
    }
    let (base, bytes) = disks.iter().next().unwrap();
    let mut layer_bytes = bytes.clone();
    layer_bytes.resize(300_000, 0);
    let layer = store
        .create_layer(LAYER, Some(*base), 300_000)
        .await
        .unwrap();
    for _ in 0..20 {
        let from = random.below(290_000);
        let length = random.below(9000) + 1;
        let bytes = random.bytes(length);
        layer.write_at(from as u64, &bytes).await.unwrap();
        layer_bytes[from..from + length].copy_from_slice(&bytes);
        layer.flush().await.unwrap();
    }
    Sound {
        disk,
        disks,
        layer: layer_bytes,
    }
}

/// Reads every disk; whether all could be read. What is read is right.
async fn read_all(store: &Store, sound: &Sound, context: &str) -> bool {
    let mut is_whole = true;
    for (id, bytes) in &sound.disks {
        let read = match store.open_reader(*id).await {
            Ok(reader) => reader.read(0, bytes.len()).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(found) => assert!(found == *bytes, "{context}: wrong bytes were served"),
            Err(error) => {
                let kind = error.kind();
                assert!(
                    matches!(kind, Kind::Damaged | Kind::NotFound),
                    "{context}: {error}"
                );
                is_whole = false;
            }
        }
    }
    is_whole
}

fn in_room(disk: &CrashDisk, room: &str) -> Vec<PathBuf> {
    let names = disk.names().into_iter();
    names
        .filter(|path| path.starts_with(format!("/a/{room}")))
        .collect()
}

fn rot(disk: &CrashDisk, path: &Path, random: &mut Random) -> String {
    let mut what = String::new();
    disk.change(path, |bytes| {
        let place = random.below(bytes.len());
        if random.below(5) == 0 {
            bytes.truncate(place);
            what = format!("{} cut at {place}", path.display());
        } else {
            let bit = random.below(8);
            bytes[place] ^= 1 << bit;
            what = format!("{}: bit {bit} of byte {place}", path.display());
        }
    });
    what
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rot_in_packs_and_manifests_is_found_by_readers_and_scrubs_and_healed_by_another_store() {
    let rounds = if is_long() { 20_000 } else { 700 };
    let sound = sound(5).await;
    let mut random = Random(17);
    for round in 0..rounds {
        let disk = sound.disk.copy(round);
        let room = if random.below(4) == 0 {
            "manifests"
        } else {
            "packs"
        };
        let files = in_room(&disk, room);
        let context = rot(&disk, &files[random.below(files.len())], &mut random);
        let store = open(&disk, "a").unwrap();
        read_all(&store, &sound, &context).await;
        let found = store.scrub().await.unwrap();
        assert_ne!(found.faults, [], "{context} was not found");
        let other = open(&disk, "b").unwrap();
        let repaired = store.repair(&other).await.unwrap();
        assert_eq!(repaired.left, [], "{context}");
        assert!(repaired.packs + repaired.manifests > 0, "{context}");
        assert!(
            read_all(&store, &sound, &context).await,
            "{context} was not healed"
        );
        assert_eq!(store.scrub().await.unwrap().faults, [], "{context}");
        drop(store);
        let store = open(&disk, "a").unwrap();
        assert_eq!(store.fsck().await.unwrap(), [], "{context}");
        assert!(
            read_all(&store, &sound, &context).await,
            "{context}, opened again"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rot_in_the_map_of_a_layer_is_found() {
    let rounds = if is_long() { 20_000 } else { 400 };
    let sound = sound(6).await;
    let mut random = Random(18);
    let path = PathBuf::from(format!("/a/node/layers/{LAYER}.map"));
    let mut found = 0;
    for round in 0..rounds {
        let disk = sound.disk.copy(round);
        let context = rot(&disk, &path, &mut random);
        let store = open(&disk, "a").unwrap();
        match store.open_layer(LAYER).await {
            Ok(layer) => {
                let size = usize::try_from(layer.size_bytes()).unwrap();
                assert!(
                    layer.read(0, size).await.unwrap() == sound.layer,
                    "{context}"
                );
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::Damaged, "{context}: {error}");
                found += 1;
            }
        }
    }
    assert_eq!(found, rounds, "not all of it was found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrub_goes_on_where_it_stopped_and_says_what_is_the_longest_unchecked() {
    let sound = sound(7).await;
    let open = || super::open(&sound.disk, "a").unwrap();
    let some = crate::ScrubLimits {
        bytes_max: 1,
        ..crate::ScrubLimits::default()
    };
    let packs = open().stat().await.unwrap().packs;
    for round in 1..=packs {
        let scrubbed = open().scrub_some(some, 10).await.unwrap();
        assert_eq!(scrubbed.faults, []);
        assert_eq!(
            scrubbed.unverified_bytes == 0,
            round == packs,
            "round {round} of {packs}"
        );
        assert_eq!(scrubbed.oldest_verified_ms.is_some(), round == packs);
    }
    let scrubbed = open().scrub_some(some, 20).await.unwrap();
    assert_eq!(
        scrubbed.oldest_verified_ms,
        Some(if packs == 1 { 20 } else { 10 })
    );
}
