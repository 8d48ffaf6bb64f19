//! Care of a running gallery from outside: digests, what is stored, what is charged, metrics, backups.

mod memory;

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{DISK_VERSION, GALLERY_VERSION, Gallery, Options, random_disk, until};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
const BYTES: usize = 9 << 20;
const LIMIT: Duration = Duration::from_secs(60);

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json_of(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A gallery with web/debian/1.0.0 in two regions; the path of its id.
async fn published() -> (Gallery, String) {
    let server = Gallery::start(Options::new(BINARY)).await;
    let raw = server.scratch().join("in.raw");
    std::fs::write(&raw, random_disk(BYTES, 4)).unwrap();
    let publish = ["publish", &text(&raw), "--to", "web/debian/1.0.0"];
    let regions = ["--region", "eastus", "--region", "westus2"];
    let output = server.vitrine(&[&publish[..], &regions[..]].concat());
    let made = json_of(&output);
    let digest = made["properties"]["contentDigests"][0]["blake3"].as_str();
    assert!(said(&output).contains(digest.unwrap()), "{}", said(&output));
    let id = made["id"].as_str().unwrap().to_owned();
    (server, id)
}

#[tokio::test]
async fn a_version_says_what_it_holds_and_exports_prove_it() {
    let (server, id) = published().await;
    let arm = server.arm().await;
    let plain = arm.send("GET", &id, GALLERY_VERSION, None).await;
    assert!(plain.body["properties"].get("contentDigests").is_none());
    let header = plain.header("vitrine-content-digest").unwrap().to_owned();
    let digest = header.strip_prefix("os=blake3:").unwrap();
    assert_eq!(digest.len(), 64);

    let shown = json_of(&server.vitrine(&["stat", "web/debian/1.0.0"]));
    assert_eq!(shown["digests"][0]["blake3"], digest);
    assert!(shown["digests"][0].get("sha256").is_none(), "{shown}");
    let regions: Vec<&str> = shown["regions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["region"].as_str().unwrap())
        .collect();
    assert_eq!(regions, ["eastus", "westus2"], "{shown}");
    assert!(
        shown["regions"][1]["freesBytes"].as_u64() > Some(0),
        "{shown}"
    );

    let shown = json_of(&server.vitrine(&["stat", "web/debian/1.0.0", "--sha256"]));
    let sum = shown["digests"][0]["sha256"].as_str().unwrap().to_owned();
    for format in ["raw", "vhd", "vhd-dynamic", "qcow2"] {
        let out = server.scratch().join(format!("out.{format}"));
        let export = [
            "export",
            "web/debian/1.0.0",
            &text(&out),
            "--format",
            format,
        ];
        let output = server.vitrine(&export);
        assert!(
            said(&output).contains(digest),
            "{format}: {}",
            said(&output)
        );
        assert_eq!(json_of(&output)["matches"], true, "{format}");
    }
    let raw = server.scratch().join("out.raw");
    let of_file = std::fs::read(&raw).unwrap();
    assert!(of_file == random_disk(BYTES, 4));
    let wanted: String = sha2_of(&of_file);
    assert_eq!(sum, wanted);
    let asked = arm
        .send(
            "POST",
            &format!("{id}/computeDigests"),
            GALLERY_VERSION,
            None,
        )
        .await;
    assert_eq!(
        (asked.status, &asked.body["contentDigests"][0]["sha256"]),
        (200, &json!(sum))
    );
    let unknown = server.vitrine(&["stat", "web/debian/9.9.9"]);
    assert_eq!(unknown.status.code(), Some(3), "{}", said(&unknown));
}

/// SHA-256 by the tool that users have.
#[expect(clippy::disallowed_methods, reason = "coreutils are the other opinion")]
fn sha2_of(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    std::fs::write(&file, bytes).unwrap();
    let output = std::process::Command::new("sha256sum").arg(&file).output();
    let shown = String::from_utf8(output.unwrap().stdout).unwrap();
    shown.split_whitespace().next().unwrap().to_owned()
}

#[tokio::test]
async fn what_was_stored_and_moved_is_on_the_bill() {
    let (server, id) = published().await;
    let out = server.scratch().join("out.raw");
    let got = json_of(&server.vitrine(&["export", "web/debian/1.0.0", &text(&out)]));
    let received = got["receivedBytes"].as_i64().unwrap();
    json_of(&server.vitrine(&["schedule", "--set", "meterEveryMinutes=1"]));
    let bill = || async {
        let rows = json_of(&server.vitrine(&["usage"]));
        let rows = rows.as_array().unwrap().clone();
        let has = |meter: &str| rows.iter().any(|row| row["meter"] == meter);
        (has("replication") && has("download")).then_some(rows)
    };
    let rows = until("the bill", LIMIT, bill).await;
    let key = id.to_lowercase();
    let moved: Vec<&Value> = rows
        .iter()
        .filter(|r| r["meter"] == "replication")
        .collect();
    assert_eq!(moved.len(), 1, "{rows:?}");
    assert_eq!(moved[0]["resource"], key);
    assert_eq!(moved[0]["target"], "westus2");
    let sent: i64 = rows
        .iter()
        .filter(|r| r["meter"] == "download")
        .map(|r| r["bytes"].as_i64().unwrap())
        .sum();
    assert_eq!(sent, received + 512, "content and footer");
    let csv = server.vitrine(&["--output", "csv", "usage", "--total"]);
    let csv = String::from_utf8(csv.stdout).unwrap();
    assert!(
        csv.starts_with("subscription,meter,region,target,quantity,unit\n"),
        "{csv}"
    );
    let bad = server.vitrine(&["usage", "--from", "yesterday"]);
    assert!(said(&bad).contains("is not a day"), "{}", said(&bad));
}

#[tokio::test]
async fn metrics_answer_this_machine_or_a_token_and_name_nobody() {
    let (server, _) = published().await;
    let arm = server.arm().await;
    let url = format!("{}/metrics", server.endpoint());
    let ask = |headers: Vec<(&'static str, String)>| {
        let mut request = arm.http().get(&url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        async move {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        }
    };
    let (status, body) = ask(vec![]).await;
    assert_eq!(status, 200);
    for line in [
        "vitrine_store_up{region=\"eastus\"} 1",
        "vitrine_operations_open 0",
    ] {
        assert!(body.lines().any(|l| l == line), "{line}: {body}");
    }
    let forwarded = || ("x-forwarded-for", "192.0.2.1".to_owned());
    assert_eq!(ask(vec![forwarded()]).await.0, 401);
    let garbage = ("authorization", "Bearer a.b.c".to_owned());
    assert_eq!(ask(vec![garbage]).await.0, 401);
    for word in [
        "debian",
        "web/",
        "127.0.0.1",
        &server.credential("subscriptionId"),
    ] {
        assert!(!body.contains(word), "{word}: {body}");
    }
}

#[tokio::test]
async fn usages_are_real_counts_and_what_is_over_the_quota_is_refused() {
    let (server, _) = published().await;
    let arm = server.arm().await;
    let subscription = server.subscription();
    let path = format!("{subscription}/providers/Microsoft.Compute/locations/eastus/usages");
    let count = |usages: &Value, name: &str| {
        let all = usages["value"].as_array().unwrap();
        let found = all.iter().find(|u| u["name"]["value"] == name);
        found.unwrap()["currentValue"].as_u64().unwrap()
    };
    // The disk that was the way in goes a moment after the version is there.
    let usages = until("the disk to go", LIMIT, || async {
        let usages = arm.send("GET", &path, "2024-11-01", None).await.body;
        (count(&usages, "disks") == 0).then_some(usages)
    })
    .await;
    let of = |name: &str| count(&usages, name);
    assert_eq!(of("galleryImageVersions"), 1, "{usages}");
    assert_eq!(of("storageBytes"), 2 * BYTES as u64, "{usages}");
    let id = server.credential("subscriptionId");
    let limit = (3 * BYTES).to_string();
    json_of(&server.vitrine(&["subscription", "quota", &id, "--bytes", &limit]));
    let disk = format!("{subscription}/resourceGroups/vitrine/providers/Microsoft.Compute/disks/d");
    let body = json!({ "location": "eastus", "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 1 } });
    let refused = arm.send("PUT", &disk, DISK_VERSION, Some(&body)).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert_eq!(refused.body["error"]["code"], "QuotaExceeded");
    json_of(&server.vitrine(&["subscription", "quota", &id, "--none"]));
    let made = arm.send("PUT", &disk, DISK_VERSION, Some(&body)).await;
    assert_eq!(made.status, 202, "{}", made.body);
}

#[tokio::test]
async fn an_upload_that_was_cut_goes_on_where_it_stopped() {
    let (server, _) = published().await;
    let raw = server.scratch().join("cut.raw");
    let mut bytes = vec![0_u8; 8 << 20];
    bytes
        .iter_mut()
        .enumerate()
        .for_each(|(at, byte)| *byte = u8::try_from(at % 251).unwrap() | 1);
    std::fs::write(&raw, &bytes).unwrap();
    // What a run that was cut in its second chunk has left: five MiB in the disk of this file.
    let arm = server.arm().await;
    let group = format!("{}/resourceGroups/vitrine", server.subscription());
    let disk = format!(
        "{group}/providers/Microsoft.Compute/disks/publish-{:016x}",
        identity(&raw)
    );
    let body = json!({
        "location": "eastus",
        "properties": { "creationData": { "createOption": "Upload", "uploadSizeBytes": (8 << 20) + 512 } },
    });
    arm.done("PUT", &disk, DISK_VERSION, Some(&body)).await;
    let access = json!({ "access": "Write", "durationInSeconds": 600 });
    let begin = format!("{disk}/beginGetAccess");
    let granted = arm.done("POST", &begin, DISK_VERSION, Some(&access)).await;
    let url = granted["accessSAS"].as_str().unwrap().to_owned();
    for (start, end) in [(0, 4 << 20), (4 << 20, 5 << 20)] {
        let sent = arm
            .http()
            .put(format!("{url}&comp=page"))
            .header("x-ms-version", "2021-12-02")
            .header("x-ms-page-write", "update")
            .header("x-ms-range", format!("bytes={start}-{}", end - 1))
            .body(bytes[start..end].to_vec())
            .send()
            .await
            .unwrap();
        assert_eq!(sent.status().as_u16(), 201);
    }
    let output = server.vitrine(&["publish", &text(&raw), "--to", "web/debian/1.0.1"]);
    json_of(&output);
    assert!(
        said(&output).contains("Uploaded 3 MiB of 8 MiB"),
        "{}",
        said(&output)
    );
    let out = server.scratch().join("out.raw");
    json_of(&server.vitrine(&["export", "web/debian/1.0.1", &text(&out)]));
    assert!(std::fs::read(&out).unwrap() == bytes);
}

/// The number that `publish` names the disk of a file by.
fn identity(file: &Path) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(file).unwrap();
    let mut hasher = DefaultHasher::new();
    (
        std::fs::canonicalize(file).unwrap(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
    )
        .hash(&mut hasher);
    hasher.finish()
}

#[tokio::test]
async fn a_backup_made_while_serving_brings_the_gallery_back() {
    let (mut server, id) = published().await;
    let backup = server.scratch().join("backup");
    json_of(&server.vitrine(&["backup", &text(&backup)]));
    let twice = server.vitrine(&["backup", &text(&backup)]);
    assert!(
        said(&twice).contains("is there already"),
        "{}",
        said(&twice)
    );
    assert!(server.stop());
    let over = server.vitrine(&["restore", &text(&backup)]);
    assert!(said(&over).contains("has a catalog"), "{}", said(&over));
    for name in [
        "catalog.db",
        "catalog.db-wal",
        "catalog.db-shm",
        "credentials.json",
        "ca.pem",
    ] {
        drop(std::fs::remove_file(server.data().join(name)));
    }
    json_of(&server.vitrine(&["restore", &text(&backup)]));
    server.resume().await;
    let found = server
        .arm()
        .await
        .send("GET", &id, GALLERY_VERSION, None)
        .await;
    assert_eq!(found.status, 200, "{}", found.body);
    let out = server.scratch().join("out.raw");
    json_of(&server.vitrine(&["export", "web/debian/1.0.0", &text(&out)]));
    assert!(std::fs::read(&out).unwrap() == random_disk(BYTES, 4));

    // A store that lost its content is said, not hidden.
    assert!(server.stop());
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        drop(std::fs::remove_file(server.data().join(name)));
    }
    std::fs::remove_dir_all(server.data().join("regions/westus2")).unwrap();
    let lost = server.vitrine(&["restore", &text(&backup)]);
    assert_eq!(lost.status.code(), Some(1));
    assert!(said(&lost).contains("westus2: manifest"), "{}", said(&lost));
}
