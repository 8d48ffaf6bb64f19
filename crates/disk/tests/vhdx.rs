//! VHDX: what we read is what `qemu-img` reads, also with a log that was not replayed; hostile
//! files are refused.
#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    clippy::allow_attributes,
    reason = "tests and their tables"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "compares with the tools of others"
)]

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use common::{Work, assert_same_content, refused_or_malformed, run, sample_disk, walk_extents};
use disk::memory::Memory;
use disk::vhdx::Vhdx;
use disk::{Format, Source};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const LOG: usize = MIB;
const PAGE: usize = 4096;

#[test]
fn what_qemu_writes_as_vhdx_is_read_as_the_same_disk() {
    let work = Work::new();
    let kinds = [
        "subformat=dynamic",
        "subformat=dynamic,block_size=1M",
        "subformat=dynamic,block_size=1M,block_state_zero=off",
        "subformat=fixed",
    ];
    for (seed, options) in (1..).zip(kinds) {
        for size in [9 * MIB, 35 * MIB + 512] {
            let raw = work.raw("a.raw", &sample_disk(size, seed));
            let image = work.path("a.vhdx");
            work.convert(&raw, &image, "vhdx", &["-o", options]);
            let disk = work.open(Format::Vhdx, &image).unwrap();
            assert_same_content(&disk, &raw);
        }
    }
}

#[test]
fn blocks_behind_sector_bitmap_entries_are_found() {
    let work = Work::new();
    let raw = work.path("a.raw");
    let file = File::create(&raw).unwrap();
    // 1 MiB blocks: a bitmap entry after every 4096 blocks, which is 4 GiB.
    file.set_len(9 << 30).unwrap();
    let places = [
        0_u64,
        (4 << 30) - 512,
        4 << 30,
        (8 << 30) - 4096,
        (8 << 30) + 4096,
    ];
    for at in places {
        file.write_all_at(&(at + 1).to_be_bytes(), at).unwrap();
    }
    let image = work.path("a.vhdx");
    work.convert(&raw, &image, "vhdx", &["-o", "block_size=1M"]);
    let disk = work.open(Format::Vhdx, &image).unwrap();
    for at in places {
        let mut read = [0; 8];
        disk.read_at(at, &mut read).unwrap();
        assert_eq!(u64::from_be_bytes(read), at + 1);
    }
    assert_eq!(walk_extents(&disk), (5 << 20, (9 << 30) - (5 << 20)));
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| match crc & 1 {
            0 => crc >> 1,
            _ => crc >> 1 ^ 0x82F6_3B78,
        })
    })
}

/// Sums a structure again; its sum lies at 4.
fn resum(bytes: &mut [u8]) {
    bytes[4..8].fill(0);
    let sum = crc32c(bytes);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
}

fn in_headers(image: &mut [u8], at: usize, with: &[u8]) {
    for from in [64 * KIB, 128 * KIB] {
        image[from + at..from + at + with.len()].copy_from_slice(with);
        resum(&mut image[from..from + PAGE]);
    }
}

fn in_regions(image: &mut [u8], at: usize, with: &[u8]) {
    for from in [192 * KIB, 256 * KIB] {
        image[from + at..from + at + with.len()].copy_from_slice(with);
        resum(&mut image[from..from + 64 * KIB]);
    }
}

/// A VHDX of 3 MiB in blocks of 1 MiB, all of them in the file.
fn image() -> Vec<u8> {
    let work = Work::new();
    let raw = work.raw("a.raw", &b"abcdefg".repeat(3 * MIB / 7 + 1)[..3 * MIB]);
    let image = work.path("a.vhdx");
    work.convert(&raw, &image, "vhdx", &["-o", "block_size=1M"]);
    std::fs::read(image).unwrap()
}

/// Offsets of the block table and of the metadata.
fn regions(image: &[u8]) -> (usize, usize) {
    let at = |entry: usize| {
        let from = 192 * KIB + 16 + entry * 32 + 16;
        usize::try_from(u64::from_le_bytes(
            image[from..from + 8].try_into().unwrap(),
        ))
        .unwrap()
    };
    match image[192 * KIB + 16] {
        0x66 => (at(0), at(1)),
        _ => (at(1), at(0)),
    }
}

