//! Small images built byte by byte, and changes to them that keep their checksums right: what the
//! fuzz targets and the random tests feed to the readers. No other program is needed.

use std::ops::Range;

use disk::Format;

const PAGE: usize = 4096;
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// A good image and the places where its structure lies.
pub struct Base {
    pub format: Format,
    pub bytes: Vec<u8>,
    /// What the disk inside holds.
    pub content: Vec<u8>,
    hot: Vec<Range<usize>>,
}

/// All bases, by number.
pub fn bases() -> Vec<Base> {
    vec![
        fixed_vhd(),
        dynamic_vhd(),
        qcow2(),
        vmdk(false),
        vmdk(true),
        vhdx(false),
        vhdx(true),
    ]
}

/// Numbers that break arithmetic.
const INTERESTING: [u64; 16] = [
    0,
    1,
    2,
    7,
    511,
    512,
    4095,
    4096,
    65536,
    1 << 20,
    1 << 31,
    u32::MAX as u64,
    1 << 40,
    1 << 62,
    u64::MAX - 511,
    u64::MAX,
];

/// Changes a base as `data` says: each change takes four bytes and, for literals, more.
pub fn changed(base: &Base, mut data: &[u8]) -> Vec<u8> {
    let mut bytes = base.bytes.clone();
    while let [op, place, high, low, rest @ ..] = data {
        data = rest;
        let range = &base.hot[usize::from(*place) % base.hot.len()];
        let within = (usize::from(*high) << 8 | usize::from(*low)) % range.len();
        let at = range.start + within;
        let number = INTERESTING[usize::from(*op >> 4)];
        let literal = rest.len().min(usize::from(*op >> 5) + 1);
        let low_half = u32::try_from(number & 0xFFFF_FFFF).unwrap();
        let with = match op & 7 {
            0..=2 => {
                data = &rest[literal..];
                rest[..literal].to_vec()
            }
            3 => number.to_be_bytes().to_vec(),
            4 => number.to_le_bytes().to_vec(),
            5 => low_half.to_be_bytes().to_vec(),
            6 => low_half.to_le_bytes().to_vec(),
            _ if *op > 0xF0 => {
                bytes.truncate(at);
                continue;
            }
            // A piece of the structure somewhere else.
            _ => base.bytes[range.start..range.end.min(range.start + 8)].to_vec(),
        };
        for (byte, new) in bytes.iter_mut().skip(at).zip(with) {
            *byte = new;
        }
    }
    mend(base.format, &mut bytes);
    bytes
}

fn put(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes[at..at + with.len()].copy_from_slice(with);
}

/// Sums again what is summed, where it still is.
fn mend(format: Format, bytes: &mut [u8]) {
    let length = bytes.len();
    match format {
        Format::Vhd | Format::DynamicVhd => {
            let last = length.saturating_sub(512);
            for at in [0, last] {
                if bytes[at..].starts_with(b"conectix") && length - at >= 512 {
                    mend_vhd(&mut bytes[at..at + 512], 64);
                }
            }
            if bytes.len() > 1536 && bytes[512..].starts_with(b"cxsparse") {
                mend_vhd(&mut bytes[512..1536], 36);
            }
        }
        Format::Vhdx => {
            let log = bytes.get(MIB..MIB + 64).map_or(0, |entry| {
                usize::try_from(u32::from_le_bytes(entry[8..12].try_into().unwrap())).unwrap()
            });
            let places = [
                (64 * KIB, PAGE),
                (128 * KIB, PAGE),
                (192 * KIB, 64 * KIB),
                (256 * KIB, 64 * KIB),
                (MIB, log.clamp(64, MIB)),
            ];
            for (at, length) in places {
                if let Some(structure) = bytes.get_mut(at..at + length) {
                    structure[4..8].fill(0);
                    let sum = crc32c(structure);
                    put(structure, 4, &sum.to_le_bytes());
                }
            }
        }
        _ => {}
    }
}

fn mend_vhd(bytes: &mut [u8], at: usize) {
    bytes[at..at + 4].fill(0);
    let sum: u32 = bytes.iter().map(|b| u32::from(*b)).sum();
    put(bytes, at, &(!sum).to_be_bytes());
}

