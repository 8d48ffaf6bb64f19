//! A disk of 32 TiB that holds 1 GiB, in pieces all over it: everything must cost the 1 GiB.

use std::sync::Arc;

use blocks::{LayerId, Progress};
use disk::{DiskError, Extent, ExtentKind, Source};

use crate::{Clock, Done, mb, next, open};

const SIZE: u64 = 32 << 40;
const CONTENT: u64 = 1 << 30;
/// Pieces of content, each of 1 MiB, at equal distances.
const PIECES: u64 = CONTENT >> 20;
const DISTANCE: u64 = SIZE / PIECES;
const PIECE: u64 = 1 << 20;

/// The disk; its content is made from its place.
struct Sparse;

impl Source for Sparse {
    fn size_bytes(&self) -> u64 {
        SIZE
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        for (at, bytes) in (offset..).step_by(512).zip(buf.chunks_mut(512)) {
            if at % DISTANCE >= PIECE {
                bytes.fill(0);
                continue;
            }
            // Half of it compresses.
            let mut state = at;
            let (random, text) = bytes.split_at_mut(bytes.len() / 2);
            random.chunks_mut(8).for_each(|some| {
                let length = some.len();
                some.copy_from_slice(&next(&mut state).to_le_bytes()[..length]);
            });
            text.fill(at.to_le_bytes()[2]);
        }
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent, DiskError> {
        let within = offset % DISTANCE;
        let (length, kind) = match within < PIECE {
            true => (PIECE - within, ExtentKind::Data),
            false => (DISTANCE - within, ExtentKind::Zero),
        };
        Ok(Extent { offset, length, kind })
    }
}

pub async fn measure(path: &str, to: &str) -> Done<()> {
    let store = open(path).await?;
    let say = |what: &str, clock: Clock, more: String| {
        let (wall, cpu) = clock.seconds();
        println!("{{\"sparse\":\"{what}\",\"wall_s\":{wall:.3},\"cpu_s\":{cpu:.3}{more}}}");
    };
    let clock = Clock::start();
    let done = store.ingest(Arc::new(Sparse), &Progress::default()).await?;
    let manifest = std::fs::metadata(std::path::Path::new(path).join("store/manifests").join(done.manifest.to_string()))?;
    say(
        "ingest",
        clock,
        format!(
            ",\"size_tib\":{},\"content_mb\":{:.0},\"stored_mb\":{:.0},\"manifest_kib\":{}",
            SIZE >> 40,
            mb(done.content_bytes),
            mb(done.stored_bytes),
            manifest.len() >> 10
        ),
    );
    let clock = Clock::start();
    let reader = store.open_reader(done.manifest).await?;
    say("reader", clock, String::new());
    let clock = Clock::start();
    let range = reader.read(DISTANCE * 77, 8 << 20).await?;
    let mut expected = vec![0; range.len()];
    Sparse.read_at(DISTANCE * 77, &mut expected)?;
    say("read of 8 MiB", clock, format!(",\"same\":{}", range == expected));
    let clock = Clock::start();
    let layer_id = LayerId(uuid::Uuid::from_u128(u128::from(std::process::id())));
    let layer = store.create_layer(layer_id, Some(done.manifest), SIZE).await?;
    say("layer", clock, String::new());
    let clock = Clock::start();
    layer.write_at(SIZE - 4096, &[7; 4096]).await?;
    layer.write_at(DISTANCE * 5, &[7; 4096]).await?;
    layer.flush().await?;
    let frozen = layer.freeze(None).await?;
    say("two writes and a freeze", clock, format!(",\"new_bytes\":{}", frozen.new_bytes));
    drop(layer);
    store.delete_layer(layer_id).await?;
    let clock = Clock::start();
    let copied = open(to).await?.copy_from(&store, done.manifest, &Progress::default()).await?;
    say("copy", clock, format!(",\"moved_mb\":{:.0}", mb(copied.bytes_moved)));
    let clock = Clock::start();
    store.verify(done.manifest).await?;
    say("verify", clock, String::new());
    Ok(())
}