/// What an entry of the log changes.
enum Write {
    Page(u64, Vec<u8>),
    Zero(u64, u64),
}

/// Builds an entry of the log of one or two pages and more, as MS-VHDX 2.3.1 says.
fn log_entry(sequence: u64, tail: u32, file_size: u64, writes: &[Write]) -> Vec<u8> {
    let mut entry = b"loge".to_vec();
    entry.resize(64, 0);
    entry[12..16].copy_from_slice(&tail.to_le_bytes());
    entry[16..24].copy_from_slice(&sequence.to_le_bytes());
    entry[24..28].copy_from_slice(&u32::try_from(writes.len()).unwrap().to_le_bytes());
    entry[32..48].copy_from_slice(&[7; 16]);
    entry[48..56].copy_from_slice(&file_size.to_le_bytes());
    entry[56..64].copy_from_slice(&file_size.to_le_bytes());
    let mut data = Vec::new();
    for write in writes {
        match write {
            Write::Zero(at, length) => {
                entry.extend_from_slice(b"zero\0\0\0\0");
                entry.extend_from_slice(&length.to_le_bytes());
                entry.extend_from_slice(&at.to_le_bytes());
            }
            Write::Page(at, page) => {
                entry.extend_from_slice(b"desc");
                entry.extend_from_slice(&page[4092..]);
                entry.extend_from_slice(&page[..8]);
                entry.extend_from_slice(&at.to_le_bytes());
                data.extend_from_slice(b"data");
                data.extend_from_slice(&sequence.to_le_bytes()[4..]);
                data.extend_from_slice(&page[8..4092]);
                data.extend_from_slice(&sequence.to_le_bytes()[..4]);
            }
        }
        entry.extend_from_slice(&sequence.to_le_bytes());
    }
    entry.resize(entry.len().next_multiple_of(PAGE), 0);
    entry.extend_from_slice(&data);
    let length = u32::try_from(entry.len()).unwrap();
    entry[8..12].copy_from_slice(&length.to_le_bytes());
    resum(&mut entry);
    entry
}

/// Puts entries into the log at an offset (they may wrap) and marks the log as not replayed.
fn with_log(image: &mut [u8], at: usize, entries: &[Vec<u8>]) {
    in_headers(image, 48, &[7; 16]);
    for (number, byte) in entries.concat().into_iter().enumerate() {
        image[LOG + (at + number) % MIB] = byte;
    }
}

/// An image whose log holds two entries from `start` on, and the second entry alone.
fn unreplayed(start: usize) -> (Vec<u8>, Vec<u8>) {
    let bytes = image();
    let size = bytes.len() as u64;
    let block = size - (3 * MIB) as u64;
    let tail = u32::try_from(start).unwrap();
    let first = [
        Write::Page(block, vec![1; PAGE]),
        Write::Page(block + 8192, vec![2; PAGE]),
    ];
    let second = [
        Write::Zero(block + (MIB as u64), 40960),
        Write::Page(block, (0..=255).cycle().take(PAGE).collect()),
        Write::Page(block + (MIB as u64) + 8192, vec![4; PAGE]),
    ];
    let entries = [
        log_entry(11, tail, size, &first),
        log_entry(12, tail, size, &second),
    ];
    let (mut both, mut one) = (bytes.clone(), bytes);
    with_log(&mut both, start, &entries);
    with_log(&mut one, start, &entries[1..]);
    (both, one)
}

