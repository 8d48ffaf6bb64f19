//! Names: paths (9), look-alikes (11, 12), spellings, doubled and foreign members (33).

use std::path::Path;

use serde_json::{Value, json};

use crate::world::{
    DISK, GALLERY, GROUP, HOST, World, definition_body, disk_body, page, version_body,
};

/// Names as they stand in a URL.
fn hostile_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "..%2f..%2fevil",
        "%2e%2e%2fevil",
        "..",
        "%2e%2e",
        "%252e%252e%252fevil",
        "evil%00",
        "evil%00.vhd",
        "evil%0a",
        "evil%0d%0aSet-Cookie:x",
        "evil%5c..%5c..%5cx",
        "evil%2f..%2f..%2fx",
        "CON",
        "evil.",
        "evil%20",
        "%20evil",
        "-evil",
        "evil;rm%20-rf",
        "evil%27%20OR%201=1--",
        "evil%22",
        "evil%25s%25n",
        // Dots, slashes and letters that only look the part, and a right-to-left override.
        "%E2%80%A4%E2%80%A4%E2%88%95evil",
        "%EF%BC%8E%EF%BC%8E%EF%BC%8Fevil",
        "%D0%B5vil",
        "evil%E2%80%AE",
        "evil%ff",
        "%c0%ae%c0%ae%c0%afevil",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push(format!("evil{}", "a".repeat(300)));
    names.push(format!("evil{}", "%2e%2e%2f".repeat(200)));
    names
}

fn walk(dir: &Path, out: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        out.push(path.to_string_lossy().into_owned());
        if path.is_dir() {
            walk(&path, out);
        }
    }
}

#[tokio::test]
async fn threat_09_no_name_becomes_a_path() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    let gallery = world.gallery(&owner, &group, None).await;
    world.account(&owner, &group, "nameacct").await;
    let source = world.disk(&owner, &group, "source", &page("x")).await;
    let here = json!({ "location": "eastus" });
    let empty = json!({ "location": "eastus", "properties": { "diskSizeGB": 1, "creationData": { "createOption": "Empty" } } });
    for name in hostile_names() {
        for (path, version, body) in [
            (format!("{}/resourceGroups/{name}", owner.own), GROUP, &here),
            (
                format!("{group}/providers/Microsoft.Compute/galleries/{name}"),
                GALLERY,
                &here,
            ),
            (
                format!("{gallery}/images/{name}"),
                GALLERY,
                &definition_body(),
            ),
            (
                format!("{gallery}/images/debian/versions/{name}"),
                GALLERY,
                &version_body(&source),
            ),
            (
                format!("{group}/providers/Microsoft.Compute/disks/{name}"),
                DISK,
                &empty,
            ),
            (
                format!("{group}/providers/Microsoft.Compute/snapshots/{name}"),
                DISK,
                &empty,
            ),
            (
                format!("{group}/providers/Microsoft.Storage/storageAccounts/{name}"),
                "2025-08-01",
                &here,
            ),
            (
                format!("{group}/providers/Microsoft.Authorization/locks/{name}"),
                "2020-05-01",
                &here,
            ),
        ] {
            let (answer, _) = world.over(&owner, "PUT", &path, version, Some(body)).await;
            assert!(answer.status() < 500, "{path}: {}", answer.text());
            let header = answer.headers.get("set-cookie");
            assert!(header.is_none(), "{path}");
        }
        for (kind, path) in [
            ("", format!("nameacct/{name}?restype=container")),
            ("BlockBlob", format!("nameacct/images/{name}")),
        ] {
            let headers: &[(&str, &str)] = if kind.is_empty() {
                &[]
            } else {
                &[("x-ms-blob-type", "BlockBlob")]
            };
            let answer = world
                .blob(&owner.blob_token, "PUT", &path, headers, b"bytes")
                .await;
            assert!(answer.status() < 500, "{path}: {}", answer.text());
            let url = format!("https://{HOST}/blob/nameacct/images/{name}");
            let answer = world.blob(&owner.blob_token, "GET", &url, &[], &[]).await;
            assert!(!answer.text().contains("root:"), "{url}");
        }
        let get = world
            .blob("", "GET", &format!("https://{HOST}/{name}"), &[], &[])
            .await;
        assert!(
            [400, 401, 404].contains(&get.status()),
            "{name}: {}",
            get.text()
        );
    }
    let mut files = Vec::new();
    walk(world.dir.path(), &mut files);
    let below = world.dir.path().to_string_lossy().into_owned();
    let strange: Vec<&str> = files
        .iter()
        .filter_map(|file| file.strip_prefix(&below))
        .filter(|file| file.contains("evil") || file.contains("CON") || !file.is_ascii())
        .collect();
    assert!(strange.is_empty(), "{strange:?}");
    let outside = world.dir.path().parent().unwrap().join("evil");
    assert!(!outside.exists());
}

