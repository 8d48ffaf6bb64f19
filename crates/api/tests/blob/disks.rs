//! Disks through URLs, and disks and versions made from blobs.

use engine::blob::GRANT_ACCOUNT;
use serde_json::json;

use crate::world::World;

const VERSION: &str = "2025-01-02";
const MIB: usize = 1 << 20;
/// The smallest disk.
const SIZE: usize = 20 * MIB;

pub async fn access(world: &World, disk: &str, level: &str) -> String {
    let body = json!({ "access": level, "durationInSeconds": 3600 });
    let id = format!("{disk}/beginGetAccess");
    let done = world
        .arm("POST", &id, VERSION, Some(body))
        .await
        .expect(200)
        .json();
    let url = done
        .pointer("/properties/output/accessSAS")
        .or(done.get("accessSAS"));
    url.and_then(|u| u.as_str())
        .unwrap_or_else(|| panic!("{done}"))
        .to_owned()
}

fn page(from: usize, bytes: &[u8]) -> [(&'static str, String); 2] {
    [
        ("x-ms-page-write", "update".to_owned()),
        (
            "x-ms-range",
            format!("bytes={from}-{}", from + bytes.len() - 1),
        ),
    ]
}

async fn put(world: &World, url: &str, from: usize, bytes: &[u8]) -> crate::world::Answer {
    let headers = page(from, bytes);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    world
        .bare("PUT", &format!("{url}&comp=page"), &headers, bytes)
        .await
}

async fn upload_disk(world: &World) -> String {
    let disk = format!("{}/providers/Microsoft.Compute/disks/d1", world.group);
    let body = json!({
        "location": "eastus",
        "properties": { "creationData": { "createOption": "Upload", "uploadSizeBytes": SIZE + 512 } },
    });
    let done = world.arm("PUT", &disk, VERSION, Some(body)).await;
    assert!(done.text().contains("Succeeded"), "{}", done.text());
    disk
}

pub async fn empty_disk(world: &World) -> String {
    let disk = format!("{}/providers/Microsoft.Compute/disks/empty", world.group);
    let body = json!({
        "location": "eastus",
        "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 1 },
    });
    let done = world.arm("PUT", &disk, VERSION, Some(body)).await;
    assert!(done.text().contains("Succeeded"), "{}", done.text());
    disk
}

#[tokio::test]
async fn a_disk_is_uploaded_and_read_back_as_a_vhd_through_its_urls() {
    let world = World::new().await;
    let disk = upload_disk(&world).await;
    let url = access(&world, &disk, "Write").await;
    assert!(
        url.contains(&format!("/blob/{GRANT_ACCOUNT}/")) && url.contains("/disk.vhd?"),
        "{url}"
    );
    let head = world.bare("HEAD", &url, &[], b"").await.expect(200);
    assert_eq!(head.header("content-length"), (SIZE + 512).to_string());
    let bytes = vec![5_u8; MIB];
    let first = put(&world, &url, MIB, &bytes).await.expect(201);
    assert_ne!(
        first.header("etag"),
        head.header("etag"),
        "an etag follows the bytes"
    );
    let list = world
        .bare("GET", &format!("{url}&comp=pagelist"), &[], b"")
        .await
        .expect(200)
        .text();
    assert!(
        list.contains("<Start>1048576</Start><End>2097151</End>"),
        "{list}"
    );

    put(&world, &url, SIZE, &[0; 512])
        .await
        .expect_error(400, "InvalidInput");
    let footer = disk::vhd::footer(5 << 20, [1; 16], 0);
    put(&world, &url, SIZE, &footer)
        .await
        .expect_error(400, "InvalidInput");
    let footer = disk::vhd::footer(SIZE as u64, [1; 16], 0);
    put(&world, &url, SIZE, &footer).await.expect(201);
    put(&world, &url, SIZE + 512, &footer)
        .await
        .expect_error(400, "InvalidPageRange");
    world
        .arm("POST", &format!("{disk}/endGetAccess"), VERSION, None)
        .await;
    world
        .bare("GET", &url, &[], b"")
        .await
        .expect_error(403, "AuthenticationFailed");

    let url = access(&world, &disk, "Read").await;
    put(&world, &url, 0, &[1; 512])
        .await
        .expect_error(403, "AuthorizationPermissionMismatch");
    let whole = world.bare("GET", &url, &[], b"").await.expect(200);
    assert_eq!(whole.body.len(), SIZE + 512);
    assert!(whole.body[MIB..2 * MIB] == bytes);
    assert!(
        whole.body[..MIB]
            .iter()
            .chain(&whole.body[2 * MIB..SIZE])
            .all(|b| *b == 0)
    );
    let tail: &[u8; 512] = whole.body[SIZE..].try_into().unwrap();
    disk::vhd::Footer::parse_fixed(tail, SIZE as u64).unwrap();
    let tail = format!("bytes={}-{}", SIZE - 4, SIZE + 511);
    let end = [("x-ms-range", tail.as_str())];
    let end = world.bare("GET", &url, &end, b"").await.expect(206);
    assert!(end.body == whole.body[SIZE - 4..]);
}

#[tokio::test]
async fn a_disk_url_with_another_secret_or_path_or_header_opens_nothing() {
    let world = World::new().await;
    let disk = upload_disk(&world).await;
    let url = access(&world, &disk, "Write").await;
    let (before, secret) = url.split_once("sig=").unwrap();
    let other = access(&world, &disk, "Write").await;
    let other_secret = other.split_once("sig=").unwrap().1;
    let bearer = [("authorization", "Bearer x")];
    for (url, headers) in [
        (format!("{before}sig=AAAA"), &[][..]),
        (format!("{before}sig={other_secret}"), &[]),
        (format!("{before}sig={}", secret.to_ascii_lowercase()), &[]),
        (before.trim_end_matches('&').to_owned(), &[]),
        (url.clone(), &bearer),
    ] {
        world
            .bare("GET", &url, headers, b"")
            .await
            .expect_error(403, "AuthenticationFailed");
    }
    let percent = url.replace("/blob/d", "/blob/%64");
    world.bare("HEAD", &percent, &[], b"").await.expect(200);
    let mut catalog = world.engine.catalog().read().await.unwrap();
    let id = disk.parse::<domain::ResourceId>().unwrap();
    for grant in catalog.grants_of(&id).await.unwrap() {
        assert!(!grant.token_hash.contains(secret));
    }
}

#[tokio::test]
async fn a_vhd_in_a_blob_becomes_a_disk_and_other_urls_are_not_found() {
    let world = World::new().await;
    world
        .signed("PUT", "/vhds?restype=container", &[], b"")
        .await
        .expect(201);
    let headers = [
        ("x-ms-blob-type", "PageBlob"),
        ("x-ms-blob-content-length", "2097664"),
    ];
    world
        .signed("PUT", "/vhds/a.vhd", &headers, b"")
        .await
        .expect(201);
    let bytes = [6_u8; 4096];
    let headers = page(8192, &bytes);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    world
        .signed("PUT", "/vhds/a.vhd?comp=page", &headers, &bytes)
        .await
        .expect(201);
    let footer = disk::vhd::footer(2 << 20, [1; 16], 0);
    let headers = page(2 * MIB, &footer);
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    world
        .signed("PUT", "/vhds/a.vhd?comp=page", &headers, &footer)
        .await
        .expect(201);

    let import = |uri: &str| {
        json!({
            "location": "eastus",
            "properties": { "creationData": {
                "createOption": "Import", "sourceUri": uri, "storageAccountId": world.account_id(),
            } },
        })
    };
    let disks = format!("{}/providers/Microsoft.Compute/disks", world.group);
    let good = import("https://localhost:8443/blob/acct1/vhds/a.vhd?sv=x&sig=secret");
    let done = world
        .arm("PUT", &format!("{disks}/good"), VERSION, Some(good))
        .await;
    assert!(done.text().contains("Succeeded"), "{}", done.text());
    let url = access(&world, &format!("{disks}/good"), "Read").await;
    let read = world
        .bare("GET", &url, &[("x-ms-range", "bytes=8192-12287")], b"")
        .await
        .expect(206);
    assert!(read.body == bytes);
    for (number, uri) in [
        "https://localhost:8443/blob/acct1/vhds/none.vhd",
        "https://localhost:8443/blob/nobody1/vhds/a.vhd",
        "https://example.org/a.vhd",
    ]
    .into_iter()
    .enumerate()
    {
        let done = world
            .arm(
                "PUT",
                &format!("{disks}/bad{number}"),
                VERSION,
                Some(import(uri)),
            )
            .await;
        assert!(
            done.text().contains("Source was not found"),
            "{uri}: {}",
            done.text()
        );
    }
}

#[tokio::test]
async fn a_deleted_account_takes_its_blobs_along() {
    let world = World::new().await;
    world
        .signed("PUT", "/con1?restype=container", &[], b"")
        .await
        .expect(201);
    world
        .signed("PUT", "/con1/b", &[("x-ms-blob-type", "BlockBlob")], b"x")
        .await
        .expect(201);
    world
        .arm("DELETE", &world.account_id(), "2025-08-01", None)
        .await;
    let started = std::time::Instant::now();
    loop {
        let answer = world.signed("GET", "/con1/b", &[], b"").await;
        if answer.status == 404 {
            break;
        }
        assert!(started.elapsed().as_secs() < 30, "{}", answer.text());
        tokio::task::yield_now().await;
    }
    let store = world.engine.store("eastus").await.unwrap();
    assert!(store.layers().await.unwrap().is_empty());
}