#[test]
fn a_log_is_replayed_as_qemu_replays_it() {
    // qemu 7.2 takes only the part behind the wrap of a sequence that wraps: one entry there.
    let images = [
        unreplayed(0).0,
        unreplayed(8 * PAGE).0,
        unreplayed(MIB - PAGE).1,
        unreplayed(MIB - 2 * PAGE).1,
    ];
    for bytes in images {
        let work = Work::new();
        let (mine, theirs) = (work.path("mine.vhdx"), work.path("theirs.vhdx"));
        std::fs::write(&mine, &bytes).unwrap();
        std::fs::write(&theirs, &bytes).unwrap();
        run(Command::new("qemu-img")
            .args(["check", "-q", "-r", "all", "-f", "vhdx"])
            .arg(&theirs));
        let raw = work.path("a.raw");
        let mut command = Command::new("qemu-img");
        command.args(["convert", "-f", "vhdx", "-O", "raw"]);
        run(command.arg(&theirs).arg(&raw));
        assert_same_content(&work.open(Format::Vhdx, &mine).unwrap(), &raw);
        assert!(
            std::fs::read(&raw).unwrap().contains(&4),
            "the log was replayed"
        );
        assert!(
            std::fs::read(&mine).unwrap() == bytes,
            "the file is not written"
        );
    }
}

#[test]
fn a_log_that_wraps_is_replayed_like_one_that_does_not() {
    let read = |start| {
        let mut bytes = vec![0; 3 * MIB];
        let disk = Vhdx::new(Memory(unreplayed(start).0)).unwrap();
        disk.read_at(0, &mut bytes).unwrap();
        bytes
    };
    let straight = read(0);
    for pages in 1..7 {
        assert!(
            read(MIB - pages * PAGE) == straight,
            "{pages} pages before the end"
        );
    }
}

#[test]
fn of_two_sequences_in_the_log_the_newer_one_counts() {
    let mut bytes = image();
    let (size, block) = (bytes.len() as u64, (bytes.len() - 3 * MIB) as u64);
    let page = |byte| [Write::Page(block, vec![byte; PAGE])];
    with_log(&mut bytes, 0, &[log_entry(50, 0, size, &page(1))]);
    let at = u32::try_from(20 * PAGE).unwrap();
    with_log(&mut bytes, 20 * PAGE, &[log_entry(90, at, size, &page(2))]);
    // Newer still, but its tail is not there any more.
    with_log(
        &mut bytes,
        40 * PAGE,
        &[log_entry(99, 4096, size, &page(3))],
    );
    let mut read = [0; 1];
    Vhdx::new(Memory(bytes))
        .unwrap()
        .read_at(0, &mut read)
        .unwrap();
    assert_eq!(read, [2]);
}

#[test]
fn a_damaged_log_is_an_error() {
    let good = image();
    let (size, block) = (good.len() as u64, (good.len() - 3 * MIB) as u64);
    let entry = log_entry(50, 0, size, &[Write::Page(block, vec![1; PAGE])]);
    let open = |entry: Vec<u8>| {
        let mut bytes = good.clone();
        with_log(&mut bytes, 0, &[entry]);
        refused_or_malformed(Vhdx::new(Memory(bytes)))
    };
    assert_eq!(open(entry.clone()), "it was opened");
    for bit in (0..entry.len() * 8).step_by(97) {
        let mut bad = entry.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(open(bad).contains("no valid entries"), "bit {bit}");
    }
    let cut = open(log_entry(50, 0, size + 4096, &[]));
    assert!(cut.contains("cut"), "{cut}");
    for (write, name) in [
        (Write::Page(block + 1, vec![1; PAGE]), "unaligned"),
        (Write::Page(u64::MAX - 4095, vec![1; PAGE]), "overflow"),
        (Write::Zero(4096, u64::MAX - 4095), "zeroes overflow"),
        (Write::Zero(4096, 1 << 60), "zeroes everywhere"),
    ] {
        let text = open(log_entry(50, 0, size, &[write]));
        assert!(text.contains("no valid entries"), "{name}: {text}");
    }
    // Entries that each claim the whole log cost time to sum: there is an end to it.
    let mut bytes = good.clone();
    let mut entry = log_entry(50, 0, size, &[]);
    entry[8..12].copy_from_slice(&u32::try_from(MIB).unwrap().to_le_bytes());
    with_log(&mut bytes, 0, &vec![entry; 256]);
    let text = refused_or_malformed(Vhdx::new(Memory(bytes)));
    assert!(text.contains("overlap"), "{text}");
}

