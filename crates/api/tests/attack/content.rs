//! Bytes: what is published stays (10), caches keep nobody's rights (15), nobody learns what others
//! store (16), freed space shows nothing (35).

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use crate::world::{ACCOUNT, Answer, DISK, GALLERY, HOST, World, disk_body, page, version_body};

#[tokio::test]
async fn threat_10_a_published_version_never_gets_other_bytes() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    let gallery = world.gallery(&owner, &group, None).await;
    let first = world.disk(&owner, &group, "first", &page("first")).await;
    let second = world.disk(&owner, &group, "second", &page("second")).await;
    let version = format!("{gallery}/images/debian/versions/1.0.0");
    world
        .done(&owner, "PUT", &version, GALLERY, Some(version_body(&first)))
        .await;
    let other = version_body(&second);
    for (method, body) in [
        ("PUT", other.clone()),
        ("PATCH", json!({ "properties": other["properties"] })),
        (
            "PATCH",
            json!({ "properties": { "storageProfile": other["properties"]["storageProfile"] } }),
        ),
        (
            "PUT",
            json!({ "location": "eastus", "properties": { "storageProfile": { "source": { "id": second } } } }),
        ),
        (
            "PUT",
            json!({ "location": "eastus", "properties": { "provisioningState": "Creating", "storageProfile": other["properties"]["storageProfile"] } }),
        ),
        (
            "PATCH",
            json!({ "properties": { "restore": true, "storageProfile": other["properties"]["storageProfile"] } }),
        ),
    ] {
        let (answer, status) = world
            .over(&owner, method, &version, GALLERY, Some(&body))
            .await;
        assert!(answer.status() < 500, "{} {status}", answer.text());
    }
    // What it was made from changes and goes.
    let access = json!({ "access": "Write", "durationInSeconds": 60 });
    let path = format!("{first}/beginGetAccess");
    let (_, opened) = world.over(&owner, "POST", &path, DISK, Some(&access)).await;
    if let Some(url) = opened.pointer("/properties/output/accessSAS") {
        world
            .put_page(url.as_str().unwrap(), 0, &page("later"))
            .await
            .expect(201, "");
        world.close(&owner, &first).await;
    }
    world.done(&owner, "DELETE", &first, DISK, None).await;
    let disk = format!("{group}/providers/Microsoft.Compute/disks/made");
    world
        .done(&owner, "PUT", &disk, DISK, Some(disk_body("id", &version)))
        .await;
    assert_eq!(world.head_of(&owner, &disk).await, page("first"));
}

#[tokio::test]
async fn threat_15_what_one_has_warmed_is_not_served_to_another() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    let (gallery, source, version) = world.published(&owner, &group).await;
    world.account(&owner, &group, "warmacct").await;
    let blob = world
        .page_blob(&owner, "warmacct", "b", &page("secret"))
        .await;
    let reader = world.with_role("reader", "Reader", &gallery).await;
    let nobody = world.person("nobody", None).await;
    let stranger = world.stranger("stranger").await;
    for _ in 0..3 {
        for one in [&owner, &reader] {
            world
                .send(one, "GET", &version, GALLERY, None)
                .await
                .expect(200, "");
        }
        for (one, status) in [(&nobody, 403), (&stranger, 404)] {
            let answer = world.send(one, "GET", &version, GALLERY, None).await;
            assert_eq!(answer.status(), status, "{}", answer.text());
        }
    }
    // A reader who was warm is cold at once.
    world
        .engine
        .revoke_role(&reader.object_id, "Reader", &gallery)
        .await
        .unwrap();
    world
        .send(&reader, "GET", &version, GALLERY, None)
        .await
        .expect(403, "AuthorizationFailed");
    let warm = world
        .blob(&owner.blob_token, "GET", &blob, &[], &[])
        .await
        .expect(200, "");
    let etag = warm.header("etag").to_owned();
    for one in [&nobody, &stranger, &reader] {
        for headers in [
            vec![],
            vec![("if-none-match", etag.as_str())],
            vec![("if-match", etag.as_str())],
            vec![("if-modified-since", "Mon, 01 Jan 2035 00:00:00 GMT")],
        ] {
            let answer = world
                .blob(&one.blob_token, "GET", &blob, &headers, &[])
                .await;
            assert_eq!(answer.status(), 403, "{headers:?}: {}", answer.text());
        }
    }
    // A URL that worked, and a session that read through it, end with endGetAccess.
    let url = world.access(&owner, &source, "Read").await;
    let warm = world
        .blob("", "GET", &url, &[("x-ms-range", "bytes=0-511")], &[])
        .await;
    assert_eq!(warm.status(), 206);
    world.close(&owner, &source).await;
    let etag = warm.header("etag").to_owned();
    for headers in [
        vec![("x-ms-range", "bytes=0-511")],
        vec![("if-none-match", etag.as_str())],
    ] {
        let cold = world.blob("", "GET", &url, &headers, &[]).await;
        cold.expect(403, "AuthenticationFailed");
    }
}

