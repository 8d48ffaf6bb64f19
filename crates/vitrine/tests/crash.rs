//! `kill -9` at any moment: what was acknowledged stays, what was begun goes on.

use std::time::Duration;

use serde_json::Value;
use testkit::{GALLERY_VERSION, Gallery, Options, Scene, random_disk, until};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
/// Virtual size of the disk that is published.
const DISK_BYTES: usize = 512 << 20;
/// How often the server is killed.
const KILLS: u64 = 50;

#[tokio::test]
async fn a_publish_to_two_regions_survives_fifty_kills() {
    let mut server = Gallery::start(Options::new(BINARY)).await;
    let scene = Scene::new(&server).await;
    let bytes = random_disk(DISK_BYTES, 3);
    let source = scene.upload("source", &bytes).await;
    let version = scene.version("1.0.0");
    let body = scene.version_body(&source, &["eastus", "westus2"]);
    let answer = scene
        .arm
        .send("PUT", &version, GALLERY_VERSION, Some(&body))
        .await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let poll = answer
        .header("azure-asyncoperation")
        .expect("a new version is polled")
        .to_owned();

    let (mut rounds, mut interrupted) = (1, 0);
    for kill in 0..KILLS {
        // Between 10 and 300 ms into the run, another moment each time.
        tokio::time::sleep(Duration::from_millis(10 + (kill * 37) % 290)).await;
        server.kill();
        server.resume().await;
        let status = scene.arm.send_url("GET", &poll, None).await;
        assert_eq!(
            status.status, 200,
            "the operation is known after kill {kill}: {}",
            status.body
        );
        if status.body["status"] == "InProgress" {
            interrupted += 1;
        }
        if status.body["status"] != "InProgress" {
            assert_eq!(status.body["status"], "Succeeded", "{}", status.body);
            // Done before the kills were: publish the next version and go on.
            rounds += 1;
            let next = scene.version(&format!("{rounds}.0.0"));
            let answer = scene
                .arm
                .send("PUT", &next, GALLERY_VERSION, Some(&body))
                .await;
            assert_eq!(answer.status, 201, "{}", answer.body);
        }
    }
    eprintln!(
        "{interrupted} of {KILLS} kills interrupted the first publish, {rounds} publishes in all"
    );
    assert!(interrupted > 0, "no kill met the publish at work");
    let listed = finished(&scene).await;
    for item in &listed {
        assert_eq!(
            item["properties"]["provisioningState"], "Succeeded",
            "{item}"
        );
    }
    for region in ["eastus", "westus2"] {
        let out = scene
            .download(&version, region, &format!("out-{region}"))
            .await;
        assert!(
            out == bytes,
            "the bytes of {region} are not those that were published"
        );
    }
    nothing_is_orphaned(&mut server, &scene).await;
}

/// Waits until no version is at work, and returns all.
async fn finished(scene: &Scene) -> Vec<Value> {
    let path = format!("{}/versions", scene.definition);
    until(
        "every version is over",
        Duration::from_secs(240),
        || async {
            let answer = scene.arm.send("GET", &path, GALLERY_VERSION, None).await;
            let all = answer.body["value"].as_array().cloned().unwrap_or_default();
            let is_over = |v: &Value| {
                !["Creating", "Updating"].contains(
                    &v["properties"]["provisioningState"]
                        .as_str()
                        .unwrap_or_default(),
                )
            };
            all.iter().all(is_over).then_some(all)
        },
    )
    .await
}

/// Deletes everything, sweeps, and finds empty stores and no open operation.
async fn nothing_is_orphaned(server: &mut Gallery, scene: &Scene) {
    scene
        .arm
        .over("DELETE", &scene.group, "2024-11-01", None)
        .await;
    assert!(server.stop());
    let fsck = server.vitrine(&["fsck"]);
    assert!(
        fsck.status.success(),
        "{}",
        String::from_utf8_lossy(&fsck.stderr)
    );
    let swept = server.vitrine(&["sweep", "--now"]);
    assert!(
        swept.status.success(),
        "{}",
        String::from_utf8_lossy(&swept.stderr)
    );
    let stat = server.vitrine(&["stat"]);
    let stat: Value = serde_json::from_slice(&stat.stdout).expect("stat prints JSON");
    assert_eq!(stat["openOperations"], 0, "{stat}");
    for region in stat["regions"].as_array().into_iter().flatten() {
        assert_eq!(
            (&region["storedBytes"], &region["layers"]),
            (&0.into(), &0.into()),
            "{region}"
        );
    }
}