#[test]
fn hostile_vhdx_images_are_refused() {
    let good = image();
    let (bat, metadata) = regions(&good);
    // Offsets of the values of the metadata items, by the order of the table.
    let item = |number: usize| {
        let from = metadata + 32 + number * 32 + 16;
        metadata
            + usize::try_from(u32::from_le_bytes(good[from..from + 4].try_into().unwrap())).unwrap()
    };
    let find = |first: u8| {
        (0..6)
            .find(|n| good[metadata + 32 + n * 32] == first)
            .unwrap()
    };
    let (parameters, size, logical) = (find(0x37), find(0x24), find(0x1D));
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let bytes = |at: usize, with: &[u8]| -> Change {
        let with = with.to_vec();
        Box::new(move |image| image[at..at + with.len()].copy_from_slice(&with))
    };
    let headers = |at: usize, with: &[u8]| -> Change {
        let with = with.to_vec();
        Box::new(move |image| in_headers(image, at, &with))
    };
    let table = |at: usize, with: &[u8]| -> Change {
        let with = with.to_vec();
        Box::new(move |image| in_regions(image, at, &with))
    };
    let le = |n: u64| n.to_le_bytes();
    let same = good[bat + 8..bat + 16].to_vec();
    let cases: Vec<(&str, Change, &str)> = vec![
        ("mark", bytes(0, b"x"), "vhdxfile"),
        (
            "both headers",
            Box::new(|i| {
                i[64 * KIB + 9] ^= 1;
                i[128 * KIB + 9] ^= 1;
            }),
            "neither header",
        ),
        ("version", headers(66, &[2]), "version 2"),
        ("log version", headers(64, &[1]), "log version 1"),
        ("log outside", headers(72, &le(1 << 40)), "log"),
        ("log overflow", headers(72, &le(u64::MAX << 20)), "log"),
        ("log unaligned", headers(72, &le((1 << 20) + 4096)), "log"),
        ("log in headers", headers(72, &le(0)), "log"),
        ("log huge", headers(68, &[0, 0, 0, 0xF0]), "too large"),
        (
            "log on metadata",
            headers(72, &le(metadata as u64)),
            "overlaps",
        ),
        (
            "log without entries",
            headers(48, &[1; 16]),
            "no valid entries",
        ),
        (
            "regions sum",
            Box::new(|i| {
                i[193 * KIB] ^= 1;
                i[257 * KIB] ^= 1;
            }),
            "neither region",
        ),
        ("region count", table(8, &[0xFF; 4]), "too many"),
        ("no regions", table(8, &[0; 4]), "missing"),
        (
            "unknown region",
            Box::new(|i| {
                in_regions(i, 16, &[0xAB; 16]);
                in_regions(i, 44, &[1]);
            }),
            "unknown region",
        ),
        (
            "region twice",
            Box::new(|i| {
                let copy = i[192 * KIB + 16..192 * KIB + 32].to_vec();
                in_regions(i, 48, &copy);
            }),
            "twice",
        ),
        ("region outside", table(32, &le(1 << 50)), "cannot lie"),
        (
            "region overflow",
            table(32, &le(u64::MAX << 20)),
            "cannot lie",
        ),
        (
            "regions overlap",
            Box::new(move |i| {
                in_regions(i, 32, &le(metadata as u64));
                in_regions(i, 64, &le(metadata as u64));
            }),
            "overlaps",
        ),
        ("metadata mark", bytes(metadata, b"x"), "mark"),
        (
            "metadata count",
            bytes(metadata + 10, &[0xFF, 0xFF]),
            "too many",
        ),
        ("metadata empty", bytes(metadata + 10, &[0, 0]), "missing"),
        (
            "item outside",
            bytes(metadata + 32 + 16, &[0xFF; 4]),
            "cannot lie",
        ),
        (
            "item in table",
            bytes(metadata + 32 + 16, &[0; 4]),
            "cannot lie",
        ),
        (
            "item long",
            bytes(metadata + 32 + 20, &[0xFF; 4]),
            "cannot lie",
        ),
        (
            "item odd",
            bytes(metadata + 32 + 20, &[3, 0, 0, 0]),
            "has 3 bytes",
        ),
        (
            "item unknown",
            bytes(metadata + 32, &[0xAB; 16]),
            "unknown metadata",
        ),
        (
            "parent locator",
            bytes(
                metadata + 32,
                &[
                    0x2D, 0x5F, 0xD3, 0xA8, 0x0B, 0xB3, 0x4D, 0x45, 0xAB, 0xF7, 0xD3, 0xD8, 0x48,
                    0x34, 0xAB, 0x0C,
                ],
            ),
            "parent",
        ),
        (
            "differencing",
            bytes(item(parameters) + 4, &[2]),
            "differencing",
        ),
        (
            "parameters",
            bytes(item(parameters) + 4, &[8]),
            "unknown file parameters",
        ),
        ("block 0", bytes(item(parameters), &[0; 4]), "blocks of 0"),
        (
            "block huge",
            bytes(item(parameters), &[0, 0, 0, 0x80]),
            "blocks of",
        ),
        ("size 0", bytes(item(size), &le(0)), "disk of 0"),
        (
            "size huge",
            bytes(item(size), &le(u64::MAX - 511)),
            "not possible",
        ),
        ("size odd", bytes(item(size), &le(513)), "disk of 513"),
        (
            "size over table",
            bytes(item(size), &le(32 << 40)),
            "too short",
        ),
        (
            "sector 1024",
            bytes(item(logical), &[0, 4, 0, 0]),
            "sectors of 1024",
        ),
        ("block twice", bytes(bat, &same), "overlaps"),
        ("block on headers", bytes(bat, &le(6)), "outside"),
        (
            "block on table",
            bytes(bat, &le(bat as u64 | 6)),
            "overlaps",
        ),
        ("block on log", bytes(bat, &le(LOG as u64 | 6)), "overlaps"),
        ("block outside", bytes(bat, &le(1 << 40 | 6)), "outside"),
        (
            "block overflow",
            bytes(bat, &le(u64::MAX << 20 | 6)),
            "outside",
        ),
        ("block state 4", bytes(bat, &le(4)), "not possible"),
        ("block reserved", bytes(bat + 1, &[1]), "not possible"),
        ("block in parent", bytes(bat, &le(7)), "parent"),
        ("cut", Box::new(|i| i.truncate(i.len() - 512)), "outside"),
        ("cut short", Box::new(|i| i.truncate(100 * KIB)), "outside"),
        ("nothing", Box::new(Vec::clear), "outside"),
    ];
    for (name, change, word) in cases {
        let mut image = good.clone();
        change(&mut image);
        let text = refused_or_malformed(Vhdx::new(Memory(image)));
        assert!(text.contains(word), "{name}: {text}");
    }
}

