//! The fuzzing client of libnbd (`libnbd-fuzz-wrapper`, as its authors wrote it): a fixed row of calls.
//!
//! Given a file, it takes that for the words of a server. The same calls are made on our server by
//! `libnbd-fuzz-client` (`tests/libnbd/fuzz-client.c`); what both say is recorded.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use blocks::Layer;

use crate::hostile::{Talk, change, exchange, record};
use crate::support::{Random, is_long};
use crate::world::{MIB, World, run, sample};

/// Its calls, in order; a read-only export is not sent what writes.
const CALLS: [(&str, bool); 15] = [
    ("nbd_add_meta_context", false),
    ("nbd_set_opt_mode", false),
    ("nbd_connect_socket", false),
    ("nbd_opt_info", false),
    ("nbd_opt_go", false),
    ("nbd_get_size", false),
    ("nbd_pread", false),
    ("nbd_pwrite", true),
    ("nbd_flush", false),
    ("nbd_trim", true),
    ("nbd_zero", true),
    ("nbd_cache", false),
    ("nbd_pread_structured", false),
    ("nbd_block_status", false),
    ("nbd_shutdown", false),
];
/// No run takes as long, unless it never ends.
const LIMIT_SECONDS: &str = "60";
/// What `timeout` ends with when it had to end a program.
const TIMED_OUT: i32 = 124;

fn directory() -> PathBuf {
    let directory = std::env::var_os("VITRINE_TEST_LIBNBD_FUZZING");
    PathBuf::from(directory.expect("run this by cargo xtask test"))
}

/// Lets the client make its calls on the server's export without a name.
///
/// Returns what was said, and what libnbd logged of the calls.
async fn talk(world: &World) -> (Talk, String) {
    let mut command = Command::new("timeout");
    command.arg(LIMIT_SECONDS);
    command.arg(directory().join("libnbd-fuzz-client"));
    command.arg(world.path("recorder")).env("LIBNBD_DEBUG", "1");
    let client = async move {
        let done = tokio::task::spawn_blocking(move || command.output());
        let done = done.await.unwrap().unwrap();
        let log = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success(), "{log}");
        log
    };
    let (mut talks, log) = record(world, client).await;
    assert_eq!(talks.len(), 1);
    (talks.remove(0), log)
}

/// Plays a file to the client as the words of a server.
fn play_to_client(path: &Path) -> ExitStatus {
    let mut command = Command::new("timeout");
    command.arg(LIMIT_SECONDS);
    command.arg(directory().join("libnbd-fuzz-wrapper"));
    command.arg(path).stdin(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap()
}

/// Returns how a call ended, as libnbd logged it.
fn end_of<'a>(log: &'a str, call: &str) -> &'a str {
    let mark = format!(": {call}: leave: ");
    let mut ends = log.lines().filter_map(|line| line.split_once(&mark));
    let (_, end) = ends
        .next()
        .unwrap_or_else(|| panic!("no call of {call}: {log}"));
    assert!(ends.next().is_none(), "{call} twice: {log}");
    end
}