/// What of an answer could tell one content from another: all but ids and times.
fn tellable(answer: &Answer) -> Vec<(String, String)> {
    let varying = [
        "etag",
        "x-ms-request-id",
        "x-ms-ratelimit-remaining-subscription-reads",
        "x-ms-correlation-request-id",
        "x-ms-routing-request-id",
        "last-modified",
        "x-ms-content-crc64",
        "content-md5",
        "date",
        "vitrine-content-digest",
    ];
    let mut all: Vec<(String, String)> = answer
        .headers
        .iter()
        .filter(|(name, _)| !varying.contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    all.push(("status".to_owned(), answer.status().to_string()));
    all.push(("length".to_owned(), answer.bytes.len().to_string()));
    all.sort();
    all
}

#[tokio::test]
async fn threat_16_nobody_learns_from_an_answer_whether_others_hold_a_block() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    world.published(&owner, &group).await;
    let spy = world.stranger("spy").await;
    let place = format!("{}/resourceGroups/rg", spy.own);
    world.account(&spy, &place, "spyacct").await;
    let gallery = world.gallery(&spy, &place, None).await;
    let mut seen = Vec::new();
    // The one guess is right, the other one is not; as long names, as many bytes.
    for (number, text) in ["secret", "absent"].into_iter().enumerate() {
        let mut answers = Vec::new();
        let disk = world.disk(&spy, &place, text, &page(text)).await;
        let version = format!("{gallery}/images/debian/versions/1.0.{number}");
        world
            .done(&spy, "PUT", &version, GALLERY, Some(version_body(&disk)))
            .await;
        let shown = world
            .send(
                &spy,
                "GET",
                &format!("{version}?$expand=ReplicationStatus"),
                GALLERY,
                None,
            )
            .await;
        answers.push(tellable(&shown));
        answers.push(tellable(&world.send(&spy, "GET", &disk, DISK, None).await));
        let url = format!("https://{HOST}/blob/spyacct/images/{text}");
        let put = [("x-ms-blob-type", "BlockBlob")];
        let answer = world
            .blob(&spy.blob_token, "PUT", &url, &put, &page(text))
            .await
            .expect(201, "");
        answers.push(tellable(&answer));
        seen.push(answers);
    }
    assert_eq!(seen[0], seen[1]);
    // What the whole installation stores is for its operators, not for owners of other tenants.
    world
        .engine
        .grant_role(&spy.object_id, "Owner", "/")
        .await
        .unwrap();
    for what in ["stat", "stat?detail=owners", "schedule"] {
        let path = format!("/providers/Vitrine.Gallery/{what}");
        let answer = world.send(&spy, "GET", &path, "2026-11-01", None).await;
        answer.expect(403, "AuthorizationFailed");
    }
    let metrics = format!("https://{HOST}/metrics");
    let answer = world.send_text(&spy.token, "GET", &metrics, "").await;
    assert_eq!(answer.status(), 403, "{}", answer.text());
    // There is no way to make anything of a digest alone.
    let url = format!("https://{HOST}/blob/spyacct/images/claimed");
    for header in [
        "x-ms-source-content-md5",
        "x-ms-copy-source",
        "x-ms-blob-content-sha256",
        "content-digest",
    ] {
        let headers = [
            ("x-ms-blob-type", "BlockBlob"),
            (header, "AAAAAAAAAAAAAAAAAAAAAA=="),
        ];
        let answer = world
            .blob(&spy.blob_token, "PUT", &url, &headers, &[])
            .await;
        if answer.status() < 300 {
            let read = world.blob(&spy.blob_token, "GET", &url, &[], &[]).await;
            assert!(read.bytes.is_empty(), "{header}");
        }
    }
}

