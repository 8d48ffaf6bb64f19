//! NBD: real clients over a unix socket (nbdinfo and nbdcopy of libnbd, qemu-img, qemu-io).
#![allow(
    clippy::unwrap_used,
    clippy::allow_attributes,
    reason = "tests and their tables"
)]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::nbd::MemoryDisk;
use common::{Work, run, sample_disk};
use disk::nbd::{Exports, serve};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

const MIB: usize = 1 << 20;

/// Serves on a socket while `clients` runs on a thread of its own.
fn with_server(socket: &Path, exports: Exports, clients: impl FnOnce() + Send + 'static) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = UnixListener::bind(socket).unwrap();
        let mut clients = tokio::task::spawn_blocking(clients);
        let mut served = JoinSet::new();
        loop {
            tokio::select! {
                done = &mut clients => return done.unwrap(),
                accepted = listener.accept() => {
                    let (exports, (stream, _)) = (exports.clone(), accepted.unwrap());
                    served.spawn(async move { serve(stream, &exports).await });
                }
            }
        }
    });
}

fn uri(socket: &Path, name: &str) -> String {
    format!("nbd+unix:///{name}?socket={}", socket.display())
}

fn output(command: &mut Command) -> String {
    String::from_utf8(run(command).stdout).unwrap()
}

#[test]
fn nbdinfo_sees_the_exports_and_the_map() {
    let work = Work::new();
    let socket = work.path("nbd");
    let mut bytes = vec![0; 8 * MIB];
    bytes[MIB..2 * MIB].fill(7);
    let disk = Arc::new(MemoryDisk::new(bytes));
    let exports = Exports::one(disk.clone()).with("other", disk);
    let (to, other) = (uri(&socket, ""), uri(&socket, "other"));
    with_server(&socket, exports, move || {
        let text = output(Command::new("nbdinfo").arg(&to));
        for word in [
            "export-size: 8388608",
            "base:allocation",
            "can_multi_conn: true",
            "can_fast_zero: true",
            "can_df: true",
            "block_size_maximum: 33554432",
        ] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert_eq!(
            output(Command::new("nbdinfo").args(["--size", &other])),
            "8388608\n"
        );
        let list = output(Command::new("nbdinfo").args(["--list", &to]));
        assert!(list.contains("export=\"other\""), "{list}");
        let map = output(Command::new("nbdinfo").args(["--map", &to]));
        let runs: Vec<Vec<&str>> = map
            .lines()
            .map(|line| line.split_ascii_whitespace().take(3).collect())
            .collect();
        assert_eq!(
            runs,
            [
                ["0", "1048576", "3"],
                ["1048576", "1048576", "0"],
                ["2097152", "6291456", "3"]
            ]
        );
        let unknown = Command::new("nbdinfo")
            .arg(to.replace(":///", ":///missing"))
            .output();
        assert!(!unknown.unwrap().status.success());
    });
}

#[test]
fn nbdcopy_and_qemu_img_copy_in_both_directions() {
    let work = Work::new();
    let socket = work.path("nbd");
    let bytes = sample_disk(33 * MIB + 512, 11);
    let (from, to) = (work.raw("from.raw", &bytes), work.path("to.raw"));
    let source = Arc::new(MemoryDisk::new(bytes.clone()));
    let mut slow = MemoryDisk::new(vec![0xAA; bytes.len()]);
    slow.is_slow = true;
    let target = Arc::new(slow);
    let exports = Exports::one(source).with("target", target.clone());
    let (reading, writing) = (uri(&socket, ""), uri(&socket, "target"));
    let same =
        move |path: &Path, who: &str| assert!(std::fs::read(path).unwrap() == bytes, "{who}");
    let bytes_of = target.clone();
    with_server(&socket, exports, move || {
        run(Command::new("nbdcopy").arg(&reading).arg(&to));
        same(&to, "nbdcopy from");
        run(Command::new("qemu-img")
            .args(["convert", "-f", "raw", "-O", "raw", &reading])
            .arg(&to));
        same(&to, "qemu-img from");
        run(Command::new("nbdcopy")
            .arg("--flush")
            .arg(&from)
            .arg(&writing));
        std::fs::write(&to, &*bytes_of.bytes.lock().unwrap()).unwrap();
        same(&to, "nbdcopy to");
        bytes_of.bytes.lock().unwrap().fill(0x55);
        let mut command = Command::new("qemu-img");
        command.args(["convert", "-n", "-f", "raw", "-O", "raw"]);
        run(command.arg(&from).arg(&writing));
        std::fs::write(&to, &*bytes_of.bytes.lock().unwrap()).unwrap();
        same(&to, "qemu-img to");
        let mut command = Command::new("qemu-img");
        command.args(["compare", "-f", "raw", "-F", "raw"]);
        run(command.arg(&reading).arg(&writing));
    });
    assert!(target.flushes.load(Ordering::SeqCst) > 0);
}

#[test]
fn qemu_io_writes_reads_zeroes_discards_and_flushes() {
    let work = Work::new();
    let socket = work.path("nbd");
    let disk = Arc::new(MemoryDisk::new(vec![9; 4 * MIB]));
    let to = uri(&socket, "");
    with_server(&socket, Exports::one(disk.clone()), move || {
        let commands = [
            "write -P 1 0 64k",
            "write -f -P 2 64k 512",
            "write -z 1M 128k",
            "write -z -u 2M 128k",
            "write -z -n -u 2560k 64k",
            "discard 3M 64k",
            "flush",
            "read -P 1 0 64k",
            "read -P 2 64k 512",
            "read -P 9 65k 512",
            "read -P 0 1M 128k",
            "read -P 0 2M 128k",
            "aio_write -P 4 256k 512k",
            "aio_flush",
            "read -P 4 256k 512k",
        ];
        let mut command = Command::new("qemu-io");
        command.args(["-f", "raw", "-t", "writeback"]);
        for what in commands {
            command.args(["-c", what]);
        }
        let text = output(command.arg(&to));
        assert!(!text.contains("fail") && !text.contains("error"), "{text}");
    });
    let bytes = disk.bytes.lock().unwrap();
    assert!(bytes[..65536].iter().all(|b| *b == 1));
    assert!(bytes[MIB..MIB + 131_072].iter().all(|b| *b == 0));
    assert!(disk.flushes.load(Ordering::SeqCst) >= 2);
}

#[test]
fn a_read_only_export_cannot_be_opened_for_writing() {
    let work = Work::new();
    let socket = work.path("nbd");
    let mut disk = MemoryDisk::new(vec![9; MIB]);
    disk.is_read_only = true;
    let to = uri(&socket, "");
    with_server(&socket, Exports::one(Arc::new(disk)), move || {
        let mut command = Command::new("qemu-io");
        let done = command
            .args(["-f", "raw", "-c", "write 0 512", &to])
            .output()
            .unwrap();
        assert!(!done.status.success());
        let info = output(Command::new("nbdinfo").arg(&to));
        assert!(info.contains("is_read_only: true"), "{info}");
        run(Command::new("qemu-io").args(["-r", "-f", "raw", "-c", "read -P 9 0 1M", &to]));
    });
}
