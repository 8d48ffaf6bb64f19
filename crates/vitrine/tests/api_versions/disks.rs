//! Disks: their own statuses, their own api-versions.

use serde_json::{Value, json};
use testkit::DISK_VERSION;

use crate::World;

#[tokio::test]
async fn disks_answer_202_with_both_urls_and_their_polls_carry_the_disk() {
    let world = World::new().await;
    let arm = &world.scene.arm;
    let disk = world.scene.disk("polled");
    let body = json!({
        "location": "eastus",
        "properties": { "diskSizeGB": 2, "creationData": { "createOption": "Empty" } },
    });
    let patch = json!({ "tags": { "a": "b" } });
    for (method, body) in [("PUT", &body), ("PUT", &body), ("PATCH", &patch)] {
        let answer = arm.send(method, &disk, DISK_VERSION, Some(body)).await;
        let state = &answer.body["properties"]["provisioningState"];
        assert_eq!(
            (answer.status, state),
            (202, &json!("Updating")),
            "{method}: {}",
            answer.body
        );
        let [status, result] = ["azure-asyncoperation", "location"].map(|name| {
            answer
                .header(name)
                .unwrap_or_else(|| panic!("{method}: no {name}"))
                .to_owned()
        });
        assert!(
            status.contains("/locations/eastus/DiskOperations/"),
            "{status}"
        );
        let output = arm.poll(&status).await["properties"]["output"].clone();
        let shown = world.get(&disk, DISK_VERSION).await;
        assert_eq!(
            shown["properties"]["provisioningState"], "Succeeded",
            "{shown}"
        );
        assert_eq!(output, shown, "{method}");
        assert_eq!(arm.monitor(&result).await.body, shown, "{method}");
    }
    let access = json!({ "access": "Read", "durationInSeconds": 600 });
    let answer = arm
        .send(
            "POST",
            &format!("{disk}/beginGetAccess"),
            "2018-06-01",
            Some(&access),
        )
        .await;
    assert_eq!(
        (answer.status, &answer.body),
        (202, &Value::Null),
        "{}",
        answer.body
    );
    let result = arm
        .monitor(answer.header("location").expect("a Location"))
        .await;
    assert!(
        result.body["accessSAS"]
            .as_str()
            .is_some_and(|url| url.starts_with("https://")),
        "{}",
        result.body
    );
    let busy = arm.send("DELETE", &disk, DISK_VERSION, None).await;
    assert_eq!(
        busy.status, 409,
        "a disk with open URLs is not deleted: {}",
        busy.body
    );
}

#[tokio::test]
async fn disks_know_what_their_api_version_knew() {
    let world = World::new().await;
    let version = world.first().await;
    let from =
        |reference: &str| json!({ "createOption": "FromImage", reference: { "id": version } });
    let disk = world.scene.disk("old");
    let body = |creation: Value| json!({ "location": "eastus", "properties": { "creationData": creation } });
    let refused = world
        .put(&disk, "2019-07-01", &body(from("galleryImageReference")))
        .await;
    assert_eq!(
        (refused.status, refused.code()),
        (400, "BadRequest"),
        "{}",
        refused.body
    );
    assert!(
        refused.message().starts_with(
            "Could not find member 'galleryImageReference' on object of type 'CreationData'."
        ),
        "{}",
        refused.message()
    );
    let made = world
        .made(&disk, "2019-11-01", &body(from("galleryImageReference")))
        .await;
    assert_eq!(
        made["properties"]["creationData"]["galleryImageReference"]["id"],
        json!(version),
        "{made}"
    );
    for (api_version, members) in [
        ("2017-03-30", &["createOption"][..]),
        ("2019-07-01", &["createOption"][..]),
        ("2019-11-01", &["createOption", "galleryImageReference"][..]),
    ] {
        let shown = world.get(&disk, api_version).await;
        assert_eq!(
            crate::members(&shown["properties"]["creationData"]),
            members,
            "{api_version}: {shown}"
        );
    }
    let oldest = json!({
        "location": "eastus",
        "properties": { "accountType": "Standard_LRS", "diskSizeGB": 1, "creationData": { "createOption": "Empty" } },
    });
    let id = world.scene.disk("oldest");
    let shown = world.made(&id, "2016-04-30-preview", &oldest).await;
    assert_eq!(
        shown["properties"]["accountType"], "Standard_LRS",
        "{shown}"
    );
    assert_eq!(shown.get("sku"), None, "{shown}");
    let shown = world.get(&id, DISK_VERSION).await;
    assert_eq!(
        (
            &shown["sku"]["name"],
            shown["properties"].get("accountType")
        ),
        (&json!("Standard_LRS"), None)
    );
}
