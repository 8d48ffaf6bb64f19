//! qcow2: what we read is what `qemu-img` reads, and the other way round; hostile files are refused.
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
use std::path::Path;
use std::process::Command;

use common::{Work, assert_same_content, refused_or_malformed, run, sample_disk, walk_extents};
use disk::memory::Memory;
use disk::qcow2::{self, Qcow2};
use disk::raw::RawFile;
use disk::{Format, Source};

const CLUSTER: usize = 65536;

#[test]
fn what_qemu_writes_as_qcow2_is_read_as_the_same_disk() {
    let work = Work::new();
    let kinds: [&[&str]; 9] = [
        &[],
        &["-o", "compat=0.10"],
        &["-o", "cluster_size=512"],
        &["-o", "cluster_size=2M"],
        &["-o", "preallocation=metadata"],
        &["-c"],
        &["-c", "-o", "cluster_size=4k,compat=0.10"],
        &["-c", "-o", "compression_type=zstd"],
        &["-c", "-o", "compression_type=zstd,cluster_size=2M"],
    ];
    for (seed, options) in (1..).zip(kinds) {
        for size in [9 << 20, (3 << 20) + 512] {
            let raw = work.raw("a.raw", &sample_disk(size, seed));
            let image = work.path("a.qcow2");
            work.convert(&raw, &image, "qcow2", options);
            let disk = work.open(Format::Qcow2, &image).unwrap();
            assert_same_content(&disk, &raw);
        }
    }
}

