//! NBD: what the server says to every option and request, also to those that no client sends.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::too_many_lines,
    clippy::allow_attributes,
    reason = "tests and their tables"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::nbd::{Client, MemoryDisk, option, request};
use common::{Numbers, sample_disk};
use disk::nbd::{
    Export as _, ExportError, Exports, IN_FLIGHT_MAX, MEMORY_BYTES_MAX, NbdError,
    REQUEST_BYTES_MAX, serve_tls,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const MIB: usize = 1 << 20;
const EPERM: u32 = 1;
const EIO: u32 = 5;
const EINVAL: u32 = 22;
const ENOSPC: u32 = 28;
const EOVERFLOW: u32 = 75;
const ENOTSUP: u32 = 95;

fn disk() -> Arc<MemoryDisk> {
    Arc::new(MemoryDisk::new(sample_disk(4 * MIB, 3)))
}

#[tokio::test]
async fn broken_handshakes_end_the_connection_with_a_reason() {
    let flags = 3_u32.to_be_bytes();
    let after = |bytes: &[u8]| [&flags[..], bytes].concat();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", vec![], "end of file"),
        ("half the flags", vec![0, 0], "end of file"),
        ("no flags", vec![0; 4], "fixed newstyle"),
        ("not fixed", vec![0, 0, 0, 2], "fixed newstyle"),
        ("unknown flags", vec![0x80, 0, 0, 3], "fixed newstyle"),
        ("no mark", after(&[b'x'; 16]), "no mark"),
        (
            "request instead",
            after(&request(0, 0, 1, 0, 512)),
            "no mark",
        ),
        ("half an option", after(&option(3, &[])[..10]), "eof"),
        ("half its data", after(&option(7, &[0; 100])[..60]), "eof"),
        (
            "long option",
            after(&[&option(7, &[])[..12], &[0xFF; 4]].concat()),
            "too long",
        ),
        (
            "64 KiB and one",
            after(&option(99, &vec![0; 65537])),
            "too long",
        ),
        ("no such export", after(&option(1, b"other")), "not here"),
        ("name is no text", after(&option(1, &[0xFF])), "not here"),
        ("name of 4097", after(&option(1, &[b'a'; 4097])), "not here"),
        (
            "endless options",
            after(&option(99, &[]).repeat(1025)),
            "too many",
        ),
    ];
    for (name, bytes, word) in cases {
        let mut client = Client::connect(Exports::one(disk()));
        let (mut reader, mut writer) = tokio::io::split(client.stream);
        let drain = tokio::spawn(async move {
            let mut all = Vec::new();
            _ = reader.read_to_end(&mut all).await;
        });
        // The server may be gone before it has read all.
        _ = writer.write_all(&bytes).await;
        _ = writer.shutdown().await;
        let error = (&mut client.server).await.unwrap().unwrap_err().to_string();
        assert!(error.contains(word), "{name}: {error}");
        drain.await.unwrap();
    }
}

