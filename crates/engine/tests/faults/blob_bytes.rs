//! Bytes of blobs in the quota: what is held is what the rows say, whatever happens, and never more than the limit.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::pin::Pin;

use domain::{Error, ResourceId, Result};
use engine::Engine;
use engine::blob::{BlobPath, BlockChoice, Conditions, PutBlob, Session};
use futures::future::join_all;
use tokio::runtime::Runtime;

use super::world::{Template, World, noise, open, poll_times, upload};

const CONTAINER: &str = "vhds";
const BYTES: usize = 8 << 10;
/// More polls than any request here needs.
const POLLS_MAX: usize = 500;
const WRITERS: usize = 12;

on_both! {
    the_last_bytes_go_to_as_many_blobs_as_fit,
    what_is_replaced_cut_and_removed_gives_its_bytes_back,
}

fn path(name: &str) -> BlobPath {
    BlobPath::new(CONTAINER, name).unwrap()
}

async fn limit(world: &World, bytes: i64) {
    let set = world
        .engine
        .set_byte_quota(&world.subscription, Some(bytes));
    set.await.unwrap();
}

async fn held(world: &World) -> i64 {
    let quota = world.engine.byte_quota(&world.subscription).await;
    quota.unwrap().held_bytes
}

fn exceeded<T>(result: Result<T>) {
    let error: Error = result.map(|_| ()).unwrap_err();
    assert_eq!(error.code, "QuotaExceeded", "{error}");
}

async fn put(engine: &Engine, session: &Session, name: &str, bytes: usize) -> Result<()> {
    let (path, put) = (path(name), PutBlob::default());
    let body = upload(&noise(bytes, 1));
    let made = engine.put_block_blob(session, &path, &put, body).await;
    made.map(|_| ())
}

async fn the_last_bytes_go_to_as_many_blobs_as_fit(world: World) {
    const FIT: usize = 5;
    let account = world.account().await;
    let bytes = i64::try_from(BYTES).unwrap();
    limit(&world, 5 * bytes + bytes / 2).await;
    let nodes = [world.engine.clone(), world.node().await];
    let session = world.session(&account).await;
    // A page blob, a block blob, a staged block in turn: they share one limit.
    let writes = (0..WRITERS).map(|number| {
        let (node, session) = (&nodes[number % 2], &session);
        async move {
            let name = format!("b{number}");
            let (path, default) = (path(&name), PutBlob::default());
            match number % 3 {
                0 => {
                    let made = node.put_page_blob(session, &path, &default, BYTES as u64);
                    made.await.map(|_| ())
                }
                1 => put(node, session, &name, BYTES).await,
                _ => {
                    let body = upload(&noise(BYTES, 2));
                    node.stage_block(session, &path, "QQ==", body).await
                }
            }
        }
    });
    let (won, refused): (Vec<_>, Vec<_>) =
        join_all(writes).await.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), refused.len()), (FIT, WRITERS - FIT));
    refused.into_iter().for_each(exceeded);
    assert_eq!(held(&world).await, 5 * bytes);
    world.remove(&account).await;
    assert_eq!(held(&world).await, 0);
    world.nothing_is_orphaned().await;
}

async fn what_is_replaced_cut_and_removed_gives_its_bytes_back(world: World) {
    let account = world.account().await;
    let session = world.session(&account).await;
    let (engine, none) = (&world.engine, Conditions::default());
    limit(&world, 3000).await;
    put(engine, &session, "a", 2000).await.unwrap();
    exceeded(put(engine, &session, "b", 1001).await);
    put(engine, &session, "b", 1000).await.unwrap();
    // In place of another blob there is as much room as that had.
    exceeded(put(engine, &session, "a", 2001).await);
    put(engine, &session, "a", 500).await.unwrap();
    assert_eq!(held(&world).await, 1500);
    let default = PutBlob::default();
    let page = path("page");
    exceeded(engine.put_page_blob(&session, &page, &default, 2048).await);
    engine
        .put_page_blob(&session, &page, &default, 512)
        .await
        .unwrap();
    let resize = |size| engine.set_blob_properties(&session, &page, None, Some(size), None, &none);
    exceeded(resize(2048).await);
    resize(1024).await.unwrap();
    assert_eq!(held(&world).await, 2524);
    resize(0).await.unwrap();
    assert_eq!(held(&world).await, 1500);
    // Blocks hold until their list: then the blob does.
    let staged = path("staged");
    let stage = |id: &'static str, bytes: usize| {
        let body = upload(&noise(bytes, 4));
        engine.stage_block(&session, &staged, id, body)
    };
    stage("QQ==", 1000).await.unwrap();
    exceeded(stage("Qg==", 501).await);
    stage("QQ==", 700).await.unwrap();
    stage("Qg==", 800).await.unwrap();
    assert_eq!(held(&world).await, 3000);
    let list = |ids: &[&str]| -> Vec<(BlockChoice, String)> {
        let one = |id: &&str| (BlockChoice::Latest, (*id).to_owned());
        ids.iter().map(one).collect()
    };
    // A list that names a block three times is as long as that.
    let thrice = list(&["QQ==", "QQ==", "QQ=="]);
    exceeded(
        engine
            .commit_blocks(&session, &staged, &thrice, &default)
            .await,
    );
    let once = list(&["QQ=="]);
    engine
        .commit_blocks(&session, &staged, &once, &default)
        .await
        .unwrap();
    assert_eq!(held(&world).await, 1500 + 700);
    world.delete_blob(&account, "a").await;
    assert_eq!(held(&world).await, 1700);
    // What waits for no list any more is forgotten with its bytes.
    stage("Qw==", 100).await.unwrap();
    assert_eq!(held(&world).await, 1800);
    world.clock.advance_ms(8 * 24 * 60 * 60 * 1000);
    engine.maintenance_round().await.unwrap();
    assert_eq!(held(&world).await, 1700);
    engine
        .delete_container(&world.session(&account).await, CONTAINER, &none)
        .await
        .unwrap();
    assert_eq!(held(&world).await, 0);
}

