//! Digests of content: known at once, or asked for and computed once.

use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::world::{World, noise, version_body, vhd};

const BYTES: usize = 3 << 20;

#[tokio::test]
async fn sha256_is_computed_once_for_a_content_and_known_to_all_that_hold_it() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let mut bytes = noise(BYTES, 3);
    bytes[1 << 20..2 << 20].fill(0);
    let account = world.account().await;
    let source = world.blob(&account, "source", &vhd(&bytes)).await;
    let (one, two) = (world.version("1.0.0"), world.version("1.0.1"));
    for version in [&one, &two] {
        let body = version_body(&source, &["eastus"]);
        world.make(version, &body).await.unwrap();
    }
    let row = world.engine.get(&world.ctx, &one).await.unwrap();
    let known = world.engine.content_digests(&row).await.unwrap();
    assert_eq!((known.len(), known[0].disk.as_str()), (1, "os"));
    assert_eq!((known[0].blake3.len(), &known[0].sha256), (64, &None));

    let asked = world.engine.ask_digests(&world.ctx, &one).await.unwrap();
    assert_eq!(asked, known, "a worker computes it later");
    let stop = CancellationToken::new();
    assert!(world.engine.digest_once(&stop).await.unwrap());
    assert!(!world.engine.digest_once(&stop).await.unwrap(), "once");
    let wanted: String = Sha256::digest(&bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    for version in [&one, &two] {
        let row = world.engine.get(&world.ctx, version).await.unwrap();
        let known = world.engine.content_digests(&row).await.unwrap();
        assert_eq!(known[0].sha256.as_ref(), Some(&wanted));
    }
}

#[tokio::test]
async fn a_question_whose_content_is_gone_is_forgotten() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let source = world.disk("source", "eastus", &noise(BYTES, 4)).await;
    let version = world.version("1.0.0");
    let body = version_body(&source, &["eastus"]);
    world.make(&version, &body).await.unwrap();
    world
        .engine
        .ask_digests(&world.ctx, &version)
        .await
        .unwrap();
    world.remove(&version).await;
    world.remove(&source).await;
    world.engine.sweep(0).await.unwrap();
    let stop = CancellationToken::new();
    assert!(!world.engine.digest_once(&stop).await.unwrap());
    let mut read = world.engine.catalog().read().await.unwrap();
    assert_eq!(read.waiting_digests(9).await.unwrap(), []);
}
