//! Measures the block store: one JSON object a line, times of this process only.
//!
//! ```text
//! bench-blocks ingest  STORE IMAGE…        in turn, into one store
//! bench-blocks export  STORE MANIFEST OUT  to a raw file
//! bench-blocks copy    FROM TO MANIFEST…   in turn, from store to store
//! bench-blocks condense STORE              what stays, compressed once more
//! bench-blocks open    STORE               start-up
//! bench-blocks freeze  STORE MANIFEST      a layer over it, 1000 random 4 KiB writes, a freeze
//! bench-blocks read    STORE MANIFEST      random 4 KiB reads, cold and cached
//! bench-blocks disk    STORE MANIFEST      a reader and a layer from a manifest; the first byte, cold
//! bench-blocks serve   STORE MANIFEST SOCKET [layer]   over NBD, until it is killed
//! bench-blocks sparse  STORE COPY          a disk of 32 TiB with 1 GiB of content: all that can be done
//! bench-blocks index   BYTES               the index of 1 TiB of unique content in so much memory
//! ```
//!
//! `LEVEL` sets the zstd level, `INDEX_BYTES` the memory of the index.

mod disk_of;
mod index;
mod sparse;

use std::io::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blocks::{CondenseLimits, LayerId, Location, ManifestId, Progress, Store, StoreOptions};
use rustix::time::{ClockId, clock_gettime};

type Done<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Done<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["ingest", store, images @ ..] => ingest(store, images).await,
        ["export", store, manifest, out] => export(store, manifest, Path::new(out)).await,
        ["copy", from, to, manifests @ ..] => copy(from, to, manifests).await,
        ["condense", store] => condense(store).await,
        ["open", store] => start(store).await,
        ["freeze", store, manifest] => freeze(store, manifest).await,
        ["read", store, manifest] => read(store, manifest).await,
        ["disk", store, manifest] => disk_of::measure(store, manifest).await,
        ["serve", store, manifest, socket] => disk_of::serve(store, manifest, socket, false).await,
        ["serve", store, manifest, socket, "layer"] => disk_of::serve(store, manifest, socket, true).await,
        ["sparse", store, copy] => sparse::measure(store, copy).await,
        ["index", bytes] => index::measure(bytes.parse()?),
        _ => Err(Error::other("ingest | export | copy | condense | open | freeze | read | disk | serve | sparse | index").into()),
    }
}

async fn open(path: &str) -> Done<Store> {
    let root = PathBuf::from(path);
    let mut options = StoreOptions::new(Location::Directory(root.join("store")), root.join("node"), [7; 32]);
    if let Ok(level) = std::env::var("LEVEL") {
        options.level = level.parse()?;
    }
    if let Ok(bytes) = std::env::var("INDEX_BYTES") {
        options.index_bytes_max = bytes.parse()?;
    }
    Ok(Store::open(options).await?)
}

struct Clock(Instant, Duration);

impl Clock {
    fn start() -> Self {
        Self(Instant::now(), cpu())
    }

