//! Roles that say what may be done with data: blobs are opened by them, and nothing beside.

use serde_json::{Value, json};

use crate::world::{ACCOUNT, GALLERY, HOST, Who, World};

const ACCESS: &str = "2022-04-01";
const ROLE: &str = "00000000-0000-4000-8000-0000000000d1";
const ASSIGNMENT: &str = "00000000-0000-4000-8000-0000000000d2";

fn role(subscription: &str, permissions: Value) -> Value {
    json!({ "properties": {
        "roleName": "blob looker", "permissions": [permissions], "assignableScopes": [subscription],
    } })
}

async fn tries(world: &World, one: &Who, account: &str) -> [u16; 5] {
    let url = format!("https://{HOST}/blob/dataacct/images/secret");
    let range = [("x-ms-range", "bytes=0-511")];
    let read = world.blob(&one.blob_token, "GET", &url, &range, &[]).await;
    let block = [("x-ms-blob-type", "BlockBlob")];
    let other = format!("https://{HOST}/blob/dataacct/images/other");
    let write = world
        .blob(&one.blob_token, "PUT", &other, &block, b"x")
        .await;
    let delete = world.blob(&one.blob_token, "DELETE", &url, &[], &[]).await;
    let shown = world.send(one, "GET", account, ACCOUNT, None).await;
    let keys = format!("{account}/listKeys");
    let keys = world.send(one, "POST", &keys, ACCOUNT, None).await;
    [read, write, delete, shown, keys].map(|answer| answer.status())
}

#[tokio::test]
async fn data_actions_open_blobs_and_nothing_beside() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    let account = world.account(&owner, &group, "dataacct").await;
    world
        .page_blob(&owner, "dataacct", "secret", &[7; 512])
        .await;
    let one = world.person("looker", None).await;
    assert_eq!(tries(&world, &one, &account).await, [403; 5]);
    let subscription = world.subscription.clone();
    let definition =
        format!("{subscription}/providers/Microsoft.Authorization/roleDefinitions/{ROLE}");
    let assignment =
        format!("{account}/providers/Microsoft.Authorization/roleAssignments/{ASSIGNMENT}");
    let blobs = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs";
    let define = async |permissions: Value| {
        let body = role(&subscription, permissions);
        let made = world.send(&owner, "PUT", &definition, ACCESS, Some(&body));
        let made = made.await;
        assert!(made.status() < 300, "{}", made.text());
    };
    define(json!({ "dataActions": [format!("{blobs}/*")], "notDataActions": [format!("{blobs}/write"), format!("{blobs}/delete")] })).await;
    let body =
        json!({ "properties": { "roleDefinitionId": definition, "principalId": one.object_id } });
    let given = world.send(&owner, "PUT", &assignment, ACCESS, Some(&body));
    given.await.expect(201, "");
    assert_eq!(
        tries(&world, &one, &account).await,
        [206, 403, 403, 403, 403]
    );
    // Actions on resources open no data, whatever their names.
    define(json!({ "actions": [format!("{blobs}/*"), "*/read"] })).await;
    assert_eq!(
        tries(&world, &one, &account).await,
        [403, 403, 403, 200, 403]
    );
    define(json!({ "dataActions": [format!("{blobs}/read"), format!("{blobs}/write")] })).await;
    assert_eq!(
        tries(&world, &one, &account).await,
        [206, 201, 403, 403, 403]
    );
    let gallery = format!("{group}/providers/Microsoft.Compute/galleries/sig");
    let here = json!({ "location": "eastus" });
    world
        .send(&one, "PUT", &gallery, GALLERY, Some(&here))
        .await
        .expect(403, "AuthorizationFailed");
    let taken = world.send(&owner, "DELETE", &assignment, ACCESS, None);
    taken.await.expect(200, "");
    assert_eq!(tries(&world, &one, &account).await, [403; 5]);
}
