//! Operations: one after another on one resource, by lease, polled to an end that clients understand.

use domain::ProvisioningState;
use domain::operation::{Operation, OperationState};
use engine::Accepted;
use serde_json::json;
use std::time::Duration;
use testkit::until;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::world::{LEASE_OVER_MS, World, noise, poll_times, version_body};

const BYTES: usize = 64 << 10;

async fn polled(world: &World, id: Uuid) -> Operation {
    let subscription = &world.subscription;
    let found = world.engine.operation(&world.ctx, subscription, id).await;
    found.unwrap()
}

fn operation(accepted: &Accepted) -> Uuid {
    accepted.operation.as_ref().unwrap().id
}

/// A gallery that was written twice, and nothing done yet.
async fn written_twice() -> (World, [Uuid; 2]) {
    let world = World::new().await;
    let id = world.id("galleries/sig");
    let mut all = [Uuid::nil(); 2];
    for (number, slot) in all.iter_mut().enumerate() {
        let body =
            json!({ "location": "eastus", "properties": { "description": number.to_string() } });
        *slot = operation(&world.put(&id, &body).await.unwrap());
    }
    (world, all)
}

#[tokio::test]
async fn two_writes_of_one_resource_end_in_their_order_and_it_is_at_work_until_the_last() {
    let (world, [first, second]) = written_twice().await;
    let stop = CancellationToken::new();
    assert!(world.engine.work_once("a", &stop).await.unwrap());
    assert_eq!(polled(&world, first).await.state, OperationState::Succeeded);
    assert_eq!(
        polled(&world, second).await.state,
        OperationState::InProgress
    );
    let id = world.id("galleries/sig");
    let row = world.engine.get(&world.ctx, &id).await.unwrap();
    assert!(
        matches!(
            row.state,
            ProvisioningState::Creating | ProvisioningState::Updating
        ),
        "{:?}",
        row.state
    );
    assert!(world.engine.work_once("a", &stop).await.unwrap());
    assert_eq!(
        polled(&world, second).await.state,
        OperationState::Succeeded
    );
    let row = world.engine.get(&world.ctx, &id).await.unwrap();
    assert_eq!(row.state, ProvisioningState::Succeeded);
    assert_eq!(row.properties["description"], "1");
}

#[tokio::test]
async fn nobody_takes_a_resource_at_work_until_the_lease_is_over() {
    let (world, [first, second]) = written_twice().await;
    let mut tx = world.engine.catalog().write().await.unwrap();
    let now_ms = world.clock.now_ms();
    let claimed = tx.claim_operation("dead", now_ms, 30_000).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(claimed.map(|o| o.id), Some(first));
    let stop = CancellationToken::new();
    for wait_ms in [0, 29_999] {
        world.clock.advance_ms(wait_ms);
        assert!(!world.engine.work_once("b", &stop).await.unwrap());
    }
    // Another resource does not wait for this one.
    let other = world.id("galleries/other");
    let here = json!({ "location": "eastus" });
    let accepted = world.put(&other, &here).await.unwrap();
    assert!(world.engine.work_once("b", &stop).await.unwrap());
    let done = polled(&world, operation(&accepted)).await;
    assert_eq!(done.state, OperationState::Succeeded);

    world.clock.advance_ms(1);
    for id in [first, second] {
        assert!(world.engine.work_once("b", &stop).await.unwrap());
        let done = polled(&world, id).await;
        assert_eq!(done.state, OperationState::Succeeded);
    }
    assert_eq!(polled(&world, first).await.attempts, 2);
}

#[tokio::test]
async fn a_write_that_fails_leaves_the_resource_at_work_while_a_later_one_waits() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let account = world.account().await;
    let uri = world.blob(&account, "bad", &noise(4096, 1)).await;
    let version = world.version("1.0.0");
    let body = version_body(&uri, &["eastus"]);
    let first = operation(&world.put(&version, &body).await.unwrap());
    let second = operation(&world.put(&version, &body).await.unwrap());
    let stop = CancellationToken::new();
    assert!(world.engine.work_once("a", &stop).await.unwrap());
    assert_eq!(polled(&world, first).await.state, OperationState::Failed);
    assert_eq!(
        polled(&world, second).await.state,
        OperationState::InProgress
    );
    let row = world.engine.get(&world.ctx, &version).await.unwrap();
    assert_ne!(row.state, ProvisioningState::Failed);
    world.settle().await;
    assert_eq!(polled(&world, second).await.state, OperationState::Failed);
    let row = world.engine.get(&world.ctx, &version).await.unwrap();
    assert_eq!(row.state, ProvisioningState::Failed);
}

#[tokio::test]
async fn an_overtaken_operation_is_polled_as_canceled_with_a_reason() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let source = world.disk("source", "eastus", &noise(BYTES, 1)).await;
    let version = world.version("1.0.0");
    let body = version_body(&source, &["eastus"]);
    let put = operation(&world.put(&version, &body).await.unwrap());
    let delete = operation(&world.delete(&version).await.unwrap().unwrap());
    let canceled = polled(&world, put).await;
    assert_eq!(canceled.state, OperationState::Canceled);
    let shown = arm::operation::status(&canceled);
    assert_eq!(shown["status"], "Canceled");
    assert_eq!(shown["error"]["code"], "OperationPreempted", "{shown}");
    assert!(shown["endTime"].is_string(), "{shown}");
    world.settle().await;
    assert_eq!(
        polled(&world, delete).await.state,
        OperationState::Succeeded
    );
    let again = world.delete(&version).await.unwrap();
    assert!(again.is_none(), "there is nothing to delete any more");
}

