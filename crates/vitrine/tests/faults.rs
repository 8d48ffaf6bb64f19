//! Full disks: what was acknowledged stays, what fails says why, and more space is all the repair.
//!
//! The disks are small tmpfs mounts, so these tests need root.

#![expect(
    clippy::disallowed_methods,
    reason = "it mounts and unmounts the small disks that it fills"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Answer, DISK_VERSION, GALLERY_VERSION, Gallery, Options, Scene, random_disk, until};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
/// The smallest disk that can be uploaded.
const DISK_BYTES: usize = 20 << 20;
/// What a region's small disk holds, in MiB.
const SMALL_MIB: usize = 8;
const LARGE_MIB: usize = 128;
const PAGE_BYTES: usize = 4 << 20;

/// A small disk over a directory; gone when it is dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn over(path: &Path, mib: usize) -> Self {
        std::fs::create_dir_all(path).expect("the directory can be made");
        let size = format!("size={mib}m");
        mount(&["-t", "tmpfs", "-o", &size, "tmpfs"], path);
        Self(path.to_owned())
    }

    fn grow(&self, mib: usize) {
        let options = format!("remount,size={mib}m");
        mount(&["-o", &options], &self.0);
    }

    /// Fills what is free with a file; removing it frees the space again.
    fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let mut file = std::fs::File::create(&filler).expect("the filler can be made");
        let page = [1_u8; 4096];
        while std::io::Write::write_all(&mut file, &page).is_ok() {}
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that a panic leaves behind may still look at it.
        let unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.0.display());
        }
    }
}

