//! Good manifests and packs, made by a store of three small disks.

use std::sync::Arc;

use blocks::{Location, Progress, Store, StoreOptions};
use disk::{DiskError, Extent, ExtentKind, Source};

/// A disk without holes.
struct Plain(Vec<u8>);

impl Source for Plain {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DiskError> {
        let from = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.0[from..from + buffer.len()]);
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent, DiskError> {
        Ok(Extent {
            offset,
            length: self.size_bytes() - offset,
            kind: ExtentKind::Data,
        })
    }
}

/// Returns the objects of one kind.
pub fn good(room: &str) -> Vec<Vec<u8>> {
    let root = std::env::temp_dir().join(format!("vitrine-fuzz-{room}-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let location = Location::Directory(root.join("store"));
        let options = StoreOptions::new(location, root.join("node"), [3; 32]);
        let store = Store::open(options).await.unwrap();
        for seed in 1..4_usize {
            let words =
                (0..seed * 40_000).map(|n| (n / 4096 * seed % 7) as u32 * 77 + n as u32 % 3);
            let bytes = words.flat_map(u32::to_le_bytes).collect();
            store
                .ingest(Arc::new(Plain(bytes)), &Progress::default())
                .await
                .unwrap();
        }
    });
    let found = std::fs::read_dir(root.join("store").join(room)).unwrap();
    let found = found
        .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
        .collect();
    std::fs::remove_dir_all(&root).unwrap();
    found
}

/// Returns bytes with changes of three bytes each: where (from the end when odd), what.
pub fn changed(bytes: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes.chunks_exact(3).take(16) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) / 2;
        let at = at % bytes.len();
        let at = if change[0] % 2 == 1 {
            bytes.len() - 1 - at
        } else {
            at
        };
        bytes[at] = change[2];
    }
    bytes
}