#[test]
fn zero_clusters_and_snapshots_inside_the_file_do_not_show() {
    let work = Work::new();
    let image = work.path("a.qcow2");
    let path = image.to_str().unwrap();
    run(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", path, "8M"]));
    let io = |what: &str| {
        run(Command::new("qemu-io").args(["-f", "qcow2", "-c", what, path]));
    };
    io("write -P 7 0 4M");
    run(Command::new("qemu-img").args(["snapshot", "-c", "before", path]));
    io("write -P 9 1M 1M");
    io("write -z 2M 1M");
    let raw = work.path("a.raw");
    let mut command = Command::new("qemu-img");
    command.args(["convert", "-f", "qcow2", "-O", "raw"]);
    run(command.arg(&image).arg(&raw));
    let disk = work.open(Format::Qcow2, &image).unwrap();
    assert_same_content(&disk, &raw);
    assert_eq!(walk_extents(&disk), (3 << 20, 5 << 20));
}

#[test]
fn what_we_write_as_qcow2_is_the_same_disk_for_qemu_and_for_us() {
    let work = Work::new();
    for (size, seed) in [(512, 2), (3 << 20, 3), ((5 << 20) + 512, 4), (70 << 20, 5)] {
        let raw = work.raw("a.raw", &sample_disk(size, seed));
        let image = work.path("a.qcow2");
        let source = RawFile::open(&raw).unwrap();
        qcow2::write(&source, &File::create(&image).unwrap()).unwrap();
        check(&image);
        assert_same_content(&work.open(Format::Qcow2, &image).unwrap(), &raw);
        work.compare(&raw, "raw", &image, "qcow2");
    }
}

#[test]
fn large_sparse_disks_are_written_with_correct_refcounts() {
    let work = Work::new();
    let raw = work.path("a.raw");
    let file = File::create(&raw).unwrap();
    file.set_len(40 << 40)
        .unwrap_or_else(|_| file.set_len(8 << 40).unwrap());
    for at in [0, 512 << 20, (3 << 40) + 5] {
        std::os::unix::fs::FileExt::write_all_at(&file, b"here", at).unwrap();
    }
    let image = work.path("a.qcow2");
    let source = RawFile::open(&raw).unwrap();
    qcow2::write(&source, &File::create(&image).unwrap()).unwrap();
    check(&image);
    let disk = work.open(Format::Qcow2, &image).unwrap();
    assert_eq!(disk.size_bytes(), source.size_bytes());
    assert_eq!(walk_extents(&disk).0, 3 * 65536);
    let mut here = [0; 4];
    disk.read_at((3 << 40) + 5, &mut here).unwrap();
    assert_eq!(&here, b"here");
}

/// `qemu-img check` finds neither errors nor leaks.
fn check(image: &Path) {
    run(Command::new("qemu-img")
        .args(["check", "-f", "qcow2"])
        .arg(image));
}

/// An image of four clusters: data, nothing, data, nothing. L1 at 1, data at 2 and 3, L2 at 4.
fn small() -> Vec<u8> {
    let work = Work::new();
    let mut bytes = vec![0; 4 * CLUSTER];
    bytes[5] = 1;
    bytes[2 * CLUSTER] = 2;
    let image = work.path("a.qcow2");
    qcow2::write(&Memory(bytes), &File::create(&image).unwrap()).unwrap();
    std::fs::read(image).unwrap()
}

#[test]
fn hostile_qcow2_images_are_refused_and_odd_ones_are_read() {
    let good = small();
    assert!(Qcow2::new(Memory(good.clone())).is_ok());
    let l2 = 4 * CLUSTER;
    let extension = |kind: u32, data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap();
        [&kind.to_be_bytes()[..], &length.to_be_bytes(), data].concat()
    };
    let entry = |n: u64| n.to_be_bytes().to_vec();
    let cases: Vec<(&str, usize, Vec<u8>, &str)> = vec![
        ("mark", 0, b"x".to_vec(), "mark"),
        ("version 1", 4, vec![0, 0, 0, 1], "version 1"),
        ("version 4", 4, vec![0, 0, 0, 4], "version 4"),
        ("backing file", 8, entry(500), "backing file"),
        (
            "backing file without place",
            16,
            vec![0, 0, 0, 9],
            "backing file",
        ),
        ("backing file of 4 GiB", 16, vec![0xFF; 4], "backing file"),
        ("clusters of 2^8", 20, vec![0, 0, 0, 8], "2^8"),
        ("clusters of 2^63", 20, vec![0, 0, 0, 63], "2^63"),
        ("clusters of 2^2^32", 20, vec![0xFF; 4], "clusters"),
        ("size 0", 24, entry(0), "disk of 0"),
        ("size odd", 24, entry(513), "disk of 513"),
        ("size overflow", 24, entry(u64::MAX - 511), "not possible"),
        ("size huge", 24, entry(1 << 60), "not possible"),
        ("size over L1", 24, entry(1 << 40), "L1 table of 1"),
        ("AES", 32, vec![0, 0, 0, 1], "encrypted"),
        ("LUKS", 32, vec![0, 0, 0, 2], "encrypted"),
        ("cipher", 32, vec![0, 0, 0, 3], "method 3"),
        ("L1 of 0", 36, vec![0; 4], "L1 table of 0"),
        ("L1 at 0", 40, entry(0), "L1 table"),
        ("L1 unaligned", 40, entry(65537), "L1 table"),
        ("L1 outside", 40, entry(1 << 40), "outside"),
        ("L1 overflow", 40, entry(u64::MAX << 16), "outside"),
        ("corrupt", 72, entry(2), "corrupt"),
        ("data file", 72, entry(4), "another file"),
        ("zstd without type", 72, entry(8), "compression"),
        ("type without feature", 104, vec![1], "compression"),
        ("extended L2", 72, entry(16), "extended"),
        ("unknown feature", 72, entry(1 << 40), "unknown features"),
        ("all features", 72, entry(u64::MAX), "another file"),
        ("short header", 100, vec![0, 0, 0, 72], "header of 72"),
        ("odd header", 100, vec![0, 0, 0, 111], "header of 111"),
        ("long header", 100, vec![0xFF; 4], "header of"),
        (
            "backing format",
            112,
            extension(0xE279_2ACA, b"raw\0\0\0\0\0"),
            "backing",
        ),
        (
            "data file name",
            112,
            extension(0x4441_5441, b"/etc/pwd"),
            "another file",
        ),
        (
            "encryption header",
            112,
            extension(0x0537_BE77, &[0; 16]),
            "encrypted",
        ),
        (
            "unknown extension",
            112,
            extension(0x1234_5678, &[]),
            "unknown header extension",
        ),
        (
            "empty extension",
            112,
            extension(0x6803_F857, &[]),
            "it was opened",
        ),
        (
            "long extension",
            112,
            vec![0x68, 0x03, 0xF8, 0x57, 0xFF, 0xFF, 0xFF, 0xFF],
            "extensions",
        ),
        ("L2 on header", CLUSTER, entry(0), "it was opened"),
        ("L2 on L1", CLUSTER, entry(65536), "overlaps"),
        ("L2 unaligned", CLUSTER, entry(4 * 65536 + 512), "L1 entry"),
        ("L2 reserved", CLUSTER, entry(4 * 65536 + 1), "L1 entry"),
        ("L2 outside", CLUSTER, entry(1 << 50), "outside"),
        ("L2 loop", l2, entry(4 * 65536), "overlaps"),
        ("cluster on header", l2, entry(1), "it was opened"),
        ("cluster on L1", l2, entry(65536), "overlaps"),
        ("cluster twice", l2 + 8, entry(2 * 65536), "overlaps"),
        ("cluster unaligned", l2, entry(2 * 65536 + 512), "L2 entry"),
        ("cluster reserved", l2, entry(1 << 60), "L2 entry"),
        ("cluster outside", l2, entry(1 << 50), "outside"),
        ("packed on L2", l2, entry(1 << 62 | (4 * 65536)), "overlaps"),
        (
            "packed over data",
            l2,
            entry(1 << 62 | (3 * 65536 - 9) | (1 << 54)),
            "overlaps",
        ),
        ("packed outside", l2, entry(1 << 62 | (1 << 50)), "outside"),
        ("packed and copied", l2, entry(3 << 62), "L2 entry"),
        ("zero flag", l2, entry(2 * 65536 + 1), "it was opened"),
    ];
    for (name, at, with, word) in cases {
        let mut image = good.clone();
        image[at..at + with.len()].copy_from_slice(&with);
        let text = refused_or_malformed(Qcow2::new(Memory(image)));
        assert!(text.contains(word), "{name}: {text}");
    }
    for cut in [
        0,
        1,
        71,
        100,
        111,
        512,
        CLUSTER,
        2 * CLUSTER,
        4 * CLUSTER + 8,
    ] {
        let image = good[..cut].to_vec();
        let text = refused_or_malformed(Qcow2::new(Memory(image)));
        assert!(text != "it was opened", "cut to {cut}");
    }
}

