//! Doors: deploying opens no disk (14), headers give no identity (20), nobody is a deputy for
//! another tenant (21), nothing is open by default (36).

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{ACCOUNT, DISK, GALLERY, GROUP, HOST, World, disk_body, page, version_body};

#[tokio::test]
async fn threat_14_who_may_deploy_opens_no_disk_and_no_account_of_the_owner() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    let work = world.group(&owner, "work").await;
    let (gallery, source, version) = world.published(&owner, &group).await;
    let account = world.account(&owner, &group, "shutacct").await;
    let deployer = world
        .with_role("deployer", "Compute Gallery Image Reader", &gallery)
        .await;
    world
        .engine
        .grant_role(&deployer.object_id, "Contributor", &work)
        .await
        .unwrap();
    let disk = format!("{work}/providers/Microsoft.Compute/disks/made");
    world
        .done(
            &deployer,
            "PUT",
            &disk,
            DISK,
            Some(disk_body("id", &version)),
        )
        .await;
    let access = json!({ "access": "Read", "durationInSeconds": 60 });
    for (method, path, api, body) in [
        (
            "POST",
            format!("{source}/beginGetAccess"),
            DISK,
            Some(&access),
        ),
        ("POST", format!("{source}/endGetAccess"), DISK, None),
        ("POST", format!("{account}/listKeys"), ACCOUNT, None),
        (
            "POST",
            format!("{account}/regenerateKey"),
            ACCOUNT,
            Some(&json!({ "keyName": "key1" })),
        ),
        ("GET", source.clone(), DISK, None),
        ("DELETE", version.clone(), GALLERY, None),
        (
            "POST",
            format!("{gallery}/share"),
            GALLERY,
            Some(&json!({ "operationType": "Reset" })),
        ),
    ] {
        let answer = world.send(&deployer, method, &path, api, body).await;
        answer.expect(403, "AuthorizationFailed");
    }
    // Nor does who reads everything see a URL that somebody else asked for.
    let reader = world
        .with_role("reader", "Reader", &world.subscription)
        .await;
    let path = format!("{source}/beginGetAccess");
    let begun = world.send(&owner, "POST", &path, DISK, Some(&access)).await;
    assert_eq!(begun.status(), 202, "{}", begun.text());
    for header in ["azure-asyncoperation", "location"] {
        let url = begun.header(header).to_owned();
        let answer = world.send_text(&reader.token, "GET", &url, "").await;
        assert!(
            [403, 404].contains(&answer.status()),
            "{header}: {}",
            answer.text()
        );
        assert!(!answer.text().contains("sig="), "{}", answer.text());
    }
}

/// Headers by which proxies say who somebody is.
const IDENTITY: [(&str, &str); 14] = [
    ("x-ms-client-principal", "eyJ1c2VySWQiOiJvd25lciJ9"),
    ("x-ms-client-principal-id", "OWNER"),
    ("x-ms-client-principal-name", "OWNER"),
    ("x-ms-client-object-id", "OWNER"),
    ("x-ms-client-tenant-id", "TENANT"),
    ("x-ms-authorization-auxiliary", "Bearer TOKEN"),
    ("x-forwarded-user", "OWNER"),
    ("x-remote-user", "OWNER"),
    ("x-identity-status", "Confirmed"),
    ("x-forwarded-for", "203.0.113.9"),
    ("x-real-ip", "203.0.113.9"),
    ("forwarded", "for=203.0.113.9;host=evil.example"),
    ("x-original-url", "/healthz"),
    ("x-http-method-override", "GET"),
];

