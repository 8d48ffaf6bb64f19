//! VMDK: what we read is what `qemu-img` reads; whatever names another file is refused.
#![allow(
    clippy::unwrap_used,
    clippy::too_many_lines,
    clippy::allow_attributes,
    reason = "tests and their tables"
)]

mod common;

use common::{Work, assert_same_content, refused_or_malformed, sample_disk};
use disk::memory::Memory;
use disk::vmdk::Vmdk;
use disk::{Format, Source};

#[test]
fn what_qemu_writes_as_vmdk_is_read_as_the_same_disk() {
    let work = Work::new();
    let kinds = [
        "subformat=monolithicSparse",
        "subformat=monolithicSparse,zeroed_grain=on",
        "subformat=streamOptimized",
    ];
    for (seed, options) in (1..).zip(kinds) {
        for size in [9 << 20, (35 << 20) + 512] {
            let raw = work.raw("a.raw", &sample_disk(size, seed));
            let image = work.path("a.vmdk");
            work.convert(&raw, &image, "vmdk", &["-o", options]);
            let disk = work.open(Format::Vmdk, &image).unwrap();
            assert_same_content(&disk, &raw);
        }
    }
}

/// An image of 128 KiB, two grains of data, made by qemu.
fn image(subformat: &str) -> Vec<u8> {
    let work = Work::new();
    let raw = work.raw(
        "a.raw",
        &[b"first".repeat(9), vec![0; 65500], b"x".repeat(65527)].concat(),
    );
    let image = work.path("a.vmdk");
    work.convert(
        &raw,
        &image,
        "vmdk",
        &["-o", &format!("subformat={subformat}")],
    );
    std::fs::read(image).unwrap()
}

fn find(image: &[u8], text: &str) -> usize {
    let found = image.windows(text.len()).position(|w| w == text.as_bytes());
    found.unwrap_or_else(|| panic!("{text} is not in the image"))
}

/// Replaces text in the descriptor; what gets longer pushes the rest.
fn reword(image: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = find(image, from);
    let descriptor = 512..512 + 20 * 512;
    let mut text = image[descriptor.clone()].to_vec();
    let within = at - descriptor.start;
    text.splice(within..within + from.len(), to.bytes());
    text.resize(20 * 512, 0);
    let mut out = image.to_vec();
    out[descriptor].copy_from_slice(&text);
    out
}

#[test]
fn descriptors_that_name_other_files_are_refused() {
    let good = image("monolithicSparse");
    assert!(Vmdk::new(Memory(good.clone())).is_ok());
    let cases = [
        ("monolithicSparse\"", "monolithicFlat\"", "createType"),
        ("monolithicSparse\"", "twoGbMaxExtentSparse\"", "createType"),
        ("monolithicSparse\"", "vmfsRaw\"", "createType"),
        ("monolithicSparse\"", "\x1b[2J\"", "u{1b}"),
        ("createType", "noType", "no createType"),
        ("SPARSE \"a.vmdk\"", "FLAT \"/etc/shadow\" 0", "FLAT"),
        ("SPARSE \"a.vmdk\"", "VMFSRDM \"a.vmdk\"", "VMFSRDM"),
        ("\"a.vmdk\"", "\"/etc/shadow\"", "another place"),
        ("\"a.vmdk\"", "\"../a.vmdk\"", "another place"),
        ("\"a.vmdk\"", "\"nbd:host\"", "another place"),
        ("\"a.vmdk\"", "\"..\\a.vmdk\"", "another place"),
        ("\"a.vmdk\"", "\"\"", "another place"),
        (
            "\"a.vmdk\"",
            "\"a.vmdk\"\nRW 256 FLAT \"/etc/passwd\" 0",
            "FLAT",
        ),
        (
            "\"a.vmdk\"",
            "\"a.vmdk\"\nRW 256 SPARSE \"b.vmdk\"",
            "2 extents",
        ),
        (
            "\"a.vmdk\"",
            "\"a.vmdk\"\nRDONLY 256 SPARSE \"b.vmdk\"",
            "reading and writing",
        ),
        ("RW 256", "RW 512", "disagree"),
        ("RW 256", "RW 99999999999999999999999", "disagree"),
        ("RW 256 SPARSE \"a.vmdk\"", "", "0 extents"),
        ("parentCID=ffffffff", "parentCID=12345678", "parent"),
        (
            "parentCID=ffffffff",
            "parentFileNameHint=\"/etc/passwd\"",
            "parent",
        ),
        ("version=1", "what is this", "means nothing"),
    ];
    for (from, to, word) in cases {
        let text = refused_or_malformed(Vmdk::new(Memory(reword(&good, from, to))));
        assert!(text.contains(word), "{from} -> {to}: {text}");
    }
    let mut flat = b"# Disk DescriptorFile\nRW 1 FLAT \"/etc/passwd\" 0\n".to_vec();
    flat.resize(4096, b'\n');
    let text = refused_or_malformed(Vmdk::new(Memory(flat)));
    assert!(text.contains("other files"), "{text}");
}

