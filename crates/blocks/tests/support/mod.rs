//! What the tests of the store share: a disk in memory, and numbers that can be had again.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "one file for several tests, and a test fails by panicking"
)]

use disk::{DiskError, Extent, ExtentKind, Source};

/// A disk in memory; zero runs of whole blocks are holes.
pub struct Plain(pub Vec<u8>);

impl Source for Plain {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        let from = usize::try_from(offset).unwrap();
        buf.copy_from_slice(&self.0[from..from + buf.len()]);
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent, DiskError> {
        let from = usize::try_from(offset).unwrap();
        let kind = |at: usize| {
            self.0[at..self.0.len().min(at + 4096)]
                .iter()
                .any(|b| *b != 0)
        };
        let (first, mut end) = (kind(from), from);
        while end < self.0.len() && kind(end) == first {
            end = (end / 4096 + 1) * 4096;
        }
        let length = (end.min(self.0.len()) - from) as u64;
        Ok(Extent {
            offset,
            length,
            kind: if first {
                ExtentKind::Data
            } else {
                ExtentKind::Zero
            },
        })
    }
}

/// A small generator, so that a failure can be repeated from its seed.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let x = self.0 ^ (self.0 >> 33);
        x.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ (x >> 29)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let kind = self.below(4);
        let text = self.next().to_le_bytes();
        (0..length)
            .map(|n| match kind {
                0 => 0,
                1 => text[n % 8],
                _ => u8::try_from(self.next() & 0xff).unwrap(),
            })
            .collect()
    }

    /// A disk of blocks that often come twice.
    pub fn disk(&mut self) -> Vec<u8> {
        let mut disk = Vec::new();
        for _ in 0..self.below(80) + 1 {
            let piece = if self.below(3) == 0 {
                vec![u8::try_from(self.below(5)).unwrap(); 4096]
            } else {
                self.bytes(4096)
            };
            disk.extend(piece);
        }
        if self.below(3) == 0 {
            let tail = self.below(8) * 512;
            let tail = self.bytes(tail);
            disk.extend(tail);
        }
        disk
    }
}

/// Whether the long runs are asked for.
pub fn is_long() -> bool {
    std::env::var_os("VITRINE_TEST_LONG").is_some()
}

/// The seed that a long campaign begins with: `VITRINE_TEST_SEED`, or 0.
pub fn first_seed() -> u64 {
    let said = std::env::var("VITRINE_TEST_SEED").ok();
    said.map_or(0, |seed| {
        seed.parse().expect("VITRINE_TEST_SEED is a number")
    })
}
