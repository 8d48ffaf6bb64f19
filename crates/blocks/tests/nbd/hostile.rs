//! Streams of real clients, changed: whatever comes, the server goes on serving others.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::server::connect;
use crate::support::{Random, is_long};
use crate::world::{MIB, World, run, sample, uri};

/// What was said on one connection.
pub struct Talk {
    /// By the client.
    pub said: Vec<u8>,
    /// By the server.
    pub heard: Vec<u8>,
}

/// Passes on between the server and who connects to `recorder`, while `client` runs.
pub async fn record<T>(world: &World, client: impl Future<Output = T>) -> (Vec<Talk>, T) {
    let path = world.path("recorder");
    drop(std::fs::remove_file(&path));
    let (listener, mut talks, mut streams) = (
        UnixListener::bind(path).unwrap(),
        Vec::new(),
        JoinSet::new(),
    );
    tokio::pin!(client);
    let done = loop {
        tokio::select! {
            done = &mut client => break done,
            accepted = listener.accept() => {
                let server = UnixStream::connect(world.path("nbd")).await.unwrap();
                streams.spawn(pass_on(accepted.unwrap().0, server));
            }
        }
    };
    while let Some(talk) = streams.join_next().await {
        talks.push(talk.unwrap());
    }
    (talks, done)
}

async fn pass_on(client: UnixStream, server: UnixStream) -> Talk {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (there, back) = (pass(from_client, to_server), pass(from_server, to_client));
    let (said, heard) = tokio::join!(there, back);
    Talk { said, heard }
}

/// Passes on until one side has left; returns what was said.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Vec<u8> {
    let (mut said, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        said.extend_from_slice(&buffer[..read]);
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    said
}

pub fn change(stream: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = stream.to_vec();
    for _ in 0..random.below(4) + 1 {
        // Near the beginning is the negotiation, and there is less of it.
        let limit = [64, 512, bytes.len()][random.below(3)].min(bytes.len());
        let at = random.below(limit);
        let length = random.below(32).min(bytes.len() - at);
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 0xFF, 0x7F, 0x80][random.below(4)],
            2 => drop(bytes.drain(at..at + length)),
            3 => {
                let piece = bytes[at..at + length].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => bytes.truncate(at.max(1)),
        }
        if bytes.is_empty() {
            return stream.to_vec();
        }
    }
    bytes
}

/// Sends a stream and returns what the server says until it closes it.
pub async fn exchange(world: &World, bytes: Vec<u8>) -> Vec<u8> {
    let stream = UnixStream::connect(world.path("nbd")).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let send = async {
        // The server may have hung up by then.
        drop(writer.write_all(&bytes).await);
        drop(writer);
    };
    let mut heard = Vec::new();
    let receive = reader.read_to_end(&mut heard);
    let both = async { tokio::join!(send, receive) };
    let ended = tokio::time::timeout(Duration::from_secs(60), both).await;
    assert!(ended.is_ok(), "the server neither answers nor hangs up");
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_streams_of_nbdcopy_and_qemu_io_hurt_nobody_else() {
    let world = World::new().await;
    let bytes = sample(2 * MIB, 3);
    world
        .server
        .add("image", Arc::new(world.reader(&bytes).await))
        .unwrap();
    let layer = world.layer(&bytes).await;
    world.server.add("disk", Arc::new(layer.clone())).unwrap();
    let via = |name| uri(&world.path("recorder"), name);
    let out = world.path("out.raw").display().to_string();
    let (image, disk) = (via("image"), via("disk"));
    let there = ["--connections=1", &image, &out];
    let (mut talks, _) = record(&world, run("nbdcopy", &there)).await;
    let back = ["--connections=1", &out, &disk];
    talks.extend(record(&world, run("nbdcopy", &back)).await.0);
    let commands = [
        "write -f -P 2 1k 512",
        "write -z 64k 64k",
        "discard 1M 64k",
        "read 0 64k",
    ];
    let mut args = vec!["-f", "raw"];
    commands.iter().for_each(|what| args.extend(["-c", *what]));
    args.push(&disk);
    talks.extend(record(&world, run("qemu-io", &args)).await.0);
    let streams: Vec<Vec<u8>> = talks.into_iter().map(|talk| talk.said).collect();
    assert!(streams.iter().all(|stream| stream.len() > 100));
    let rounds = if is_long() { 20_000 } else { 1000 };
    let mut random = Random(1);
    for round in 0..rounds {
        let stream = &streams[random.below(streams.len())];
        exchange(&world, change(stream, &mut random)).await;
        if round % 100 == 0 {
            assert!(connect(&world, "image").await.is_some(), "round {round}");
        }
    }
    // The image is what it was, and the disk can be read.
    run("nbdcopy", &[&world.uri("image"), &out]).await;
    assert!(std::fs::read(&out).unwrap() == bytes);
    assert_eq!(layer.size_bytes(), bytes.len() as u64);
    layer.read(0, bytes.len()).await.unwrap();
}
