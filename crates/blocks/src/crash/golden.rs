//! The bytes of a pack, once and for all.

use std::path::PathBuf;

use uuid::Uuid;

use super::disk::CrashDisk;
use super::open;
use crate::Kind;
use crate::frame::{Codec, FrameId, StoredFrame};
use crate::pack::Writer;

const PACK: Uuid = Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);

fn golden() -> (CrashDisk, PathBuf) {
    let disk = CrashDisk::new(1);
    let store = open(&disk, "a").unwrap();
    let mut writer = Writer::create(&store.0.objects, PACK).unwrap();
    let frames = [(PACK, 0, 5_u8), (PACK, 1, 6), (Uuid::from_u128(9), 3, 7)];
    for (origin, number, byte) in frames {
        let bytes = vec![byte; 4096];
        let stored = StoredFrame {
            codec: Codec::Plain,
            digest: *blake3::hash(&bytes).as_bytes(),
            bytes,
        };
        let frame = FrameId { origin, number };
        writer.push(frame, &stored, vec![u128::from(byte)]).unwrap();
    }
    store.0.seal(writer).unwrap();
    (disk, PathBuf::from(format!("/a/packs/{PACK}.pack")))
}

#[test]
fn the_bytes_of_a_pack_are_golden() {
    let (disk, path) = golden();
    disk.change(&path, |bytes| {
        assert_eq!(&bytes[..8], b"VTPK\x03\0\0\0");
        assert_eq!(bytes[8..24], *PACK.as_bytes());
        // Three frames, then two segments: origin 9 sorts first.
        let frames = 24 + 3 * 4096;
        let first = &bytes[frames..frames + 66];
        assert_eq!(first[..4], [3, 0, 0, 0], "number");
        assert_eq!(first[4..12], (24_u64 + 2 * 4096).to_le_bytes(), "offset");
        assert_eq!(
            first[12..18],
            [0, 16, 0, 0, 0, 1],
            "length, plain, one block"
        );
        assert_eq!(first[50..66], 7_u128.to_le_bytes(), "the block's identity");
        let directory = frames + 66 + 2 * 66;
        assert_eq!(bytes.len(), directory + 2 * 72 + 60);
        let row = &bytes[directory..directory + 72];
        assert_eq!(row[..16], *Uuid::from_u128(9).as_bytes());
        assert_eq!(
            row[16..28],
            [3, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0],
            "first, last, frames"
        );
        let footer = &bytes[directory + 144..];
        assert_eq!(footer[..8], (directory as u64).to_le_bytes());
        assert_eq!(
            footer[8..24],
            [2, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(&footer[56..], b"VTPE");
        let digest = blake3::hash(bytes).to_string();
        assert_eq!(
            digest,
            "f1a4b12ff5358e2b50f11ffe90e04a9bd2ea7421d771c43c782672dcf3e2b397"
        );
    });
}

#[tokio::test]
async fn a_pack_of_another_version_is_left_alone_and_named() {
    for (version, what) in [(2, "an older Vitrine"), (4, "a newer Vitrine")] {
        let (disk, path) = golden();
        disk.change(&path, |bytes| bytes[4] = version);
        let store = open(&disk, "a").unwrap();
        let faults = store.fsck().await.unwrap();
        assert_eq!(faults.len(), 1);
        assert!(faults[0].reason.contains(what), "{faults:?}");
        assert!(disk.names().contains(&path));
    }
}

#[tokio::test]
async fn a_layer_of_a_newer_version_is_left_alone_and_named() {
    let disk = CrashDisk::new(1);
    let id = crate::LayerId(PACK);
    drop(
        open(&disk, "a")
            .unwrap()
            .create_layer(id, None, 4096)
            .await
            .unwrap(),
    );
    let path = PathBuf::from(format!("/a/node/layers/{PACK}.map"));
    disk.change(&path, |bytes| {
        bytes[4] += 1;
        let crc = crc32fast::hash(&bytes[..508]);
        bytes[508..512].copy_from_slice(&crc.to_le_bytes());
    });
    let error = open(&disk, "a")
        .unwrap()
        .open_layer(id)
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(error.to_string().contains("a newer Vitrine"), "{error}");
}