#[test]
fn a_zero_flag_is_reserved_in_version_2() {
    let mut image = small();
    image[4..8].copy_from_slice(&2_u32.to_be_bytes());
    image[72..112].fill(0);
    assert!(Qcow2::new(Memory(image.clone())).is_ok());
    image[4 * CLUSTER + 7] = 1;
    assert!(Qcow2::new(Memory(image)).is_err());
}

#[test]
fn garbage_in_a_compressed_cluster_is_an_error_of_the_read_alone() {
    let mut image = small();
    // The second guest cluster: packed, at the end of the file, one sector.
    let at = image.len() as u64;
    image.extend_from_slice(&[0xFF; 512]);
    image[4 * CLUSTER + 8..][..8].copy_from_slice(&(1 << 62 | at).to_be_bytes());
    let disk = Qcow2::new(Memory(image)).unwrap();
    assert!(disk.read_at(0, &mut [0; 512]).is_ok());
    let text = refused_or_malformed(disk.read_at(65536, &mut [0; 512]));
    assert!(text.contains("unpack"), "{text}");
}

#[test]
fn many_guest_clusters_on_few_compressed_bytes_are_refused() {
    let mut image = small();
    // 1 GiB, two L2 tables full of one packed cluster: 8192 + 8192 guests on one host cluster.
    image[24..32].copy_from_slice(&(1_u64 << 30).to_be_bytes());
    image[36..40].copy_from_slice(&2_u32.to_be_bytes());
    let packed_at = image.len() as u64;
    image.extend_from_slice(&vec![0; CLUSTER]);
    for table in 0..2_usize {
        let at = image.len() as u64;
        image[CLUSTER + table * 8..][..8].copy_from_slice(&at.to_be_bytes());
        image.extend((1_u64 << 62 | packed_at).to_be_bytes().repeat(8192));
    }
    let text = refused_or_malformed(Qcow2::new(Memory(image)));
    assert!(text.contains("share"), "{text}");
}

