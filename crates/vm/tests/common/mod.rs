//! A host, a directory, and an NBD server of raw files that can be stopped and started.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use disk::nbd::{Answer, Export, ExportError, Exports, Piece, serve};
use disk::{Extent, ExtentKind};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use uuid::Uuid;
use vm::{Choice, Directory, Disk, Firmware, Host, Machine, Place, Settings, Spec};

/// How long a guest may take to do something, on a busy machine without KVM.
pub const GUEST: Duration = Duration::from_secs(180);

/// A raw file that is read and written where it is asked for.
struct RawFile {
    file: File,
    reads: Arc<AtomicUsize>,
}

fn answer<T>(done: io::Result<T>) -> Answer<'static, T>
where
    T: Send + 'static,
{
    Box::pin(std::future::ready(done.map_err(|_| ExportError::Io)))
}

impl Export for RawFile {
    fn size_bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |found| found.len())
    }

    fn is_read_only(&self) -> bool {
        false
    }

    fn read(&self, offset: u64, length: u32) -> Answer<'_, Vec<Piece>> {
        let mut bytes = vec![0; usize::try_from(length).expect("small")];
        self.reads.fetch_add(1, Ordering::Relaxed);
        let read = self.file.read_exact_at(&mut bytes, offset);
        answer(read.map(|()| vec![Piece::Data(Bytes::from(bytes))]))
    }

    fn write(&self, offset: u64, data: Bytes) -> Answer<'_, ()> {
        answer(self.file.write_all_at(&data, offset))
    }

    fn write_zeroes(&self, offset: u64, length: u32, _: bool) -> Answer<'_, ()> {
        let zeroes = vec![0; usize::try_from(length).expect("small")];
        answer(self.file.write_all_at(&zeroes, offset))
    }

    fn trim(&self, _: u64, _: u32) -> Answer<'_, ()> {
        answer(Ok(()))
    }

    fn flush(&self) -> Answer<'_, ()> {
        answer(self.file.sync_data())
    }

    fn extents(&self, offset: u64, _: u32) -> Answer<'_, Vec<Extent>> {
        let length = self.size_bytes() - offset;
        let kind = ExtentKind::Data;
        answer(Ok(vec![Extent {
            offset,
            length,
            kind,
        }]))
    }
}

/// A machine's directory with its disks.
pub struct Bench {
    pub host: Host,
    pub home: tempfile::TempDir,
    exports: BTreeMap<String, (PathBuf, Arc<AtomicUsize>)>,
    server: JoinSet<()>,
}

impl Bench {
    pub async fn new() -> Self {
        let settings = Settings {
            accelerator: Choice::Tcg,
            ..Settings::default()
        };
        Self {
            host: Host::find(settings).await.expect("QEMU is installed"),
            home: tempfile::tempdir().expect("a directory"),
            exports: BTreeMap::new(),
            server: JoinSet::new(),
        }
    }

    /// Where all machines of this test are.
    pub fn root(&self) -> PathBuf {
        self.home.path().join("machines")
    }

    /// Starts a machine that is told nothing.
    pub async fn started(&self, spec: &Spec) -> Machine {
        let started = self.host.start(spec.clone(), &self.dir(), None).await;
        started.expect("started")
    }

    pub fn dir(&self) -> PathBuf {
        self.root().join("one")
    }

    /// Adds an empty disk.
    pub fn empty(&mut self, name: &str, bytes: u64) {
        let path = self.home.path().join(name);
        let file = File::create(&path).expect("a file");
        file.set_len(bytes).expect("a size");
        self.exports.insert(name.to_owned(), (path, Arc::default()));
    }

    /// Adds a copy of the guest that boots by itself.
    pub fn bootable(&mut self, name: &str) {
        let tiny = std::env::var("VITRINE_TEST_TINY").expect("VITRINE_TEST_TINY is set");
        let path = self.home.path().join(name);
        std::fs::copy(Path::new(&tiny).join("machine.raw"), &path).expect("machine.raw is there");
        self.exports.insert(name.to_owned(), (path, Arc::default()));
    }

    /// Serves every disk on the machine's socket, in place of an earlier server.
    pub async fn serve(&mut self) {
        self.stop_serving().await;
        let mut exports = Exports::default();
        for (name, (path, reads)) in &self.exports {
            let file = File::options().read(true).write(true).open(path);
            let (file, reads) = (file.expect("there"), reads.clone());
            exports = exports.with(name, Arc::new(RawFile { file, reads }));
        }
        let directory: Directory = self.host.claim(&self.dir()).expect("made");
        let reach = directory.reach().expect("open");
        let path = reach.path("nbd.sock");
        std::fs::remove_file(&path).ok();
        let listener = UnixListener::bind(&path).expect("listening");
        directory.give("nbd.sock").expect("given");
        self.server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let exports = exports.clone();
                connections.spawn(async move { serve(stream, &exports).await.map_err(drop) });
            }
        });
    }

    /// Waits until a disk was read: a guest looks for partitions on one that appears.
    pub async fn is_read(&self, name: &str) {
        let begin = Instant::now();
        while self.exports[name].1.load(Ordering::Relaxed) == 0 {
            assert!(begin.elapsed() < GUEST, "nobody reads {name}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the server and all its connections.
    pub async fn stop_serving(&mut self) {
        self.server.shutdown().await;
    }
}

impl Drop for Bench {
    /// A test that fails leaves no guest behind.
    fn drop(&mut self) {
        let left = vm::leftovers(&self.root()).unwrap_or_default();
        for pid in left.iter().flat_map(|one| &one.processes) {
            let pid = i32::try_from(*pid).ok().and_then(Pid::from_raw);
            if let Some(pid) = pid {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

pub fn disk(place: Place, export: &str) -> Disk {
    Disk {
        place,
        socket: "nbd.sock".into(),
        export: export.to_owned(),
        is_read_only: false,
        serial: format!("serial-{export}"),
    }
}

pub fn spec(disks: Vec<Disk>) -> Spec {
    Spec {
        id: Uuid::from_u128(0x6f1f_6a52_7469_4e79_8d79_7469_6e79_0009),
        name: "tiny".to_owned(),
        vcpus: 1,
        memory_mib: 256,
        firmware: Firmware::Bios,
        has_tpm: false,
        disks,
        nics: Vec::new(),
    }
}

/// Waits until the console shows `text` for the `times`th time; returns all it shows.
pub async fn says(machine: &Machine, text: &str, times: usize) -> String {
    let begin = Instant::now();
    loop {
        let log = vm::serial::read(machine.directory().path(), 1 << 20).expect("a log");
        let log = vm::serial::printable(&log);
        if log.matches(text).count() >= times {
            return log;
        }
        assert!(begin.elapsed() < GUEST, "no {times}. {text:?} in {log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether a process of this number runs (a zombie does not).
pub fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| Some(stat.rsplit_once(") ")?.1.to_owned()))
        .is_some_and(|rest| !rest.starts_with('Z'))
}

/// Waits until a machine's directory has no process any more.
pub async fn is_left(bench: &Bench) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(20) {
        let found = vm::leftovers(&bench.root()).expect("a list");
        if found.iter().all(|one| one.processes.is_empty()) {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}
