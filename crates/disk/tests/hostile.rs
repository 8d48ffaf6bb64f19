//! The fuzz targets as ordinary tests: a few thousand hostile images and clients from fixed
//! seeds. What must hold is in `common/oracle.rs`; `fuzz/` runs the same without an end.
#![allow(
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests and their tables"
)]

mod common;

use std::process::Command;

use common::images::{bases, changed};
use common::{Numbers, Work, oracle, run};
use disk::Format;

/// What the whole process may have held at once: the images themselves are 6 MiB.
const PEAK_KIB_MAX: u64 = 400 << 10;

fn data(numbers: &mut Numbers, most: u64) -> Vec<u8> {
    let length = numbers.below(most);
    (0..length)
        .map(|_| numbers.next().to_le_bytes()[0])
        .collect()
}

/// How often the usual number of cases is run: `HOSTILE_TIMES=50` for a long night, 20 in the long run.
fn times() -> u64 {
    let usual = if std::env::var_os("VITRINE_TEST_LONG").is_some() {
        20
    } else {
        1
    };
    let times = std::env::var("HOSTILE_TIMES").ok();
    times.map_or(usual, |times| times.parse().unwrap())
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn the_images_that_are_changed_are_good() {
    let work = Work::new();
    for (number, base) in bases().into_iter().enumerate() {
        let path = work.path(&number.to_string());
        std::fs::write(&path, &base.bytes).unwrap();
        let disk = work.open(base.format, &path).unwrap();
        let mut read = vec![1; base.content.len()];
        assert_eq!(disk.size_bytes(), read.len() as u64);
        disk.read_at(0, &mut read).unwrap();
        assert!(read == base.content, "base {number}");
        assert!(
            oracle::image(base.format, changed(&base, &[])),
            "base {number}"
        );
        // qemu reads this one as well; the others lack what only writers need.
        if base.format != Format::Vmdk {
            continue;
        }
        let raw = work.raw("raw", &base.content);
        let mut command = Command::new("qemu-img");
        command.args(["compare", "-f", "raw", "-F", "vmdk"]);
        run(command.arg(&raw).arg(&path));
    }
}

#[test]
fn changed_images_are_refused_or_read_consistently() {
    let mut opened = 0;
    for (number, base) in bases().into_iter().enumerate() {
        let cases = if base.bytes.len() > 1 << 20 {
            400
        } else {
            4000
        };
        for seed in 0..cases * times() {
            let mut numbers = Numbers(seed << 8 | number as u64);
            let data = data(&mut numbers, 40);
            let image = changed(&base, &data);
            let checked = std::panic::catch_unwind(|| oracle::image(base.format, image));
            match checked {
                Ok(is_open) => opened += u32::from(is_open),
                Err(_) => panic!("base {number}, seed {seed}, data {data:02x?}"),
            }
        }
    }
    // Else the changes hit nothing or everything.
    assert!(opened > 2000, "only {opened} opened");
    assert!(peak_kib() < PEAK_KIB_MAX, "{} KiB", peak_kib());
}

#[test]
fn bytes_without_sense_are_refused_in_every_format() {
    let formats = [
        Format::Vhd,
        Format::DynamicVhd,
        Format::Qcow2,
        Format::Vmdk,
        Format::Vhdx,
    ];
    let marks: [&[u8]; 6] = [
        b"QFI\xfb\0\0\0\x03",
        b"KDMV",
        b"vhdxfile",
        b"conectix",
        b"# Disk DescriptorFile\n",
        b"",
    ];
    for seed in 0..2000 * times() {
        let mut numbers = Numbers(seed);
        let mut bytes = data(&mut numbers, 5000);
        let mark = marks[usize::try_from(numbers.below(6)).unwrap()];
        bytes.splice(..0, mark.iter().copied());
        for format in formats {
            assert!(
                !oracle::image(format, bytes.clone()),
                "{format:?}, seed {seed}"
            );
        }
    }
}

#[test]
fn hostile_nbd_clients_do_no_harm() {
    for seed in 0..4000 * times() {
        let data = data(&mut Numbers(seed), 120);
        let checked = std::panic::catch_unwind(|| oracle::nbd(&data));
        assert!(checked.is_ok(), "seed {seed}, data {data:02x?}");
    }
}
