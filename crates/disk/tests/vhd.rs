//! VHD: what we read is what `qemu-img` reads, and the other way round; hostile files are refused.
#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    clippy::allow_attributes,
    reason = "tests and their tables"
)]

mod common;

use std::fs::File;

use common::{Work, assert_same_content, refused_or_malformed, sample_disk, walk_extents};
use disk::memory::Memory;
use disk::raw::RawFile;
use disk::vhd::{self, DynamicVhd, FixedVhd};
use disk::{DiskError, Format, Source};

#[test]
fn what_qemu_writes_as_vhd_is_read_as_the_same_disk() {
    let work = Work::new();
    let raw = work.raw("a.raw", &sample_disk(9 << 20, 1));
    for (subformat, format) in [("fixed", Format::Vhd), ("dynamic", Format::DynamicVhd)] {
        let image = work.path(subformat);
        let options = format!("subformat={subformat},force_size=on");
        work.convert(&raw, &image, "vpc", &["-o", &options]);
        assert_same_content(&work.open(format, &image).unwrap(), &raw);
    }
}

#[test]
fn what_we_write_as_vhd_is_the_same_disk_for_qemu_and_for_us() {
    let work = Work::new();
    for (size, seed) in [(512, 2), (3 << 20, 3), ((5 << 20) + 512, 4), (70 << 20, 5)] {
        let raw = work.raw("a.raw", &sample_disk(size, seed));
        let source = RawFile::open(&raw).unwrap();
        let image = work.path("a.vhd");
        vhd::write_fixed(&source, &File::create(&image).unwrap()).unwrap();
        assert_same_content(&work.open(Format::Vhd, &image).unwrap(), &raw);
        work.compare(&raw, "raw", &image, "vpc");
        vhd::write_dynamic(&source, &File::create(&image).unwrap()).unwrap();
        assert_same_content(&work.open(Format::DynamicVhd, &image).unwrap(), &raw);
        work.compare(&raw, "raw", &image, "vpc");
    }
}

#[test]
fn an_empty_terabyte_becomes_a_small_dynamic_vhd() {
    let work = Work::new();
    let raw = work.path("a.raw");
    File::create(&raw).unwrap().set_len(1 << 40).unwrap();
    let image = work.path("a.vhd");
    let source = RawFile::open(&raw).unwrap();
    vhd::write_dynamic(&source, &File::create(&image).unwrap()).unwrap();
    assert!(std::fs::metadata(&image).unwrap().len() < 4 << 20);
    let disk = work.open(Format::DynamicVhd, &image).unwrap();
    assert_eq!(walk_extents(&disk), (0, 1 << 40));
}

#[test]
fn sizes_that_no_vhd_has_are_refused_by_the_writers() {
    let work = Work::new();
    let out = File::create(work.path("a.vhd")).unwrap();
    for size in [0, 1, 513] {
        let source = Memory(vec![0; size]);
        assert!(vhd::write_dynamic(&source, &out).is_err(), "{size}");
        assert!(vhd::write_fixed(&source, &out).is_err(), "{size}");
    }
}

/// A dynamic VHD of 8 MiB (four blocks) with data in the first and the third.
fn dynamic() -> Vec<u8> {
    let work = Work::new();
    let mut bytes = vec![0; 8 << 20];
    bytes[5000] = 1;
    bytes[(4 << 20) + 9] = 2;
    let image = work.path("a.vhd");
    vhd::write_dynamic(&Memory(bytes), &File::create(&image).unwrap()).unwrap();
    std::fs::read(image).unwrap()
}

fn resum(bytes: &mut [u8], at: usize) {
    bytes[at..at + 4].fill(0);
    let sum: u32 = bytes.iter().map(|b| u32::from(*b)).sum();
    bytes[at..at + 4].copy_from_slice(&(!sum).to_be_bytes());
}

/// Puts bytes into both footers and sums them again.
fn in_footers(image: &mut [u8], at: usize, with: &[u8]) {
    let last = image.len() - 512;
    for from in [0, last] {
        image[from + at..from + at + with.len()].copy_from_slice(with);
        resum(&mut image[from..from + 512], 64);
    }
}

fn in_header(image: &mut [u8], at: usize, with: &[u8]) {
    image[512 + at..512 + at + with.len()].copy_from_slice(with);
    resum(&mut image[512..1536], 36);
}