#[test]
fn a_file_that_ends_inside_its_last_cluster_reads_as_zero_behind_its_end() {
    let mut image = small();
    let at = image.len() as u64;
    image.extend_from_slice(&[5; 512]);
    image[4 * CLUSTER + 8..][..8].copy_from_slice(&at.to_be_bytes());
    let disk = Qcow2::new(Memory(image)).unwrap();
    let mut read = [1; 1024];
    disk.read_at(65536, &mut read).unwrap();
    assert!(read[..512] == [5; 512] && read[512..] == [0; 512]);
    disk.read_at(65536 + 4096, &mut read).unwrap();
    assert!(read == [0; 1024]);
}

#[test]
fn images_that_qemu_made_to_read_other_files_are_refused() {
    let work = Work::new();
    let secret = work.path("secret");
    std::fs::write(&secret, vec![b's'; 1 << 20]).unwrap();
    let secret = secret.to_str().unwrap();
    let json = format!(
        "json:{{\"driver\":\"raw\",\"file\":{{\"driver\":\"file\",\"filename\":\"{secret}\"}}}}"
    );
    let image = work.path("a.qcow2");
    let path = image.to_str().unwrap();
    for backing in [
        secret,
        "../../etc/passwd",
        "nbd://127.0.0.1:1/x",
        "http://127.0.0.1/x",
        &json,
    ] {
        for version in ["compat=0.10", "compat=1.1"] {
            let options = [
                "create", "-q", "-u", "-f", "qcow2", "-o", version, "-F", "raw", "-b",
            ];
            run(Command::new("qemu-img")
                .args(options)
                .args([backing, path, "1M"]));
            let text = refused_or_malformed(work.open(Format::Qcow2, &image));
            assert!(text.contains("backing file"), "{backing}: {text}");
        }
    }
    for (option, word) in [
        (
            format!("data_file={},data_file_raw=on", work.path("data").display()),
            "another file",
        ),
        ("extended_l2=on".to_owned(), "extended L2"),
    ] {
        run(Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", "-o", &option, path, "1M"]));
        let text = refused_or_malformed(work.open(Format::Qcow2, &image));
        assert!(text.contains(word), "{option}: {text}");
    }
}

#[test]
fn a_guest_that_writes_a_header_into_its_disk_changes_nothing() {
    let work = Work::new();
    let image = work.path("a.qcow2");
    let path = image.to_str().unwrap();
    let create = [
        "create",
        "-q",
        "-u",
        "-f",
        "qcow2",
        "-F",
        "raw",
        "-b",
        "/etc/passwd",
    ];
    run(Command::new("qemu-img").args(create).args([path, "1M"]));
    let mut disk = std::fs::read(&image).unwrap();
    disk.resize(1 << 20, 0);
    let image = work.raw("disk.raw", &disk);
    let raw = work.open(Format::Raw, &image).unwrap();
    assert_same_content(&raw, &image);
    // Captured and written again, it is the content of a disk and nothing more.
    let captured = work.path("captured.qcow2");
    qcow2::write(&raw, &File::create(&captured).unwrap()).unwrap();
    assert_same_content(&work.open(Format::Qcow2, &captured).unwrap(), &image);
}
