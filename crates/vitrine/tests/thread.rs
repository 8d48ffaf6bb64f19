//! The whole thread over plain HTTP: bytes in, a version in two regions, the same bytes out.

use serde_json::json;
use testkit::{DISK_VERSION, GALLERY_VERSION, Gallery, Options, Scene, random_disk};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");

#[tokio::test]
async fn a_disk_becomes_a_version_in_two_regions_and_comes_out_with_the_same_bytes() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let scene = Scene::new(&server).await;
    let bytes = random_disk(24 << 20, 1);
    let source = scene.upload("source", &bytes).await;
    let version = scene.version("1.0.0");
    let body = scene.version_body(&source, &["eastus", "westeurope"]);
    let made = scene
        .arm
        .done("PUT", &version, GALLERY_VERSION, Some(&body))
        .await;
    assert_eq!(made["properties"]["provisioningState"], "Succeeded");

    let shown = scene
        .arm
        .send(
            "GET",
            &format!("{version}?$expand=ReplicationStatus"),
            GALLERY_VERSION,
            None,
        )
        .await;
    let status = &shown.body["properties"]["replicationStatus"];
    assert_eq!(status["aggregatedState"], "Completed", "{status}");
    assert_eq!(
        status["summary"].as_array().map(Vec::len),
        Some(2),
        "{status}"
    );

    // The source is not needed any more.
    scene.arm.done("DELETE", &source, DISK_VERSION, None).await;
    assert!(scene.download(&version, "westeurope", "far").await == bytes);
    assert!(scene.download(&scene.definition, "eastus", "latest").await == bytes);

    let body = json!({
        "location": "westus2",
        "properties": { "creationData": { "createOption": "FromImage", "galleryImageReference": { "id": version } } },
    });
    let refused = scene
        .arm
        .send("PUT", &scene.disk("elsewhere"), DISK_VERSION, Some(&body))
        .await;
    assert_eq!(
        (refused.status, refused.code()),
        (404, "GalleryImageNotFound"),
        "{}",
        refused.body
    );
    assert!(server.vitrine(&["stat"]).status.success());
}

#[tokio::test]
async fn everything_is_there_after_a_restart_and_a_group_can_be_emptied() {
    let mut server = Gallery::start(Options::new(BINARY)).await;
    let scene = Scene::new(&server).await;
    let bytes = random_disk(21 << 20, 2);
    let source = scene.upload("source", &bytes).await;
    let body = scene.version_body(&source, &["eastus"]);
    scene
        .arm
        .done("PUT", &scene.version("1.0.0"), GALLERY_VERSION, Some(&body))
        .await;
    assert!(server.stop(), "the server stops in good order");
    server.resume().await;
    assert!(
        scene
            .download(&scene.version("1.0.0"), "eastus", "again")
            .await
            == bytes
    );
    let nested = scene
        .arm
        .send("DELETE", &scene.gallery, GALLERY_VERSION, None)
        .await;
    assert_eq!(
        (nested.status, nested.code()),
        (409, "CannotDeleteResource")
    );
    scene
        .arm
        .over("DELETE", &scene.group, "2024-11-01", None)
        .await;
    let gone = scene
        .arm
        .send("GET", &scene.gallery, GALLERY_VERSION, None)
        .await;
    assert_eq!(
        (gone.status, gone.code()),
        (404, "ResourceGroupNotFound"),
        "{}",
        gone.body
    );
    server.stop();
    let swept = server.vitrine(&["sweep", "--now"]);
    assert!(
        swept.status.success(),
        "{}",
        String::from_utf8_lossy(&swept.stderr)
    );
    let stat = server.vitrine(&["stat"]);
    let stat: serde_json::Value = serde_json::from_slice(&stat.stdout).expect("stat prints JSON");
    assert_eq!(stat["regions"][0]["storedBytes"], 0, "{stat}");
    assert_eq!(stat["regions"][0]["layers"], 0, "{stat}");
}