#[tokio::test]
async fn every_option_has_its_answer() {
    const ACK: u32 = 1;
    const ERROR: u32 = 1 << 31;
    let name = |name: &str| {
        [
            &u32::try_from(name.len()).unwrap().to_be_bytes()[..],
            name.as_bytes(),
        ]
        .concat()
    };
    let go = |export: &str, infos: &[u16]| {
        let count = u16::try_from(infos.len()).unwrap().to_be_bytes();
        let infos: Vec<u8> = infos.iter().flat_map(|i| i.to_be_bytes()).collect();
        [&name(export)[..], &count, &infos].concat()
    };
    let meta = |export: &str, queries: &[&str]| {
        let count = u32::try_from(queries.len()).unwrap().to_be_bytes();
        let queries: Vec<u8> = queries.iter().flat_map(|q| name(q)).collect();
        [&name(export)[..], &count, &queries].concat()
    };
    let (list, starttls, info, structured, list_meta, set_meta) = (3, 5, 6, 8, 9, 10);
    let exports = Exports::one(disk()).with("b", disk()).with("a", disk());
    let mut client = Client::connect(exports);
    client.greet().await;
    // In this order: structured replies are agreed on in the middle.
    let cases: Vec<(&str, u32, Vec<u8>, Vec<u32>)> = vec![
        ("list", list, vec![], vec![2, 2, 2, ACK]),
        ("list with data", list, vec![1], vec![ERROR | 3]),
        ("encryption", starttls, vec![], vec![ERROR | 2]),
        ("encryption with data", starttls, vec![0], vec![ERROR | 3]),
        ("unknown", 99, vec![1, 2, 3], vec![ERROR | 1]),
        ("extended headers", 11, vec![], vec![ERROR | 1]),
        ("peek", 4, vec![], vec![ERROR | 1]),
        ("option 0", 0, vec![], vec![ERROR | 1]),
        ("info", info, go("", &[]), vec![3, ACK]),
        ("info by name", info, go("a", &[3, 1]), vec![3, 3, 3, ACK]),
        ("info unknown", info, go("c", &[]), vec![ERROR | 6]),
        ("info without data", info, vec![], vec![ERROR | 3]),
        (
            "info cut",
            info,
            go("a", &[3])[..8].to_vec(),
            vec![ERROR | 3],
        ),
        (
            "info and more",
            info,
            [go("a", &[3]), vec![0]].concat(),
            vec![ERROR | 3],
        ),
        (
            "info name too long",
            info,
            go(&"a".repeat(4097), &[]),
            vec![ERROR | 3],
        ),
        ("info name overflows", info, vec![0xFF; 6], vec![ERROR | 3]),
        (
            "info name is no text",
            info,
            vec![0, 0, 0, 1, 0xFF, 0, 0],
            vec![ERROR | 3],
        ),
        (
            "meta before structured",
            set_meta,
            meta("", &["base:allocation"]),
            vec![ERROR | 3],
        ),
        (
            "list meta before structured",
            list_meta,
            meta("", &[]),
            vec![ERROR | 3],
        ),
        ("structured with data", structured, vec![1], vec![ERROR | 3]),
        ("structured", structured, vec![], vec![ACK]),
        ("structured again", structured, vec![], vec![ACK]),
        ("list meta", list_meta, meta("", &[]), vec![4, ACK]),
        (
            "list meta base",
            list_meta,
            meta("", &["base:"]),
            vec![4, ACK],
        ),
        (
            "list meta other",
            list_meta,
            meta("", &["qemu:"]),
            vec![ACK],
        ),
        (
            "list meta unknown export",
            list_meta,
            meta("c", &[]),
            vec![ERROR | 6],
        ),
        ("set meta none", set_meta, meta("", &[]), vec![ACK]),
        (
            "set meta namespace",
            set_meta,
            meta("", &["base:"]),
            vec![ACK],
        ),
        (
            "set meta",
            set_meta,
            meta("", &["x:y", "base:allocation"]),
            vec![4, ACK],
        ),
        (
            "set meta count",
            set_meta,
            [name(""), vec![0xFF; 4]].concat(),
            vec![ERROR | 3],
        ),
        (
            "set meta more",
            set_meta,
            [meta("", &["a"]), vec![0]].concat(),
            vec![ERROR | 3],
        ),
        (
            "set meta long query",
            set_meta,
            meta("", &[&"q".repeat(4097)]),
            vec![ERROR | 3],
        ),
        ("abort with data", 2, vec![1], vec![ACK]),
    ];
    for (name, number, data, want) in cases {
        let got: Vec<u32> = client
            .option(number, &data)
            .await
            .into_iter()
            .map(|r| r.0)
            .collect();
        assert_eq!(got, want, "{name}");
    }
    client.leave().await.unwrap();
}