#[tokio::test]
async fn a_delete_asked_twice_is_one_operation() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let definition = world.id("galleries/sig/images/debian");
    let first = operation(&world.delete(&definition).await.unwrap().unwrap());
    let second = operation(&world.delete(&definition).await.unwrap().unwrap());
    assert_eq!(first, second);
    let refused = world
        .put(&definition, &json!({ "location": "eastus" }))
        .await
        .err()
        .unwrap();
    assert!(refused.message.contains("marked for deletion"), "{refused}");
}

#[tokio::test]
async fn a_server_that_stops_gives_its_work_back_at_once_and_the_next_one_goes_on() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let source = world.disk("source", "eastus", &noise(BYTES, 1)).await;
    let version = world.version("1.0.0");
    let body = version_body(&source, &["eastus", "westus2"]);
    let put = operation(&world.put(&version, &body).await.unwrap());
    let stop = CancellationToken::new();
    let mut work = Box::pin(world.engine.work_once("stops", &stop));
    while world.replicas(&version).await.is_empty() {
        assert!(
            poll_times(work.as_mut(), 1).await.is_none(),
            "it stops midway"
        );
    }
    stop.cancel();
    work.await.unwrap();
    assert_eq!(polled(&world, put).await.state, OperationState::InProgress);
    // The lease is not waited for.
    world.work("next").await;
    assert_eq!(polled(&world, put).await.state, OperationState::Succeeded);
    let content = world.content(&version, "westus2", BYTES).await.unwrap();
    assert_eq!(content, noise(BYTES, 1));
}

on_both!(what_a_killed_node_was_doing_goes_on_at_once_when_it_starts_again);

async fn what_a_killed_node_was_doing_goes_on_at_once_when_it_starts_again(world: World) {
    world.gallery(json!({})).await;
    let source = world.disk("source", "eastus", &noise(BYTES, 1)).await;
    let version = world.version("1.0.0");
    let body = version_body(&source, &["eastus", "westus2"]);
    let put = operation(&world.put(&version, &body).await.unwrap());
    let mine = world.engine.worker_name(0);
    let stop = CancellationToken::new();
    let mut work = Box::pin(world.engine.work_once(&mine, &stop));
    while world.replicas(&version).await.is_empty() {
        assert!(
            poll_times(work.as_mut(), 1).await.is_none(),
            "it is killed midway"
        );
    }
    drop(work);
    // Another node works on something else meanwhile.
    let here = json!({ "location": "eastus" });
    let other = world.put(&world.id("galleries/other"), &here).await;
    let other = operation(&other.unwrap());
    let mut tx = world.engine.catalog().write().await.unwrap();
    let now_ms = world.clock.now_ms();
    let theirs = tx.claim_operation("another/0", now_ms, 30_000).await;
    let theirs = theirs.unwrap().unwrap();
    assert_eq!(theirs.id, other);
    tx.commit().await.unwrap();

    // Nobody turns the clock.
    let world = world.restart().await;
    assert!(!world.engine.work_once("looks", &stop).await.unwrap());
    world.engine.take_over().await.unwrap();
    world.work(&mine).await;
    let done = polled(&world, put).await;
    assert_eq!((done.state, done.attempts), (OperationState::Succeeded, 1));
    assert_eq!(
        polled(&world, other).await.state,
        OperationState::InProgress
    );
    let mut tx = world.engine.catalog().write().await.unwrap();
    assert!(tx.renew_lease(&theirs, now_ms + 30_000).await.unwrap());
    drop(tx);
    let content = world.content(&version, "westus2", BYTES).await.unwrap();
    assert!(content == noise(BYTES, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_die_with_their_process_are_not_waited_for() {
    let world = World::new().await;
    let id = world.id("galleries/sig");
    let here = json!({ "location": "eastus" });
    let put = operation(&world.put(&id, &here).await.unwrap());
    world.engine.take_over().await.unwrap();
    let mut process = JoinSet::new();
    let (engine, stop) = (world.engine.clone(), CancellationToken::new());
    // Whoever writes next has to wait: the worker has claimed its work and cannot end it.
    let tx = loop {
        let tx = world.engine.catalog().write().await.unwrap();
        if process.is_empty() {
            let (engine, stop) = (engine.clone(), stop.clone());
            process.spawn(async move { engine.run_workers(1, stop).await });
        }
        let found = polled(&world, put).await;
        assert_eq!(found.state, OperationState::InProgress);
        if found.attempts == 1 {
            break tx;
        }
        drop(tx);
        tokio::task::yield_now().await;
    };
    process.abort_all();
    while process.join_next().await.is_some() {}
    drop((engine, tx));

    let world = world.restart().await;
    world.engine.take_over().await.unwrap();
    let (engine, stop) = (world.engine.clone(), CancellationToken::new());
    let until_then = stop.clone();
    process.spawn(async move { engine.run_workers(1, until_then).await });
    until("the work is over", Duration::from_secs(20), || async {
        let found = polled(&world, put).await;
        (found.state == OperationState::Succeeded).then_some(())
    })
    .await;
    stop.cancel();
    while process.join_next().await.is_some() {}
}

#[tokio::test]
async fn what_ended_can_be_polled_for_a_week() {
    let (world, [first, _]) = written_twice().await;
    world.settle().await;
    let week_ms = 7 * super::world::DAY_MS;
    world.clock.advance_ms(week_ms);
    world.engine.maintenance_round().await.unwrap();
    assert_eq!(polled(&world, first).await.state, OperationState::Succeeded);
    world.clock.advance_ms(LEASE_OVER_MS);
    world.engine.maintenance_round().await.unwrap();
    let subscription = &world.subscription;
    let gone = world
        .engine
        .operation(&world.ctx, subscription, first)
        .await;
    assert_eq!(gone.unwrap_err().kind, domain::ErrorKind::NotFound);
}
