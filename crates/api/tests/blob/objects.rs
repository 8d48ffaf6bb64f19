//! Containers and blobs with an account key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest as _, Md5};

use crate::world::World;

const MIB: usize = 1 << 20;

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..length)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .collect()
}

async fn page_blob(world: &World, size: usize) {
    world
        .signed("PUT", "/vhds?restype=container", &[], b"")
        .await
        .expect(201);
    let headers = [
        ("x-ms-blob-type", "PageBlob"),
        ("x-ms-blob-content-length", &size.to_string()),
    ];
    world
        .signed("PUT", "/vhds/a.vhd", &headers, b"")
        .await
        .expect(201);
}

#[tokio::test]
async fn pages_come_back_as_they_were_written_and_holes_are_told() {
    let world = World::new().await;
    page_blob(&world, 8 * MIB).await;
    let bytes = noise(MIB + 512, 7);
    let md5 = STANDARD.encode(Md5::digest(&bytes));
    let (from, to) = (4 * MIB, 4 * MIB + bytes.len() - 1);
    let headers = [
        ("x-ms-page-write", "update"),
        ("x-ms-range", &format!("bytes={from}-{to}")),
        ("content-md5", &md5),
    ];
    let written = world
        .signed("PUT", "/vhds/a.vhd?comp=page", &headers, &bytes)
        .await
        .expect(201);
    assert_eq!(written.header("content-md5"), md5);

    let whole = world
        .signed("GET", "/vhds/a.vhd", &[], b"")
        .await
        .expect(200);
    assert_eq!(whole.header("content-length"), (8 * MIB).to_string());
    assert_eq!(whole.header("x-ms-blob-type"), "PageBlob");
    assert_eq!(whole.header("etag"), written.header("etag"));
    assert!(whole.body[from..=to] == bytes);
    assert!(
        whole.body[..from]
            .iter()
            .chain(&whole.body[to + 1..])
            .all(|byte| *byte == 0)
    );

    let list = world
        .signed("GET", "/vhds/a.vhd?comp=pagelist", &[], b"")
        .await
        .expect(200);
    assert!(
        list.text().contains(&format!("<Start>{from}</Start>")),
        "{}",
        list.text()
    );
    assert_eq!(list.text().matches("<PageRange>").count(), 1);
    assert_eq!(
        list.header("x-ms-blob-content-length"),
        (8 * MIB).to_string()
    );

    let part = [
        ("x-ms-range", "bytes=4194304-4194815"),
        ("x-ms-range-get-content-md5", "true"),
    ];
    let part = world
        .signed("GET", "/vhds/a.vhd", &part, b"")
        .await
        .expect(206);
    assert_eq!(
        part.header("content-range"),
        "bytes 4194304-4194815/8388608"
    );
    assert_eq!(
        part.header("content-md5"),
        STANDARD.encode(Md5::digest(&bytes[..512]))
    );
    assert!(part.body == bytes[..512]);

    let clear = [
        ("x-ms-page-write", "clear"),
        ("x-ms-range", &format!("bytes={from}-{to}")),
    ];
    world
        .signed("PUT", "/vhds/a.vhd?comp=page", &clear, b"")
        .await
        .expect(201);
    let list = world
        .signed("GET", "/vhds/a.vhd?comp=pagelist", &[], b"")
        .await
        .expect(200);
    let whole = world
        .signed("GET", "/vhds/a.vhd", &[], b"")
        .await
        .expect(200);
    assert!(
        list.text().matches("<PageRange>").count() <= 1,
        "{}",
        list.text()
    );
    assert!(whole.body.iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn writes_outside_the_rules_change_nothing() {
    let world = World::new().await;
    page_blob(&world, MIB).await;
    let page = [9_u8; 512];
    let wrong_md5 = STANDARD.encode(Md5::digest(b"other"));
    let update = ("x-ms-page-write", "update");
    type Row<'a> = (&'a [(&'a str, &'a str)], u16, &'a str);
    let table: &[Row] = &[
        (
            &[update, ("x-ms-range", "bytes=1-512")],
            400,
            "InvalidPageRange",
        ),
        (
            &[update, ("x-ms-range", "bytes=0-510")],
            400,
            "InvalidHeaderValue",
        ),
        (
            &[update, ("x-ms-range", "bytes=1048576-1049087")],
            400,
            "InvalidPageRange",
        ),
        (
            &[
                update,
                ("x-ms-range", "bytes=0-511"),
                ("content-md5", &wrong_md5),
            ],
            400,
            "Md5Mismatch",
        ),
        (
            &[
                update,
                ("x-ms-range", "bytes=0-511"),
                ("content-md5", "short"),
            ],
            400,
            "InvalidMd5",
        ),
        (
            &[
                update,
                ("x-ms-range", "bytes=0-511"),
                ("x-ms-content-crc64", "AAAAAAAAAAA="),
            ],
            400,
            "Crc64Mismatch",
        ),
        (
            &[
                update,
                ("x-ms-range", "bytes=0-511"),
                ("if-match", "\"0x1\""),
            ],
            412,
            "ConditionNotMet",
        ),
        (
            &[
                update,
                ("x-ms-range", "bytes=0-511"),
                ("x-ms-if-sequence-number-eq", "4"),
            ],
            412,
            "SequenceNumberConditionNotMet",
        ),
        (
            &[
                update,
                ("x-ms-range", "bytes=0-511"),
                ("x-ms-lease-id", "x"),
            ],
            400,
            "FeatureNotSupported",
        ),
        (&[update], 400, "MissingRequiredHeader"),
        (
            &[("x-ms-range", "bytes=0-511")],
            400,
            "MissingRequiredHeader",
        ),
    ];
    for (headers, status, code) in table {
        world
            .signed("PUT", "/vhds/a.vhd?comp=page", headers, &page)
            .await
            .expect_error(*status, code);
    }
    let big = vec![1_u8; 4 * MIB + 512];
    let headers = [update, ("x-ms-range", "bytes=0-4194815")];
    world
        .signed("PUT", "/vhds/a.vhd?comp=page", &headers, &big)
        .await
        .expect_error(413, "RequestBodyTooLarge");
    let whole = world
        .signed("GET", "/vhds/a.vhd", &[], b"")
        .await
        .expect(200);
    assert!(whole.body.iter().all(|byte| *byte == 0));
    world
        .signed("PUT", "/vhds/none?comp=page", &headers, &page)
        .await
        .expect_error(400, "InvalidHeaderValue");
    let headers = [update, ("x-ms-range", "bytes=0-511")];
    world
        .signed("PUT", "/vhds/none?comp=page", &headers, &page)
        .await
        .expect_error(404, "BlobNotFound");
    world
        .signed("PUT", "/none/none?comp=page", &headers, &page)
        .await
        .expect_error(404, "ContainerNotFound");
}

#[tokio::test]
async fn a_create_that_must_be_new_never_replaces() {
    let world = World::new().await;
    page_blob(&world, MIB).await;
    let headers = [
        ("x-ms-blob-type", "PageBlob"),
        ("x-ms-blob-content-length", "512"),
        ("if-none-match", "*"),
    ];
    world
        .signed("PUT", "/vhds/a.vhd", &headers, b"")
        .await
        .expect_error(409, "BlobAlreadyExists");
    let racers =
        futures::future::join_all((0..8).map(|_| world.signed("PUT", "/vhds/new", &headers, b"")))
            .await;
    let won = racers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(won, 1);
    world
        .signed("PUT", "/vhds?restype=container", &[], b"")
        .await
        .expect_error(409, "ContainerAlreadyExists");
}

#[tokio::test]
async fn a_blob_grows_and_shrinks_and_what_comes_back_is_zero() {
    let world = World::new().await;
    page_blob(&world, MIB).await;
    let page = [9_u8; 1024];
    let update = [
        ("x-ms-page-write", "update"),
        ("x-ms-range", "bytes=1024-2047"),
    ];
    world
        .signed("PUT", "/vhds/a.vhd?comp=page", &update, &page)
        .await
        .expect(201);
    for size in ["1536", "1048576"] {
        let resize = [
            ("x-ms-blob-content-length", size),
            ("x-ms-sequence-number-action", "increment"),
        ];
        world
            .signed("PUT", "/vhds/a.vhd?comp=properties", &resize, b"")
            .await
            .expect(200);
    }
    let whole = world
        .signed("GET", "/vhds/a.vhd", &[], b"")
        .await
        .expect(200);
    assert_eq!(whole.header("x-ms-blob-sequence-number"), "2");
    assert_eq!(whole.body.len(), MIB);
    assert!(whole.body[1024..1536].iter().all(|byte| *byte == 9));
    assert!(whole.body[1536..].iter().all(|byte| *byte == 0));
    let odd = [("x-ms-blob-content-length", "1000")];
    world
        .signed("PUT", "/vhds/a.vhd?comp=properties", &odd, b"")
        .await
        .expect_error(400, "InvalidHeaderValue");
}

#[tokio::test]
async fn blocks_become_a_blob_in_the_order_of_the_list() {
    let world = World::new().await;
    world
        .signed("PUT", "/con1?restype=container", &[], b"")
        .await
        .expect(201);
    let parts = [noise(MIB + 77, 1), noise(3 * MIB, 2), noise(5, 3)];
    for (id, part) in ["QQ==", "Qg==", "Qw=="].iter().zip(&parts) {
        let path = format!("/con1/b?comp=block&blockid={}", id.replace('=', "%3D"));
        world.signed("PUT", &path, &[], part).await.expect(201);
    }
    world
        .signed("GET", "/con1/b", &[], b"")
        .await
        .expect_error(404, "BlobNotFound");
    let list = "<?xml version='1.0'?><BlockList><Latest>Qg==</Latest><Uncommitted>Qw==</Uncommitted><Latest>QQ==</Latest></BlockList>";
    let headers = [
        ("x-ms-blob-content-type", "text/plain"),
        ("x-ms-meta-a", "1"),
    ];
    world
        .signed("PUT", "/con1/b?comp=blocklist", &headers, list.as_bytes())
        .await
        .expect(201);
    let whole = world.signed("GET", "/con1/b", &[], b"").await.expect(200);
    assert!(whole.body == [&parts[1][..], &parts[2], &parts[0]].concat());
    assert_eq!(
        (whole.header("content-type"), whole.header("x-ms-meta-a")),
        ("text/plain", "1")
    );

    // The same id again: the committed block stays until a list says otherwise.
    world
        .signed("PUT", "/con1/b?comp=block&blockid=Qw%3D%3D", &[], b"new")
        .await
        .expect(201);
    let shown = world
        .signed("GET", "/con1/b?comp=blocklist&blocklisttype=all", &[], b"")
        .await
        .expect(200)
        .text();
    assert!(
        shown.contains(
            "<UncommittedBlocks><Block><Name>Qw==</Name><Size>3</Size></Block></UncommittedBlocks>"
        ),
        "{shown}"
    );
    let mix = "<BlockList><Committed>Qw==</Committed><Uncommitted>Qw==</Uncommitted></BlockList>";
    world
        .signed("PUT", "/con1/b?comp=blocklist", &[], mix.as_bytes())
        .await
        .expect(201);
    let whole = world.signed("GET", "/con1/b", &[], b"").await.expect(200);
    assert!(whole.body == [&parts[2][..], b"new"].concat());
    let unknown = "<BlockList><Latest>QUE=</Latest></BlockList>";
    world
        .signed("PUT", "/con1/b?comp=blocklist", &[], unknown.as_bytes())
        .await
        .expect_error(400, "InvalidBlockList");
}

#[tokio::test]
async fn one_staged_block_is_the_blob_without_a_copy_and_can_be_read_again() {
    let world = World::new().await;
    world
        .signed("PUT", "/con1?restype=container", &[], b"")
        .await
        .expect(201);
    let part = noise(MIB, 4);
    for round in 0..2 {
        world
            .signed("PUT", "/con1/b?comp=block&blockid=QQ%3D%3D", &[], &part)
            .await
            .expect(201);
        let list = "<BlockList><Latest>QQ==</Latest></BlockList>";
        world
            .signed("PUT", "/con1/b?comp=blocklist", &[], list.as_bytes())
            .await
            .expect(201);
        let whole = world.signed("GET", "/con1/b", &[], b"").await.expect(200);
        assert!(whole.body == part, "round {round}");
    }
    let store = world.engine.store("eastus").await.unwrap();
    assert_eq!(
        store.layers().await.unwrap().len(),
        1,
        "replaced layers are gone"
    );
}

#[tokio::test]
async fn a_block_blob_put_whole_is_read_in_ranges_and_with_conditions() {
    let world = World::new().await;
    world
        .signed("PUT", "/con1?restype=container", &[], b"")
        .await
        .expect(201);
    let bytes = noise(5 * MIB + 3, 5);
    let put = world
        .signed("PUT", "/con1/b", &[("x-ms-blob-type", "BlockBlob")], &bytes)
        .await
        .expect(201);
    let etag = put.header("etag");
    let table: &[(&[(&str, &str)], u16)] = &[
        (&[("range", "bytes=0-0")], 206),
        (&[("range", "bytes=5242880-")], 206),
        (&[("range", "bytes=9999999-")], 416),
        (&[("if-match", etag)], 200),
        (&[("if-match", "\"0x0\"")], 412),
        (&[("if-none-match", etag)], 304),
        (
            &[("if-modified-since", "Mon, 01 Jun 2026 00:00:00 GMT")],
            304,
        ),
        (
            &[("if-unmodified-since", "Mon, 01 Jun 2026 00:00:00 GMT")],
            200,
        ),
        (
            &[("if-unmodified-since", "Sun, 31 May 2026 00:00:00 GMT")],
            412,
        ),
    ];
    for (headers, status) in table {
        let answer = world
            .signed("GET", "/con1/b", headers, b"")
            .await
            .expect(*status);
        match *status {
            206 if headers[0].1.ends_with("0-0") => assert!(answer.body == bytes[..1]),
            206 => assert!(answer.body == bytes[5 * MIB..]),
            200 => assert!(answer.body == bytes),
            _ => {}
        }
    }
    let head = world.signed("HEAD", "/con1/b", &[], b"").await.expect(200);
    assert_eq!(head.header("content-length"), bytes.len().to_string());
    assert!(head.body.is_empty());
    world
        .signed("DELETE", "/con1/b", &[], b"")
        .await
        .expect(202);
    world
        .signed("HEAD", "/con1/b", &[], b"")
        .await
        .expect_error(404, "BlobNotFound");
    let copy = [("x-ms-copy-source", "https://localhost/blob/acct1/con1/b")];
    world
        .signed("PUT", "/con1/d", &copy, b"")
        .await
        .expect_error(400, "FeatureNotSupported");
}
