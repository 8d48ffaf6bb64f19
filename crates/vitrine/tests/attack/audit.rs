//! The audit: whole, complete, and not to be changed unseen (34).

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::{DISK_VERSION, GALLERY_VERSION, Gallery, Options, Scene};

use crate::{BINARY, files, replace_in};

fn verb(server: &Gallery, words: &str) -> Value {
    let words: Vec<&str> = words.split(' ').collect();
    let output = server.vitrine(&words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{words:?}: {e}"))
}

#[tokio::test]
async fn threat_34_an_entry_that_was_changed_on_disk_is_found() {
    let mut server = Gallery::start(Options::new(BINARY)).await;
    let scene = Scene::new(&server).await;
    scene
        .arm
        .done("DELETE", &scene.definition, GALLERY_VERSION, None)
        .await;
    assert!(server.stop());
    let whole = verb(&server, "audit verify");
    assert!(whole["entries"].as_u64().unwrap() >= 4, "{whole}");
    let head = whole["head"].as_str().unwrap().to_owned();
    verb(&server, &format!("audit verify --head {head}"));
    let catalog: Vec<(PathBuf, Vec<u8>)> = files(&server.data())
        .into_iter()
        .filter(|path| path.to_string_lossy().contains("catalog.db"))
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    // A verb that ends may fold the log into the database and take it away: every try begins with what there was.
    let as_it_was = || {
        for (path, bytes) in &catalog {
            std::fs::write(path, bytes).unwrap();
        }
    };
    for (from, to) in [
        ("galleries/images/delete", "galleries/images/deleto"),
        ("127.0.0.1", "127.0.0.9"),
        (
            server.credential("clientId").as_str(),
            "00000000-0000-0000-0000-000000000000",
        ),
    ] {
        as_it_was();
        let count: usize = catalog
            .iter()
            .map(|(path, _)| replace_in(path, from, to))
            .sum();
        assert!(count > 0, "{from} is not in the catalog");
        // Changed pages of the database break a link; changed pages of its log are lost with what follows.
        let output = server.vitrine(&["audit", "verify", "--head", &head]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_found = said.contains("was changed") || said.contains("is not in it");
        assert!(!output.status.success() && is_found, "{from}: {said}");
        as_it_was();
        verb(&server, &format!("audit verify --head {head}"));
    }
}

/// Returns the actions in the activity log of the subscription, and who did them.
async fn deeds(scene: &Scene, server: &Gallery) -> BTreeSet<(String, String)> {
    let path = format!(
        "{}/providers/microsoft.insights/eventtypes/management/values?$filter=eventTimestamp ge 2020-01-01T00:00:00 and \
         eventTimestamp le 2100-01-01T00:00:00",
        server.subscription()
    );
    let answer = scene.arm.send("GET", &path, "2015-04-01", None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let all = answer.body["value"].as_array().unwrap();
    let text = |event: &Value, at: &str| {
        event
            .pointer(at)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    all.iter()
        .map(|event| {
            let done = text(event, "/status/value");
            (
                text(event, "/operationName/value"),
                format!("{done} by {}", text(event, "/caller")),
            )
        })
        .collect()
}

#[tokio::test]
async fn threat_34_writes_of_blobs_and_verbs_of_the_operator_are_in_the_chain() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let scene = Scene::new(&server).await;
    let account = format!(
        "{}/providers/Microsoft.Storage/storageAccounts/auditacct",
        scene.group
    );
    let body =
        json!({ "location": "eastus", "sku": { "name": "Standard_LRS" }, "kind": "StorageV2" });
    scene
        .arm
        .done("PUT", &account, "2025-08-01", Some(&body))
        .await;
    let token = storage_token(
        &scene,
        &server,
        &server.credential("clientId"),
        &server.credential("clientSecret"),
    )
    .await;
    let ada = verb(&server, "principal create-service-principal ada");
    let (ada_id, secret) = (
        ada["clientId"].as_str().unwrap(),
        ada["secret"].as_str().unwrap(),
    );
    let base = format!("{}/blob/auditacct/images", server.endpoint());
    let send = async |token: &str, method: &str, tail: &str, kind: &str| {
        let mut request = scene
            .arm
            .http()
            .request(method.parse().unwrap(), format!("{base}{tail}"));
        request = request
            .bearer_auth(token)
            .header("x-ms-version", "2021-12-02");
        if !kind.is_empty() {
            request = request
                .header("x-ms-blob-type", kind)
                .header("x-ms-blob-content-length", "512");
        }
        request
            .body(Vec::new())
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    assert_eq!(send(&token, "PUT", "?restype=container", "").await, 201);
    for tail in ["/a", "/b"] {
        assert_eq!(send(&token, "PUT", tail, "PageBlob").await, 201);
    }
    assert_eq!(send(&token, "PUT", "/a?comp=metadata", "").await, 200);
    let adas = storage_token(&scene, &server, ada_id, secret).await;
    assert_eq!(send(&adas, "DELETE", "/a", "").await, 403);
    assert_eq!(send(&token, "DELETE", "/a", "").await, 202);
    assert_eq!(send(&token, "DELETE", "?restype=container", "").await, 202);
    scene.upload("disk", &[7; 20 << 20]).await;
    let scope = server.subscription();
    verb(
        &server,
        &format!("principal grant ada --role Reader --scope {scope}"),
    );
    verb(
        &server,
        &format!("principal revoke ada --role Reader --scope {scope}"),
    );
    let found = deeds(&scene, &server).await;
    let owner = server.credential("clientId");
    let blobs = "Microsoft.Storage/storageAccounts/blobServices/containers";
    for (action, by) in [
        (format!("{blobs}/write"), format!("Succeeded by {owner}")),
        (format!("{blobs}/delete"), format!("Succeeded by {owner}")),
        (
            format!("{blobs}/blobs/write"),
            format!("Succeeded by {owner}"),
        ),
        (
            format!("{blobs}/blobs/delete"),
            format!("Succeeded by {owner}"),
        ),
        (
            format!("{blobs}/blobs/delete"),
            format!("Failed by {ada_id}"),
        ),
        (
            "Microsoft.Compute/disks/upload/action".to_owned(),
            "Succeeded by disk access URL".to_owned(),
        ),
        (
            "Microsoft.Authorization/roleAssignments/write".to_owned(),
            "Succeeded by operator".to_owned(),
        ),
        (
            "Microsoft.Authorization/roleAssignments/delete".to_owned(),
            "Succeeded by operator".to_owned(),
        ),
    ] {
        assert!(
            found.contains(&(action.clone(), by.clone())),
            "{action} {by} is not in {found:#?}"
        );
    }
    let before = verb(&server, "audit verify")["entries"].as_u64().unwrap();
    let verbs = [
        "tenant create --name Other --domain other.example",
        "subscription create --name Other --tenant other.example --id 11111111-1111-4111-8111-111111111111",
        "subscription disable 11111111-1111-4111-8111-111111111111",
        "subscription enable 11111111-1111-4111-8111-111111111111",
        "subscription delete 11111111-1111-4111-8111-111111111111",
        "tenant delete other.example",
        "principal create-user grace",
        "principal create-group team",
        "principal add-member team ada",
        "principal remove-member team ada",
        "principal reset-secret ada",
        "principal disable ada",
        "principal enable ada",
        "principal delete ada",
    ];
    for words in verbs {
        verb(&server, words);
    }
    let after = verb(&server, "audit verify")["entries"].as_u64().unwrap();
    assert_eq!(
        after - before,
        verbs.len() as u64,
        "every verb is one entry"
    );
    let disk = scene.disk("disk");
    scene.arm.done("DELETE", &disk, DISK_VERSION, None).await;
}

async fn storage_token(scene: &Scene, server: &Gallery, client: &str, secret: &str) -> String {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", client),
        ("client_secret", secret),
        ("scope", "https://storage.azure.com/.default"),
    ];
    let url = format!(
        "{}/{}/oauth2/v2.0/token",
        server.endpoint(),
        server.credential("tenantId")
    );
    let answer = scene.arm.http().post(url).form(&form).send().await.unwrap();
    let body: Value = answer.json().await.unwrap();
    body["access_token"]
        .as_str()
        .unwrap_or_else(|| panic!("{body}"))
        .to_owned()
}
