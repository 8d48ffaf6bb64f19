//! The verbs of the command line against a running gallery.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use testkit::{Gallery, Options, random_disk, write_vhd};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn an_image_is_booted_by_its_name() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let raw = server.scratch().join("in.raw");
    std::fs::write(&raw, random_disk(9 << 20, 5)).unwrap();
    let key = server.scratch().join("key.pub");
    std::fs::write(&key, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA me\n").unwrap();
    json(&server.vitrine(&["publish", &text(&raw), "--to", "web/debian/1.0.0"]));
    let run = ["vm", "run", "web/debian", "--name", "one", "--ssh-key"];
    let made = json(&server.vitrine(&[&run[..], &[text(&key).as_str()]].concat()));
    let reference = &made["properties"]["storageProfile"]["imageReference"];
    assert_eq!(reference["exactVersion"], "1.0.0");
    let address = made["publicIpAddress"].as_str().unwrap();
    assert!(address.starts_with("127."), "{address}");
    assert!(made["serialLog"].is_string(), "{made}");
    let missing = server.vitrine(&["vm", "run", "web/none", "--ssh-key", &text(&key)]);
    assert_eq!(missing.status.code(), Some(3), "{}", said(&missing));
}

#[tokio::test]
async fn what_is_published_from_raw_and_vhd_is_exported_byte_for_byte() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let bytes = random_disk(9 << 20, 4);
    let (raw, vhd) = (
        server.scratch().join("in.raw"),
        server.scratch().join("in.vhd"),
    );
    std::fs::write(&raw, &bytes).unwrap();
    write_vhd(&vhd, &bytes);
    for (file, version) in [(&raw, "web/debian/1.0.0"), (&vhd, "web/debian/1.0.1")] {
        let made = json(&server.vitrine(&[
            "publish",
            &text(file),
            "--to",
            version,
            "--region",
            "eastus",
            "--region",
            "westeurope=2",
        ]));
        assert_eq!(made["properties"]["provisioningState"], "Succeeded");
        assert_eq!(
            made["properties"]["replicationStatus"]["aggregatedState"], "Completed",
            "{made}"
        );
        let out = server.scratch().join("out.raw");
        let got = json(&server.vitrine(&["export", version, &text(&out)]));
        assert!(std::fs::read(&out).unwrap() == bytes, "{version}");
        assert_eq!(got["sizeBytes"], 9 << 20);
        assert_eq!(got["blake3"].as_str().map(str::len), Some(64));
    }
    let out = server.scratch().join("out.vhd");
    let first =
        json(&server.vitrine(&["export", "web/debian/1.0.0", &text(&out), "--format", "vhd"]));
    let second =
        json(&server.vitrine(&["export", "web/debian/1.0.1", &text(&out), "--format", "vhd"]));
    assert_eq!(
        first["blake3"], second["blake3"],
        "the same content has the same digest"
    );
    assert!(std::fs::read(&out).unwrap()[..9 << 20] == bytes[..]);
}

/// Who looks at a terminal sees a bar; a file or a pipe gets no control characters, and stdout only the result.
#[tokio::test]
async fn progress_is_drawn_on_a_terminal_and_nowhere_else() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let raw = server.scratch().join("in.raw");
    std::fs::write(&raw, random_disk(64 << 20, 9)).unwrap();
    let published = server.vitrine(&["publish", &text(&raw), "--to", "web/debian/1.0.0"]);
    json(&published);
    let lines = said(&published);
    assert!(
        !lines.contains("Uploading"),
        "it took no ten seconds: {lines}"
    );
    assert!(lines.contains(" MiB of 64 MiB\n"), "{lines}");
    assert!(!lines.contains(['\r', '\u{1b}']), "{lines:?}");
    // `script` makes a terminal of stdin, stdout and stderr.
    let shown = Command::new("script")
        .args(["--quiet", "--return", "--command"])
        .arg(format!(
            "stty cols 100; {BINARY} publish {} --to web/debian/1.0.1 --data {}",
            raw.display(),
            server.data().display()
        ))
        .arg("/dev/null")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let drawn = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.status.success(), "{drawn}");
    let bar = drawn
        .split(['\r', '\n'])
        .find(|line| line.contains("/64.00 MiB"));
    let bar = bar.unwrap_or_else(|| panic!("no bar: {drawn:?}"));
    assert!(bar.contains("Uploading") && bar.contains("/s "), "{bar:?}");
}