fn crc32c(bytes: &[u8]) -> u32 {
    static TABLE: std::sync::OnceLock<Vec<u32>> = std::sync::OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let step = |crc: u32| crc >> 1 ^ if crc & 1 == 1 { 0x82F6_3B78 } else { 0 };
        (0..256)
            .map(|n| (0..8).fold(n, |crc, _| step(crc)))
            .collect()
    });
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        crc >> 8 ^ table[usize::from(crc.to_le_bytes()[0] ^ byte)]
    })
}

fn fixed_vhd() -> Base {
    let content = b"fixed disk! ".repeat(128)[..1536].to_vec();
    let mut bytes = content.clone();
    bytes.extend_from_slice(&disk::vhd::footer(1536, [1; 16], 0));
    Base {
        format: Format::Vhd,
        hot: vec![1536..2048, 0..2048],
        bytes,
        content,
    }
}

/// Four blocks of 4 KiB; the first and the third are in the file, half of the third is not.
fn dynamic_vhd() -> Base {
    let mut footer = disk::vhd::footer(4 * PAGE as u64, [1; 16], 0);
    put(&mut footer, 16, &512_u64.to_be_bytes());
    put(&mut footer, 60, &3_u32.to_be_bytes());
    mend_vhd(&mut footer, 64);
    let mut bytes = footer.to_vec();
    bytes.resize(2048, 0);
    put(&mut bytes, 512, b"cxsparse");
    put(&mut bytes, 520, &u64::MAX.to_be_bytes());
    put(&mut bytes, 528, &1536_u64.to_be_bytes());
    put(&mut bytes, 536, &[0, 1, 0, 0, 0, 0, 0, 4, 0, 0, 16, 0]);
    mend_vhd(&mut bytes[512..1536], 36);
    for (number, sector) in [4, u32::MAX, 13, u32::MAX].into_iter().enumerate() {
        put(&mut bytes, 1536 + number * 4, &sector.to_be_bytes());
    }
    let mut content = vec![0; 4 * PAGE];
    for (bitmap, at, length) in [(0xFF, 0, PAGE), (0xF0, 2 * PAGE, PAGE / 2)] {
        let mut block = vec![0; 512 + PAGE];
        block[0] = bitmap;
        block[512..].fill(7);
        content[at..at + length].fill(7);
        bytes.extend_from_slice(&block);
    }
    let length = bytes.len();
    bytes.extend_from_slice(&footer);
    Base {
        format: Format::DynamicVhd,
        hot: vec![
            0..84,
            512..584,
            1536..1552,
            2048..2050,
            length..length + 512,
            512..1536,
        ],
        bytes,
        content,
    }
}

/// Bytes as a deflate stream that stores them.
fn stored(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    [
        &[1][..],
        &length.to_le_bytes(),
        &(!length).to_le_bytes(),
        bytes,
    ]
    .concat()
}

/// Clusters of 4 KiB: data, nothing, compressed, zero flag, data.
fn qcow2() -> Base {
    let mut bytes = vec![0; 7 * PAGE];
    let header: [(usize, &[u8]); 9] = [
        (0, b"QFI\xfb\0\0\0\x03"),
        (20, &12_u32.to_be_bytes()),
        (24, &(5 * PAGE as u64).to_be_bytes()),
        (36, &1_u32.to_be_bytes()),
        (40, &4096_u64.to_be_bytes()),
        (96, &4_u32.to_be_bytes()),
        (100, &112_u32.to_be_bytes()),
        (PAGE, &(1 << 63 | 8192_u64).to_be_bytes()),
        (112, b"\x68\x03\xF8\x57\0\0\0\x03abc\0\0\0\0\0"),
    ];
    for (at, with) in header {
        put(&mut bytes, at, with);
    }
    // Compressed: 4101 bytes from 20480 on, which are nine sectors; 58 bits of offset.
    let entries = [
        1 << 63 | (3 * PAGE as u64),
        0,
        1 << 62 | 8 << 58 | (5 * PAGE as u64),
        1 | (4 * PAGE as u64),
        1 << 63 | (4 * PAGE as u64),
    ];
    for (number, entry) in entries.into_iter().enumerate() {
        put(&mut bytes, 2 * PAGE + number * 8, &entry.to_be_bytes());
    }
    bytes[3 * PAGE..4 * PAGE].fill(3);
    bytes[4 * PAGE..5 * PAGE].fill(4);
    put(&mut bytes, 5 * PAGE, &stored(&[5; PAGE]));
    let content = [[3; PAGE], [0; PAGE], [5; PAGE], [0; PAGE], [4; PAGE]].concat();
    Base {
        format: Format::Qcow2,
        hot: vec![
            0..136,
            2 * PAGE..2 * PAGE + 40,
            PAGE..PAGE + 8,
            5 * PAGE..5 * PAGE + 9,
            0..136,
        ],
        bytes,
        content,
    }
}

