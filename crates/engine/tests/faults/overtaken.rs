//! Work that is overtaken at every await point: who has lost the lease writes nothing.
//!
//! A worker stands still after N polls. Its lease ends, another one does the work, the user goes on;
//! then the first one wakes up and runs to its end. The catalog must not change any more.

use domain::ResourceId;
use serde_json::json;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::world::{LEASE_OVER_MS, Template, World, noise, open, poll_times, version_body};

const BYTES: usize = 96 << 10;
/// More polls than any work here needs.
const POLLS_MAX: usize = 2000;
/// Runs until one must have met a point outside a transaction.
const RUNS_MAX: usize = 8;
/// How long a transaction of a standing worker is waited for.
const WRITER_LIMIT: Duration = Duration::from_millis(50);

fn template(start: impl AsyncFn(&World)) -> Template {
    let template = Runtime::new().unwrap().block_on(async {
        let world = World::new().await;
        world.gallery(json!({})).await;
        start(&world).await;
        world.into_template()
    });
    template.at_rest()
}

/// Stops the first operation of the template at every await point, lets `meanwhile` happen, wakes it up again.
///
/// Little work has few such points, and which of them a run meets depends on the machine.
fn for_each_stop(template: &Template, meanwhile: impl AsyncFn(&World)) {
    for _ in 0..RUNS_MAX {
        if stops_of_a_run(template, &meanwhile) > 0 {
            return;
        }
    }
    panic!("the work never stood still outside a transaction");
}

fn stops_of_a_run(template: &Template, meanwhile: &impl AsyncFn(&World)) -> usize {
    let mut stops = 0;
    for polls in 1..POLLS_MAX {
        let is_over = Runtime::new().unwrap().block_on(async {
            let world = World::copy(template).await;
            // Who opens a store lets others wait for it: that is no place to stand still.
            world.engine.open_stores().await;
            let stop = CancellationToken::new();
            let mut work = std::pin::pin!(world.engine.work_once("stands", &stop));
            if poll_times(work.as_mut(), polls).await.is_some() {
                return true;
            }
            // Inside a transaction nobody can overtake.
            let writer = tokio::time::timeout(WRITER_LIMIT, world.engine.catalog().write()).await;
            let Ok(writer) = writer else {
                return false;
            };
            drop(writer);
            stops += 1;
            world.clock.advance_ms(LEASE_OVER_MS);
            meanwhile(&world).await;
            world.settle().await;
            let before = world.snapshot().await;
            // What it ends with does not matter, what it wrote does.
            drop(work.await);
            assert_eq!(world.snapshot().await, before, "after {polls} polls");
            world.settle().await;
            assert_eq!(world.snapshot().await, before, "after {polls} polls");
            world.nothing_is_orphaned().await;
            false
        });
        if is_over {
            return stops;
        }
    }
    panic!("the work needs more than {POLLS_MAX} polls");
}

/// The same between any two transactions of work that is little else: another node goes on meanwhile.
fn for_each_gap(template: &Template, meanwhile: impl AsyncFn(&World)) {
    let mut stops = 0;
    for gap in 1..POLLS_MAX {
        let is_over = Runtime::new().unwrap().block_on(async {
            let mut world = World::copy(template).await;
            let node = std::mem::replace(
                &mut world.engine,
                open(world.dir.path(), &world.clock).await,
            );
            let stop = CancellationToken::new();
            let mut work = std::pin::pin!(node.work_once("stands", &stop));
            for _ in 0..gap {
                // Who waits in line gets the writer before the work's next transaction.
                let mut turn = std::pin::pin!(node.catalog().write());
                if poll_times(turn.as_mut(), 1).await.is_none() {
                    tokio::select! {
                        biased;
                        _ = work.as_mut() => return true,
                        turn = turn.as_mut() => drop(turn),
                    }
                }
            }
            let writer = world.engine.catalog().write();
            let Ok(Ok(writer)) = tokio::time::timeout(WRITER_LIMIT, writer).await else {
                return false;
            };
            drop(writer);
            stops += 1;
            world.clock.advance_ms(LEASE_OVER_MS);
            meanwhile(&world).await;
            world.settle().await;
            let before = world.snapshot().await;
            drop(work.await);
            assert_eq!(world.snapshot().await, before, "in gap {gap}");
            false
        });
        if is_over {
            assert!(stops > 2, "the work stood still in {stops} gaps only");
            return;
        }
    }
    panic!("the work has too many gaps");
}

async fn source(world: &World) -> ResourceId {
    world.disk("source", "eastus", &noise(BYTES, 1)).await
}

