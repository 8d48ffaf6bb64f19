//! Uploads under way: they hold their bytes of the quota from before the first one comes, and only as long as they live.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use domain::{Error, Result};
use engine::blob::{BlobPath, BlockChoice, PutBlob, Session, Upload};
use engine::{Clock, Engine};
use futures::StreamExt as _;
use futures::future::join_all;
use tokio::sync::Semaphore;

use super::world::{World, noise};

const BYTES: usize = 8 << 10;
/// More than an upload may go without a word before it counts for nothing.
const LEASE_MS: i64 = 3 * 60 * 1000;
const WRITERS: usize = 12;
const LIMIT: Duration = Duration::from_secs(60);

on_both! {
    uploads_at_once_hold_their_bytes_before_they_send_them,
    what_is_given_up_gives_back_its_bytes_and_its_place,
    what_a_dead_node_held_counts_until_its_lease_is_over,
    an_upload_that_takes_long_keeps_what_it_holds,
    of_uploads_to_one_blob_only_one_counts_on_the_room_of_the_old_one,
}

/// What bodies wait for, and how many of them do.
#[derive(Clone)]
struct Gate {
    open: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
}

impl Gate {
    fn new(permits: usize) -> Self {
        Self {
            open: Arc::new(Semaphore::new(permits)),
            asked: Arc::default(),
        }
    }

    fn add_permits(&self, count: usize) {
        self.open.add_permits(count);
    }
}

/// A body whose bytes come when the gate is opened for them.
fn gated(gate: &Gate, length: usize) -> Upload {
    let (gate, whole) = (gate.clone(), Bytes::from(noise(length, 1)));
    let body = async move {
        gate.asked.fetch_add(1, Ordering::SeqCst);
        let permit = gate.open.acquire().await.map_err(|_| Error::internal())?;
        permit.forget();
        Ok(whole)
    };
    Upload {
        length: length as u64,
        body: futures::stream::once(body).boxed(),
        ..Upload::empty()
    }
}

async fn put(engine: &Engine, session: &Session, name: &str, body: Upload) -> Result<()> {
    let (path, put) = (BlobPath::new("vhds", name).unwrap(), PutBlob::default());
    let made = engine.put_block_blob(session, &path, &put, body).await;
    made.map(|_| ())
}

async fn held(engine: &Engine, world: &World) -> i64 {
    let quota = engine.byte_quota(&world.subscription).await;
    quota.unwrap().held_bytes
}

/// Sets the quota; the stores are open then, so that no request that is not polled keeps others from opening them.
async fn limit(world: &World, bytes: usize) {
    world.engine.open_stores().await;
    let bytes = i64::try_from(bytes).unwrap();
    let set = world
        .engine
        .set_byte_quota(&world.subscription, Some(bytes));
    set.await.unwrap();
}

fn exceeded(result: Result<()>) {
    assert_eq!(result.unwrap_err().code, "QuotaExceeded");
}

/// Lets a request run until it waits for its body: then it holds nothing that others need.
async fn begun(request: &mut (impl Future<Output = Result<()>> + Unpin), gate: &Gate) {
    let (before, started) = (gate.asked.load(Ordering::SeqCst), Instant::now());
    while gate.asked.load(Ordering::SeqCst) == before {
        assert!(started.elapsed() < LIMIT, "its body is not asked for");
        let ended = tokio::time::timeout(Duration::from_millis(1), &mut *request).await;
        assert!(ended.is_err(), "{ended:?}");
    }
}

