//! Limits against abuse, on the real server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{GALLERY_VERSION, Gallery, Options};

use crate::world::{World, check};

/// A server whose configuration says this.
async fn with(text: &str) -> World {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let options = Options::new(env!("CARGO_BIN_EXE_vitrine")).env("VITRINE_CONFIG", path);
    let server = Gallery::start(options).await;
    let owner = server.arm().await;
    World { server, owner }
}

#[tokio::test]
async fn who_asks_too_much_is_told_when_to_come_again_and_others_are_not() {
    let world = with("[limits]\nreads = { burst = 8, per_second = 1 }").await;
    let other = world.person("other").await;
    let ask =
        async |who: &testkit::Arm| who.send("GET", "/subscriptions", "2022-12-01", None).await;
    let first = ask(&world.owner).await;
    check(&first, 200, "");
    let left = first
        .header("x-ms-ratelimit-remaining-tenant-reads")
        .unwrap()
        .to_owned();
    assert!(left.parse::<u32>().unwrap() < 8, "{left}");
    let mut refused = None;
    for _ in 0..20 {
        let answer = ask(&world.owner).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a refusal after the burst");
    check(&refused, 429, "TooManyRequests");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert_eq!(
        refused.header("x-ms-ratelimit-remaining-tenant-reads"),
        Some("0")
    );
    check(&ask(&other.arm).await, 200, "");
    // Writes have a bucket of their own.
    let group = format!("{}/resourceGroups/g", world.server.subscription());
    let here = json!({ "location": "eastus" });
    let made = world
        .owner
        .send("PUT", &group, "2024-11-01", Some(&here))
        .await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert!(
        made.header("x-ms-ratelimit-remaining-subscription-writes")
            .is_some()
    );
    let started = Instant::now();
    while ask(&world.owner).await.status != 200 {
        assert!(started.elapsed() < Duration::from_secs(wait + 20));
    }
}

#[tokio::test]
async fn who_asks_too_much_of_blobs_is_told_so_in_their_words() {
    let world = with("[limits]\nblob_requests = { burst = 8, per_second = 1 }").await;
    let (group, _) = world.gallery("rg").await;
    let account = format!("{group}/providers/Microsoft.Storage/storageAccounts/limited");
    let body =
        json!({ "location": "eastus", "kind": "StorageV2", "sku": { "name": "Standard_LRS" } });
    world
        .owner
        .done("PUT", &account, "2025-08-01", Some(&body))
        .await;
    let endpoint = world.server.endpoint();
    let form = [
        ("grant_type", "client_credentials".to_owned()),
        ("client_id", world.server.credential("clientId")),
        ("client_secret", world.server.credential("clientSecret")),
        ("scope", "https://storage.azure.com/.default".to_owned()),
    ];
    let tenant = world.server.credential("tenantId");
    let url = format!("{endpoint}/{tenant}/oauth2/v2.0/token");
    let http = world.owner.http();
    let answer = http.post(url).form(&form).send().await.unwrap();
    let token: serde_json::Value = answer.json().await.unwrap();
    let token = token["access_token"].as_str().unwrap().to_owned();
    let list = async || {
        let url = format!("{endpoint}/blob/limited?comp=list");
        let request = http.get(url).header("x-ms-version", "2026-04-06");
        request.bearer_auth(&token).send().await.unwrap()
    };
    assert_eq!(list().await.status(), 200);
    let mut refused = None;
    for _ in 0..20 {
        let answer = list().await;
        if answer.status() != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a refusal after the burst");
    assert_eq!(refused.status(), 503);
    let header = |name: &str| refused.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("x-ms-error-code"), "ServerBusy");
    let wait: u64 = header("retry-after").parse().unwrap();
    // The other face is not the matter of this limit.
    check(
        &world
            .owner
            .send("GET", "/subscriptions", "2022-12-01", None)
            .await,
        200,
        "",
    );
    let started = Instant::now();
    while list().await.status() != 200 {
        assert!(started.elapsed() < Duration::from_secs(wait + 20));
    }
}

#[tokio::test]
async fn a_flood_of_refused_requests_is_a_few_entries_of_the_audit() {
    let world = World::new().await;
    let (_, gallery) = world.gallery("rg").await;
    let nobody = world.person("nobody").await;
    let before = world.verb("audit verify")["entries"].as_i64().unwrap();
    let here = json!({ "location": "eastus" });
    for n in 0..400 {
        let path = match n % 2 {
            0 => gallery.clone(),
            _ => format!("{gallery}{n}"),
        };
        let answer = nobody
            .arm
            .send("PUT", &path, GALLERY_VERSION, Some(&here))
            .await;
        check(&answer, 403, "AuthorizationFailed");
    }
    let mut world = world;
    assert!(world.server.stop());
    let after = world.verb("audit verify")["entries"].as_i64().unwrap();
    // Each kind once, those that were folded, and the counts when the server stops.
    assert!((60..=130).contains(&(after - before)), "{}", after - before);
}

#[tokio::test]
async fn a_client_that_never_ends_its_headers_is_cut_off() {
    let world = with("[limits]\nheader_seconds = 1\nconnections_per_address_max = 40").await;
    let address = world
        .server
        .endpoint()
        .replace("https://localhost", "127.0.0.1");
    // No handshake at all: the server speaks first, by closing.
    let started = Instant::now();
    let ended = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream.write_all(&[22]).unwrap();
        let mut buffer = Vec::new();
        let _ = stream.read_to_end(&mut buffer);
    });
    ended.await.unwrap();
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
    check(
        &world
            .owner
            .send("GET", "/subscriptions", "2022-12-01", None)
            .await,
        200,
        "",
    );
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused_and_the_server_goes_on() {
    let world = World::new().await;
    let url = format!(
        "{}/subscriptions?api-version=2022-12-01",
        world.server.endpoint()
    );
    let long = "x".repeat(200 << 10);
    let sent = world
        .owner
        .http()
        .get(&url)
        .header("x-long", long)
        .send()
        .await;
    if let Ok(answer) = sent {
        assert_eq!(answer.status(), 431);
    }
    check(
        &world
            .owner
            .send("GET", "/subscriptions", "2022-12-01", None)
            .await,
        200,
        "",
    );
}
