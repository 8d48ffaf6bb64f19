//! `vitrine exec`: a program that knows only the public cloud finds the gallery, and nothing else.

#![expect(clippy::disallowed_methods, reason = "it runs the binary")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::{Gallery, Options};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");

/// Starts a script below `vitrine exec`.
fn start(server: &Gallery, script: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(BINARY)
        .args(["exec", "--", "sh", "-c", script])
        .env("VITRINE_DATA", server.data())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
    (child, lines)
}

fn line(lines: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).expect("stdout can be read");
    line.trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_knows_only_the_public_cloud_finds_the_gallery() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let script =
        r#"echo "$HTTPS_PROXY"; echo "$SSL_CERT_FILE"; echo "$ARM_CLIENT_ID"; read end; exit 7"#;
    let (mut child, mut lines) = start(&server, script);
    let [proxy, trusted, client] = [(); 3].map(|()| line(&mut lines));
    assert_eq!(client, server.credential("clientId"));
    let pem = std::fs::read(&trusted).unwrap();
    let http = reqwest::Client::builder()
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(&pem).unwrap())
        .proxy(reqwest::Proxy::https(&proxy).unwrap())
        .build()
        .unwrap();

    let url = "https://management.azure.com/metadata/endpoints?api-version=2022-09-01";
    let cloud: Value = http.get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(cloud["name"], "Vitrine");
    assert_eq!(cloud["resourceManager"], "https://management.azure.com/");

    // As go-autorest signs in: one token for the resource manager, one for key vaults.
    let tenant = server.credential("tenantId");
    let token = async |resource: &str| {
        let url =
            format!("https://login.microsoftonline.com/{tenant}/oauth2/token?api-version=1.0");
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &server.credential("clientId")),
            ("client_secret", &server.credential("clientSecret")),
            ("resource", resource),
        ];
        let answer = http.post(url).form(&form).send().await.unwrap();
        let body: Value = answer.json().await.unwrap();
        let token = body["access_token"].as_str();
        token
            .unwrap_or_else(|| panic!("{resource}: {body}"))
            .to_owned()
    };
    let listed = async |token: String| {
        let url = "https://management.azure.com/subscriptions?api-version=2022-12-01";
        http.get(url).bearer_auth(token).send().await.unwrap()
    };
    let answer = listed(token("https://management.azure.com/").await).await;
    let all: Value = answer.json().await.unwrap();
    let first = &all["value"][0]["subscriptionId"];
    assert_eq!(first.as_str(), Some(&*server.credential("subscriptionId")));
    let refused = listed(token("https://vault.azure.net").await).await;
    assert_eq!(refused.status(), 401, "a token for vaults opens nothing");

    for other in ["https://example.test/", "https://graph.microsoft.com/"] {
        assert!(http.get(other).send().await.is_err(), "{other}");
    }

    child.stdin.take().unwrap().write_all(b"end\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7), "the program's own");
    assert!(!Path::new(&trusted).exists());
    assert!(http.get(url).send().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_asked_to_end_and_may_clean_up() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let script = "trap 'echo cleaned; exit 5' TERM; echo ready; read end; read end; read end";
    let (mut child, mut lines) = start(&server, script);
    assert_eq!(line(&mut lines), "ready");
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(line(&mut lines), "cleaned");
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[tokio::test]
async fn a_program_or_gallery_that_is_not_there_is_said() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let missing = server.vitrine(&["exec", "--", "no-such-program-here"]);
    assert_eq!(missing.status.code(), Some(1));
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(said.contains("cannot run no-such-program-here"), "{said}");
    let usage = server.vitrine(&["exec"]);
    assert_eq!(usage.status.code(), Some(2));
    let nowhere = Command::new(BINARY)
        .args(["exec", "--data", "/nonexistent", "--", "true"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(said.contains("start one with 'vitrine up'"), "{said}");
}
