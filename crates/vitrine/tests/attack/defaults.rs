//! What a fresh installation opens: this machine alone, its owner's files alone (36).

use std::os::unix::fs::PermissionsExt as _;

use testkit::{Gallery, Options};

use crate::{BINARY, files};

#[tokio::test]
async fn threat_36_a_fresh_installation_listens_here_and_keeps_its_files_to_itself() {
    let server = Gallery::start(Options::new(BINARY)).await;
    for verb in ["up", "serve"] {
        let help = server.vitrine(&[verb, "--help"]);
        let text = String::from_utf8_lossy(&help.stdout).into_owned();
        assert!(text.contains("[default: 127.0.0.1:8443]"), "{verb}: {text}");
    }
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&server.data()), 0o700);
    for path in files(&server.data()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.contains("key") || name == "credentials.json" {
            assert_eq!(mode(&path), 0o600, "{name}");
        }
    }
    // What answers without a token says nothing of the installation.
    let http = server.arm().await.http().clone();
    for (path, said) in [("/healthz", "ok"), ("/readyz", "ready")] {
        let answer = http
            .get(format!("{}{path}", server.endpoint()))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.text().await.unwrap().trim(), said, "{path}");
    }
}
