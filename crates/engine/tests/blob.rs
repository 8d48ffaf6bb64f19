//! What holds of blobs whatever the face: durable when answered, one winner, readers undisturbed.

#![expect(clippy::unwrap_used, reason = "a test ends where it fails")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::{ErrorKind, ResourceId};
use engine::blob::{BlobPath, Conditions, ListOptions, PutBlob, Session, Upload};
use engine::identity::Bootstrapped;
use engine::{Clock, Ctx, Engine, RegionSettings, Settings};
use futures::StreamExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

const PAGE: usize = 4096;
const NOW_MS: i64 = 1_780_272_000_000;

async fn open(dir: &tempfile::TempDir) -> Engine {
    open_at(dir, Clock::manual(NOW_MS)).await
}

async fn open_at(dir: &tempfile::TempDir, clock: Clock) -> Engine {
    let region = domain::Region {
        name: "eastus".to_owned(),
        display_name: "East US".to_owned(),
        has_zones: false,
    };
    let settings = Settings {
        data: dir.path().to_owned(),
        database: format!(
            "sqlite:{}?mode=rwc",
            dir.path().join("catalog.db").display()
        ),
        regions: vec![RegionSettings {
            region,
            store: blocks::Location::Directory(dir.path().join("eastus")),
        }],
        machines: engine::MachineSettings {
            driver: engine::DriverChoice::Simulated,
            ..Default::default()
        },
    };
    Engine::open(settings, clock).await.unwrap()
}

async fn owner(engine: &Engine, first: &Bootstrapped) -> Ctx {
    let principal = engine.find_principal(&first.client_id).await.unwrap();
    Ctx {
        auxiliary: Vec::new(),
        client: "127.0.0.1".to_owned(),
        caller: engine::Caller {
            object_id: principal.object_id,
            tenant: first.tenant_id.clone(),
            app_id: first.client_id.clone(),
            name: first.client_id.clone(),
            groups: Vec::new(),
        },
        api_version: "2025-08-01".to_owned(),
        base_url: "https://localhost".to_owned(),
        correlation_id: uuid::Uuid::new_v4(),
    }
}

/// Makes account `acct1` and returns its first key.
async fn account(engine: &Engine) -> Vec<u8> {
    let first = engine
        .bootstrap(&Default::default())
        .await
        .unwrap()
        .unwrap();
    let ctx = owner(engine, &first).await;
    let here = json!({ "location": "eastus" });
    let group = ResourceId::group(&first.subscription_id, "rg");
    engine.put(&ctx, &group, &here).await.unwrap();
    let id = group.child(domain::Kind::StorageAccount, "acct1");
    engine.put(&ctx, &id, &here).await.unwrap();
    let keys = engine.storage_keys(&ctx, &id).await.unwrap();
    STANDARD
        .decode(keys["keys"][0]["value"].as_str().unwrap())
        .unwrap()
}

async fn session(engine: &Engine, key: &[u8]) -> Session {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(b"text");
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let signed = engine
        .session_by_key("acct1", &["text".to_owned()], &signature)
        .await;
    signed.unwrap_or_else(|error| panic!("{error}"))
}

fn body(bytes: Vec<u8>) -> Upload {
    let length = bytes.len() as u64;
    let stream = futures::stream::once(async move { Ok(Bytes::from(bytes)) });
    Upload {
        length,
        body: stream.boxed(),
        ..Upload::empty()
    }
}

fn path() -> BlobPath {
    BlobPath::new("vhds", "a.vhd").unwrap()
}

#[tokio::test]
async fn what_was_answered_is_there_after_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let none = Conditions::default();
    let (key, etag);
    {
        let engine = open(&dir).await;
        key = account(&engine).await;
        let session = session(&engine, &key).await;
        engine
            .create_container(&session, "vhds", Default::default())
            .await
            .unwrap();
        engine
            .put_page_blob(&session, &path(), &PutBlob::default(), 1 << 20)
            .await
            .unwrap();
        let written = engine
            .write_pages(&session, &path(), 8192, body(vec![7; PAGE]), &none)
            .await;
        etag = written.unwrap().etag;
    }
    let engine = open(&dir).await;
    let session = session(&engine, &key).await;
    let (blob, view) = engine.open_blob(&session, &path(), &none).await.unwrap();
    assert_eq!(blob.etag, etag);
    assert_eq!(
        view.piece(8192, 8192 + PAGE as u64).await.unwrap(),
        vec![7; PAGE]
    );
    let (pages, next) = view.pages(0, 1 << 20, 10).unwrap();
    assert_eq!(
        (pages[0].start, pages[0].end, pages.len(), next),
        (8192, 12287, 1, None)
    );
}

