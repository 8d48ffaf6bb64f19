//! The audit: what was done and what was refused, in a chain that holds together.

use serde_json::{Value, json};
use testkit::GALLERY_VERSION;

use crate::world::{World, check, guid};

async fn events(world: &World, filter: &str) -> Vec<Value> {
    let path = format!(
        "{}/providers/microsoft.insights/eventtypes/management/values?$filter=eventTimestamp ge 2020-01-01T00:00:00 and \
         eventTimestamp le 2100-01-01T00:00:00{filter}",
        world.server.subscription()
    );
    let answer = world.owner.send("GET", &path, "2015-04-01", None).await;
    check(&answer, 200, "");
    answer.body["value"].as_array().unwrap().clone()
}

#[tokio::test]
async fn every_write_and_every_refusal_is_in_the_chain_with_who_and_from_where() {
    let world = World::new().await;
    let (_, gallery) = world.gallery("rg").await;
    let ada = world.person("ada").await;
    check(
        &ada.arm
            .send("DELETE", &gallery, GALLERY_VERSION, None)
            .await,
        403,
        "AuthorizationFailed",
    );
    check(
        &ada.arm.send("GET", &gallery, GALLERY_VERSION, None).await,
        403,
        "AuthorizationFailed",
    );
    check(
        &world
            .assign(&world.owner, &gallery, &guid(1), "Reader", &ada.object_id)
            .await,
        201,
        "",
    );
    check(
        &ada.arm.send("GET", &gallery, GALLERY_VERSION, None).await,
        200,
        "",
    );
    let tags = json!({ "location": "eastus", "tags": { "a": "b" } });
    world
        .owner
        .done("PUT", &gallery, GALLERY_VERSION, Some(&tags))
        .await;
    world
        .owner
        .done("DELETE", &gallery, GALLERY_VERSION, None)
        .await;

    let all = events(&world, &format!(" and resourceId eq '{gallery}'")).await;
    let seen: Vec<(&str, &str, &str)> = all
        .iter()
        .map(|e| {
            let text = |p: &str| {
                e.pointer(p)
                    .and_then(Value::as_str)
                    .unwrap_or_else(|| panic!("{p}: {e}"))
            };
            assert_eq!(text("/httpRequest/clientIpAddress"), "127.0.0.1");
            assert_eq!(text("/correlationId").len(), 36);
            (
                text("/operationName/value"),
                text("/status/value"),
                text("/caller"),
            )
        })
        .collect();
    let owner = world.server.credential("clientId");
    let (owner, ada_id) = (owner.as_str(), ada.client_id.as_str());
    let g = |verb: &str| format!("Microsoft.Compute/galleries/{verb}");
    assert_eq!(
        seen,
        [
            (g("delete").as_str(), "Succeeded", owner),
            (g("write").as_str(), "Succeeded", owner),
            (
                "Microsoft.Authorization/roleAssignments/write",
                "Succeeded",
                owner
            ),
            (g("read").as_str(), "Failed", ada_id),
            (g("delete").as_str(), "Failed", ada_id),
            (g("write").as_str(), "Succeeded", owner),
        ]
    );
    // The state before a write is the state after the write before it.
    let digest = |n: usize, name: &str| all[n]["properties"][name].as_str().unwrap().to_owned();
    assert_eq!(digest(5, "beforeDigest"), "");
    assert_eq!(digest(1, "beforeDigest"), digest(5, "afterDigest"));
    assert_ne!(digest(1, "beforeDigest"), digest(1, "afterDigest"));
    assert_eq!(digest(0, "beforeDigest"), digest(1, "afterDigest"));
    assert_eq!(
        events(&world, &format!(" and caller eq '{ada_id}'"))
            .await
            .len(),
        2
    );
    assert_eq!(
        events(
            &world,
            " and resourceGroupName eq 'rg' and status eq 'Failed'"
        )
        .await
        .len(),
        2
    );
    assert_eq!(
        events(&world, " and resourceProvider eq 'Microsoft.Authorization'")
            .await
            .len(),
        1
    );
    assert_eq!(
        events(&world, &format!(" and correlationId eq '{}'", guid(9)))
            .await
            .len(),
        0
    );
    let text = json!(events(&world, "").await).to_string();
    assert!(!text.contains(&world.server.credential("clientSecret")));

    let verified = world.verb("audit verify");
    let head = verified["head"].as_str().unwrap();
    assert!(verified["entries"].as_u64().unwrap() >= 7, "{verified}");
    world.verb(&format!("audit verify --head {head}"));
    let cut = world
        .server
        .vitrine(&["audit", "verify", "--head", &"0".repeat(64)]);
    assert!(!cut.status.success());
}
