//! Streams of real clients, changed: whatever comes, the server goes on serving others.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use crate::server::connect;
use crate::support::{Random, is_long};
use crate::world::{MIB, World, run, sample, uri};

/// Lets a client talk to the server and returns what it said, one stream a connection.
async fn record(world: &World, program: &str, args: &[&str]) -> Vec<Vec<u8>> {
    let path = world.path("recorder");
    drop(std::fs::remove_file(&path));
    let (listener, mut said, mut streams) = (
        UnixListener::bind(path).unwrap(),
        Vec::new(),
        JoinSet::new(),
    );
    let client = run(program, args);
    tokio::pin!(client);
    loop {
        tokio::select! {
            _ = &mut client => break,
            accepted = listener.accept() => {
                let server = UnixStream::connect(world.path("nbd")).await.unwrap();
                streams.spawn(pass_on(accepted.unwrap().0, server));
            }
        }
    }
    while let Some(stream) = streams.join_next().await {
        said.push(stream.unwrap());
    }
    said
}

async fn pass_on(client: UnixStream, server: UnixStream) -> Vec<u8> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut said = Vec::new();
    let there = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
            said.extend_from_slice(&buffer[..read]);
            if to_server.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
        drop(to_server);
    };
    let back = async {
        drop(tokio::io::copy(&mut from_server, &mut to_client).await);
        drop(to_client);
    };
    tokio::join!(there, back);
    said
}

fn change(stream: &[u8], random: &mut Random) -> Vec<u8> {
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

/// Sends a stream and reads until the server closes it.
async fn play(world: &World, bytes: Vec<u8>) {
    let stream = UnixStream::connect(world.path("nbd")).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let send = async {
        // The server may have hung up by then.
        drop(writer.write_all(&bytes).await);
        drop(writer);
    };
    let mut sink = tokio::io::sink();
    let receive = tokio::io::copy(&mut reader, &mut sink);
    let both = async { tokio::join!(send, receive) };
    let ended = tokio::time::timeout(Duration::from_secs(60), both).await;
    assert!(ended.is_ok(), "the server neither answers nor hangs up");
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
    let mut streams = record(&world, "nbdcopy", &["--connections=1", &via("image"), &out]).await;
    streams.extend(record(&world, "nbdcopy", &["--connections=1", &out, &via("disk")]).await);
    let commands = [
        "write -f -P 2 1k 512",
        "write -z 64k 64k",
        "discard 1M 64k",
        "read 0 64k",
    ];
    let (mut args, to) = (vec!["-f", "raw"], via("disk"));
    commands.iter().for_each(|what| args.extend(["-c", *what]));
    args.push(&to);
    streams.extend(record(&world, "qemu-io", &args).await);
    assert!(streams.iter().all(|stream| stream.len() > 100));
    let rounds = if is_long() { 20_000 } else { 1000 };
    let mut random = Random(1);
    for round in 0..rounds {
        let stream = &streams[random.below(streams.len())];
        play(&world, change(stream, &mut random)).await;
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