#[tokio::test]
async fn the_export_is_described_as_it_is() {
    let disk = disk();
    let mut client = Client::connect(Exports::one(disk.clone()));
    client.greet().await;
    let replies = client.option(6, &[0, 0, 0, 0, 0, 1, 0, 3]).await;
    let (info, sizes) = (&replies[0].1, &replies[1].1);
    assert_eq!(info[2..10], disk.size_bytes().to_be_bytes());
    // Flush, FUA, trim, zeroes, multi-conn, cache, fast zero; DF only with structured replies.
    assert_eq!(info[10..], 0b1101_0110_1101_u16.to_be_bytes());
    assert_eq!(
        sizes[2..],
        [1_u32, 4096, 32 << 20].map(u32::to_be_bytes).concat()
    );
    let mut read_only = MemoryDisk::new(vec![0; MIB]);
    read_only.is_read_only = true;
    let mut client = Client::connect(Exports::one(Arc::new(read_only)));
    client.greet().await;
    client.option(8, &[]).await;
    let info = client.option(6, &[0; 6]).await[0].1.clone();
    assert_eq!(info[10..], 0b101_1000_1111_u16.to_be_bytes());
}

#[tokio::test]
async fn the_old_option_goes_straight_to_transmission() {
    for (flags, zeroes) in [(1_u32, 124), (3, 0)] {
        let mut client = Client::connect(Exports::one(disk()));
        let mut greeting = [0; 18];
        client.stream.read_exact(&mut greeting).await.unwrap();
        client.send(&flags.to_be_bytes()).await;
        client.send(&option(1, b"")).await;
        let mut described = vec![1; 10 + zeroes];
        client.stream.read_exact(&mut described).await.unwrap();
        assert!(described[10..].iter().all(|b| *b == 0));
        assert_eq!(client.call(0, 0, 0, 512, &[]).await.error, 0);
    }
}

#[tokio::test]
async fn a_context_counts_for_the_export_it_was_chosen_for() {
    let exports = Exports::one(disk()).with("a", disk());
    let mut client = Client::connect(exports);
    client.greet().await;
    client.option(8, &[]).await;
    let query = [
        &[0; 4][..],
        &1_u32.to_be_bytes(),
        &15_u32.to_be_bytes(),
        b"base:allocation",
    ];
    client.option(10, &query.concat()).await;
    client.option(7, &[0, 0, 0, 1, b'a', 0, 0]).await;
    assert_eq!(client.call(7, 0, 0, 512, &[]).await.error, EINVAL);
}

