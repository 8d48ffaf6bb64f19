//! A crash at every await point of every kind of work: run again, the end is the same.
//!
//! A worker's future is polled N times and dropped with its runtime, for N = 1, 2, … until it ends
//! by itself. Another process opens the same directory, takes over when the lease is over, and the
//! world must be as if nothing had happened.

use domain::{ProvisioningState, ResourceId};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::world::{LEASE_OVER_MS, Template, World, noise, open, poll_times, version_body};

pub const BYTES: usize = 96 << 10;
/// More polls than any work here needs.
const POLLS_MAX: usize = 2000;

fn runtime() -> Runtime {
    Runtime::new().unwrap()
}

/// Crashes the first operation of the template at every await point and checks the world after its recovery.
pub fn for_each_crash(template: &Template, check: impl AsyncFn(&World)) {
    for polls in 1..POLLS_MAX {
        // Dropping a runtime waits for what its blocking threads have begun, and begins nothing more.
        let crashed = runtime();
        let (world, is_over) = crashed.block_on(async {
            let world = World::copy(template).await;
            let stop = CancellationToken::new();
            let mut work = Box::pin(world.engine.work_once("crashes", &stop));
            let is_over = match poll_times(work.as_mut(), polls).await {
                Some(worked) => {
                    assert!(worked.unwrap(), "there is work");
                    true
                }
                None => false,
            };
            drop(work);
            (world, is_over)
        });
        let World {
            dir,
            clock,
            engine,
            ctx,
            subscription,
            database,
        } = world;
        drop(engine);
        drop(crashed);
        runtime().block_on(async {
            clock.advance_ms(LEASE_OVER_MS);
            let engine = open(dir.path(), &clock).await;
            let world = World {
                dir,
                clock,
                engine,
                ctx,
                subscription,
                database,
            };
            world.settle().await;
            check(&world).await;
            world.nothing_is_orphaned().await;
        });
        if is_over {
            assert!(polls > 5, "the work was cut into {polls} steps only");
            return;
        }
    }
    panic!("the work needs more than {POLLS_MAX} polls");
}

/// A closed world in which `start` has accepted work.
pub fn template(start: impl AsyncFn(&World)) -> Template {
    let template = runtime().block_on(async {
        let world = World::new().await;
        world.gallery(json!({})).await;
        start(&world).await;
        world.into_template()
    });
    template.at_rest()
}

async fn source(world: &World) -> ResourceId {
    world.disk("source", "eastus", &noise(BYTES, 1)).await
}

#[test]
fn a_publish_to_two_regions_ends_well_after_a_crash_at_any_point() {
    let template = template(async |world| {
        let source = source(world).await;
        let body = version_body(&source, &["eastus", "westus2"]);
        world.put(&world.version("1.0.0"), &body).await.unwrap();
    });
    for_each_crash(&template, async |world| {
        let version = world.version("1.0.0");
        let row = world.engine.get(&world.ctx, &version).await.unwrap();
        assert_eq!(row.state, ProvisioningState::Succeeded);
        for region in ["eastus", "westus2"] {
            let content = world.content(&version, region, BYTES).await.unwrap();
            assert!(content == noise(BYTES, 1), "{region}");
        }
    });
}

#[test]
fn a_change_of_regions_ends_well_after_a_crash_at_any_point() {
    let template = template(async |world| {
        let source = source(world).await;
        let version = world.version("1.0.0");
        let body = version_body(&source, &["eastus", "westus2"]);
        world.make(&version, &body).await.unwrap();
        let body = version_body(&source, &["eastus", "westeurope"]);
        world.put(&version, &body).await.unwrap();
    });
    for_each_crash(&template, async |world| {
        let version = world.version("1.0.0");
        let regions = world.regions_of(&version).await;
        let expected = [("eastus", "Completed"), ("westeurope", "Completed")];
        let expected = expected.map(|(region, state)| (region.to_owned(), state));
        assert_eq!(regions, expected.into());
    });
}

#[test]
fn a_disk_from_a_version_is_made_once_after_a_crash_at_any_point() {
    let template = template(async |world| {
        let source = source(world).await;
        let version = world.version("1.0.0");
        let body = version_body(&source, &["eastus"]);
        world.make(&version, &body).await.unwrap();
        let creation = json!({ "createOption": "FromImage", "galleryImageReference": { "id": version.to_string() } });
        let body = json!({ "location": "eastus", "properties": { "creationData": creation } });
        world.put(&world.id("disks/made"), &body).await.unwrap();
    });
    for_each_crash(&template, async |world| {
        let made = world.id("disks/made");
        let row = world.engine.get(&world.ctx, &made).await.unwrap();
        assert_eq!(row.state, ProvisioningState::Succeeded);
        assert!(world.read_disk(&made, BYTES).await == noise(BYTES, 1));
    });
}

#[test]
fn a_delete_of_a_version_ends_well_after_a_crash_at_any_point() {
    let template = template(async |world| {
        let source = source(world).await;
        let version = world.version("1.0.0");
        let body = version_body(&source, &["eastus", "westus2"]);
        world.make(&version, &body).await.unwrap();
        world.delete(&version).await.unwrap();
    });
    for_each_crash(&template, async |world| {
        let version = world.version("1.0.0");
        let gone = world.engine.get(&world.ctx, &version).await.unwrap_err();
        assert_eq!(gone.code, "ResourceNotFound");
        assert_eq!(world.replicas(&version).await, []);
    });
}

#[test]
fn a_delete_of_a_disk_leaves_no_layer_after_a_crash_at_any_point() {
    let template = template(async |world| {
        let source = source(world).await;
        world.delete(&source).await.unwrap();
    });
    for_each_crash(&template, async |world| {
        let source = world.id("disks/source");
        let gone = world.engine.get(&world.ctx, &source).await.unwrap_err();
        assert_eq!(gone.code, "ResourceNotFound");
        assert_eq!(world.replicas(&source).await, []);
    });
}

#[test]
fn a_delete_of_a_full_group_ends_well_after_a_crash_at_any_point() {
    let template = template(async |world| {
        let source = source(world).await;
        world.account().await;
        let body = version_body(&source, &["eastus"]);
        world.make(&world.version("1.0.0"), &body).await.unwrap();
        let group = ResourceId::group(&world.subscription, "rg");
        world.delete(&group).await.unwrap();
    });
    for_each_crash(&template, async |world| {
        assert_eq!(world.snapshot().await, "");
    });
}
