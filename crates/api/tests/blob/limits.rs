//! Who asks too much of the blob face waits; others do not.

use std::time::{Duration, Instant};

use api::BlobLimits;
use axum::body::Body;
use axum::http::Request;
use domain::rate::Pace;
use tower::ServiceExt as _;

use crate::disks::{access, empty_disk};
use crate::proofs::{service_sas, url, with_blob};
use crate::world::{ACCOUNT, Answer, World};

const NO_LIMIT: Pace = Pace {
    burst: 0,
    per_second: 0,
};
const OPEN: BlobLimits = BlobLimits {
    caller: NO_LIMIT,
    account: NO_LIMIT,
    caller_mib: NO_LIMIT,
    account_mib: NO_LIMIT,
    caller_at_once_max: 100,
    account_at_once_max: 100,
};

fn pace(burst: u32) -> Pace {
    Pace {
        burst,
        per_second: 1,
    }
}

fn sas(world: &World, end: &str) -> String {
    let resource = format!("/blob/{ACCOUNT}/vhds/a b.vhd");
    let query = service_sas(world, &resource, "r", "b", end, "");
    format!("{}?{query}", url("/vhds/a%20b.vhd"))
}

async fn get(world: &World, url: &str) -> Answer {
    world
        .bare("GET", url, &[("range", "bytes=0-511")], b"")
        .await
}

async fn by_token(world: &World) -> Answer {
    let token = format!("Bearer {}", world.storage_token);
    let headers = [
        ("authorization", token.as_str()),
        ("range", "bytes=0-511"),
        ("x-ms-version", "2026-04-06"),
    ];
    world
        .bare("GET", &url("/vhds/a%20b.vhd"), &headers, b"")
        .await
}

async fn by_key(world: &World) -> Answer {
    let range = [("range", "bytes=0-511")];
    world.signed("GET", "/vhds/a%20b.vhd", &range, b"").await
}

#[track_caller]
fn busy(answer: Answer, words: &str) {
    let answer = answer.expect_error(503, "ServerBusy");
    assert_eq!(answer.header("retry-after"), "1");
    let text = answer.text();
    assert!(text.contains("<Code>ServerBusy</Code>"), "{text}");
    assert!(text.contains(words), "{text}");
}

#[tokio::test]
async fn every_caller_of_the_blob_face_has_a_rate_of_its_own() {
    let mut world = with_blob().await;
    let disk = empty_disk(&world).await;
    let mut disk_urls = Vec::new();
    for _ in 0..2 {
        disk_urls.push(access(&world, &disk, "Read").await);
    }
    world.limited(BlobLimits {
        caller: pace(2),
        ..OPEN
    });
    let urls = [
        sas(&world, "2026-07-01T00:00:00Z"),
        sas(&world, "2026-07-02T00:00:00Z"),
        disk_urls.remove(0),
        disk_urls.remove(0),
    ];
    const RATE: &str = "Operations per second is over the caller limit.";
    for url in &urls {
        for _ in 0..2 {
            get(&world, url).await.expect(206);
        }
        busy(get(&world, url).await, RATE);
    }
    for _ in 0..2 {
        by_token(&world).await.expect(206);
        by_key(&world).await.expect(206);
    }
    busy(by_token(&world).await, RATE);
    busy(by_key(&world).await, RATE);
    // Writing takes from the same bucket, and what does not come in changes nothing.
    let headers = [("x-ms-blob-type", "BlockBlob")];
    busy(world.signed("PUT", "/vhds/new", &headers, b"x").await, RATE);
    world.clock.advance_ms(1000);
    get(&world, &urls[0]).await.expect(206);
    get(&world, &urls[2]).await.expect(206);
    by_key(&world).await.expect(206);
    busy(by_key(&world).await, RATE);
    world.clock.advance_ms(1000);
    let missing = world.signed("HEAD", "/vhds/new", &[], b"").await;
    missing.expect(404);
    // Who proves nothing takes nothing of anybody.
    let forged = format!("{}x", urls[1]);
    get(&world, &forged)
        .await
        .expect_error(403, "AuthenticationFailed");
}

