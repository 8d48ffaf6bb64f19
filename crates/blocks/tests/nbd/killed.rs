//! A server process that is killed while QEMU uses its disk: QEMU connects again and misses nothing.

use std::io::{BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use blocks::nbd::{NbdOptions, NbdServer};

use crate::world::{LAYER, MIB, World, open};

const DIRECTORY: &str = "VITRINE_TEST_NBD_DIRECTORY";
const LIMIT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the process that the test below kills"]
async fn child_that_serves_a_layer() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let store = open(&directory).await;
    let layer = store.open_layer(LAYER).await.unwrap();
    let server = NbdServer::listen(&directory.join("nbd"), NbdOptions::default()).await;
    let server = server.unwrap();
    server.add("disk", Arc::new(layer)).unwrap();
    std::future::pending::<()>().await;
}

/// A process that ends with its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn serve(directory: &Path) -> Process {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "killed::child_that_serves_a_layer",
            "--ignored",
            "--nocapture",
        ])
        .env(DIRECTORY, directory)
        .stdout(Stdio::null())
        .spawn();
    Process(child.unwrap())
}

fn wait_for_socket(directory: &Path) {
    let end = Instant::now() + LIMIT;
    while std::os::unix::net::UnixStream::connect(directory.join("nbd")).is_err() {
        assert!(Instant::now() < end, "the server does not come up");
        std::thread::yield_now();
    }
}

/// A qemu-io that is told one command after another.
struct QemuIo {
    _process: Process,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl QemuIo {
    fn start(directory: &Path) -> Self {
        let options = format!(
            "driver=nbd,server.type=unix,server.path={},export=disk,reconnect-delay=60",
            directory.join("nbd").display()
        );
        let child = Command::new("qemu-io")
            .args(["-t", "writeback", "--image-opts", &options])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self {
            _process: Process(child),
            to,
            from: BufReader::new(from),
        }
    }

    /// Waits for the prompt and returns what was said before.
    fn answer(&mut self) -> String {
        let (mut said, mut byte) = (Vec::new(), [0]);
        while !said.ends_with(b"qemu-io> ") {
            self.from.read_exact(&mut byte).unwrap();
            said.push(byte[0]);
        }
        String::from_utf8(said).unwrap()
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.to, "{command}").unwrap();
    }

    fn run(&mut self, command: &str) {
        self.tell(command);
        let said = self.answer();
        let is_fine = said.contains("bytes at") || command == "flush";
        assert!(is_fine && !said.contains("failed"), "{command}: {said}");
    }
}

#[test]
fn qemu_io_misses_nothing_that_was_acknowledged_when_the_server_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let world = World::new().await;
        let from = world.directory.path();
        drop(world.layer(&vec![9; 8 * MIB]).await);
        for name in ["store", "node"] {
            std::fs::rename(from.join(name), directory.path().join(name)).unwrap();
        }
    });
    drop(runtime);
    let mut server = serve(directory.path());
    wait_for_socket(directory.path());
    let mut qemu = QemuIo::start(directory.path());
    qemu.answer();
    qemu.run("write -P 1 0 1M");
    qemu.run("flush");
    // Acknowledged, not flushed: new blocks, blocks in part, zeroes, a discard, and over what was flushed.
    for command in [
        "write -P 2 512k 64k",
        "write -P 3 2M 1M",
        "write -P 4 3500001 1000",
        "write -z 4M 1M",
        "discard 5M 64k",
    ] {
        qemu.run(command);
    }
    for round in 0..3 {
        drop(server);
        server = serve(directory.path());
        wait_for_socket(directory.path());
        for command in [
            "read -P 1 0 512k",
            "read -P 2 512k 64k",
            "read -P 1 576k 448k",
            "read -P 9 1M 1M",
            "read -P 3 2M 1M",
            "read -P 9 3500000 1",
            "read -P 4 3500001 1000",
            "read -P 9 3501001 1000",
            "read -P 0 4M 1M",
            "read -P 9 6M 1M",
        ] {
            qemu.run(command);
        }
        if round == 0 {
            qemu.run("flush");
        }
    }
    // A request that is on its way when the server dies is sent again to the next one.
    drop(server);
    qemu.tell("write -P 6 7M 1M");
    let _server = serve(directory.path());
    let said = qemu.answer();
    assert!(said.contains("bytes at"), "{said}");
    qemu.run("read -P 6 7M 1M");
}