#[tokio::test]
async fn threat_11_a_look_alike_never_wins_over_the_gallery_that_was_named() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let squatter = world.stranger("squatter").await;
    let consumer = world.stranger("consumer").await;
    let info = json!({ "publisherUri": "https://acme.example", "publisherContact": "a@acme.example", "eula": "none", "publicNamePrefix": "acmeinc" });
    let profile = json!({ "permissions": "Community", "communityGalleryInfo": info });
    let mut names = Vec::new();
    for (one, group, text, version) in [
        (&owner, world.group(&owner, "rg").await, "genuine", "1.0.0"),
        // The same prefix, publisher, offer and SKU, and a version that sorts after every other.
        (
            &squatter,
            format!("{}/resourceGroups/rg", squatter.own),
            "squatter",
            "999999.0.0",
        ),
    ] {
        let disk = world.disk(one, &group, "source", &page(text)).await;
        let gallery = world.gallery(one, &group, Some(profile.clone())).await;
        let version = format!("{gallery}/images/debian/versions/{version}");
        world
            .done(one, "PUT", &version, GALLERY, Some(version_body(&disk)))
            .await;
        world
            .share(one, &gallery, "EnableCommunity", json!([]))
            .await;
        let shown = world.send(one, "GET", &gallery, GALLERY, None).await.body;
        let name =
            shown["properties"]["sharingProfile"]["communityGalleryInfo"]["publicNames"][0].clone();
        names.push(name.as_str().unwrap().to_owned());
    }
    assert_ne!(names[0], names[1]);
    let group = format!("{}/resourceGroups/rg", consumer.own);
    for (number, (image, status)) in [
        (
            format!("/CommunityGalleries/{}/Images/debian", names[0]),
            202,
        ),
        (
            format!(
                "/CommunityGalleries/{}/Images/debian/Versions/latest",
                names[0].to_uppercase()
            ),
            202,
        ),
        // A prefix alone, a name in another script and a publisher's triple name nothing.
        ("/CommunityGalleries/acmeinc/Images/debian".to_owned(), 404),
        (
            format!(
                "/CommunityGalleries/{}/Images/debian",
                names[0].replacen('a', "\u{430}", 1)
            ),
            404,
        ),
        (
            "/CommunityGalleries/acme/Images/debian/Versions/latest".to_owned(),
            404,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let disk = format!("{group}/providers/Microsoft.Compute/disks/d{number}");
        let body = disk_body("communityGalleryImageId", &image);
        let (answer, _) = world.over(&consumer, "PUT", &disk, DISK, Some(&body)).await;
        assert_eq!(answer.status(), status, "{image}: {}", answer.text());
        if status == 202 {
            assert_eq!(
                world.head_of(&consumer, &disk).await,
                page("genuine"),
                "{image}"
            );
        }
    }
    // A public name in letters of another script cannot be had.
    for prefix in [
        "\u{430}cmeinc",
        "acme\u{200b}inc",
        "ac me",
        "acme-inc",
        "ａｃｍｅｉｎｃ",
    ] {
        let mut profile = profile.clone();
        profile["communityGalleryInfo"]["publicNamePrefix"] = json!(prefix);
        let body = json!({ "location": "eastus", "properties": { "sharingProfile": profile } });
        let path = format!(
            "{}/resourceGroups/rg/providers/Microsoft.Compute/galleries/other",
            squatter.own
        );
        let answer = world
            .send(&squatter, "PUT", &path, GALLERY, Some(&body))
            .await;
        answer.expect(400, "InvalidParameter");
    }
}