#[tokio::test]
async fn an_account_has_a_rate_that_its_callers_share() {
    let mut world = with_blob().await;
    let disk = empty_disk(&world).await;
    let (one, other) = (
        access(&world, &disk, "Read").await,
        access(&world, &disk, "Read").await,
    );
    assert_ne!(one, other);
    world.limited(BlobLimits {
        account: pace(3),
        ..OPEN
    });
    const RATE: &str = "Operations per second is over the account limit.";
    by_key(&world).await.expect(206);
    by_token(&world).await.expect(206);
    get(&world, &sas(&world, "2026-07-01T00:00:00Z"))
        .await
        .expect(206);
    busy(
        get(&world, &sas(&world, "2026-07-02T00:00:00Z")).await,
        RATE,
    );
    busy(by_token(&world).await, RATE);
    // A disk is a place of its own, whatever URLs lead to it.
    for url in [&one, &other, &one] {
        get(&world, url).await.expect(206);
    }
    busy(get(&world, &other).await, RATE);
}

#[tokio::test]
async fn a_download_holds_its_place_until_it_was_read_or_given_up() {
    let mut world = with_blob().await;
    world.limited(BlobLimits {
        caller_at_once_max: 2,
        account_at_once_max: 3,
        ..OPEN
    });
    let urls = [
        sas(&world, "2026-07-01T00:00:00Z"),
        sas(&world, "2026-07-02T00:00:00Z"),
    ];
    let begin = async |url: &str| {
        let request = Request::get(url).body(Body::empty()).unwrap();
        world.router.clone().oneshot(request).await.unwrap()
    };
    let (first, second) = (begin(&urls[0]).await, begin(&urls[0]).await);
    assert_eq!(
        (first.status(), second.status()),
        (200.try_into().unwrap(), 200.try_into().unwrap())
    );
    busy(
        get(&world, &urls[0]).await,
        "Operations at once is over the caller limit.",
    );
    let third = begin(&urls[1]).await;
    assert_eq!(third.status(), 200);
    busy(
        by_key(&world).await,
        "Operations at once is over the account limit.",
    );
    // Read to its end, or given up: both give the place back.
    let whole = axum::body::to_bytes(first.into_body(), 64 << 20)
        .await
        .unwrap();
    assert_eq!(whole.len(), 1 << 20);
    get(&world, &urls[0]).await.expect(206);
    by_key(&world).await.expect(206);
    drop(second);
    drop(third);
    for _ in 0..9 {
        get(&world, &urls[0]).await.expect(206);
        by_key(&world).await.expect(206);
    }
}

/// Reads a blob of one MiB whole.
async fn read_mib(world: &World, url: &str) {
    let request = Request::get(url).body(Body::empty()).unwrap();
    let answer = world.router.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let whole = axum::body::to_bytes(answer.into_body(), 64 << 20).await;
    assert_eq!(whole.unwrap().len(), 1 << 20);
}

#[tokio::test]
async fn bytes_move_no_faster_than_the_paces_of_callers_and_accounts() {
    let mut world = with_blob().await;
    let urls = [
        sas(&world, "2026-07-01T00:00:00Z"),
        sas(&world, "2026-07-02T00:00:00Z"),
    ];
    let slow = Pace {
        burst: 2,
        per_second: 10,
    };
    // Two MiB are there at once, each of the others takes a tenth of a second.
    let least = |mib: u64| Duration::from_millis((mib - 2) * 100 - 20);
    world.limited(BlobLimits {
        caller_mib: slow,
        ..OPEN
    });
    let begun = Instant::now();
    for _ in 0..5 {
        read_mib(&world, &urls[0]).await;
    }
    // What comes takes as what goes does.
    let block = [("x-ms-blob-type", "BlockBlob")];
    for _ in 0..5 {
        let body = vec![7; 1 << 20];
        let put = world.signed("PUT", "/vhds/new", &block, &body).await;
        put.expect(201);
    }
    let (reads, both) = (least(5), least(5) + least(5));
    assert!(begun.elapsed() >= both, "{:?}", begun.elapsed());
    // Each caller has a pace of its own: together they are as much faster.
    let (begun, two) = (Instant::now(), &urls);
    let one = async |url: &str| {
        for _ in 0..5 {
            read_mib(&world, url).await;
        }
    };
    futures::join!(one(&two[0]), one(&two[1]));
    let apart = begun.elapsed();
    assert!(apart >= reads, "{apart:?}");
    world.limited(BlobLimits {
        account_mib: slow,
        ..OPEN
    });
    let begun = Instant::now();
    let one = async |url: &str| {
        for _ in 0..5 {
            read_mib(&world, url).await;
        }
    };
    futures::join!(one(&two[0]), one(&two[1]));
    assert!(begun.elapsed() >= least(10), "{:?}", begun.elapsed());
}
