//! The audit chain: what was changed in it or taken out of it is found.

use domain::audit::Entry;
use domain::{Kind, ResourceId};
use serde_json::json;

use super::accounts::ctx;
use super::world::World;

async fn with_entries() -> World {
    let world = World::new().await;
    let admin = ctx(&world.engine, &world.first.client_id).await;
    let group = ResourceId::group(&world.first.subscription_id, "rg");
    let here = json!({ "location": "eastus" });
    world.engine.put(&admin, &group, &here).await.unwrap();
    let gallery = group.child(Kind::Gallery, "g");
    world.engine.put(&admin, &gallery, &here).await.unwrap();
    world
}

/// Adds an entry past the engine, as somebody with the database in his hands would.
async fn forge(world: &World, sequence: i64, hash: &str) {
    let mut tx = world.engine.catalog().write().await.unwrap();
    let entry = Entry {
        sequence,
        ..Entry::default()
    };
    tx.insert_audit(&entry, hash).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn an_honest_chain_holds_and_its_heads_stay_in_it() {
    let world = with_entries().await;
    let report = world.engine.verify_audit(None).await.unwrap();
    assert_eq!((report.entries, &report.broken), (2, &None));
    let admin = ctx(&world.engine, &world.first.client_id).await;
    let refused = domain::Error::bad_request("no");
    world
        .engine
        .audit_refusal(&admin, "a/b", "/", &refused)
        .await;
    let later = world.engine.verify_audit(Some(&report.head)).await.unwrap();
    assert_eq!((later.entries, later.broken), (3, None));
    assert_ne!(later.head, report.head);
}

#[tokio::test]
async fn an_entry_that_was_forged_taken_out_or_cut_off_is_found() {
    let world = with_entries().await;
    let cut = world
        .engine
        .verify_audit(Some("of another chain"))
        .await
        .unwrap();
    assert!(cut.broken.is_some_and(|why| why.contains("head")));
    forge(&world, 4, "x").await;
    let gap = world.engine.verify_audit(None).await.unwrap();
    assert_eq!(
        (gap.entries, gap.broken.as_deref()),
        (2, Some("entry 3 is missing"))
    );
    forge(&world, 3, "x").await;
    let forged = world.engine.verify_audit(None).await.unwrap();
    assert_eq!(
        (forged.entries, forged.broken.as_deref()),
        (2, Some("entry 3 was changed"))
    );
}