#[tokio::test]
async fn until_starttls_nothing_else_is_answered() {
    let connect = || {
        Client::connect_with(Exports::one(disk()), |stream, exports| {
            Box::pin(
                async move { serve_tls(stream, &exports, |stream| async { Ok(stream) }).await },
            )
        })
    };
    let mut client = connect();
    client.greet().await;
    for number in [3, 6, 7, 8, 9, 10, 99] {
        assert_eq!(
            client.option(number, &[0; 6]).await,
            [(1 << 31 | 5, vec![])]
        );
    }
    assert_eq!(client.option(5, &[]).await, [(1, vec![])]);
    assert_eq!(client.option(5, &[]).await, [(1 << 31 | 3, vec![])]);
    assert_eq!(client.option(7, &[0; 6]).await.last().unwrap().0, 1);
    assert_eq!(client.call(0, 0, 0, 512, &[]).await.error, 0);
    client.leave().await.unwrap();
    let mut client = connect();
    client.greet().await;
    client.send(&option(1, b"")).await;
    assert!(matches!(client.leave().await, Err(NbdError::Protocol(_))));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_dropped() {
    let mut client = Client::connect(Exports::one(disk()));
    client.greet().await;
    assert!(matches!(
        (&mut client.server).await.unwrap(),
        Err(NbdError::Slow)
    ));
}

#[tokio::test]
async fn requests_that_make_no_sense_get_the_error_of_the_protocol() {
    let (read, write, flush, trim, cache, zeroes, status) = (0, 1, 3, 4, 5, 6, 7);
    let (fua, no_hole, df, one, fast) = (1, 2, 4, 8, 16);
    let end = 4 * MIB as u64;
    let big = REQUEST_BYTES_MAX + 1;
    let cases = [
        ("read over the end", read, 0, end - 511, 512, EINVAL),
        ("read behind the end", read, 0, end, 1, EINVAL),
        ("read overflow", read, 0, u64::MAX, 512, EINVAL),
        ("read nothing", read, 0, 0, 0, EINVAL),
        ("read a hole flag", read, no_hole, 0, 512, EINVAL),
        ("read all flags", read, 0xFFFF, 0, 512, EINVAL),
        ("write over the end", write, 0, end - 511, 512, ENOSPC),
        ("write overflow", write, 0, u64::MAX - 5, 512, ENOSPC),
        ("write nothing", write, 0, 0, 0, EINVAL),
        ("write df", write, df, 0, 512, EINVAL),
        ("zeroes over the end", zeroes, 0, end, 1, ENOSPC),
        ("zeroes 4 GiB", zeroes, 0, 0, u32::MAX, ENOSPC),
        ("zeroes df", zeroes, df, 0, 512, EINVAL),
        (
            "zeroes fast and allocated",
            zeroes,
            fast | no_hole,
            0,
            512,
            ENOTSUP,
        ),
        ("trim over the end", trim, 0, end, 1, EINVAL),
        ("trim fast", trim, fast, 0, 512, EINVAL),
        ("cache over the end", cache, 0, end - 1, 2, EINVAL),
        ("flush a range", flush, 0, 512, 512, EINVAL),
        ("flush df", flush, df, 0, 0, EINVAL),
        ("status over the end", status, 0, end, 1, EINVAL),
        ("status nothing", status, 0, 0, 0, EINVAL),
        ("status df", status, df, 0, 512, EINVAL),
        ("unknown", 8, 0, 0, 512, EINVAL),
        ("unknown high", 0xFFFF, 0, 0, 512, EINVAL),
        ("fine read", read, fua, end - 1, 1, 0),
        ("fine write", write, fua, end - 512, 512, 0),
        ("fine zeroes", zeroes, fua | no_hole, 0, 512, 0),
        ("fine fast zeroes", zeroes, fast, 0, 512, 0),
        ("fine trim", trim, fua, 0, 4 * MIB as u32, 0),
        ("fine cache", cache, 0, 0, 4 * MIB as u32, 0),
        ("fine flush", flush, 0, 0, 0, 0),
        ("fine status", status, one, 0, 4 * MIB as u32, 0),
    ];
    let payload = [7; 512];
    for is_structured in [false, true] {
        let mut client = Client::go(&disk(), is_structured).await;
        for (name, command, flags, offset, length, error) in cases {
            let error = match command == status && !is_structured {
                true => EINVAL,
                false => error,
            };
            let payload = if command == write && length > 0 {
                &payload[..]
            } else {
                &[]
            };
            let answer = client.call(command, flags, offset, length, payload).await;
            assert_eq!(answer.error, error, "{name}");
        }
    }
    let large = Arc::new(MemoryDisk::new(vec![0; 34 * MIB]));
    let mut client = Client::go(&large, true).await;
    assert_eq!(client.call(read, 0, 0, big, &[]).await.error, EINVAL);
    assert_eq!(client.call(read, df, 0, big, &[]).await.error, EOVERFLOW);
    assert_eq!(
        client.call(read, df, 0, REQUEST_BYTES_MAX, &[]).await.error,
        0
    );
    client.request(write, 0, 0, big, &[]).await;
    assert!(matches!(client.leave().await, Err(NbdError::Protocol(_))));
}

#[tokio::test]
async fn a_frame_that_is_none_or_half_ends_the_connection() {
    let good = request(0, 0, 1, 0, 512);
    for (bytes, word) in [
        ([&[0; 4], &good[4..]].concat(), "no mark"),
        (good[..27].to_vec(), "inside a request"),
        (
            [&request(1, 0, 1, 0, 512)[..], &[0; 511]].concat(),
            "inside a request",
        ),
    ] {
        let mut client = Client::go(&disk(), true).await;
        client.send(&bytes).await;
        let error = client.leave().await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let mut client = Client::go(&disk(), true).await;
    client.request(2, 0, 0, 0, &[]).await;
    (&mut client.server).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_read_only_export_refuses_every_change_and_stays_in_step() {
    let mut disk = MemoryDisk::new(sample_disk(MIB, 5));
    disk.is_read_only = true;
    let before = disk.bytes.lock().unwrap().clone();
    let disk = Arc::new(disk);
    let mut client = Client::go(&disk, true).await;
    assert_eq!(client.call(1, 0, 0, 512, &[9; 512]).await.error, EPERM);
    assert_eq!(client.call(4, 0, 0, 512, &[]).await.error, EPERM);
    assert_eq!(client.call(6, 0, 0, 512, &[]).await.error, EPERM);
    assert_eq!(client.call(0, 0, 0, 4096, &[]).await.data, before[..4096]);
    assert!(*disk.bytes.lock().unwrap() == before);
}

#[tokio::test]
async fn errors_of_the_export_reach_the_client() {
    for (error, number) in [
        (ExportError::Io, EIO),
        (ExportError::NoSpace, ENOSPC),
        (ExportError::TooLarge, EOVERFLOW),
        (ExportError::Stopping, 108),
    ] {
        for is_structured in [false, true] {
            let mut disk = MemoryDisk::new(vec![1; MIB]);
            disk.fails_with = Some(error);
            let mut client = Client::go(&Arc::new(disk), is_structured).await;
            assert_eq!(client.call(0, 0, 0, 512, &[]).await.error, number);
            assert_eq!(client.call(1, 0, 0, 512, &[1; 512]).await.error, number);
            assert_eq!(client.call(3, 0, 0, 0, &[]).await.error, number);
        }
    }
}

#[tokio::test]
async fn replies_come_as_requests_finish() {
    let mut disk = MemoryDisk::new(vec![1; MIB]);
    disk.is_gated = true;
    let disk = Arc::new(disk);
    let mut client = Client::go(&disk, false).await;
    let slow = client.request(0, 0, 1, 512, &[]).await;
    let quick = client.request(0, 0, 2, 512, &[]).await;
    assert_eq!(client.answer(2, 512).await.cookie, quick);
    disk.gate.add_permits(1);
    assert_eq!(client.answer(1, 512).await.cookie, slow);
}

#[tokio::test]
async fn writes_that_run_are_finished_before_a_disconnect() {
    let mut disk = MemoryDisk::new(vec![0; MIB]);
    disk.is_slow = true;
    let disk = Arc::new(disk);
    let mut client = Client::go(&disk, false).await;
    for at in 0..20 {
        client.request(1, 1, at * 4096, 4096, &[3; 4096]).await;
    }
    client.request(2, 0, 0, 0, &[]).await;
    (&mut client.server).await.unwrap().unwrap();
    assert!(
        disk.bytes.lock().unwrap()[..20 * 4096]
            .iter()
            .all(|b| *b == 3)
    );
    assert_eq!(disk.flushes.load(Ordering::SeqCst), 20);
}

#[tokio::test]
async fn no_more_requests_run_than_the_limits_say() {
    let mut disk = MemoryDisk::new(vec![7; 40 * MIB]);
    disk.is_slow = true;
    let disk = Arc::new(disk);
    let mut client = Client::go(&disk, false).await;
    let frames: Vec<u8> = (1..=500).flat_map(|n| request(0, 0, n, 0, 512)).collect();
    client.send(&frames).await;
    for _ in 0..500 {
        assert_eq!(client.answer(0, 512).await.error, 0);
    }
    assert!(disk.running_max.load(Ordering::SeqCst) <= IN_FLIGHT_MAX);
    assert!(disk.running_max.load(Ordering::SeqCst) > 1);
    // A client that asks for much and reads nothing: the server stops asking the export.
    disk.reads.store(0, Ordering::SeqCst);
    let frames: Vec<u8> = (1..=50)
        .flat_map(|n| request(0, 0, n, 0, 32 << 20))
        .collect();
    client.send(&frames).await;
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
    }
    let asked = disk.reads.load(Ordering::SeqCst);
    assert!(
        asked * (32 << 20) <= MEMORY_BYTES_MAX && asked > 0,
        "{asked}"
    );
    for _ in 0..50 {
        assert_eq!(client.answer(0, 32 << 20).await.error, 0);
    }
}

#[tokio::test]
async fn holes_are_chunks_and_are_not_sent() {
    let mut bytes = vec![0; MIB];
    bytes[100_000..100_100].fill(5);
    let disk = Arc::new(MemoryDisk::new(bytes.clone()));
    let mut client = Client::go(&disk, true).await;
    let answer = client.call(0, 0, 0, MIB as u32, &[]).await;
    assert!(answer.data == bytes);
    let want = [
        (0, 98304, false),
        (98304, 4096, true),
        (102_400, 946_176, false),
    ];
    assert_eq!(answer.chunks, want);
    let answer = client.call(0, 4, 0, MIB as u32, &[]).await;
    assert!(answer.data == bytes);
    assert_eq!(answer.chunks, [(0, MIB as u32, true)]);
    let answer = client.call(7, 0, 1000, MIB as u32 - 1000, &[]).await;
    assert_eq!(answer.status, [(97304, 3), (4096, 0), (946_176, 3)]);
    let answer = client.call(7, 8, 1000, MIB as u32 - 1000, &[]).await;
    assert_eq!(answer.status, [(97304, 3)]);
}

#[tokio::test]
async fn random_operations_do_what_they_do_to_a_model() {
    for (seed, is_structured, is_slow) in [(1, false, false), (2, true, false), (3, true, true)] {
        let mut model = sample_disk(3 * MIB + 12345, seed);
        let mut disk = MemoryDisk::new(model.clone());
        disk.is_slow = is_slow;
        let disk = Arc::new(disk);
        let mut client = Client::go(&disk, is_structured).await;
        let mut numbers = Numbers(seed);
        for round in 0..1500 {
            let at = numbers.below(model.len() as u64);
            let most = 2 << numbers.below(18);
            let length = 1 + numbers.below((model.len() as u64 - at).min(most));
            let (from, size) = (
                usize::try_from(at).unwrap(),
                usize::try_from(length).unwrap(),
            );
            let short = u32::try_from(length).unwrap();
            let fua = u16::try_from(numbers.below(2)).unwrap();
            let answer = match numbers.below(6) {
                0 => {
                    let bytes = vec![numbers.next().to_le_bytes()[0]; size];
                    model[from..from + size].copy_from_slice(&bytes);
                    client.call(1, fua, at, short, &bytes).await
                }
                1 => {
                    model[from..from + size].fill(0);
                    client.call(6, fua, at, short, &[]).await
                }
                2 => client.call(3, 0, 0, 0, &[]).await,
                3 if is_structured => {
                    let answer = client.call(7, 0, at, short, &[]).await;
                    let mut covered = from;
                    for (run, flags) in &answer.status {
                        let run = usize::try_from(*run).unwrap();
                        let is_zero = model[covered..covered + run].iter().all(|b| *b == 0);
                        assert!(*flags == 0 || is_zero, "round {round}");
                        covered += run;
                    }
                    assert!(covered > from && covered <= from + size);
                    answer
                }
                _ => {
                    let answer = client.call(0, 0, at, short, &[]).await;
                    assert!(answer.data == model[from..from + size], "round {round}");
                    answer
                }
            };
            assert_eq!(answer.error, 0);
        }
        assert!(*disk.bytes.lock().unwrap() == model);
    }
}
