//! Deleted versions that a gallery keeps: hidden, usable for a time, restorable for longer, then gone.

use domain::{ProvisioningState, ResourceId};
use engine::{DeleteOptions, ListFilter};
use serde_json::{Value, json};

use super::world::{DAY_MS, World, noise, version_body};

const RETENTION_DAYS: i64 = 2;
const GRACE_DAYS: i64 = 3;
const BYTES: usize = 64 << 10;

/// A gallery that keeps deleted versions, and a version in it.
async fn keeping() -> (World, ResourceId) {
    let world = World::new().await;
    world.gallery(policy(true)).await;
    let disk = world.disk("source", "eastus", &noise(BYTES, 1)).await;
    let version = world.version("1.0.0");
    let body = version_body(&disk, &["eastus"]);
    world.make(&version, &body).await.unwrap();
    (world, version)
}

fn policy(is_on: bool) -> Value {
    json!({ "softDeletePolicy": {
        "isSoftDeleteEnabled": is_on,
        "retentionPeriodInDays": RETENTION_DAYS,
        "gracePeriodInDays": GRACE_DAYS,
    } })
}

async fn listed(world: &World, deleted: bool) -> Vec<(String, Option<i64>)> {
    let filter = ListFilter {
        subscription: world.subscription.clone(),
        parent: Some(world.id("galleries/sig/images/debian")),
        deleted,
        ..ListFilter::default()
    };
    let page = world.engine.list(&world.ctx, &filter, None, 10).await;
    let rows = page.unwrap().items.into_iter();
    rows.map(|r| (r.id.name().to_owned(), r.deleted_ms))
        .collect()
}

#[tokio::test]
async fn a_deleted_version_is_hidden_and_listed_among_the_deleted_with_its_times() {
    let (world, version) = keeping().await;
    world.remove(&version).await;
    let at = world.clock.now_ms();
    let gone = world.engine.get(&world.ctx, &version).await.unwrap_err();
    assert_eq!(gone.code, "ResourceNotFound");
    assert_eq!(listed(&world, false).await, []);
    assert_eq!(listed(&world, true).await, [("1.0.0".to_owned(), Some(at))]);
    let gallery = world
        .engine
        .get(&world.ctx, &world.id("galleries/sig"))
        .await
        .unwrap();
    let mut read = world.engine.catalog().read().await.unwrap();
    let hidden = read.load_deleted(&version).await.unwrap().unwrap();
    let shown = arm::envelope::soft_deleted(&hidden, &gallery, "2026-03-03");
    let time = |name: &str| {
        let text = shown["properties"][name].as_str().unwrap_or_default();
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    };
    assert_eq!(time("softDeletedTime"), at);
    assert_eq!(time("consumptionEndTime"), at + RETENTION_DAYS * DAY_MS);
    let ends = at + (RETENTION_DAYS + GRACE_DAYS) * DAY_MS;
    assert_eq!(time("hardDeletionTargetTime"), ends);
}

#[tokio::test]
async fn a_deleted_version_can_be_used_until_its_retention_ends_but_is_never_latest() {
    let (world, version) = keeping().await;
    world.remove(&version).await;
    let at = world.clock.now_ms();
    let expected = noise(BYTES, 1);
    assert_eq!(
        world.content(&version, "eastus", BYTES).await.unwrap(),
        expected
    );
    let definition = version.parent().unwrap();
    let latest = world
        .content(&definition, "eastus", BYTES)
        .await
        .unwrap_err();
    assert_eq!(latest.code, "NotFound", "{latest}");
    let left_ms = at + RETENTION_DAYS * DAY_MS - world.clock.now_ms();
    world.clock.advance_ms(left_ms - 1);
    world.engine.maintenance_round().await.unwrap();
    assert_eq!(
        world.content(&version, "eastus", BYTES).await.unwrap(),
        expected
    );
    world.clock.advance_ms(1);
    let over = world.content(&version, "eastus", BYTES).await.unwrap_err();
    assert_eq!(over.code, "GalleryImageNotFound", "{over}");
}

#[tokio::test]
async fn both_forms_of_restore_bring_back_the_version_as_it_was_until_the_grace_ends() {
    let restore = json!({ "location": "eastus", "properties": { "restore": true } });
    let bare = json!({ "location": "eastus", "tags": { "back": "yes" } });
    for body in [restore, bare] {
        let (world, version) = keeping().await;
        let before = world.engine.get(&world.ctx, &version).await.unwrap();
        world.remove(&version).await;
        world
            .clock
            .advance_ms((RETENTION_DAYS + GRACE_DAYS) * DAY_MS - 1);
        world.engine.maintenance_round().await.unwrap();
        let accepted = world.put(&version, &body).await.unwrap();
        assert!(!accepted.is_created);
        assert_eq!(accepted.resource.state, ProvisioningState::Updating);
        world.settle().await;
        let after = world.engine.get(&world.ctx, &version).await.unwrap();
        assert_eq!(after.state, ProvisioningState::Succeeded);
        assert_eq!(after.properties, before.properties);
        assert_eq!(listed(&world, true).await, []);
        let content = world.content(&version, "eastus", BYTES).await.unwrap();
        assert_eq!(content, noise(BYTES, 1));
    }
}