async fn layer_of(world: &World, bytes: &[u8]) -> Layer {
    let layer = world.layer(bytes).await;
    world.server.add("", Arc::new(layer.clone())).unwrap();
    layer
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_succeeds_on_a_layer_and_does_what_it_says() {
    let world = World::new().await;
    let mut bytes = sample(MIB, 5);
    bytes[..256 << 10].fill(9);
    let layer = layer_of(&world, &bytes).await;
    let (_, log) = talk(&world).await;
    for (call, _) in CALLS {
        let end = end_of(&log, call);
        let wanted = match call {
            "nbd_get_size" => "ret=1048576",
            _ => "ret=0",
        };
        assert_eq!(end, wanted, "{call}: {log}");
    }
    // `nbd_trim (count 8192, at 8192)` and `nbd_zero (count 8192, at 65536)`; what it wrote is what it read.
    bytes[8192..16384].fill(0);
    bytes[65536..73728].fill(0);
    assert!(layer.read(0, bytes.len()).await.unwrap() == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_that_does_not_write_succeeds_on_a_reader() {
    let world = World::new().await;
    let bytes = sample(MIB, 6);
    let reader = world.reader(&bytes).await;
    world.server.add("", Arc::new(reader)).unwrap();
    let (talk, log) = talk(&world).await;
    for (call, writes) in CALLS {
        let end = end_of(&log, call);
        assert_eq!(end.starts_with("error="), writes, "{call}: {end}");
    }
    assert!(checked_bytes(&talk.heard, &bytes) >= 512 + 65536);
}

/// Follows the structured replies of a stream, from the first on; every byte in one must be the image's.
///
/// Returns how many bytes were compared.
fn checked_bytes(heard: &[u8], image: &[u8]) -> usize {
    const STRUCTURED: [u8; 4] = 0x668e_33ef_u32.to_be_bytes();
    const SIMPLE: [u8; 4] = 0x6744_6698_u32.to_be_bytes();
    const DATA: u16 = 1;
    const HOLE: u16 = 2;
    let number = |at: usize, length: usize| {
        let bytes = heard[at..at + length].iter();
        bytes.fold(0_usize, |number, byte| number << 8 | usize::from(*byte))
    };
    let first = heard.windows(4).position(|window| window == STRUCTURED);
    let (Some(mut at), mut compared) = (first, 0) else {
        return 0;
    };
    while at + 4 <= heard.len() {
        if heard[at..at + 4] == SIMPLE {
            at += 16;
            continue;
        }
        assert_eq!(heard[at..at + 4], STRUCTURED, "no reply at {at}");
        // Whoever sent half a request and left may be left with half a reply.
        if at + 20 > heard.len() || at + 20 + number(at + 16, 4) > heard.len() {
            break;
        }
        let (kind, length, body) = (number(at + 6, 2), number(at + 16, 4), at + 20);
        if kind == usize::from(DATA) {
            let (from, data) = (number(body, 8), &heard[body + 8..body + length]);
            assert!(data == &image[from..from + data.len()], "bytes at {from}");
            compared += data.len();
        } else if kind == usize::from(HOLE) {
            let (from, hole) = (number(body, 8), number(body + 8, 4));
            let is_zero = image[from..from + hole].iter().all(|byte| *byte == 0);
            assert!(is_zero, "a hole at {from}");
            compared += hole;
        }
        at = body + length;
    }
    compared
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_survives_what_our_server_said_and_that_changed() {
    let world = World::new().await;
    let bytes = sample(MIB, 7);
    let mut streams = Vec::new();
    let reader = world.reader(&bytes).await;
    world.server.add("", Arc::new(reader)).unwrap();
    streams.push(talk(&world).await.0.heard);
    assert!(world.server.remove("").await);
    layer_of(&world, &bytes).await;
    streams.push(talk(&world).await.0.heard);
    let own = streams.len();
    // And what its authors begin with.
    for entry in std::fs::read_dir(directory().join("testcase_dir")).unwrap() {
        streams.push(std::fs::read(entry.unwrap().path()).unwrap());
    }
    assert!(streams.len() > own);
    let path = world.path("stream");
    let rounds = if is_long() { 20_000 } else { 500 };
    let play = move || {
        let mut random = Random(2);
        for round in 0..rounds {
            // Each as it is first; later ours more often.
            let stream = match round < streams.len() {
                true => streams[round].clone(),
                false => change(&streams[random.below(streams.len())], &mut random),
            };
            std::fs::write(&path, &stream).unwrap();
            let status = play_to_client(&path);
            // It ends with 1 when it hung up before all was said.
            let is_fine = matches!(status.code(), Some(0 | 1)) && status.code() != Some(TIMED_OUT);
            assert!(is_fine, "round {round}: {status}");
        }
    };
    tokio::task::spawn_blocking(play).await.unwrap();
}

/// Counts panics, on whatever thread or task.
fn count_panics() -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, usual) = (count.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        counted.fetch_add(1, Ordering::SeqCst);
        usual(info);
    }));
    count
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits until all who were connected are gone.
async fn until_alone(world: &World) {
    let wait = async {
        while world.server.connections() > 0 {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
    assert!(waited.is_ok(), "connections are left over");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_survives_what_the_client_said_changed_and_serves_no_wrong_byte() {
    let world = World::new().await;
    let bytes = sample(MIB, 8);
    let reader = Arc::new(world.reader(&bytes).await);
    world.server.add("", reader.clone()).unwrap();
    let to_reader = talk(&world).await.0.said;
    assert!(world.server.remove("").await);
    let layer = layer_of(&world, &bytes).await;
    let to_layer = talk(&world).await.0.said;
    let (panics, files) = (count_panics(), open_files());
    let rounds = if is_long() { 20_000 } else { 1000 };
    let (mut random, mut compared) = (Random(3), 0);
    // On the layer anything may be written: nobody is hurt but its content.
    for _ in 0..rounds {
        exchange(&world, change(&to_layer, &mut random)).await;
    }
    let out = world.path("out.raw").display().to_string();
    run("nbdcopy", &[&world.uri(""), &out]).await;
    let left = layer.read(0, bytes.len()).await.unwrap();
    assert!(std::fs::read(&out).unwrap() == left);
    // On the reader every byte that is said is known.
    assert!(world.server.remove("").await);
    world.server.add("", reader).unwrap();
    for _ in 0..rounds {
        let heard = exchange(&world, change(&to_reader, &mut random)).await;
        compared += checked_bytes(&heard, &bytes);
    }
    // Else the changes let nobody through.
    assert!(compared > rounds * 1024, "only {compared} bytes compared");
    run("nbdcopy", &[&world.uri(""), &out]).await;
    assert!(std::fs::read(&out).unwrap() == bytes);
    until_alone(&world).await;
    assert_eq!(panics.load(Ordering::SeqCst), 0);
    assert!(open_files() <= files, "files are left open");
}