#[tokio::test]
async fn threat_20_no_header_of_a_client_says_who_it_is_or_where_it_comes_from() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    let nobody = world.person("nobody", None).await;
    let url = format!("https://{HOST}{group}?api-version={GROUP}");
    for (name, value) in IDENTITY {
        let value = value
            .replace("OWNER", &owner.client_id)
            .replace("TENANT", &owner.tenant)
            .replace("TOKEN", &owner.token);
        for (token, status) in [("", 401), (nobody.token.as_str(), 403)] {
            let peer: SocketAddr = "198.51.100.7:5".parse().unwrap();
            let mut request = Request::builder()
                .method("DELETE")
                .uri(&url)
                .header(name, &value)
                .extension(ConnectInfo(peer));
            if !token.is_empty() {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let answer = world.raw(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status(), status, "{name}: {}", answer.text());
        }
    }
    // Refusals of one kind are told of at once, and the rest of them together.
    world.engine.flush_refusals(true).await.unwrap();
    let path = format!(
        "{}/providers/Microsoft.Insights/eventtypes/management/values?$filter=eventTimestamp%20ge%202000-01-01T00:00:00Z%20and%20eventTimestamp%20le%202100-01-01T00:00:00Z",
        world.subscription
    );
    let log = world
        .send(&owner, "GET", &path, "2015-04-01", None)
        .await
        .expect(200, "");
    let refused = log.body["value"].as_array().unwrap().iter();
    let refused = refused.filter(|event| event["status"]["value"] == "Failed");
    let mut count = 0;
    for event in refused {
        let from = &event["httpRequest"]["clientIpAddress"];
        assert_eq!(*from, "198.51.100.7", "{}", log.text());
        // All properties of an event are text, as az wants them.
        let repeats = event["properties"]["repeats"].as_str().unwrap();
        let repeats: u64 = repeats.parse().unwrap();
        count += 1 + repeats;
    }
    assert_eq!(count, IDENTITY.len() as u64, "{}", log.text());
    assert!(!log.text().contains("203.0.113.9"));
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the server ends with its test")]
async fn threat_20_a_body_has_one_length_and_hides_no_second_request() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = world.router.clone();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let hidden = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    for (what, head) in [
        (
            "two lengths",
            format!(
                "Content-Length: 0\r\nContent-Length: {}\r\n\r\n{hidden}",
                hidden.len()
            ),
        ),
        (
            "a list of lengths",
            format!("Content-Length: 0, {}\r\n\r\n{hidden}", hidden.len()),
        ),
        (
            "a signed length",
            format!("Content-Length: +{}\r\n\r\n{hidden}", hidden.len()),
        ),
        (
            "an unknown coding",
            format!("Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "chunked is not last",
            format!("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "a blank before the colon",
            format!("Content-Length : {}\r\n\r\n{hidden}", hidden.len()),
        ),
        (
            "a folded header",
            format!(
                "X-A: b\r\n Content-Length: {}\r\n\r\n{hidden}",
                hidden.len()
            ),
        ),
        (
            "a bad chunk",
            format!("Transfer-Encoding: chunked\r\n\r\nZZ\r\n{hidden}"),
        ),
    ] {
        let text = format!(
            "POST /subscriptions?api-version=2022-12-01 HTTP/1.1\r\nHost: {HOST}\r\n{head}"
        );
        let said = said_to(address, &text).await;
        assert!(
            !said.contains("HTTP/1.1 200"),
            "{what}: a second request was answered: {said}"
        );
    }
    let said = said_to(address, hidden).await;
    assert!(
        said.contains("HTTP/1.1 200"),
        "the request alone is answered: {said}"
    );
    server.abort();
}

/// Sends a text and returns everything that is said until nothing more comes.
async fn said_to(address: SocketAddr, text: &str) -> String {
    const QUIET: std::time::Duration = std::time::Duration::from_millis(500);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let (mut said, mut part) = (Vec::new(), [0; 4096]);
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(QUIET, stream.read(&mut part)).await {
        said.extend(&part[..count]);
    }
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn threat_21_nothing_is_made_of_what_the_caller_may_not_read_himself() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    let (_, source, version) = world.published(&owner, &group).await;
    world.account(&owner, &group, "otheracct").await;
    let blob = world
        .page_blob(&owner, "otheracct", "b.vhd", &page("secret"))
        .await;
    let spy = world.stranger("spy").await;
    let place = format!("{}/resourceGroups/rg", spy.own);
    let theirs = world.gallery(&spy, &place, None).await;
    let here = format!("{place}/providers/Microsoft.Compute");
    let creation =
        |creation| json!({ "location": "eastus", "properties": { "creationData": creation } });
    let whole = |source| json!({ "location": "eastus", "properties": { "storageProfile": { "source": source } } });
    let disk = |number: u32| format!("{here}/disks/d{number}");
    let next = |number: u32| format!("{theirs}/images/debian/versions/1.0.{number}");
    for (path, api, body) in [
        (next(1), GALLERY, version_body(&source)),
        (next(2), GALLERY, whole(json!({ "id": version }))),
        (next(3), GALLERY, whole(json!({ "uri": blob }))),
        (
            disk(1),
            DISK,
            creation(json!({ "createOption": "Copy", "sourceResourceId": source })),
        ),
        (disk(2), DISK, disk_body("id", &version)),
        (
            disk(3),
            DISK,
            creation(json!({ "createOption": "Import", "sourceUri": blob })),
        ),
        (
            format!("{here}/snapshots/s"),
            DISK,
            creation(json!({ "createOption": "Copy", "sourceResourceId": source })),
        ),
        (
            format!("{here}/images/i"),
            "2024-07-01",
            json!({ "location": "eastus", "properties": { "storageProfile": { "osDisk": { "osType": "Linux", "osState": "Generalized", "managedDisk": { "id": source } } } } }),
        ),
        (
            format!("{here}/galleries/other"),
            GALLERY,
            json!({ "location": "eastus", "tags": { "note": source } }),
        ),
    ] {
        let answer = world.send(&spy, "PUT", &path, api, Some(&body)).await;
        let code = answer.code();
        // A tag is text: whatever is made of it, it is nothing of the owner's.
        let is_refused = answer.status() == 403 && code == "LinkedAuthorizationFailed";
        assert!(
            is_refused || path.ends_with("/other") || answer.status() == 400,
            "{path}: {}",
            answer.text()
        );
    }
}

/// Returns the body of a deployment of one resource.
fn deployment(resource: serde_json::Value) -> serde_json::Value {
    json!({ "properties": { "mode": "Incremental", "template": {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [resource],
    } } })
}

#[tokio::test]
async fn threat_21_a_deployment_does_nothing_that_its_caller_may_not_do_himself() {
    const VERSION: &str = "2022-09-01";
    let world = World::new().await;
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    let source = world.disk(&owner, &group, "source", &page("secret")).await;
    let publisher = world
        .with_role("publisher", "Compute Gallery Artifacts Publisher", &group)
        .await;
    let spy = world.stranger("spy").await;
    let place = format!("{}/resourceGroups/rg", spy.own);
    let account = json!({
        "type": "Microsoft.Storage/storageAccounts", "apiVersion": "2023-01-01", "name": "deployedacct",
        "location": "eastus", "kind": "StorageV2", "sku": { "name": "Standard_LRS" },
    });
    let gallery = json!({
        "type": "Microsoft.Compute/galleries", "apiVersion": "2023-07-03", "name": "deployed", "location": "eastus",
    });
    let copy = json!({
        "type": "Microsoft.Compute/disks", "apiVersion": "2023-04-02", "name": "stolen", "location": "eastus",
        "properties": { "creationData": { "createOption": "Copy", "sourceResourceId": source } },
    });
    let right = json!({
        "type": "Microsoft.Authorization/roleAssignments", "apiVersion": "2022-04-01",
        "name": "00000000-0000-4000-8000-0000000000b1",
        "properties": {
            "roleDefinitionId": "/providers/Microsoft.Authorization/roleDefinitions/8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
            "principalId": publisher.object_id,
        },
    });
    let foreign = json!({ "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "inner",
        "resourceGroup": "rg", "subscriptionId": owner.own.rsplit('/').next(),
        "properties": deployment(gallery.clone())["properties"] });
    for (name, one, group, resource, is_done) in [
        ("own", &publisher, &group, gallery, true),
        ("beyond", &publisher, &group, account, false),
        ("promoted", &publisher, &group, right, false),
        ("copied", &spy, &place, copy, false),
        ("nested", &spy, &place, foreign, false),
    ] {
        let path = format!("{group}/providers/Microsoft.Resources/deployments/{name}");
        let body = deployment(resource);
        let answer = world.send(one, "PUT", &path, VERSION, Some(&body)).await;
        let mut state = String::new();
        for _ in 0..1000 {
            let shown = world.send(one, "GET", &path, VERSION, None).await.body;
            let found = shown["properties"]["provisioningState"].as_str();
            found.unwrap_or("Failed").clone_into(&mut state);
            if ["Succeeded", "Failed", "Canceled"].contains(&state.as_str()) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let said = answer.text();
        assert_eq!(state == "Succeeded", is_done, "{name}: {state} {said}");
    }
    for (one, path, api) in [
        (
            &owner,
            format!("{group}/providers/Microsoft.Storage/storageAccounts/deployedacct"),
            ACCOUNT,
        ),
        (
            &spy,
            format!("{place}/providers/Microsoft.Compute/disks/stolen"),
            DISK,
        ),
    ] {
        let answer = world.send(one, "GET", &path, api, None).await;
        answer.expect(404, "ResourceNotFound");
    }
}

#[tokio::test]
async fn threat_36_nothing_answers_without_a_token_but_what_sign_in_and_health_need() {
    let world = World::new().await;
    for path in [
        "/reset",
        "/_reset",
        "/admin",
        "/admin/reset",
        "/debug/pprof",
        "/debug/vars",
        "/metrics",
        "/env",
        "/actuator",
        "/actuator/heapdump",
        "/stat",
        "/providers/Vitrine.Gallery/stat",
        "/shutdown",
        "/config",
        "/console",
        "/api",
        "/swagger",
        "/graphql",
        "/.git/config",
        "/.env",
        "/server-status",
        "/catalog.db",
        "/ca.pem",
        "/credentials.json",
        "/data/credentials.json",
        "/static/../credentials.json",
        "/portal/..%2fcredentials.json",
        "/subscriptions",
        "/tenants",
        "/graph/v1.0/users",
        "/v1.0/users",
        "/blob/",
        "/blob/x/y/z",
        "/blob/disk-access/x/disk.vhd",
    ] {
        for method in [
            "GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT",
        ] {
            let url = format!("https://{HOST}{path}?api-version=2022-12-01");
            let Ok(request) = Request::builder()
                .method(method)
                .uri(&url)
                .body(Body::empty())
            else {
                continue;
            };
            let answer = world.raw(request).await;
            let line = format!("{method} {path}: {} {}", answer.status(), answer.text());
            let statuses = [400, 401, 403, 404, 405, 411];
            assert!(statuses.contains(&answer.status()), "{line}");
            assert!(
                answer.headers.get("access-control-allow-origin").is_none(),
                "{line}"
            );
            for word in ["sqlite", "BEGIN", "/tmp", "panicked", "clientSecret"] {
                assert!(!answer.text().contains(word), "{line}");
            }
        }
    }
}
