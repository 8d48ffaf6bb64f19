//! The server itself: names that come and go, sockets that dead servers left, limits.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use blocks::nbd::{NbdOptions, NbdServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::world::{MIB, World};

/// Chooses an export the old way; `None` when the server closes the connection.
pub async fn connect(world: &World, name: &str) -> Option<UnixStream> {
    let mut stream = UnixStream::connect(world.path("nbd")).await.unwrap();
    let mut greeting = [0; 18];
    stream.read_exact(&mut greeting).await.ok()?;
    let length = u32::try_from(name.len()).unwrap().to_be_bytes();
    let option = [
        &[0, 0, 0, 3],
        &b"IHAVEOPT"[..],
        &[0, 0, 0, 1],
        &length,
        name.as_bytes(),
    ];
    stream.write_all(&option.concat()).await.ok()?;
    let mut export = [0; 10];
    stream.read_exact(&mut export).await.ok()?;
    Some(stream)
}

async fn until(mut ready: impl FnMut() -> bool) {
    let wait = async {
        while !ready() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_come_and_go_while_the_server_runs() {
    let world = World::new().await;
    let server = &world.server;
    let export = Arc::new(world.reader(&vec![7; MIB]).await);
    assert!(connect(&world, "a").await.is_none());
    server.add("a", export.clone()).unwrap();
    server.add("b", export.clone()).unwrap();
    let taken = server.add("a", export.clone()).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);
    let long = server.add(&"x".repeat(4097), export).unwrap_err();
    assert_eq!(long.kind(), ErrorKind::InvalidInput);
    assert_eq!(server.names(), ["a", "b"]);
    let (mut first, second) = (
        connect(&world, "a").await.unwrap(),
        connect(&world, "b").await,
    );
    until(|| server.connections() == 2).await;
    assert_eq!(
        (server.connections_of("a"), server.connections_of("b")),
        (1, 1)
    );
    // Whoever is connected to what goes is sent away, the others stay.
    assert!(server.remove("a").await);
    assert!(!server.remove("a").await);
    assert_eq!(first.read(&mut [0; 1]).await.unwrap(), 0);
    assert!(connect(&world, "a").await.is_none());
    assert_eq!(server.connections(), 1);
    drop(second);
    until(|| server.connections() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_answers_what_it_took_and_leaves_no_socket() {
    let world = World::new().await;
    let layer = world.layer(&vec![7; MIB]).await;
    world.server.add("disk", Arc::new(layer.clone())).unwrap();
    let mut client = connect(&world, "disk").await.unwrap();
    let mut idle = UnixStream::connect(world.path("nbd")).await.unwrap();
    // A write of 4 KiB at 8192.
    let mut request = vec![0x25, 0x60, 0x95, 0x13, 0, 0, 0, 1];
    request.extend([1_u64.to_be_bytes(), 8192_u64.to_be_bytes()].concat());
    request.extend(4096_u32.to_be_bytes());
    request.extend([3; 4096]);
    client.write_all(&request).await.unwrap();
    let path = world.path("nbd");
    let mut answer = [0; 16];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[4..8], [0; 4], "no error");
    world.server.stop().await;
    assert_eq!(client.read(&mut answer).await.unwrap(), 0);
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert!(!path.exists());
    assert_eq!(layer.read(8192, 4096).await.unwrap(), [3; 4096]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_dead_is_replaced_and_one_that_answers_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nbd");
    // Dead: a socket whose listener went without taking its name away.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let options = NbdOptions {
        socket_mode: 0o660,
        ..NbdOptions::default()
    };
    let server = NbdServer::listen(&path, options).await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let second = NbdServer::listen(&path, options).await.err().unwrap();
    assert_eq!(second.kind(), ErrorKind::AddrInUse);
    // A name that another took over is not taken away with its first owner.
    std::fs::remove_file(&path).unwrap();
    let other = NbdServer::listen(&path, options).await.unwrap();
    server.stop().await;
    assert!(path.exists());
    other.stop().await;
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_for_others_to_leave() {
    let mut world = World::new().await;
    let options = NbdOptions {
        connections_max: 2,
        ..NbdOptions::default()
    };
    let (path, other) = (world.path("nbd"), world.path("other"));
    let limited = NbdServer::listen(&other, options).await.unwrap();
    std::mem::replace(&mut world.server, limited).stop().await;
    std::fs::rename(other, path).unwrap();
    let export = Arc::new(world.reader(&vec![7; MIB]).await);
    world.server.add("a", export).unwrap();
    let (first, _second) = (connect(&world, "a").await, connect(&world, "a").await);
    let third = connect(&world, "a");
    tokio::pin!(third);
    let early = tokio::time::timeout(Duration::from_millis(100), &mut third).await;
    assert!(early.is_err(), "it is not served yet");
    drop(first);
    assert!(third.await.is_some());
}