#[test]
fn either_header_alone_is_enough_and_the_newer_one_counts() {
    let good = image();
    for at in [64 * KIB, 128 * KIB] {
        let mut one = good.clone();
        one[at + 100] ^= 1;
        assert!(Vhdx::new(Memory(one)).is_ok());
    }
    let mut same = good.clone();
    in_headers(&mut same, 8, &5_u64.to_le_bytes());
    same[64 * KIB + 20] ^= 1;
    resum(&mut same[64 * KIB..64 * KIB + PAGE]);
    let text = refused_or_malformed(Vhdx::new(Memory(same)));
    assert!(text.contains("differ"), "{text}");
}

#[test]
fn disks_with_sectors_of_4096_bytes_are_read() {
    let mut image = image();
    let (_, metadata) = regions(&image);
    let entry = (0..6)
        .map(|n| metadata + 32 + n * 32)
        .find(|at| image[*at] == 0x1D)
        .unwrap();
    let offset = u32::from_le_bytes(image[entry + 16..entry + 20].try_into().unwrap());
    let at = metadata + usize::try_from(offset).unwrap();
    image[at..at + 4].copy_from_slice(&4096_u32.to_le_bytes());
    let disk = Vhdx::new(Memory(image)).unwrap();
    let mut read = [0; 7];
    disk.read_at(7 * 9000, &mut read).unwrap();
    assert_eq!(&read, b"abcdefg");
}