async fn published(world: &World) -> ResourceId {
    let source = source(world).await;
    let version = world.version("1.0.0");
    let body = version_body(&source, &["eastus", "westus2"]);
    world.make(&version, &body).await.unwrap();
    version
}

async fn starts_publish(world: &World) {
    let source = source(world).await;
    let body = version_body(&source, &["eastus", "westus2"]);
    world.put(&world.version("1.0.0"), &body).await.unwrap();
}

#[test]
fn a_publisher_that_lost_its_lease_writes_nothing() {
    for_each_stop(&template(starts_publish), async |world| {
        world.settle().await
    });
}

#[test]
fn a_publish_that_a_delete_overtakes_leaves_nothing() {
    for_each_stop(&template(starts_publish), async |world| {
        world.remove(&world.version("1.0.0")).await;
    });
}

#[test]
fn a_publish_that_a_delete_and_another_publish_overtake_does_not_touch_the_new_version() {
    for_each_stop(&template(starts_publish), async |world| {
        let version = world.version("1.0.0");
        world.remove(&version).await;
        let other = world.disk("other", "eastus", &noise(BYTES, 2)).await;
        let body = version_body(&other, &["eastus", "westeurope"]);
        world.make(&version, &body).await.unwrap();
    });
}

#[test]
fn a_late_delete_of_a_version_does_not_touch_the_one_made_after_it() {
    let template = template(async |world| {
        let version = published(world).await;
        world.delete(&version).await.unwrap();
    });
    for_each_stop(&template, async |world| {
        world.settle().await;
        let body = version_body(world.id("disks/source"), &["eastus"]);
        world.make(&world.version("1.0.0"), &body).await.unwrap();
    });
}

#[test]
fn a_late_delete_of_a_disk_does_not_touch_the_one_made_after_it() {
    let template = template(async |world| {
        let source = source(world).await;
        world.delete(&source).await.unwrap();
    });
    for_each_stop(&template, async |world| {
        world.settle().await;
        source(world).await;
    });
}

#[test]
fn a_late_delete_of_a_group_does_not_touch_the_one_made_after_it() {
    let template = template(async |world| {
        published(world).await;
        let group = ResourceId::group(&world.subscription, "rg");
        world.delete(&group).await.unwrap();
    });
    for_each_stop(&template, async |world| {
        world.settle().await;
        world.group().await;
        world.gallery(json!({})).await;
        published(world).await;
    });
}

#[test]
fn a_late_delete_of_a_storage_account_does_not_touch_the_one_made_after_it() {
    let template = template(async |world| {
        let account = world.account().await;
        world.blob(&account, "old", &noise(4096, 1)).await;
        world.delete(&account).await.unwrap();
    });
    for_each_stop(&template, async |world| {
        world.settle().await;
        let account = world.account().await;
        let vhd = super::world::vhd(&noise(BYTES, 2));
        let uri = world.blob(&account, "new", &vhd).await;
        let body = version_body(&uri, &["eastus"]);
        world.make(&world.version("1.0.0"), &body).await.unwrap();
    });
}

#[test]
fn a_maker_of_a_disk_that_lost_its_lease_writes_nothing() {
    let template = template(async |world| {
        let version = published(world).await;
        let creation = json!({ "createOption": "FromImage", "galleryImageReference": { "id": version.to_string() } });
        let body = json!({ "location": "eastus", "properties": { "creationData": creation } });
        world.put(&world.id("disks/made"), &body).await.unwrap();
    });
    for_each_stop(&template, async |world| world.settle().await);
}

#[test]
fn a_late_begin_of_an_access_opens_nothing() {
    let template = template(async |world| {
        let source = source(world).await;
        let body = json!({ "access": "Read", "durationInSeconds": 3600 });
        let begun = world.engine.begin_access(&world.ctx, &source, &body).await;
        begun.unwrap();
    });
    for_each_gap(&template, async |world| {
        world.settle().await;
        let ended = world
            .engine
            .end_access(&world.ctx, &world.id("disks/source"))
            .await;
        ended.unwrap();
    });
}

#[test]
fn a_late_end_of_an_access_does_not_close_the_one_begun_after_it() {
    let template = template(async |world| {
        let source = source(world).await;
        let ended = world.engine.end_access(&world.ctx, &source).await;
        ended.unwrap();
    });
    for_each_gap(&template, async |world| {
        world.settle().await;
        let body = json!({ "access": "Read", "durationInSeconds": 3600 });
        let source = world.id("disks/source");
        let begun = world.engine.begin_access(&world.ctx, &source, &body).await;
        begun.unwrap();
    });
}
