//! Locks: inherited, in the service's words, for every write.

use serde_json::{Value, json};
use testkit::{DISK_VERSION, GALLERY_VERSION, GROUP_VERSION};

use crate::world::{World, check, guid};

async fn lock(world: &World, scope: &str, name: &str, level: &str) {
    let body = json!({ "properties": { "level": level, "notes": "keep" } });
    let answer = world
        .access(
            &world.owner,
            "PUT",
            scope,
            &format!("locks/{name}"),
            Some(&body),
        )
        .await;
    check(&answer, 201, "");
    assert_eq!(answer.body["properties"], body["properties"]);
    assert_eq!(answer.body["name"], name);
}

#[tokio::test]
async fn what_is_locked_is_not_deleted_even_by_its_owner() {
    let world = World::new().await;
    let (group, gallery) = world.gallery("Rg").await;
    lock(&world, &gallery, "Keep", "CanNotDelete").await;
    for (path, version) in [(&gallery, GALLERY_VERSION), (&group, GROUP_VERSION)] {
        let refused = world.owner.send("DELETE", path, version, None).await;
        check(&refused, 409, "ScopeLocked");
        assert_eq!(
            refused.message(),
            format!(
                "The scope '{path}' cannot perform delete operation because following scope(s) are locked: '{gallery}'. \
                 Please remove the lock and try again."
            )
        );
    }
    let body = json!({ "location": "eastus", "tags": { "a": "b" } });
    world
        .owner
        .done("PUT", &gallery, GALLERY_VERSION, Some(&body))
        .await;
    let doubled = gallery.replace("Microsoft.Compute/", "Microsoft.Compute//");
    let gone = world
        .access(&world.owner, "DELETE", &doubled, "locks/KEEP", None)
        .await;
    check(&gone, 200, "");
    world
        .owner
        .done("DELETE", &gallery, GALLERY_VERSION, None)
        .await;
}

#[tokio::test]
async fn what_is_read_only_is_not_changed_in_any_way() {
    let world = World::new().await;
    let (group, gallery) = world.gallery("rg").await;
    let ada = world.person("ada").await;
    let disk = format!("{group}/providers/Microsoft.Compute/disks/d");
    let empty = json!({ "location": "eastus", "properties": { "diskSizeGB": 1, "creationData": { "createOption": "Empty" } } });
    world
        .owner
        .done("PUT", &disk, DISK_VERSION, Some(&empty))
        .await;
    lock(&world, &group, "frozen", "ReadOnly").await;
    let here = json!({ "location": "eastus" });
    let tags = json!({ "operation": "Merge", "properties": { "tags": { "a": "b" } } });
    let share = json!({ "operationType": "Reset" });
    let access = json!({ "access": "Read", "durationInSeconds": 60 });
    let account =
        json!({ "location": "eastus", "sku": { "name": "Standard_LRS" }, "kind": "StorageV2" });
    for (method, path, version, body) in [
        ("PUT", gallery.clone(), GALLERY_VERSION, Some(&here)),
        ("PATCH", gallery.clone(), GALLERY_VERSION, Some(&here)),
        ("PUT", format!("{gallery}2"), GALLERY_VERSION, Some(&here)),
        (
            "PUT",
            format!("{group}/providers/Microsoft.Storage/storageAccounts/abcdef"),
            "2025-08-01",
            Some(&account),
        ),
        ("DELETE", gallery.clone(), GALLERY_VERSION, None),
        (
            "POST",
            format!("{gallery}/share"),
            GALLERY_VERSION,
            Some(&share),
        ),
        (
            "POST",
            format!("{disk}/beginGetAccess"),
            DISK_VERSION,
            Some(&access),
        ),
        (
            "PATCH",
            format!("{gallery}/providers/Microsoft.Resources/tags/default"),
            "2024-11-01",
            Some(&tags),
        ),
        ("DELETE", group.clone(), GROUP_VERSION, None),
    ] {
        let answer = world.owner.send(method, &path, version, body).await;
        assert_eq!(
            (answer.status, answer.code()),
            (409, "ScopeLocked"),
            "{method} {path}: {}",
            answer.body
        );
    }
    let given = world
        .assign(&world.owner, &gallery, &guid(1), "Reader", &ada.object_id)
        .await;
    check(&given, 409, "ScopeLocked");
    world
        .owner
        .done("GET", &gallery, GALLERY_VERSION, None)
        .await;
    check(
        &world
            .access(&world.owner, "DELETE", &group, "locks/frozen", None)
            .await,
        200,
        "",
    );
    world
        .owner
        .done("PUT", &gallery, GALLERY_VERSION, Some(&here))
        .await;
}

#[tokio::test]
async fn locks_are_listed_and_written_by_those_who_may() {
    let world = World::new().await;
    let (group, gallery) = world.gallery("rg").await;
    lock(&world, &group, "one", "ReadOnly").await;
    lock(&world, &gallery, "two", "CanNotDelete").await;
    for (scope, filter, found) in [
        (&group, "", &["one", "two"][..]),
        (&group, "?$filter=atScope()", &["one"]),
        (&gallery, "", &["one", "two"]),
        (&world.server.subscription(), "", &["one", "two"]),
    ] {
        let listed = world
            .access(&world.owner, "GET", scope, &format!("locks{filter}"), None)
            .await;
        let names: Vec<&str> = listed.body["value"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|l| l["name"].as_str())
            .collect();
        assert_eq!(names, found, "{scope} {filter}");
    }
    let (bad, level) = (
        json!({ "properties": { "level": "Maybe" } }),
        json!({ "properties": { "level": "ReadOnly" } }),
    );
    check(
        &world
            .access(&world.owner, "PUT", &group, "locks/x", Some(&bad))
            .await,
        400,
        "InvalidLockProperties",
    );
    check(
        &world
            .access(
                &world.owner,
                "PUT",
                &format!("{group}x"),
                "locks/x",
                Some(&level),
            )
            .await,
        404,
        "ResourceGroupNotFound",
    );
    check(
        &world
            .access(&world.owner, "GET", &group, "locks/x", None)
            .await,
        404,
        "LockNotFound",
    );
    check(
        &world
            .access(&world.owner, "DELETE", &group, "locks/x", None)
            .await,
        204,
        "",
    );
    // A contributor changes galleries, not locks.
    let ada = world.person("ada").await;
    let body: Value = json!({ "properties": { "level": "ReadOnly" } });
    world
        .access(&world.owner, "DELETE", &group, "locks/one", None)
        .await;
    world
        .assign(
            &world.owner,
            &group,
            &guid(1),
            "Contributor",
            &ada.object_id,
        )
        .await;
    check(
        &world
            .access(&ada.arm, "PUT", &group, "locks/x", Some(&body))
            .await,
        403,
        "AuthorizationFailed",
    );
    check(
        &world
            .access(&ada.arm, "DELETE", &gallery, "locks/two", None)
            .await,
        403,
        "AuthorizationFailed",
    );
}
