//! A store with a disk in it, a server, and programs that talk to it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use blocks::nbd::{NbdOptions, NbdServer};
use blocks::{Layer, LayerId, Location, Progress, Reader, Store, StoreOptions};
use uuid::Uuid;

use crate::support::{Plain, Random};

pub const MIB: usize = 1 << 20;
pub const LAYER: LayerId = LayerId(Uuid::from_u128(7));

/// A directory with a store.
pub struct World {
    pub directory: tempfile::TempDir,
    pub store: Store,
    pub server: NbdServer,
}

impl World {
    pub async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path()).await;
        let socket = directory.path().join("nbd");
        let server = NbdServer::listen(&socket, NbdOptions::default()).await;
        Self {
            server: server.unwrap(),
            directory,
            store,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn uri(&self, name: &str) -> String {
        uri(&self.path("nbd"), name)
    }

    /// Stores bytes and opens them.
    pub async fn reader(&self, bytes: &[u8]) -> Reader {
        let source = Arc::new(Plain(bytes.to_vec()));
        let done = self.store.ingest(source, &Progress::default()).await;
        self.store
            .open_reader(done.unwrap().manifest)
            .await
            .unwrap()
    }

    /// Makes a layer over stored bytes.
    pub async fn layer(&self, bytes: &[u8]) -> Layer {
        let source = Arc::new(Plain(bytes.to_vec()));
        let done = self.store.ingest(source, &Progress::default()).await;
        let base = Some(done.unwrap().manifest);
        let layer = self.store.create_layer(LAYER, base, bytes.len() as u64);
        layer.await.unwrap()
    }
}

pub async fn open(directory: &Path) -> Store {
    let location = Location::Directory(directory.join("store"));
    let options = StoreOptions::new(location, directory.join("node"), [7; 32]);
    Store::open(options).await.unwrap()
}

pub fn uri(socket: &Path, name: &str) -> String {
    format!("nbd+unix:///{name}?socket={}", socket.display())
}

/// A disk of runs of data and holes.
pub fn sample(length: usize, seed: u64) -> Vec<u8> {
    let (mut random, mut bytes) = (Random(seed), Vec::with_capacity(length));
    while bytes.len() < length {
        let run = (random.below(40) + 1) * 4096;
        match random.below(3) {
            0 => bytes.resize(bytes.len() + run, 0),
            _ => bytes.extend(random.bytes(run)),
        }
    }
    bytes.truncate(length);
    bytes
}

/// Runs a program that must succeed, on a thread that may block.
pub async fn run(program: &str, args: &[&str]) -> String {
    let done = try_run(program, args).await;
    let errors = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8(done.stdout).unwrap()
}

pub async fn try_run(program: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(args);
    let done = tokio::task::spawn_blocking(move || command.output());
    let done = done.await.unwrap();
    done.unwrap_or_else(|error| panic!("{program}: {error}; install libnbd-bin and qemu-utils"))
}