type Asked<'a> = Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;
type Request = for<'a> fn(&'a Engine, &'a Session) -> Asked<'a>;

/// Every request that changes what an account holds.
const REQUESTS: [(&str, Request); 7] = [
    ("put block blob", |engine, session| {
        Box::pin(put(engine, session, "block", 5000))
    }),
    ("put page blob", |engine, session| {
        Box::pin(async {
            let (path, put) = (path("page"), PutBlob::default());
            let made = engine.put_page_blob(session, &path, &put, 8192);
            made.await.map(|_| ())
        })
    }),
    ("resize", |engine, session| {
        Box::pin(async {
            let (path, none) = (path("page"), Conditions::default());
            let done = engine.set_blob_properties(session, &path, None, Some(512), None, &none);
            done.await.map(|_| ())
        })
    }),
    ("stage", |engine, session| {
        Box::pin(async {
            let body = upload(&noise(3000, 5));
            engine
                .stage_block(session, &path("block"), "QQ==", body)
                .await
        })
    }),
    ("commit", |engine, session| {
        Box::pin(async {
            let list = [(BlockChoice::Latest, "Qg==".to_owned())];
            let (path, put) = (path("block"), PutBlob::default());
            let made = engine.commit_blocks(session, &path, &list, &put);
            made.await.map(|_| ())
        })
    }),
    ("delete blob", |engine, session| {
        Box::pin(async {
            let none = Conditions::default();
            engine.delete_blob(session, &path("page"), &none).await
        })
    }),
    ("delete container", |engine, session| {
        Box::pin(async {
            let none = Conditions::default();
            engine.delete_container(session, CONTAINER, &none).await
        })
    }),
];

fn account_of(world: &World) -> ResourceId {
    let group = ResourceId::group(&world.subscription, "rg");
    group.child(domain::Kind::StorageAccount, "vhdstore")
}

async fn rows_say(world: &World) -> i64 {
    let mut read = world.engine.catalog().read().await.unwrap();
    let account = account_of(world).key();
    read.container_bytes(&account, CONTAINER).await.unwrap()
}

async fn filled() -> Template {
    let world = World::new().await;
    let account = world.account().await;
    world.blob(&account, "page", &noise(4096, 1)).await;
    world.blob(&account, "block", &noise(1001, 2)).await;
    let session = world.session(&account).await;
    let (path, body) = (path("block"), upload(&noise(2000, 3)));
    let staged = world.engine.stage_block(&session, &path, "Qg==", body);
    staged.await.unwrap();
    // Far away: uploads hold what they bring while they are under way.
    limit(&world, 1 << 40).await;
    world.into_template()
}

/// Cuts a request after so many polls and opens the gallery again; whether it was over, and had been answered well.
fn cut(template: &Template, request: Request, polls: usize) -> (World, bool) {
    let crashed = Runtime::new().unwrap();
    let (world, is_over) = crashed.block_on(async {
        let world = World::copy(template).await;
        let session = world.session(&account_of(&world)).await;
        let mut asked = request(&world.engine, &session);
        let answer = poll_times(Pin::new(&mut asked), polls).await;
        drop(asked);
        let is_over = answer.is_some();
        if let Some(answer) = answer {
            answer.unwrap();
        }
        (world, is_over)
    });
    (world, is_over)
}

#[test]
fn a_crash_at_any_point_of_a_write_leaves_the_bytes_held_that_its_rows_say() {
    let template = Runtime::new().unwrap().block_on(filled()).at_rest();
    for (name, request) in REQUESTS {
        let (mut seen, mut is_over) = (std::collections::BTreeSet::new(), false);
        for polls in 1..POLLS_MAX {
            let (world, was_over) = cut(&template, request, polls);
            is_over = was_over;
            Runtime::new().unwrap().block_on(async {
                let World {
                    dir,
                    clock,
                    engine,
                    ctx,
                    subscription,
                    database,
                } = world;
                drop(engine);
                let engine = open(dir.path(), &clock).await;
                let world = World {
                    dir,
                    clock,
                    engine,
                    ctx,
                    subscription,
                    database,
                };
                // What an upload that was cut held is over after its lease.
                world.clock.advance_ms(3 * 60 * 1000);
                let rows = rows_say(&world).await;
                assert_eq!(held(&world).await, rows, "{name} after {polls} polls");
                seen.insert(rows);
                world.remove(&account_of(&world)).await;
                assert_eq!(held(&world).await, 0, "{name} after {polls} polls");
                world.nothing_is_orphaned().await;
            });
            if is_over {
                break;
            }
        }
        assert!(is_over, "{name} needs more than {POLLS_MAX} polls");
        // Before and after: the crash came in between somewhere.
        assert_eq!(seen.len(), 2, "{name}: {seen:?}");
    }
}
