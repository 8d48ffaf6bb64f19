//! The blob plane as those see it who have no business there.

use serde_json::Value;
use testkit::Answer;

use crate::estate::{API_VERSION, Estate, MARK, verb};

/// Verb, path below the account, header of the kind of blob; the owner's answer to it.
const REQUESTS: [(&str, &str, &str, u16); 12] = [
    ("GET", "/?comp=list", "", 200),
    ("GET", "/images?restype=container", "", 200),
    ("GET", "/images?restype=container&comp=list", "", 200),
    ("GET", "/images/disk.vhd", "", 200),
    ("HEAD", "/images/disk.vhd", "", 200),
    ("GET", "/images/disk.vhd?comp=pagelist", "", 200),
    ("PUT", "/images/disk.vhd?comp=metadata", "", 200),
    ("PUT", "/images/disk.vhd", "PageBlob", 201),
    ("PUT", "/images/text", "BlockBlob", 201),
    ("PUT", "/stolen?restype=container", "", 201),
    ("DELETE", "/images/disk.vhd", "", 202),
    ("DELETE", "/images?restype=container", "", 202),
];

async fn ask(estate: &Estate, token: &str, request: (&str, &str, &str)) -> Answer {
    let (method, path, kind) = request;
    let url = format!("{}/blob/{MARK}account{path}", estate.server.endpoint());
    let method = method.parse().expect("a method");
    let mut sent = estate.owner.http().request(method, &url).body(Vec::new());
    sent = sent.header("x-ms-version", "2021-12-02");
    if !token.is_empty() {
        sent = sent.bearer_auth(token);
    }
    if !kind.is_empty() {
        sent = sent.header("x-ms-blob-type", kind);
        sent = sent.header("x-ms-blob-content-length", "1049088");
    }
    let answer = sent.send().await.expect("the blob plane answers");
    let headers = answer.headers().iter().map(|(name, value)| {
        let value = value.to_str().unwrap_or_default().to_owned();
        (name.as_str().to_owned(), value)
    });
    Answer {
        status: answer.status().as_u16(),
        headers: headers.collect(),
        body: Value::String(answer.text().await.unwrap_or_default()),
    }
}

#[tokio::test]
async fn blobs_open_to_nobody_who_may_not_read_their_data() {
    let estate = Estate::new().await;
    estate.upload_blob().await;
    let (stranger, _) = estate.stranger().await;
    let nobody = estate.principal("nobody").await;
    let reader = estate.principal("reader").await;
    let scope = estate.server.subscription();
    let grant = format!(
        "principal grant {} --role Reader --scope {scope}",
        reader.id
    );
    verb(&estate.server, &grant);
    let [arm_token, blob_token] = estate.owner_tokens().await;
    for (who, token, statuses) in [
        ("no token", "", [401, 404]),
        ("garbage", "a.b.c", [401, 403]),
        ("a token for the gallery", arm_token.as_str(), [401, 403]),
        ("a stranger", &stranger.blob_token, [403, 404]),
        ("nobody", &nobody.blob_token, [403, 404]),
        ("a reader of resources", &reader.blob_token, [403, 404]),
    ] {
        for (method, path, kind, _) in REQUESTS {
            let answer = ask(&estate, token, (method, path, kind)).await;
            let line = format!("{who}: {method} {path}: {} {}", answer.status, answer.body);
            assert!(statuses.contains(&answer.status), "{line}");
            assert!(answer.header("x-ms-error-code").is_some(), "{line}");
            assert_eq!(estate.leaks(path, &answer), [""; 0], "{line}");
        }
    }
    // The same requests work for the owner, so nothing was refused for being wrong.
    for (method, path, kind, status) in REQUESTS {
        let answer = ask(&estate, &blob_token, (method, path, kind)).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_token_for_blobs_is_no_token_for_the_gallery() {
    let estate = Estate::new().await;
    let [arm_token, blob_token] = estate.owner_tokens().await;
    for (token, status) in [(&arm_token, 200), (&blob_token, 401)] {
        let client = estate.owner.with_token(token);
        let answer = client.send("GET", "/subscriptions", API_VERSION, None);
        let answer = answer.await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}