#[tokio::test]
async fn threat_12_nobody_gives_himself_a_name_or_a_badge_through_the_api() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let squatter = world.stranger("squatter").await;
    let group = format!("{}/resourceGroups/rg", squatter.own);
    let (genuine, info) = (
        world.group(&owner, "rg").await,
        json!({ "publisherUri": "https://ubuntu.example", "publisherContact": "a@b.example", "eula": "none", "publicNamePrefix": "Canonical" }),
    );
    let profile = json!({ "permissions": "Community", "communityGalleryInfo": info });
    let theirs = world.gallery(&owner, &genuine, Some(profile.clone())).await;
    let shown = world.send(&owner, "GET", &theirs, GALLERY, None).await.body;
    let public =
        shown["properties"]["sharingProfile"]["communityGalleryInfo"]["publicNames"][0].clone();
    let unique = shown["properties"]["identifier"]["uniqueName"].clone();
    for forged in [
        json!({ "communityGalleryInfo": { "publicNames": [public], "communityGalleryEnabled": true } }),
        json!({ "communityGalleryInfo": { "verified": true, "isVerified": true, "publisherVerified": true, "verifiedPublisher": true, "badge": "verified" } }),
    ] {
        let mut profile = profile.clone();
        for (name, value) in forged["communityGalleryInfo"].as_object().unwrap() {
            profile["communityGalleryInfo"][name] = value.clone();
        }
        let body = json!({ "location": "eastus", "properties": {
            "sharingProfile": profile, "identifier": { "uniqueName": unique },
        } });
        let path = format!("{group}/providers/Microsoft.Compute/galleries/forged");
        world
            .over(&squatter, "PUT", &path, GALLERY, Some(&body))
            .await;
        let shown = world.send(&squatter, "GET", &path, GALLERY, None).await;
        let text = shown.text();
        assert!(!text.contains(public.as_str().unwrap()), "{text}");
        assert!(!text.contains(unique.as_str().unwrap()), "{text}");
        let info = &shown.body["properties"]["sharingProfile"]["communityGalleryInfo"];
        assert_ne!(info["communityGalleryEnabled"], true, "{text}");
        for badge in ["verified", "Verified", "badge"] {
            let claims = format!("{badge}\":true");
            assert!(
                !text.contains(&claims) && !text.contains("\"badge\""),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn threat_33_no_spelling_of_an_id_slips_past_a_rule() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    let gallery = world.gallery(&owner, &group, None).await;
    let nobody = world.person("nobody", None).await;
    let reader = world.with_role("reader", "Reader", &gallery).await;
    let stranger = world.stranger("stranger").await;
    let lock = format!("{gallery}/providers/Microsoft.Authorization/locks/keep");
    let body = json!({ "properties": { "level": "CanNotDelete" } });
    world
        .send(&owner, "PUT", &lock, "2020-05-01", Some(&body))
        .await
        .expect(201, "");
    let spellings = [
        gallery.clone(),
        gallery.to_uppercase(),
        gallery.to_lowercase(),
        gallery.replace('/', "//"),
        format!("{gallery}/"),
        gallery.replace("galleries", "%67alleries"),
        gallery.replace("/providers", "%2fproviders"),
        gallery.replace("sig", "%53ig"),
        gallery.replace("resourceGroups", "RESOURCEgroups"),
    ];
    for path in &spellings {
        let read = world.send(&reader, "GET", path, GALLERY, None).await;
        assert_eq!(read.body["name"], "sig", "{path}: {}", read.text());
        for (one, status) in [(&nobody, 403), (&stranger, 404)] {
            for method in ["GET", "PUT", "PATCH", "DELETE"] {
                let here = json!({ "location": "eastus" });
                let body = ["PUT", "PATCH"].contains(&method).then_some(&here);
                let answer = world.send(one, method, path, GALLERY, body).await;
                assert_eq!(
                    answer.status(),
                    status,
                    "{method} {path}: {}",
                    answer.text()
                );
            }
        }
        let locked = world.send(&owner, "DELETE", path, GALLERY, None).await;
        locked.expect(409, "ScopeLocked");
    }
    // The same holds for ids in bodies, and for what is not even an id for this server.
    let own = format!(
        "{}/resourceGroups/rg/providers/Microsoft.Compute",
        stranger.own
    );
    let image = format!("{gallery}/images/debian");
    for (number, id) in [
        image.clone(),
        image.to_uppercase(),
        image.replace('/', "//"),
        format!(" {image} "),
        format!("{image}/"),
        format!("{image}\n"),
        image.replace("/images", "%2fimages"),
        format!("https://{HOST}{image}"),
        format!("{image}?x=1"),
        format!("{image}#x"),
        format!("/./{image}"),
        image.replace("/rg/", "/rg/../rg/"),
    ]
    .into_iter()
    .enumerate()
    {
        let disk = format!("{own}/disks/d{number}");
        let (answer, status) = world
            .over(&stranger, "PUT", &disk, DISK, Some(&disk_body("id", &id)))
            .await;
        let is_refused = (400..500).contains(&answer.status()) || status["status"] == "Failed";
        assert!(is_refused, "{id:?}: {} {status}", answer.text());
    }
}

#[tokio::test]
async fn threat_33_a_member_that_comes_twice_is_refused_everywhere() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    let gallery = world
        .gallery(&owner, &group, Some(json!({ "permissions": "Groups" })))
        .await;
    let role =
        "/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7";
    let guid = "00000000-0000-4000-8000-000000000001";
    let base = format!("https://{HOST}");
    for (method, path, version, body) in [
        ("PUT", gallery.clone(), GALLERY, r#"{"location":"eastus","location":"westus2"}"#.to_owned()),
        ("PATCH", gallery.clone(), GALLERY, r#"{"tags":{"a":"1"},"tags":{"a":"2"}}"#.to_owned()),
        ("POST", format!("{gallery}/share"), GALLERY, r#"{"operationType":"Reset","operationType":"Add","groups":[]}"#.to_owned()),
        ("PUT", format!("{group}/providers/Microsoft.Compute/disks/d"), DISK, r#"{"location":"eastus","properties":{"diskSizeGB":1,"diskSizeGB":2,"creationData":{"createOption":"Empty"}}}"#.to_owned()),
        ("PUT", format!("{group}/providers/Microsoft.Authorization/roleAssignments/{guid}"), "2022-04-01", format!(r#"{{"properties":{{"roleDefinitionId":"{role}","principalId":"a","principalId":"{}"}}}}"#, owner.client_id)),
        ("PUT", format!("{group}/providers/Microsoft.Authorization/locks/l"), "2020-05-01", r#"{"properties":{"level":"ReadOnly","level":"CanNotDelete"}}"#.to_owned()),
        ("PATCH", format!("{group}/providers/Microsoft.Resources/tags/default"), "2024-11-01", r#"{"operation":"Merge","operation":"Replace","properties":{"tags":{}}}"#.to_owned()),
    ] {
        let url = format!("{base}{path}?api-version={version}");
        let answer = world.send_text(&owner.token, method, &url, &body).await;
        assert_eq!(answer.status(), 400, "{method} {path}: {}", answer.text());
    }
    // An option of the query that comes twice is read once, for the question and for the answer.
    let url = format!("{base}{gallery}?api-version={GALLERY}&api-version=1999-01-01");
    let answer = world.send_text(&owner.token, "GET", &url, "").await;
    assert!([200, 400].contains(&answer.status()), "{}", answer.text());
}

#[tokio::test]
async fn threat_33_what_the_server_decides_cannot_be_sent() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    let gallery = world.gallery(&owner, &group, None).await;
    let source = world.disk(&owner, &group, "source", &page("x")).await;
    let forged_top = json!({
        "id": "/subscriptions/x/forged", "name": "forged", "type": "forged/forged", "etag": "forged",
        "systemData": { "createdBy": "forged" }, "internal": { "images": "forged" }, "kind": "forged",
        "subscription": "forged", "createdMs": 1,
    });
    let forged = json!({
        "provisioningState": "forged", "uniqueId": "forged", "timeCreated": "2001-01-01T00:00:00Z",
        "diskState": "forged", "identifier": { "uniqueName": "forged" }, "sharingStatus": { "aggregatedState": "forged" },
        "replicationStatus": { "aggregatedState": "forged" }, "internal": { "images": "forged" }, "diskSizeBytes": 7,
        "securityProfile": { "diskEncryptionSetId": "forged" }, "owner": "forged",
    });
    let version = format!("{gallery}/images/debian/versions/1.0.0");
    let disk = format!("{group}/providers/Microsoft.Compute/disks/d");
    let empty = json!({ "location": "eastus", "properties": { "diskSizeGB": 1, "creationData": { "createOption": "Empty" } } });
    for (path, api, body) in [
        (group.clone(), GROUP, json!({ "location": "eastus" })),
        (
            gallery.clone(),
            GALLERY,
            json!({ "location": "eastus", "properties": {} }),
        ),
        (
            format!("{gallery}/images/debian"),
            GALLERY,
            definition_body(),
        ),
        (version, GALLERY, version_body(&source)),
        (disk, DISK, empty),
    ] {
        for (place, members) in [("", &forged_top), ("properties", &forged)] {
            for (name, value) in members.as_object().unwrap() {
                let mut body = body.clone();
                match place {
                    "" => body[name] = value.clone(),
                    _ => body[place][name] = merged(&body[place][name], value),
                }
                let (answer, _) = world.over(&owner, "PUT", &path, api, Some(&body)).await;
                assert!(answer.status() < 500, "{path} {name}: {}", answer.text());
                let shown = world.send(&owner, "GET", &path, api, None).await;
                let text = shown.text();
                assert!(
                    !text.contains("forged")
                        && !text.contains("2001-01-01")
                        && !text.contains("\"diskSizeBytes\":7,"),
                    "{path} {place} {name}: {text}"
                );
            }
        }
    }
}

/// Adds members to an object that is there already.
fn merged(held: &Value, sent: &Value) -> Value {
    match (held, sent) {
        (Value::Object(held), Value::Object(sent)) => {
            let mut both = held.clone();
            both.extend(sent.clone());
            Value::Object(both)
        }
        _ => sent.clone(),
    }
}
