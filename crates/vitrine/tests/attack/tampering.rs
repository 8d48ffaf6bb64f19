//! Stored content that somebody changed: served as it was, or not at all (17).

use std::path::PathBuf;

use serde_json::json;
use testkit::{DISK_VERSION, GALLERY_VERSION, Gallery, Options, Scene, random_disk};

use crate::{BINARY, files};

#[tokio::test]
async fn threat_17_content_that_was_changed_on_disk_is_never_served() {
    let mut options = Options::new(BINARY);
    options.regions = "eastus".to_owned();
    let mut server = Gallery::start(options).await;
    let scene = Scene::new(&server).await;
    let bytes = random_disk(20 << 20, 17);
    let disk = scene.upload("source", &bytes).await;
    let version = scene.version("1.0.0");
    let body = scene.version_body(&disk, &["eastus"]);
    scene
        .arm
        .done("PUT", &version, GALLERY_VERSION, Some(&body))
        .await;
    // Only the version is left: no layer that could be read instead.
    scene.arm.done("DELETE", &disk, DISK_VERSION, None).await;
    assert_eq!(scene.download(&version, "eastus", "before").await, bytes);
    assert!(server.stop());
    let packs: Vec<PathBuf> = files(&server.data())
        .into_iter()
        .filter(|path| {
            path.to_string_lossy().contains("/packs/")
                || path.extension().is_some_and(|e| e == "pack")
        })
        .collect();
    assert!(!packs.is_empty(), "{:?}", files(&server.data()));
    for pack in &packs {
        let mut held = std::fs::read(pack).unwrap();
        // Every 64 KiB one bit, the table at the end left alone as far as possible.
        for at in (100..held.len() / 2).step_by(64 << 10) {
            held[at] ^= 1;
        }
        std::fs::write(pack, held).unwrap();
    }
    server.resume().await;
    let scene = Scene {
        arm: server.arm().await,
        ..scene
    };
    let made = scene.disk("after");
    let body = json!({
        "location": "eastus",
        "properties": { "creationData": { "createOption": "FromImage", "galleryImageReference": { "id": version } } },
    });
    scene
        .arm
        .over("PUT", &made, DISK_VERSION, Some(&body))
        .await;
    let url = scene.access(&made, "Read").await;
    let (mut failed, step) = (0, 1 << 20);
    for from in (0..bytes.len()).step_by(step) {
        let range = format!("bytes={from}-{}", from + step - 1);
        let request = scene
            .arm
            .http()
            .get(&url)
            .header("x-ms-version", "2021-12-02")
            .header("x-ms-range", range);
        // An answer that broke off is none.
        let Ok(answer) = request.send().await else {
            failed += 1;
            continue;
        };
        let is_ok = answer.status().is_success();
        match answer.bytes().await {
            Ok(part) if is_ok => assert!(
                part == bytes[from..from + step],
                "changed bytes were served at {from}"
            ),
            _ => failed += 1,
        }
    }
    assert!(failed > 0, "nothing that was read had been changed");
}
