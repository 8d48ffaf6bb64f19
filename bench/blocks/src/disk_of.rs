//! Disks from a manifest: how soon they are there, how soon their first byte is, and over NBD.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use blocks::nbd::{NbdOptions, NbdServer};
use blocks::{LayerId, ManifestId};
use disk::ExtentKind;
use rustix::fs::{Advice, fadvise};

use crate::{Done, next, open};

const ROUNDS: usize = 21;

/// The middle of some times, in milliseconds.
fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2] * 1e3
}

/// Takes what a store has on disk out of the page cache.
fn make_cold(store: &Path) -> Done<()> {
    for room in ["packs", "manifests"] {
        for entry in std::fs::read_dir(store.join("store").join(room))? {
            let file = std::fs::File::open(entry?.path())?;
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

pub async fn measure(path: &str, manifest: &str) -> Done<()> {
    let id: ManifestId = manifest.parse()?;
    let (mut readers, mut layers, mut first, mut state) = (Vec::new(), Vec::new(), Vec::new(), 3);
    let mut size = 0;
    for round in 0..ROUNDS {
        // A store that was just opened: nothing is decoded.
        let store = open(path).await?;
        let start = Instant::now();
        let reader = store.open_reader(id).await?;
        readers.push(start.elapsed().as_secs_f64());
        size = reader.size_bytes();
        let layer_id = LayerId(uuid::Uuid::from_u128(u128::from(std::process::id()) << 32 | round as u128));
        let start = Instant::now();
        let layer = store.create_layer(layer_id, Some(id), size).await?;
        layers.push(start.elapsed().as_secs_f64());
        drop((reader, layer));
        store.delete_layer(layer_id).await?;
        drop(store);
        let store = open(path).await?;
        make_cold(Path::new(path))?;
        // Somewhere where there is data.
        let at = next(&mut state) % (size / 4096) * 4096;
        let start = Instant::now();
        let reader = store.open_reader(id).await?;
        let extent = reader.extent_at(at)?;
        let at = match extent.kind {
            ExtentKind::Data => at,
            ExtentKind::Zero => (extent.offset + extent.length) % size,
        };
        reader.read(at, 4096).await?;
        first.push(start.elapsed().as_secs_f64());
    }
    println!(
        "{{\"disk_of_gib\":{},\"reader_ms\":{:.2},\"layer_ms\":{:.2},\"first_byte_cold_ms\":{:.2}}}",
        size >> 30,
        median(readers),
        median(layers),
        median(first)
    );
    Ok(())
}

pub async fn serve(path: &str, manifest: &str, socket: &str, is_layer: bool) -> Done<()> {
    let store = open(path).await?;
    let id: ManifestId = manifest.parse()?;
    let server = NbdServer::listen(Path::new(socket), NbdOptions::default()).await?;
    let reader = store.open_reader(id).await?;
    if is_layer {
        let layer_id = LayerId(uuid::Uuid::from_u128(u128::from(std::process::id())));
        let layer = store.create_layer(layer_id, Some(id), reader.size_bytes()).await?;
        server.add("", Arc::new(layer))?;
    } else {
        server.add("", Arc::new(reader))?;
    }
    std::future::pending::<()>().await;
    Ok(())
}