fn mount(args: &[&str], path: &Path) {
    let done = Command::new("mount").args(args).arg(path).output();
    let done = done.expect("mount(8) runs");
    assert!(
        done.status.success(),
        "these tests fill small tmpfs disks and must be allowed to mount them (run them as root): {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// A disk with `data` MiB that nothing compresses, then zeroes.
fn disk_with(data: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = vec![0_u8; DISK_BYTES];
    for word in bytes[..data << 20].chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes
}

/// A gallery of which a directory below `data` is a small disk.
async fn with_small(directory: &str, mib: usize) -> (Gallery, SmallDisk) {
    let mut server = Gallery::start(Options::new(BINARY)).await;
    assert!(server.stop());
    let small = SmallDisk::over(&server.data().join(directory), mib);
    server.resume().await;
    (server, small)
}

async fn publish(scene: &Scene, number: &str, source: &str) -> (Answer, Option<Value>) {
    let body = scene.version_body(source, &["eastus", "westus2"]);
    let version = scene.version(number);
    scene
        .arm
        .over("PUT", &version, GALLERY_VERSION, Some(&body))
        .await
}

async fn put_page(scene: &Scene, url: &str, offset: usize, bytes: Vec<u8>) -> u16 {
    let range = format!("bytes={offset}-{}", offset + bytes.len() - 1);
    let request = scene.arm.http().put(format!("{url}&comp=page"));
    let request = request
        .header("x-ms-version", "2021-12-02")
        .header("x-ms-page-write", "update")
        .header("x-ms-range", range);
    let answer = request.body(bytes).send().await;
    answer.expect("the server answers").status().as_u16()
}

#[tokio::test]
async fn a_region_whose_disk_is_full_fails_alone_and_the_same_put_mends_it_when_there_is_space() {
    let (mut server, small) = with_small("regions/westus2", SMALL_MIB).await;
    let scene = Scene::new(&server).await;
    let (first, second, third) = (disk_with(2, 1), disk_with(12, 2), disk_with(1, 3));
    let source = scene.upload("first", &first).await;
    let (_, status) = publish(&scene, "1.0.0", &source).await;
    assert_eq!(status.expect("it is polled")["status"], "Succeeded");

    let source = scene.upload("second", &second).await;
    let (answer, status) = publish(&scene, "2.0.0", &source).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let status = status.expect("it is polled");
    assert_eq!(status["status"], "Failed", "{status}");
    let message = status["error"]["message"].as_str().unwrap_or_default();
    for part in [
        "'West US 2'",
        "no space left",
        "add storage",
        "Send the same PUT again",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let path = format!("{}?$expand=ReplicationStatus", scene.version("2.0.0"));
    let shown = scene.arm.send("GET", &path, GALLERY_VERSION, None).await;
    assert_eq!(shown.body["properties"]["provisioningState"], "Failed");
    let summary = &shown.body["properties"]["replicationStatus"]["summary"];
    assert_eq!(summary[0]["state"], "Completed", "{summary}");
    assert_eq!(summary[1]["state"], "Failed", "{summary}");
    let out = scene
        .download(&scene.version("2.0.0"), "eastus", "near")
        .await;
    assert!(out == second, "the region with space serves the version");

    // What was acknowledged before is there, and what failed holds no space.
    let out = scene
        .download(&scene.version("1.0.0"), "westus2", "old")
        .await;
    assert!(out == first, "the version published before is whole");
    let source = scene.upload("third", &third).await;
    let (_, status) = publish(&scene, "3.0.0", &source).await;
    let status = status.expect("it is polled");
    assert_eq!(
        status["status"], "Succeeded",
        "what fits is published: {status}"
    );

    small.grow(LARGE_MIB);
    let (_, status) = publish(&scene, "2.0.0", &scene.disk("second")).await;
    let status = status.expect("it is polled");
    assert_eq!(status["status"], "Succeeded", "{status}");
    for (number, bytes) in [("1.0.0", &first), ("2.0.0", &second), ("3.0.0", &third)] {
        let name = format!("out-{}", &number[..1]);
        let out = scene
            .download(&scene.version(number), "westus2", &name)
            .await;
        assert!(out == *bytes, "{number}");
    }
    assert!(server.stop());
    let checked = server.vitrine(&["fsck"]);
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
}

#[tokio::test]
async fn an_upload_to_a_full_disk_is_refused_and_loses_nothing_that_was_acknowledged() {
    let (mut server, small) = with_small("local/eastus", 2 * SMALL_MIB).await;
    let scene = Scene::new(&server).await;
    let disk = scene.disk("target");
    let body = json!({
        "location": "eastus",
        "properties": { "creationData": { "createOption": "Upload", "uploadSizeBytes": DISK_BYTES + 512 } },
    });
    scene
        .arm
        .done("PUT", &disk, DISK_VERSION, Some(&body))
        .await;
    let url = scene.access(&disk, "Write").await;
    let bytes = disk_with(DISK_BYTES >> 20, 5);
    let pages: Vec<&[u8]> = bytes.chunks(PAGE_BYTES).collect();
    let mut acknowledged = Vec::new();
    for (number, page) in pages.iter().enumerate() {
        match put_page(&scene, &url, number * PAGE_BYTES, page.to_vec()).await {
            201 => acknowledged.push(number),
            status => assert!((500..600).contains(&status), "page {number}: {status}"),
        }
    }
    assert!(!acknowledged.is_empty(), "some pages fit");
    assert!(acknowledged.len() < pages.len(), "not all pages fit");
    // Before and after a crash.
    for is_new in [false, true] {
        if is_new {
            server.kill();
            server.resume().await;
        }
        for number in &acknowledged {
            let offset = number * PAGE_BYTES;
            let range = format!("bytes={offset}-{}", offset + pages[*number].len() - 1);
            let request = scene.arm.http().get(&url).header("x-ms-range", range);
            let answer = request.header("x-ms-version", "2021-12-02").send().await;
            let read = answer.expect("the server answers").bytes().await;
            assert!(
                read.expect("a body") == pages[*number],
                "page {number}, {is_new}"
            );
        }
    }
    small.grow(LARGE_MIB);
    for (number, page) in pages.iter().enumerate() {
        let status = put_page(&scene, &url, number * PAGE_BYTES, page.to_vec()).await;
        assert_eq!(status, 201, "page {number}");
    }
    scene
        .arm
        .done("POST", &format!("{disk}/endGetAccess"), DISK_VERSION, None)
        .await;
    let body = scene.version_body(&disk, &["eastus"]);
    let version = scene.version("1.0.0");
    scene
        .arm
        .done("PUT", &version, GALLERY_VERSION, Some(&body))
        .await;
    assert!(scene.download(&version, "eastus", "out").await == bytes);
}

#[tokio::test]
async fn a_full_disk_under_the_catalog_refuses_writes_serves_reads_and_goes_on_when_there_is_space()
{
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let small = SmallDisk::over(directory.path(), SMALL_MIB);
    let mut options = Options::new(BINARY);
    let database = directory.path().join("catalog.db");
    options.database = Some(format!("sqlite:{}?mode=rwc", database.display()));
    let mut server = Gallery::start(options).await;
    let scene = Scene::new(&server).await;
    let bytes = random_disk(DISK_BYTES, 4);
    let source = scene.upload("source", &bytes).await;
    let path = format!("{}/images/other", scene.gallery);
    let body = testkit::definition_body("acme", "other", "1");

    let filler = small.fill();
    // What the log file holds already can take a few more rows.
    let mut refused = None;
    for number in 0..10_000 {
        let name = format!("{}/images/full{number}", scene.gallery);
        let body = testkit::definition_body("acme", &format!("full{number}"), "1");
        let answer = scene
            .arm
            .send("PUT", &name, GALLERY_VERSION, Some(&body))
            .await;
        if answer.status >= 400 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a full disk takes no more rows");
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(!refused.message().is_empty(), "{}", refused.body);
    let read = scene.arm.send("GET", &source, DISK_VERSION, None).await;
    assert_eq!(read.status, 200, "what is there can be read: {}", read.body);

    std::fs::remove_file(filler).expect("the filler can be removed");
    until(
        "writes are taken again",
        Duration::from_secs(60),
        || async {
            let answer = scene
                .arm
                .send("PUT", &path, GALLERY_VERSION, Some(&body))
                .await;
            (answer.status < 300).then_some(())
        },
    )
    .await;
    scene
        .arm
        .done("PUT", &path, GALLERY_VERSION, Some(&body))
        .await;
    let version = scene.version("1.0.0");
    let body = scene.version_body(&source, &["eastus", "westus2"]);
    scene
        .arm
        .done("PUT", &version, GALLERY_VERSION, Some(&body))
        .await;
    server.kill();
    server.resume().await;
    assert!(scene.download(&version, "westus2", "out").await == bytes);
    // The server looks at its database until it ends.
    assert!(server.stop());
}