#[tokio::test]
async fn publishing_again_says_what_is_in_the_way_and_exit_codes_follow_az() {
    let server = Gallery::start(Options::new(BINARY)).await;
    let file = server.scratch().join("in.raw");
    std::fs::write(&file, random_disk(1 << 20, 5)).unwrap();
    json(&server.vitrine(&["publish", &text(&file), "--to", "web/debian/1.0.0"]));
    std::fs::write(&file, random_disk(1 << 20, 6)).unwrap();
    let again = server.vitrine(&["publish", &text(&file), "--to", "web/debian/1.0.0"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        said(&again).contains("PropertyChangeNotAllowed"),
        "{}",
        said(&again)
    );
    let bad = server.vitrine(&["publish", &text(&file), "--to", "web/debian/one"]);
    assert_eq!(bad.status.code(), Some(1));
    assert!(
        said(&bad).contains("Major(int).Minor(int).Patch(int)"),
        "{}",
        said(&bad)
    );
    let missing = server.vitrine(&["export", "web/debian/9.9.9", "out.raw"]);
    assert_eq!(missing.status.code(), Some(3), "{}", said(&missing));
    let usage = server.vitrine(&["publish"]);
    assert_eq!(usage.status.code(), Some(2));
    std::fs::write(&file, vec![1_u8; 1000]).unwrap();
    let odd = server.vitrine(&["publish", &text(&file), "--to", "web/debian/2.0.0"]);
    assert!(
        said(&odd).contains("whole sectors of 512 bytes"),
        "{}",
        said(&odd)
    );
}

#[tokio::test]
async fn env_prints_lines_for_each_client_and_doctor_finds_the_server() {
    let server = Gallery::start(Options::new(BINARY)).await;
    for (client, expected) in [
        ("az", "--password="),
        ("terraform", "export ARM_METADATA_HOSTNAME=localhost:"),
        ("packer", "export ARM_METADATA_URL=https://localhost:"),
        ("sdk", "export AZURE_AUTHORITY_HOST=https://localhost:"),
    ] {
        let printed = server.vitrine(&["env", client]);
        let lines = String::from_utf8_lossy(&printed.stdout).into_owned();
        assert!(
            printed.status.success() && lines.contains(expected),
            "{client}: {lines}"
        );
    }
    let az = server.vitrine(&["env", "az"]);
    assert_eq!(String::from_utf8_lossy(&az.stdout).lines().count(), 4);
    let doctor = json(&server.vitrine(&["doctor"]));
    let server_check = doctor
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["check"] == "server")
        .unwrap();
    assert_eq!(server_check["good"], true, "{doctor}");
    let table = server.vitrine(&["--output", "table", "doctor"]);
    assert!(
        String::from_utf8_lossy(&table.stdout).starts_with("check"),
        "{table:?}"
    );
}

#[tokio::test]
async fn a_second_server_on_the_same_directory_is_told_so_and_nothing_is_hurt() {
    let mut server = Gallery::start(Options::new(BINARY)).await;
    let sweep = server.vitrine(&["sweep"]);
    assert_eq!(sweep.status.code(), Some(1));
    assert!(
        said(&sweep).contains("a running gallery holds its stores"),
        "{}",
        said(&sweep)
    );
    let second = server.vitrine(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    let told = "Another server works in this data directory";
    assert!(said(&second).contains(told), "{}", said(&second));
    assert!(server.stop());
    json(&server.vitrine(&["fsck"]));
    json(&server.vitrine(&["scrub"]));
    json(&server.vitrine(&["sweep", "--dry-run"]));
    let condensed = json(&server.vitrine(&["condense"]));
    assert_eq!(
        condensed[0]["savedBytes"], 0,
        "nothing is stored: {condensed}"
    );
}

/// Set `VITRINE_WRITE_SUPPORT=1` to write the page anew after a change of the route table.
#[test]
fn the_support_page_lists_every_route_and_no_other() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/support.md");
    let written = std::fs::read_to_string(&page).unwrap();
    let routes = api::routes::Routes::new();
    let mut lines: Vec<String> = routes
        .iter()
        .map(|route| format!("{:6} {}\n", route.method.as_str(), route.pattern))
        .collect();
    lines.sort_by(|a, b| a[7..].cmp(&b[7..]).then(a.cmp(b)));
    lines.dedup();
    let (head, rest) = written.split_once("```\n").unwrap();
    let (_, tail) = rest.split_once("```\n").unwrap();
    let expected = format!("{head}```\n{}```\n{tail}", lines.concat());
    if std::env::var_os("VITRINE_WRITE_SUPPORT").is_some() {
        std::fs::write(&page, expected).unwrap();
        return;
    }
    assert!(
        written == expected,
        "docs/support.md is not the route table: write it anew with VITRINE_WRITE_SUPPORT=1"
    );
}