/// Eight grains of 4 KiB; the first and the last are there.
fn vmdk(is_stream: bool) -> Base {
    let mut bytes = vec![0; 8 * 512];
    let kind = if is_stream {
        "streamOptimized"
    } else {
        "monolithicSparse"
    };
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n\
         createType=\"{kind}\"\nRW 64 SPARSE \"a.vmdk\"\nddb.adapterType = \"ide\"\n"
    );
    let flags: u32 = if is_stream { 0x30001 } else { 3 };
    let header: [(usize, &[u8]); 12] = [
        (0, b"KDMV\x01\0\0\0"),
        (8, &flags.to_le_bytes()),
        (12, &64_u64.to_le_bytes()),
        (20, &8_u64.to_le_bytes()),
        (28, &1_u64.to_le_bytes()),
        (36, &2_u64.to_le_bytes()),
        (44, &512_u32.to_le_bytes()),
        (56, &3_u64.to_le_bytes()),
        (64, &8_u64.to_le_bytes()),
        (73, b"\n \r\n"),
        (512, text.as_bytes()),
        (3 * 512, &4_u32.to_le_bytes()),
    ];
    for (at, with) in header {
        put(&mut bytes, at, with);
    }
    bytes[77] = u8::from(is_stream);
    let mut content = vec![0; 8 * PAGE];
    for (number, byte) in [(0, 6), (7, 9)] {
        let sector = u32::try_from(bytes.len() / 512).unwrap();
        put(&mut bytes, 4 * 512 + number * 4, &sector.to_le_bytes());
        content[number * PAGE..(number + 1) * PAGE].fill(byte);
        let grain = [byte; PAGE];
        if is_stream {
            let (a, b) = grain.iter().fold((1_u32, 0_u32), |(a, b), byte| {
                let a = (a + u32::from(*byte)) % 65521;
                (a, (b + a) % 65521)
            });
            let packed = [
                &[0x78, 1][..],
                &stored(&grain),
                &(b << 16 | a).to_be_bytes(),
            ]
            .concat();
            bytes.extend_from_slice(&(number as u64 * 8).to_le_bytes());
            bytes.extend_from_slice(&u32::try_from(packed.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(&packed);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        } else {
            bytes.extend_from_slice(&grain);
        }
    }
    Base {
        format: Format::Vmdk,
        hot: vec![
            0..80,
            512..512 + text.len(),
            1536..1540,
            2048..2080,
            4096..4120,
            0..80,
        ],
        bytes,
        content,
    }
}

/// Blocks of 1 MiB: data, nothing, data. With a log, the third block's first page waits in it.
fn vhdx(has_log: bool) -> Base {
    let mut bytes = vec![0; 6 * MIB];
    put(&mut bytes, 0, b"vhdxfile");
    for (number, at) in [64 * KIB, 128 * KIB].into_iter().enumerate() {
        put(&mut bytes, at, b"head");
        bytes[at + 8] = u8::try_from(number).unwrap() + 1;
        bytes[at + 48..at + 64].fill(u8::from(has_log));
        bytes[at + 66] = 1;
        put(
            &mut bytes,
            at + 68,
            &u32::try_from(MIB).unwrap().to_le_bytes(),
        );
        put(&mut bytes, at + 72, &(MIB as u64).to_le_bytes());
    }
    let bat = b"\x66\x77\xC2\x2D\x23\xF6\x00\x42\x9D\x64\x11\x5E\x9B\xFD\x4A\x08";
    let metadata = b"\x06\xA2\x7C\x8B\x90\x47\x9A\x4B\xB8\xFE\x57\x5F\x05\x0F\x88\x6E";
    for at in [192 * KIB, 256 * KIB] {
        put(&mut bytes, at, b"regi\0\0\0\0\x02");
        for (number, guid) in [bat, metadata].into_iter().enumerate() {
            let entry = at + 16 + number * 32;
            put(&mut bytes, entry, guid);
            put(
                &mut bytes,
                entry + 16,
                &((2 + number as u64) << 20).to_le_bytes(),
            );
            put(&mut bytes, entry + 24, &[0, 0, 16, 0, 1]);
        }
    }
    for (number, entry) in [4 << 20 | 6_u64, 2, 5 << 20 | 6].into_iter().enumerate() {
        put(&mut bytes, 2 * MIB + number * 8, &entry.to_le_bytes());
    }
    put_metadata(&mut bytes);
    bytes[4 * MIB..5 * MIB].fill(4);
    bytes[5 * MIB..6 * MIB].fill(5);
    let mut content = [vec![4; MIB], vec![0; MIB], vec![5; MIB]].concat();
    if has_log {
        put_log(&mut bytes);
        content[2 * MIB..2 * MIB + PAGE].fill(8);
    }
    mend(Format::Vhdx, &mut bytes);
    let heads = [64 * KIB..64 * KIB + 80, 128 * KIB..128 * KIB + 80];
    let tables = [
        192 * KIB..192 * KIB + 80,
        2 * MIB..2 * MIB + 24,
        3 * MIB..3 * MIB + 192,
    ];
    let log = [MIB..MIB + 96, MIB + PAGE..MIB + PAGE + 16];
    let items = std::iter::once(3 * MIB + 64 * KIB..3 * MIB + 64 * KIB + 28);
    Base {
        format: Format::Vhdx,
        hot: heads
            .into_iter()
            .chain(tables)
            .chain(log)
            .chain(items)
            .collect(),
        bytes,
        content,
    }
}

fn put_metadata(bytes: &mut [u8]) {
    let items: [(&[u8; 16], &[u8]); 5] = [
        (
            b"\x37\x67\xA1\xCA\x36\xFA\x43\x4D\xB3\xB6\x33\xF0\xAA\x44\xE7\x6B",
            &[0, 0, 16, 0, 0, 0, 0, 0],
        ),
        (
            b"\x24\x42\xA5\x2F\x1B\xCD\x76\x48\xB2\x11\x5D\xBE\xD8\x3B\xF4\xB8",
            &[0, 0, 48, 0, 0, 0, 0, 0],
        ),
        (
            b"\x1D\xBF\x41\x81\x6F\xA9\x09\x47\xBA\x47\xF2\x33\xA8\xFA\xAB\x5F",
            &[0, 2, 0, 0],
        ),
        (
            b"\xC7\x48\xA3\xCD\x5D\x44\x71\x44\x9C\xC9\xE9\x88\x52\x51\xC5\x56",
            &[0, 16, 0, 0],
        ),
        (
            b"\xAB\x12\xCA\xBE\xE6\xB2\x23\x45\x93\xEF\xC3\x09\xE0\x00\xC7\x46",
            &[9; 16],
        ),
    ];
    put(bytes, 3 * MIB, b"metadata\0\0\x05");
    let mut offset = 64 * KIB;
    for (number, (guid, value)) in items.into_iter().enumerate() {
        let entry = 3 * MIB + 32 + number * 32;
        put(bytes, entry, guid);
        put(
            bytes,
            entry + 16,
            &u32::try_from(offset).unwrap().to_le_bytes(),
        );
        put(
            bytes,
            entry + 20,
            &u32::try_from(value.len()).unwrap().to_le_bytes(),
        );
        bytes[entry + 24] = 6;
        put(bytes, 3 * MIB + offset, value);
        offset += value.len();
    }
}

/// One entry of two pages: a data descriptor for the first page of the block at 5 MiB.
fn put_log(bytes: &mut [u8]) {
    let size = (6 * MIB as u64).to_le_bytes();
    let header: [(usize, &[u8]); 12] = [
        (0, b"loge"),
        (8, &8192_u32.to_le_bytes()),
        (16, &7_u64.to_le_bytes()),
        (24, &[1]),
        (32, &[1; 16]),
        (48, &size),
        (56, &size),
        (64, b"desc\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08\x08"),
        (80, &(5 * MIB as u64).to_le_bytes()),
        (88, &7_u64.to_le_bytes()),
        (PAGE, b"data\0\0\0\0"),
        (2 * PAGE - 4, &7_u32.to_le_bytes()),
    ];
    for (at, with) in header {
        put(bytes, MIB + at, with);
    }
    bytes[MIB + PAGE + 8..MIB + 2 * PAGE - 4].fill(8);
}