#[tokio::test]
async fn of_writers_that_saw_the_same_etag_one_wins() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir).await;
    let key = account(&engine).await;
    let session = session(&engine, &key).await;
    engine
        .create_container(&session, "vhds", Default::default())
        .await
        .unwrap();
    let blob = engine
        .put_page_blob(&session, &path(), &PutBlob::default(), 1 << 20)
        .await
        .unwrap();
    let seen = Conditions {
        if_match: Some(blob.etag),
        ..Conditions::default()
    };
    let at = path();
    let writers =
        (1..=8_u8).map(|n| engine.write_pages(&session, &at, 0, body(vec![n; PAGE]), &seen));
    let ends = futures::future::join_all(writers).await;
    let won: Vec<usize> = (0..8).filter(|n| ends[*n].is_ok()).collect();
    let [winner] = won[..] else {
        panic!("{} writers won", won.len())
    };
    let lost = ends.iter().filter_map(|end| end.as_ref().err());
    assert!(
        lost.into_iter()
            .all(|error| error.kind == ErrorKind::PreconditionFailed)
    );
    let (_, view) = engine
        .open_blob(&session, &at, &Conditions::default())
        .await
        .unwrap();
    let expected = u8::try_from(winner + 1).unwrap();
    assert_eq!(
        view.piece(0, PAGE as u64).await.unwrap(),
        vec![expected; PAGE]
    );
}

#[tokio::test]
async fn who_reads_while_all_is_removed_reads_to_the_end_and_the_sweep_takes_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir).await;
    let key = account(&engine).await;
    let none = Conditions::default();
    {
        let session = session(&engine, &key).await;
        engine
            .create_container(&session, "vhds", Default::default())
            .await
            .unwrap();
        engine
            .put_block_blob(&session, &path(), &PutBlob::default(), body(vec![9; PAGE]))
            .await
            .unwrap();
    }
    // A new start: the layer's file is not open yet when the reader begins.
    drop(engine);
    let engine = open(&dir).await;
    let session = session(&engine, &key).await;
    let (_, view) = engine.open_blob(&session, &path(), &none).await.unwrap();
    engine
        .delete_container(&session, "vhds", &none)
        .await
        .unwrap();
    assert_eq!(view.piece(0, PAGE as u64).await.unwrap(), vec![9; PAGE]);
    drop(view);
    let store = engine.store("eastus").await.unwrap();
    assert_eq!(store.layers().await.unwrap().len(), 1);
    engine.sweep(0).await.unwrap();
    assert!(store.layers().await.unwrap().is_empty());
    let listed = engine
        .list_blobs(
            &session,
            "vhds",
            &ListOptions {
                limit: 1,
                ..ListOptions::default()
            },
        )
        .await;
    assert!(listed.is_err_and(|error| error.code == "ContainerNotFound"));
}

#[tokio::test]
async fn blocks_that_no_list_commits_are_forgotten_after_a_week() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(NOW_MS);
    let engine = open_at(&dir, clock.clone()).await;
    let key = account(&engine).await;
    {
        let session = session(&engine, &key).await;
        engine
            .create_container(&session, "vhds", Default::default())
            .await
            .unwrap();
        engine
            .stage_block(&session, &path(), "QQ==", body(vec![9; PAGE]))
            .await
            .unwrap();
        let list = engine
            .block_list(&session, &path(), &Conditions::default())
            .await
            .unwrap();
        assert_eq!(list.uncommitted, [("QQ==".to_owned(), 4096)]);
    }
    engine.maintenance_round().await.unwrap();
    assert_eq!(
        engine
            .store("eastus")
            .await
            .unwrap()
            .layers()
            .await
            .unwrap()
            .len(),
        1
    );
    clock.advance_ms(8 * 24 * 60 * 60 * 1000);
    engine.maintenance_round().await.unwrap();
    engine.sweep(0).await.unwrap();
    assert!(
        engine
            .store("eastus")
            .await
            .unwrap()
            .layers()
            .await
            .unwrap()
            .is_empty()
    );
}