    fn seconds(&self) -> (f64, f64) {
        (self.0.elapsed().as_secs_f64(), (cpu() - self.1).as_secs_f64())
    }
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

async fn ingest(path: &str, images: &[&str]) -> Done<()> {
    let store = open(path).await?;
    for image in images {
        let source = Arc::new(disk::raw::RawFile::open(Path::new(image))?);
        let clock = Clock::start();
        let done = store.ingest(source, &Progress::default()).await?;
        let (wall, cpu) = clock.seconds();
        let stored = store.stat().await?.stored_bytes;
        println!(
            "{{\"ingest\":\"{image}\",\"manifest\":\"{}\",\"wall_s\":{wall:.3},\"cpu_s\":{cpu:.3},\"content_mb\":{:.0},\"content_mb_per_cpu_s\":{:.0},\"new_mb\":{:.1},\"new_stored_mb\":{:.1},\"store_mib\":{:.1}}}",
            done.manifest,
            mb(done.content_bytes),
            mb(done.content_bytes) / cpu,
            mb(done.new_bytes),
            mb(done.stored_bytes),
            stored as f64 / f64::from(1 << 20),
        );
    }
    Ok(())
}

async fn export(path: &str, manifest: &str, out: &Path) -> Done<()> {
    let store = open(path).await?;
    let clock = Clock::start();
    let reader = store.open_reader(manifest.parse::<ManifestId>()?).await?;
    let bytes = reader.export_raw(std::fs::File::create(out)?, &Progress::default()).await?;
    let (wall, cpu) = clock.seconds();
    println!(
        "{{\"export\":\"{manifest}\",\"wall_s\":{wall:.3},\"cpu_s\":{cpu:.3},\"content_mb\":{:.0},\"content_mb_per_cpu_s\":{:.0}}}",
        mb(bytes),
        mb(bytes) / cpu
    );
    Ok(())
}

async fn copy(from: &str, to: &str, manifests: &[&str]) -> Done<()> {
    let (from, to) = (open(from).await?, open(to).await?);
    for manifest in manifests {
        let clock = Clock::start();
        let done = to.copy_from(&from, manifest.parse()?, &Progress::default()).await?;
        let (wall, cpu) = clock.seconds();
        println!(
            "{{\"copy\":\"{manifest}\",\"wall_s\":{wall:.3},\"cpu_s\":{cpu:.3},\"moved_mb\":{:.1},\"frames\":{}}}",
            mb(done.bytes_moved),
            done.frames_moved
        );
    }
    Ok(())
}

async fn condense(path: &str) -> Done<()> {
    let store = open(path).await?;
    let mut limits = CondenseLimits::default();
    if let Ok(level) = std::env::var("LEVEL") {
        limits.level = level.parse()?;
    }
    let clock = Clock::start();
    let done = store.condense(limits, 0).await?;
    let (wall, cpu) = clock.seconds();
    println!(
        "{{\"condense\":{},\"wall_s\":{wall:.3},\"cpu_s\":{cpu:.3},\"before_mib\":{:.1},\"after_mib\":{:.1},\"store_mib\":{:.1}}}",
        done.packs,
        done.bytes_before as f64 / f64::from(1 << 20),
        done.bytes_after as f64 / f64::from(1 << 20),
        store.stat().await?.stored_bytes as f64 / f64::from(1 << 20)
    );
    Ok(())
}

async fn start(path: &str) -> Done<()> {
    let clock = Clock::start();
    let store = open(path).await?;
    let (wall, cpu) = clock.seconds();
    println!("{{\"open\":{wall:.4},\"cpu_s\":{cpu:.4},\"stat\":\"{:?}\"}}", store.stat().await?);
    Ok(())
}

/// Numbers that look random and are the same every time.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 20
}

async fn freeze(path: &str, manifest: &str) -> Done<()> {
    let store = open(path).await?;
    let id: ManifestId = manifest.parse()?;
    let size = store.manifest(id).await?.size_bytes();
    let layer_id = LayerId(uuid::Uuid::from_u128(u128::from(std::process::id())));
    let clock = Clock::start();
    let layer = store.create_layer(layer_id, Some(id), size).await?;
    let (created, _) = clock.seconds();
    let mut state = 1;
    for n in 0..1000_u64 {
        let block = next(&mut state) % (size / 4096);
        layer.write_at(block * 4096, &n.to_le_bytes().repeat(512)).await?;
    }
    layer.flush().await?;
    let clock = Clock::start();
    let done = layer.freeze(None).await?;
    let (wall, cpu) = clock.seconds();
    println!(
        "{{\"freeze\":\"{}\",\"create_s\":{created:.4},\"wall_s\":{wall:.3},\"cpu_s\":{cpu:.3},\"new_mb\":{:.1}}}",
        done.manifest,
        mb(done.new_bytes)
    );
    drop(layer);
    store.delete_layer(layer_id).await?;
    Ok(())
}

async fn read(path: &str, manifest: &str) -> Done<()> {
    let store = open(path).await?;
    let reader = store.open_reader(manifest.parse()?).await?;
    let blocks = reader.size_bytes() / 4096;
    for (name, span) in [("cold", blocks), ("again", 4096)] {
        let (mut state, mut buffer, count) = (3, [0_u8; 4096], 20_000_u64);
        let clock = Clock::start();
        for _ in 0..count {
            disk::Source::read_at(&reader, next(&mut state) % span.min(blocks) * 4096, &mut buffer)?;
        }
        let (wall, cpu) = clock.seconds();
        println!(
            "{{\"read\":\"{name}\",\"per_s\":{:.0},\"cpu_us_each\":{:.1}}}",
            count as f64 / wall,
            cpu * 1e6 / count as f64
        );
    }
    Ok(())
}