#[test]
fn hostile_dynamic_vhds_are_refused() {
    let good = dynamic();
    assert!(DynamicVhd::new(Memory(good.clone())).is_ok());
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let header = |at: usize, with: &[u8]| -> Change {
        let with = with.to_vec();
        Box::new(move |image| in_header(image, at, &with))
    };
    let footers = |at: usize, with: &[u8]| -> Change {
        let with = with.to_vec();
        Box::new(move |image| in_footers(image, at, &with))
    };
    let table = |at: usize, sector: u32| -> Change {
        Box::new(move |image| image[1536 + at * 4..][..4].copy_from_slice(&sector.to_be_bytes()))
    };
    let cases: Vec<(&str, Change, &str)> = vec![
        ("differencing", footers(60, &[0, 0, 0, 4]), "differencing"),
        ("fixed", footers(60, &[0, 0, 0, 2]), "data offset"),
        ("size 0", footers(48, &[0; 8]), "multiple of 512"),
        ("size overflow", footers(48, &[0xFF; 8]), "multiple of 512"),
        (
            "huge",
            footers(48, &(1_u64 << 60).to_be_bytes()),
            "more than",
        ),
        (
            "one block more",
            footers(48, &((8_u64 << 20) + 512).to_be_bytes()),
            "table of 4 blocks",
        ),
        (
            "header outside",
            footers(16, &(1_u64 << 40).to_be_bytes()),
            "cannot lie",
        ),
        (
            "header overflow",
            footers(16, &u64::MAX.to_be_bytes()),
            "cannot lie",
        ),
        (
            "header in footer",
            footers(16, &100_u64.to_be_bytes()),
            "cannot lie",
        ),
        ("parent id", header(40, &[1]), "parent"),
        ("parent name", header(64, b"\0/\0e\0t\0c"), "parent"),
        ("parent locator", header(576, b"W2ku"), "parent"),
        ("cookie", header(0, b"x"), "cxsparse"),
        ("version", header(24, &[0, 9]), "version"),
        ("block size 0", header(32, &[0; 4]), "blocks of 0"),
        (
            "block size odd",
            header(32, &3_000_000_u32.to_be_bytes()),
            "blocks of 3000000",
        ),
        (
            "block size huge",
            header(32, &(1_u32 << 31).to_be_bytes()),
            "blocks of",
        ),
        (
            "table huge",
            header(28, &u32::MAX.to_be_bytes()),
            "table of",
        ),
        (
            "table short",
            header(28, &3_u32.to_be_bytes()),
            "table of 3",
        ),
        (
            "table outside",
            header(16, &u64::MAX.to_be_bytes()),
            "table cannot",
        ),
        (
            "table on footer",
            header(16, &0_u64.to_be_bytes()),
            "table cannot",
        ),
        (
            "table on header",
            header(16, &600_u64.to_be_bytes()),
            "table cannot",
        ),
        ("block on header", table(1, 1), "overlaps"),
        ("block on table", table(1, 3), "overlaps"),
        ("block twice", table(1, 4), "overlaps"),
        ("blocks overlap", table(1, 5), "overlaps"),
        ("block outside", table(1, 1 << 30), "outside"),
        ("checksum", Box::new(|image| image[600] ^= 1), "checksum"),
        (
            "footers differ",
            Box::new(|image| {
                image[68] ^= 1;
                resum(&mut image[..512], 64);
            }),
            "differ",
        ),
        (
            "cut",
            Box::new(|image| image.truncate(image.len() - 512)),
            "cookie",
        ),
        ("nothing", Box::new(Vec::clear), "shorter"),
    ];
    for (name, change, word) in cases {
        let mut image = good.clone();
        change(&mut image);
        let text = refused_or_malformed(DynamicVhd::new(Memory(image)));
        assert!(text.contains(word), "{name}: {text}");
    }
}

#[test]
fn a_file_of_another_format_is_an_error_that_says_what_it_looks_like() {
    let work = Work::new();
    let image = work.path("a.vhd");
    std::fs::write(&image, dynamic()).unwrap();
    let open = |format| work.open(format, &image).err().map(|e| e.to_string());
    assert!(open(Format::Vhd).unwrap().contains("dynamic"));
    assert_eq!(open(Format::DynamicVhd), None);
    // Raw is raw, whatever the bytes say.
    let raw = work.open(Format::Raw, &image).unwrap();
    assert_eq!(raw.size_bytes(), std::fs::metadata(&image).unwrap().len());
}

#[test]
fn a_footer_of_a_fixed_vhd_must_match_its_file() {
    let mut bytes = vec![0; 1 << 20];
    bytes.extend_from_slice(&vhd::footer(2 << 20, [0; 16], 0));
    let error = FixedVhd::new(Memory(bytes)).err().unwrap();
    assert!(matches!(error, DiskError::Malformed { .. }), "{error}");
}