#[test]
fn hostile_headers_and_tables_are_refused() {
    let good = image("monolithicSparse");
    let sector = |at: usize| {
        usize::try_from(u32::from_le_bytes(good[at..at + 4].try_into().unwrap())).unwrap() * 512
    };
    let directory = sector(56);
    let table = sector(directory);
    let le = |n: u64| n.to_le_bytes().to_vec();
    let cases: Vec<(&str, usize, Vec<u8>, &str)> = vec![
        ("mark", 0, b"x".to_vec(), "mark"),
        ("version 0", 4, vec![0], "version 0"),
        ("version 9", 4, vec![9], "version 9"),
        ("flags", 11, vec![0x80], "unknown flags"),
        ("compressed", 10, vec![1], "compression"),
        ("compression 7", 77, vec![7], "compression"),
        ("line ends", 73, b"\r".to_vec(), "damaged"),
        ("capacity 0", 12, le(0), "disk of 0"),
        ("capacity overflow", 12, le(u64::MAX), "not possible"),
        ("grain 0", 20, le(0), "grains of 0"),
        ("grain 3", 20, le(3), "grains of 3"),
        ("grain huge", 20, le(1 << 40), "grains of"),
        ("entries 0", 44, vec![0; 4], "tables of 0"),
        ("entries huge", 44, vec![0xFF; 4], "tables of"),
        ("no descriptor", 28, le(0), "one of several"),
        ("descriptor outside", 28, le(1 << 40), "outside"),
        ("descriptor overflow", 28, le(u64::MAX), "outside"),
        ("descriptor huge", 36, le(1 << 40), "descriptor of"),
        ("directory outside", 56, le(1 << 40), "outside"),
        ("directory overflow", 56, le(u64::MAX - 1), "outside"),
        (
            "directory in a footer that is not",
            56,
            le(u64::MAX),
            "mark",
        ),
        ("table outside", directory, vec![0xFF; 4], "outside"),
        ("grain outside", table, vec![0xFF; 4], "outside"),
        (
            "grain twice",
            table,
            good[table + 4..table + 8].to_vec(),
            "overlaps",
        ),
        (
            "grain overlaps",
            table,
            vec![good[table + 4] + 1, good[table + 5]],
            "overlaps",
        ),
        ("grain on the header", table, vec![2, 0, 0, 0], "overlaps"),
        (
            "grain on the tables",
            table,
            good[directory..directory + 4].to_vec(),
            "overlaps",
        ),
        (
            "table on the header",
            directory,
            vec![2, 0, 0, 0],
            "overlaps",
        ),
        ("not text", 600, vec![0xFF], "no text"),
    ];
    for (name, at, with, word) in cases {
        let mut image = good.clone();
        image[at..at + with.len()].copy_from_slice(&with);
        let text = refused_or_malformed(Vmdk::new(Memory(image)));
        assert!(text.contains(word), "{name}: {text}");
    }
    for cut in [0, 100, 512, 600, directory, table + 100] {
        assert!(
            Vmdk::new(Memory(good[..cut].to_vec())).is_err(),
            "cut to {cut}"
        );
    }
}

#[test]
fn compressed_grains_belong_to_one_place_and_one_length() {
    let good = image("streamOptimized");
    // The first grain follows the overhead of 64 KiB: its sector, its length, its bytes.
    let at = 65536;
    assert_eq!(good[at..at + 8], [0; 8]);
    let read = |image: Vec<u8>| Vmdk::new(Memory(image)).and_then(|d| d.read_at(0, &mut [0; 512]));
    assert!(read(good.clone()).is_ok());
    let cases = [
        (at, vec![128], "another place"),
        (at + 8, vec![0xFF; 4], "longer than two grains"),
        (at + 8, vec![0, 0, 2, 0], "outside"),
        (at + 8, vec![3, 0, 0, 0], "unpack"),
        (at + 8, vec![0, 0, 0, 0], "unpack"),
        (at + 12, vec![0xFF; 9], "unpack"),
    ];
    for (at, with, word) in cases {
        let mut image = good.clone();
        image[at..at + with.len()].copy_from_slice(&with);
        let text = refused_or_malformed(read(image));
        assert!(text.contains(word), "{with:?}: {text}");
    }
}

#[test]
fn what_qemu_writes_as_several_files_is_refused() {
    let work = Work::new();
    let raw = work.raw("a.raw", &sample_disk(1 << 20, 1));
    for (subformat, words) in [
        (
            "monolithicFlat",
            ["descriptor that names other files", "header"],
        ),
        (
            "twoGbMaxExtentSparse",
            ["descriptor that names other files", "header"],
        ),
        (
            "twoGbMaxExtentFlat",
            ["descriptor that names other files", "header"],
        ),
    ] {
        let image = work.path(&format!("{subformat}.vmdk"));
        work.convert(
            &raw,
            &image,
            "vmdk",
            &["-o", &format!("subformat={subformat}")],
        );
        let text = refused_or_malformed(work.open(Format::Vmdk, &image));
        assert!(
            words.iter().any(|word| text.contains(word)),
            "{subformat}: {text}"
        );
    }
    let extent = work.path("twoGbMaxExtentSparse-s001.vmdk");
    let text = refused_or_malformed(work.open(Format::Vmdk, &extent));
    assert!(text.contains("no createType"), "{text}");
}