fn file_names(dir: &Path, out: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            file_names(&entry.path(), out);
        } else if entry.file_name().len() > 16 {
            out.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
}

#[tokio::test]
async fn threat_16_the_same_bytes_have_other_names_in_another_installation() {
    let mut all = Vec::new();
    for _ in 0..2 {
        let world = World::new().await;
        let owner = world.owner.clone();
        let group = world.group(&owner, "rg").await;
        let (_, _, _) = world.published(&owner, &group).await;
        let mut names = BTreeSet::new();
        file_names(&world.dir.path().join("eastus"), &mut names);
        assert!(
            !names.is_empty(),
            "nothing is stored by the name of its content"
        );
        all.push(names);
    }
    let both: Vec<&String> = all[0].intersection(&all[1]).collect();
    assert!(both.is_empty(), "{both:?}");
}

#[tokio::test]
async fn threat_35_new_storage_shows_nothing_of_what_was_there_before() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    world.account(&owner, &group, "freedacct").await;
    let canary = page("CANARY-OF-SOMEBODY-ELSE");
    for round in 0..3 {
        let disk = world.disk(&owner, &group, "old", &canary).await;
        world
            .page_blob(&owner, "freedacct", "old", &canary.repeat(64))
            .await;
        world.done(&owner, "DELETE", &disk, DISK, None).await;
        let url = format!("https://{HOST}/blob/freedacct/images/old");
        world
            .blob(&owner.blob_token, "DELETE", &url, &[], &[])
            .await
            .expect(202, "");
        let fresh = format!("{group}/providers/Microsoft.Compute/disks/fresh{round}");
        let size = crate::world::DISK_BYTES + 512;
        let upload = json!({ "location": "eastus", "properties": { "creationData": { "createOption": "Upload", "uploadSizeBytes": size } } });
        world.done(&owner, "PUT", &fresh, DISK, Some(upload)).await;
        let url = world.access(&owner, &fresh, "Write").await;
        let whole = world.blob("", "GET", &url, &[], &[]).await.expect(200, "");
        assert!(
            whole.bytes[..size - 512].iter().all(|byte| *byte == 0),
            "round {round}"
        );
        world.close(&owner, &fresh).await;
        // A blob that grows, and one that shrinks and grows again.
        let url = world
            .page_blob(&owner, "freedacct", "sized", &canary.repeat(4))
            .await;
        for length in ["512", "1048576"] {
            let headers = [("x-ms-blob-content-length", length)];
            let path = format!("{url}?comp=properties");
            world
                .blob(&owner.blob_token, "PUT", &path, &headers, &[])
                .await
                .expect(200, "");
        }
        let whole = world
            .blob(&owner.blob_token, "GET", &url, &[], &[])
            .await
            .expect(200, "");
        assert_eq!(whole.bytes.len(), 1 << 20);
        assert!(
            whole.bytes[512..].iter().all(|byte| *byte == 0),
            "round {round}"
        );
        world
            .blob(&owner.blob_token, "DELETE", &url, &[], &[])
            .await
            .expect(202, "");
    }
    let account = format!("{group}/providers/Microsoft.Storage/storageAccounts/freedacct");
    world.done(&owner, "DELETE", &account, ACCOUNT, None).await;
    world.account(&owner, &group, "freedacct").await;
    let url = format!("https://{HOST}/blob/freedacct/images?restype=container&comp=list");
    let listed = world
        .blob(&owner.blob_token, "GET", &url, &[], &[])
        .await
        .expect(200, "");
    assert!(!listed.text().contains("<Blob>"), "{}", listed.text());
}
