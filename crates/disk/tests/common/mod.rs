//! What the format tests share: a directory, `qemu-img`, disks with holes, a comparison.

#![expect(
    clippy::disallowed_methods,
    reason = "compares with the tools of others"
)]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "each test binary uses its own part"
)]

pub mod images;
pub mod nbd;
pub mod oracle;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use disk::raw::RawFile;
use disk::{DiskError, ExtentKind, Format, Source};

/// A directory for one test.
pub struct Work(tempfile::TempDir);

impl Work {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a raw file with holes where the bytes are zero.
    pub fn raw(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        let file = File::create(&path).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        for (number, piece) in bytes.chunks(4096).enumerate() {
            if piece.iter().any(|b| *b != 0) {
                file.write_all_at(piece, number as u64 * 4096).unwrap();
            }
        }
        path
    }

    /// Converts a raw file with `qemu-img`.
    pub fn convert(&self, raw: &Path, image: &Path, format: &str, options: &[&str]) {
        let mut command = Command::new("qemu-img");
        command
            .args(["convert", "-f", "raw", "-O", format])
            .args(options);
        run(command.arg(raw).arg(image));
    }

    /// Holds two images against each other with `qemu-img`.
    pub fn compare(&self, left: &Path, left_format: &str, right: &Path, right_format: &str) {
        let mut command = Command::new("qemu-img");
        command.args(["compare", "-f", left_format, "-F", right_format]);
        let done = run(command.arg(left).arg(right));
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(!text.contains("mismatch"), "{text}");
    }

    pub fn open(&self, format: Format, image: &Path) -> Result<Arc<dyn Source>, DiskError> {
        disk::open(format, Arc::new(RawFile::open(image)?))
    }
}

/// Runs a command that must succeed.
pub fn run(command: &mut Command) -> Output {
    let done = command.output();
    let done = done.unwrap_or_else(|e| panic!("{command:?}: {e}; install qemu-utils"));
    let text = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?}: {text}");
    done
}

/// A small generator of numbers; the same seed gives the same numbers.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

/// Bytes of a disk: long holes, single bytes, text that compresses, noise that does not.
pub fn sample_disk(size: usize, seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    let mut bytes = vec![0; size];
    let mut at = 0;
    while at < size {
        let length = usize::try_from(1 << numbers.below(21))
            .unwrap()
            .min(size - at);
        let piece = &mut bytes[at..at + length];
        match numbers.below(4) {
            0 => piece
                .iter_mut()
                .for_each(|b| *b = numbers.next().to_le_bytes()[0]),
            1 => piece
                .iter_mut()
                .enumerate()
                .for_each(|(n, b)| *b = b"gallery "[n % 8]),
            2 => piece[0] = 1,
            _ => {}
        }
        at += length;
    }
    bytes
}

/// Checks that extents cover the disk and that `Zero` is true; returns bytes of data and of zero.
pub fn walk_extents(disk: &dyn Source) -> (u64, u64) {
    let (mut at, mut data, mut zero) = (0, 0, 0);
    while at < disk.size_bytes() {
        let extent = disk.extent_at(at).unwrap();
        assert!(extent.offset == at && extent.length > 0);
        assert!(extent.length <= disk.size_bytes() - at);
        if extent.kind == ExtentKind::Zero {
            zero += extent.length;
            let mut bytes = vec![1; usize::try_from(extent.length.min(1 << 20)).unwrap()];
            disk.read_at(at, &mut bytes).unwrap();
            assert!(bytes.iter().all(|b| *b == 0), "zero at {at}");
        } else {
            data += extent.length;
        }
        at += extent.length;
    }
    (data, zero)
}

/// Holds a disk against a raw file: whole, by odd reads, and its extents.
pub fn assert_same_content(disk: &dyn Source, raw: &Path) {
    let want = std::fs::read(raw).unwrap();
    assert_eq!(disk.size_bytes(), want.len() as u64);
    let mut got = vec![1; want.len()];
    disk.read_at(0, &mut got).unwrap();
    let differs = got.iter().zip(&want).position(|(g, w)| g != w);
    let bytes = differs.map(|at| (at, got[at], want[at]));
    assert!(differs.is_none(), "read whole: (at, got, want) {bytes:?}");
    let mut numbers = Numbers(7);
    for _ in 0..500 {
        let at = numbers.below(want.len() as u64);
        let length = numbers.below((want.len() as u64 - at).min(200_000)) + 1;
        let (from, length) = (
            usize::try_from(at).unwrap(),
            usize::try_from(length).unwrap(),
        );
        disk.read_at(at, &mut got[..length]).unwrap();
        assert!(
            got[..length] == want[from..from + length],
            "{length} at {at}"
        );
    }
    let (data, zero) = walk_extents(disk);
    assert_eq!(data + zero, want.len() as u64);
    assert!(disk.read_at(want.len() as u64, &mut [0]).is_err());
    assert!(disk.read_at(u64::MAX, &mut [0]).is_err());
    assert!(disk.extent_at(want.len() as u64).is_err());
}

/// The text of an error that says the image is bad, and nothing else.
pub fn refused_or_malformed<T>(result: Result<T, DiskError>) -> String {
    match result {
        Err(error @ (DiskError::Refused { .. } | DiskError::Malformed { .. })) => error.to_string(),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => "it was opened".to_owned(),
    }
}
