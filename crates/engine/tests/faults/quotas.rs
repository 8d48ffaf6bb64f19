//! Limits and unique names when several nodes write at once.

use domain::{Kind, ResourceId};
use engine::Engine;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::world::{World, definition_body};

on_both! {
    the_last_free_place_goes_to_exactly_one_of_many_writers,
    a_gallery_name_goes_to_exactly_one_of_many_groups,
    a_publisher_offer_and_sku_go_to_exactly_one_of_many_definitions,
    one_resource_written_by_many_at_once_is_made_once_and_every_write_is_done,
}

/// Galleries per subscription and region.
const GALLERIES_MAX: usize = 100;
const WRITERS: usize = 16;

fn here() -> Value {
    json!({ "location": "eastus" })
}

/// Writes everything at once, in turn on two nodes; returns who won and what the others read.
async fn race(
    world: &World,
    writes: Vec<(ResourceId, Value)>,
) -> (Vec<ResourceId>, Vec<domain::Error>) {
    let nodes: [Engine; 2] = [world.engine.clone(), world.node().await];
    let mut writers = JoinSet::new();
    for (number, (id, body)) in writes.into_iter().enumerate() {
        let (node, ctx) = (nodes[number % 2].clone(), world.ctx.clone());
        writers.spawn(async move {
            let put = node.put(&ctx, &id, &body).await;
            put.map(|_| id)
        });
    }
    let (mut won, mut refused) = (Vec::new(), Vec::new());
    for written in writers.join_all().await {
        match written {
            Ok(id) => won.push(id),
            Err(error) => refused.push(error),
        }
    }
    (won, refused)
}

async fn the_last_free_place_goes_to_exactly_one_of_many_writers(world: World) {
    for number in 1..GALLERIES_MAX {
        let id = world.id(&format!("galleries/g{number}"));
        world.put(&id, &here()).await.unwrap();
    }
    let writes = (0..WRITERS).map(|n| (world.id(&format!("galleries/racer{n}")), here()));
    let (won, refused) = race(&world, writes.collect()).await;
    assert_eq!((won.len(), refused.len()), (1, WRITERS - 1));
    for error in &refused {
        assert_eq!(error.code, "OperationNotAllowed");
        assert!(error.message.contains("the maximum of 100"), "{error}");
    }
    // Another region has its own places, and what is deleted gives its place back.
    let elsewhere = json!({ "location": "westus2" });
    world
        .put(&world.id("galleries/elsewhere"), &elsewhere)
        .await
        .unwrap();
    world.settle().await;
    world.remove(&won[0]).await;
    world
        .put(&world.id("galleries/again"), &here())
        .await
        .unwrap();
}

async fn a_gallery_name_goes_to_exactly_one_of_many_groups(world: World) {
    let mut writes = Vec::new();
    for number in 0..WRITERS {
        let group = ResourceId::group(&world.subscription, &format!("rg{number}"));
        world.put(&group, &here()).await.unwrap();
        writes.push((group.child(Kind::Gallery, "Sig"), here()));
    }
    let (won, refused) = race(&world, writes.clone()).await;
    assert_eq!((won.len(), refused.len()), (1, WRITERS - 1));
    for error in &refused {
        let text = format!(
            "The gallery name Sig is not unique within the subscription {}. Please pick another gallery name",
            world.subscription
        );
        assert_eq!((error.code.as_ref(), &error.message), ("Conflict", &text));
    }
    world.settle().await;
    world.remove(&won[0]).await;
    let (won, _) = race(&world, writes).await;
    assert_eq!(won.len(), 1, "the name is free again");
}

async fn a_publisher_offer_and_sku_go_to_exactly_one_of_many_definitions(world: World) {
    world.gallery(json!({})).await;
    let body = definition_body("contested", json!({}));
    let writes = (0..WRITERS).map(|n| {
        let id = world.id(&format!("galleries/sig/images/racer{n}"));
        (id, body.clone())
    });
    let (won, refused) = race(&world, writes.collect()).await;
    assert_eq!((won.len(), refused.len()), (1, WRITERS - 1));
    assert!(
        refused
            .iter()
            .all(|e| e.kind == domain::ErrorKind::Conflict),
        "{refused:?}"
    );
}

async fn one_resource_written_by_many_at_once_is_made_once_and_every_write_is_done(world: World) {
    let id = world.id("galleries/sig");
    let writes = (0..WRITERS).map(|n| {
        let body = json!({ "location": "eastus", "properties": { "description": n.to_string() } });
        (id.clone(), body)
    });
    let (won, refused) = race(&world, writes.collect()).await;
    assert_eq!((won.len(), refused.len()), (WRITERS, 0), "{refused:?}");
    world.settle().await;
    let row = world.engine.get(&world.ctx, &id).await.unwrap();
    assert_eq!(row.state, domain::ProvisioningState::Succeeded);
}
