//! The store on a disk that fails: at every step of everything that it does.
//!
//! A law for every run: what was acknowledged is there byte for byte, what was not is whole or not
//! there, and when nothing is wanted any more nothing is left.

mod damage;
mod disk;
mod golden;
mod hostile;
mod script;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;

use self::disk::{CrashDisk, Failure};
use self::script::World;
use crate::files::Files;
use crate::inner::Inner;
use crate::objects::{Directory, Objects};
use crate::{Location, Store, StoreOptions};

/// Opens a store on a disk.
fn open(disk: &CrashDisk, name: &str) -> crate::error::Result<Store> {
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let root = Path::new("/").join(name);
    let location = Location::Directory(root.clone());
    let mut options = StoreOptions::new(location, root.join("node"), [7; 32]);
    options.cache_bytes_max = 1 << 20;
    let objects = Objects::Directory(Directory::open(files.clone(), root)?);
    let inner = Inner::open(files, objects, &options)?;
    Ok(Store(Arc::new(inner), Arc::default()))
}

/// Where every run of a seed starts: its disk, and what is known of it.
type Start = Arc<(CrashDisk, World)>;

/// Runs the script once for every step from `first` in strides, which fails; returns how many did.
async fn for_each_step_failing(
    seed: u64,
    start: Start,
    (failure, keeps): (Failure, bool),
    first: usize,
    stride: usize,
) -> u64 {
    let (disk, before) = &*start;
    for (failed, step) in (0_u64..).zip((first as u64..).step_by(stride)) {
        let disk = disk.copy(seed ^ step);
        let mut world = before.again();
        disk.fail_at(step, failure);
        world.run(&disk, seed).await;
        let has_failed = disk.stop_failing();
        let context = format!("seed {seed}, {failure:?} at step {step}, keeps {keeps}");
        if failure == Failure::Stop {
            world.check_after_kill(&disk.copy(step), &context).await;
        } else {
            world.check_without_crash(&disk, &context).await;
        }
        let after = disk.crash(seed.wrapping_mul(31) ^ step, keeps);
        world.check(&after, &context).await;
        if !has_failed {
            return failed;
        }
    }
    unreachable!("a script ends")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_a_failure_of_any_step() {
    let (seeds, stride) = if support::is_long() {
        (support::first_seed()..support::first_seed() + 24, 1)
    } else {
        // The quick run takes every second step of each way.
        (0..1, 2)
    };
    let ways = [
        (Failure::Stop, true),
        (Failure::Stop, false),
        (Failure::Full, true),
        (Failure::Fault, false),
    ];
    let (mut points, begun) = (0, std::time::Instant::now());
    for seed in seeds {
        let disk = CrashDisk::new(seed);
        let world = World::begin(&disk, seed).await;
        let start = Arc::new((disk, world));
        let mut running = tokio::task::JoinSet::new();
        for (n, way) in ways.into_iter().enumerate() {
            let start = start.clone();
            running.spawn(for_each_step_failing(seed, start, way, n % stride, stride));
        }
        for failed in running.join_all().await {
            points += failed;
        }
        let took = begun.elapsed().as_secs();
        println!("{points} crash points after seed {seed}, {took} s");
    }
    let enough = if support::is_long() { 10_000 } else { 500 };
    assert!(points >= enough, "only {points} crash points");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_store_on_a_directory_is_refused_until_the_first_is_gone() {
    let disk = CrashDisk::new(1);
    let first = open(&disk, "a").unwrap();
    assert_eq!(open(&disk, "a").err().unwrap().kind(), crate::Kind::Busy);
    drop(first);
    open(&disk, "a").unwrap();
}