async fn uploads_at_once_hold_their_bytes_before_they_send_them(world: World) {
    const FIT: usize = 5;
    let account = world.account().await;
    limit(&world, FIT * BYTES + BYTES / 2).await;
    let nodes = [world.engine.clone(), world.node().await];
    let session = world.session(&account).await;
    let (gate, refused) = (Gate::new(0), AtomicUsize::new(0));
    let writes = (0..WRITERS).map(|number| {
        let (node, session, gate, refused) = (&nodes[number % 2], &session, &gate, &refused);
        async move {
            let (name, body) = (format!("b{number}"), gated(gate, BYTES));
            let done = match number % 3 {
                0 => {
                    let path = BlobPath::new("vhds", &name).unwrap();
                    node.stage_block(session, &path, "QQ==", body).await
                }
                _ => put(node, session, &name, body).await,
            };
            refused.fetch_add(usize::from(done.is_err()), Ordering::SeqCst);
            done
        }
    });
    // Not a byte has come when those for whom there is no room are told so.
    let watch = async {
        let started = Instant::now();
        while refused.load(Ordering::SeqCst) < WRITERS - FIT {
            assert!(started.elapsed() < LIMIT, "too many were let in");
            tokio::task::yield_now().await;
        }
        let bytes = i64::try_from(FIT * BYTES).unwrap();
        for node in &nodes {
            assert_eq!(held(node, &world).await, bytes);
        }
        // Nor is there room for anything else meanwhile.
        let disk = serde_json::json!({ "location": "eastus", "properties": {
            "creationData": { "createOption": "Empty" }, "diskSizeGB": 1 } });
        let no_room = world.put(&world.id("disks/d"), &disk).await;
        exceeded(no_room.map(|_| ()));
        gate.add_permits(WRITERS);
    };
    let (done, ()) = futures::join!(join_all(writes), watch);
    let (won, lost): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (FIT, WRITERS - FIT));
    lost.into_iter().for_each(exceeded);
    let bytes = i64::try_from(FIT * BYTES).unwrap();
    assert_eq!(
        held(&world.engine, &world).await,
        bytes,
        "now by their rows"
    );
    world.remove(&account).await;
    assert_eq!(held(&world.engine, &world).await, 0);
    world.nothing_is_orphaned().await;
}

async fn what_is_given_up_gives_back_its_bytes_and_its_place(world: World) {
    let account = world.account().await;
    limit(&world, BYTES).await;
    let session = world.session(&account).await;
    let (engine, gate) = (&world.engine, Gate::new(0));
    let layers = async || {
        let store = world.engine.store("eastus").await.unwrap();
        store.layers().await.unwrap().len()
    };
    for round in 0..3 {
        let mut first = Box::pin(put(engine, &session, "a", gated(&gate, BYTES)));
        begun(&mut first, &gate).await;
        assert_eq!(layers().await, 1, "round {round}");
        exceeded(put(engine, &session, "b", gated(&gate, 1)).await);
        // The client went away.
        drop(first);
        engine.maintenance_round().await.unwrap();
        assert_eq!(held(engine, &world).await, 0, "round {round}");
        assert_eq!(layers().await, 0, "round {round}");
        // A body that is not what it says gives all back at once.
        gate.add_permits(1);
        let mut wrong = gated(&gate, BYTES);
        wrong.md5 = Some([0; 16]);
        let refused = put(engine, &session, "a", wrong).await.unwrap_err();
        assert_eq!(refused.code, "Md5Mismatch");
        assert_eq!((held(engine, &world).await, layers().await), (0, 0));
    }
    // The next upload does not wait for the round.
    let mut first = Box::pin(put(engine, &session, "a", gated(&gate, BYTES)));
    begun(&mut first, &gate).await;
    drop(first);
    gate.add_permits(1);
    put(engine, &session, "b", gated(&gate, BYTES))
        .await
        .unwrap();
    assert_eq!(layers().await, 1);
}

async fn what_a_dead_node_held_counts_until_its_lease_is_over(world: World) {
    let account = world.account().await;
    limit(&world, BYTES).await;
    let session = world.session(&account).await;
    let gate = Gate::new(0);
    let other = world.node().await;
    let mut lost = Box::pin(put(&other, &session, "a", gated(&gate, BYTES)));
    begun(&mut lost, &gate).await;
    drop(lost);
    // What it knew of its upload went with it.
    drop(other);
    gate.add_permits(2);
    exceeded(put(&world.engine, &session, "b", gated(&gate, BYTES)).await);
    world.clock.advance_ms(LEASE_MS);
    assert_eq!(held(&world.engine, &world).await, 0);
    put(&world.engine, &session, "b", gated(&gate, BYTES))
        .await
        .unwrap();
    world.engine.maintenance_round().await.unwrap();
    world.remove(&account).await;
    world.nothing_is_orphaned().await;
}