#[tokio::test]
async fn a_restore_is_refused_elsewhere_and_too_late_and_a_new_version_does_not_take_its_place() {
    let (world, version) = keeping().await;
    world.remove(&version).await;
    let elsewhere = json!({ "location": "westus2", "properties": { "restore": true } });
    let refused = world.put(&version, &elsewhere).await.err().unwrap();
    assert_eq!(refused.code, "InvalidParameter", "{refused}");
    assert!(refused.message.contains("'eastus'"), "{refused}");
    let fresh = version_body(world.id("disks/source"), &["eastus"]);
    let refused = world.put(&version, &fresh).await.err().unwrap();
    assert_eq!(refused.code, "OperationNotAllowed", "{refused}");
    assert!(refused.message.contains("soft-deleted"), "{refused}");
    world
        .clock
        .advance_ms((RETENTION_DAYS + GRACE_DAYS) * DAY_MS);
    let late = json!({ "location": "eastus", "properties": { "restore": true } });
    let refused = world.put(&version, &late).await.err().unwrap();
    assert_eq!(refused.code, "OperationNotAllowed", "{refused}");
    assert!(refused.message.contains("is over"), "{refused}");
}

#[tokio::test]
async fn a_version_whose_time_is_over_goes_for_good_with_the_round_and_its_name_is_free_again() {
    let (world, version) = keeping().await;
    world.remove(&version).await;
    world
        .clock
        .advance_ms((RETENTION_DAYS + GRACE_DAYS) * DAY_MS - 1);
    assert_eq!(world.engine.expire_soft_deleted().await.unwrap(), 0);
    assert_eq!(listed(&world, true).await.len(), 1);
    world.clock.advance_ms(1);
    assert_eq!(world.engine.expire_soft_deleted().await.unwrap(), 1);
    assert_eq!(listed(&world, true).await, []);
    assert_eq!(world.replicas(&version).await, []);
    let other = world.disk("other", "eastus", &noise(BYTES, 2)).await;
    let body = version_body(&other, &["eastus"]);
    world.make(&version, &body).await.unwrap();
    let content = world.content(&version, "eastus", BYTES).await.unwrap();
    assert_eq!(content, noise(BYTES, 2));
    world.nothing_is_orphaned().await;
}

#[tokio::test]
async fn bypass_and_a_gallery_without_the_policy_remove_at_once() {
    let (world, version) = keeping().await;
    let options = DeleteOptions {
        bypass_soft_delete: true,
    };
    world
        .engine
        .delete(&world.ctx, &version, options)
        .await
        .unwrap();
    world.settle().await;
    assert_eq!(listed(&world, true).await, []);

    let off = json!({ "location": "eastus", "properties": policy(false) });
    world.make(&world.id("galleries/sig"), &off).await.unwrap();
    let body = version_body(world.id("disks/source"), &["eastus"]);
    world.make(&version, &body).await.unwrap();
    world.remove(&version).await;
    assert_eq!(listed(&world, true).await, []);
    world.nothing_is_orphaned().await;
}

#[tokio::test]
async fn versions_that_were_kept_go_when_the_policy_is_turned_off() {
    let (world, version) = keeping().await;
    world.remove(&version).await;
    let off = json!({ "location": "eastus", "properties": policy(false) });
    world.make(&world.id("galleries/sig"), &off).await.unwrap();
    let unusable = world.content(&version, "eastus", BYTES).await.unwrap_err();
    assert_eq!(unusable.code, "GalleryImageNotFound");
    assert_eq!(world.engine.expire_soft_deleted().await.unwrap(), 1);
    assert_eq!(listed(&world, true).await, []);
}

#[tokio::test]
async fn a_definition_with_kept_versions_stays_until_the_policy_is_off_and_takes_them_and_their_pins_along()
 {
    let (world, version) = keeping().await;
    let source = world.disk("pinned", "eastus", &noise(BYTES, 3)).await;
    let shallow = world.version("2.0.0");
    let mut body = version_body(&source, &["eastus"]);
    body["properties"]["publishingProfile"]["replicationMode"] = json!("Shallow");
    world.make(&shallow, &body).await.unwrap();
    world.remove(&version).await;
    world.remove(&shallow).await;
    let held = world.delete(&source).await.err().unwrap();
    assert!(held.message.contains("shallow"), "{held}");

    let definition = version.parent().unwrap();
    let refused = world.delete(&definition).await.err().unwrap();
    assert_eq!(refused.code, "CannotDeleteResource", "{refused}");
    let off = json!({ "location": "eastus", "properties": policy(false) });
    world.make(&world.id("galleries/sig"), &off).await.unwrap();
    world.remove(&definition).await;
    assert_eq!(world.replicas(&version).await, []);
    world
        .delete(&source)
        .await
        .expect("the pin went with its version");
    world.settle().await;
    world.nothing_is_orphaned().await;
}

#[tokio::test]
async fn a_version_that_is_kept_counts_against_the_quota() {
    let (world, version) = keeping().await;
    world.remove(&version).await;
    let mut read = world.engine.catalog().read().await.unwrap();
    let kind = domain::Kind::ImageVersion;
    let held = read.count(&world.subscription, Some("eastus"), kind).await;
    assert_eq!(held.unwrap(), 1);
}
