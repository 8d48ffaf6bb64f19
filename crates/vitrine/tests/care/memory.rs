//! Memory is bounded, whatever the size of an image.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use testkit::{Gallery, Options, random_disk, until};

/// What a client may have had resident, in KiB.
const PEAK_KIB_MAX: u64 = 256 << 10;
/// The server keeps frames as well, for all disks of all regions.
const FRAMES_KIB: u64 = 128 << 10;
/// Content, twice what is allowed; a third of it is holes.
const CONTENT_BYTES: usize = 768 << 20;
const DISK_BYTES: u64 = 64 << 30;

/// Returns the most that a process has had resident, in KiB; `None` when it has ended.
fn peak_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Runs a verb to its end; returns the most that it has had resident.
async fn peak_of(server: &Gallery, args: &[&str]) -> u64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vitrine"))
        .args(args)
        .env("VITRINE_DATA", server.data())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let (mut peak, mut ended) = (0, None);
    until("the verb ends", Duration::from_secs(240), || {
        peak = peak.max(peak_kib(child.id()).unwrap_or(0));
        ended = child.try_wait().unwrap();
        std::future::ready(ended)
    })
    .await;
    assert!(ended.unwrap().success(), "{args:?}");
    peak
}

#[tokio::test]
async fn an_image_of_any_size_takes_no_more_than_256_mib_beside_the_cache_of_frames() {
    let server = Gallery::start(Options::new(env!("CARGO_BIN_EXE_vitrine"))).await;
    let (raw, out) = (
        server.scratch().join("big.raw"),
        server.scratch().join("out.raw"),
    );
    let file = File::create(&raw).unwrap();
    file.set_len(DISK_BYTES).unwrap();
    for (seed, piece) in (0..6_u64).zip((0..).step_by(10 << 30)) {
        let bytes = random_disk(CONTENT_BYTES / 6, seed);
        file.write_all_at(&bytes, piece).unwrap();
    }
    let (raw, out) = (raw.display().to_string(), out.display().to_string());
    let publish = ["publish", &raw, "--to", "web/debian/1.0.0"];
    let published = peak_of(&server, &publish).await;
    let exported = peak_of(&server, &["export", "web/debian/1.0.0", &out]).await;
    let served = peak_kib(server.pid().unwrap()).unwrap();
    let server_max = PEAK_KIB_MAX + FRAMES_KIB;
    for (who, peak, most) in [
        ("publish", published, PEAK_KIB_MAX),
        ("export", exported, PEAK_KIB_MAX),
        ("the server", served, server_max),
    ] {
        println!("{who}: {} MiB", peak >> 10);
        assert!(peak > 0 && peak <= most, "{who} had {peak} KiB");
    }
}