/// A body of small pieces between which time goes by.
fn slow(clock: &Clock, pieces: usize, pause_ms: i64) -> Upload {
    let clock = clock.clone();
    let piece = move |_| {
        clock.advance_ms(pause_ms);
        Ok(Bytes::from(vec![7; BYTES]))
    };
    Upload {
        length: (pieces * BYTES) as u64,
        body: futures::stream::iter(0..pieces).map(piece).boxed(),
        ..Upload::empty()
    }
}

async fn an_upload_that_takes_long_keeps_what_it_holds(world: World) {
    const PIECES: usize = 12;
    let account = world.account().await;
    limit(&world, PIECES * BYTES + 1).await;
    let session = world.session(&account).await;
    let (gate, whole) = (Gate::new(0), i64::try_from(PIECES * BYTES).unwrap());
    // It comes to a halt after four leases, and holds all of it then.
    let mut body = slow(&world.clock, PIECES - 1, LEASE_MS / 3);
    body.length += BYTES as u64;
    body.body = body.body.chain(gated(&gate, BYTES).body).boxed();
    let (started, begin_ms) = (Instant::now(), world.clock.now_ms());
    let last_ms = begin_ms + LEASE_MS / 3 * i64::try_from(PIECES - 1).unwrap();
    let watch = async {
        while world.clock.now_ms() < last_ms {
            assert!(started.elapsed() < LIMIT);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(held(&world.engine, &world).await, whole);
        world.engine.maintenance_round().await.unwrap();
        assert_eq!(held(&world.engine, &world).await, whole);
        exceeded(put(&world.engine, &session, "b", gated(&gate, 2)).await);
        gate.add_permits(1);
    };
    // Both go on at once: an upload that is not polled may hold the only writer.
    let long = put(&world.engine, &session, "a", body);
    let (long, ()) = futures::join!(long, watch);
    long.unwrap();
    assert_eq!(held(&world.engine, &world).await, whole);
}

async fn of_uploads_to_one_blob_only_one_counts_on_the_room_of_the_old_one(world: World) {
    let account = world.account().await;
    limit(&world, 3000).await;
    let session = world.session(&account).await;
    let (engine, gate) = (&world.engine, Gate::new(1));
    put(engine, &session, "a", gated(&gate, 2000))
        .await
        .unwrap();
    let mut first = Box::pin(put(engine, &session, "a", gated(&gate, 2500)));
    begun(&mut first, &gate).await;
    assert_eq!(held(engine, &world).await, 2500, "of the old one's 2000");
    exceeded(put(engine, &session, "a", gated(&gate, 501)).await);
    let mut second = Box::pin(put(engine, &session, "a", gated(&gate, 500)));
    begun(&mut second, &gate).await;
    assert_eq!(held(engine, &world).await, 3000);
    gate.add_permits(2);
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(held(engine, &world).await, 500, "the last one is there");
    // A list is joined into a copy beside its blocks.
    let path = BlobPath::new("vhds", "list").unwrap();
    gate.add_permits(2);
    for id in ["QQ==", "Qg=="] {
        let body = gated(&gate, 1000);
        engine.stage_block(&session, &path, id, body).await.unwrap();
    }
    let list = |ids: &[&str]| -> Vec<(BlockChoice, String)> {
        let one = |id: &&str| (BlockChoice::Latest, (*id).to_owned());
        ids.iter().map(one).collect()
    };
    let thrice = list(&["QQ==", "Qg==", "QQ=="]);
    let default = PutBlob::default();
    let refused = engine
        .commit_blocks(&session, &path, &thrice, &default)
        .await;
    exceeded(refused.map(|_| ()));
    let twice = list(&["Qg==", "QQ=="]);
    engine
        .commit_blocks(&session, &path, &twice, &default)
        .await
        .unwrap();
    assert_eq!(held(engine, &world).await, 2500);
}
