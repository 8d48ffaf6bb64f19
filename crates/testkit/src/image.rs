//! Disks made for a test, from a seed.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Bytes of a run of data or of a hole in a generated disk.
const RUN_BYTES: usize = 256 << 10;

/// Returns a disk with runs of noise, of text and of zeroes; the same for the same seed.
pub fn random_disk(size_bytes: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0_u8; size_bytes];
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    for run in bytes.chunks_mut(RUN_BYTES) {
        match next(&mut state) % 3 {
            0 => {}
            1 => run.chunks_mut(8).for_each(|word| {
                let value = next(&mut state).to_le_bytes();
                word.copy_from_slice(&value[..word.len()]);
            }),
            _ => {
                let letter = b'a' + u8::try_from(next(&mut state) % 26).unwrap_or(0);
                run.fill(letter);
            }
        }
    }
    bytes
}

/// Writes a disk as a fixed VHD.
pub fn write_vhd(path: &Path, disk: &[u8]) {
    let file = File::create(path).expect("the file can be made");
    file.write_all_at(disk, 0).expect("the disk can be written");
    let size = disk.len() as u64;
    let footer = disk::vhd::footer(size, [7; 16], 1_700_000_000_000);
    file.write_all_at(&footer, size)
        .expect("the footer can be written");
}

/// xorshift64*.
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_F491_4F6C_DD1D)
}
