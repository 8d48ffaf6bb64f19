//! Text of clients: never a script (25), never a program for a parser (31).

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::world::{DISK, GALLERY, GROUP, HOST, World, definition_body};

const SCRIPTS: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "</script><svg/onload=alert(1)>",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "\u{1b}]0;title\u{7}",
    "\u{202e}gpj.exe",
];
const LINKS: [&str; 6] = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " java\tscript:alert(1)",
    "\u{1}javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
];

#[tokio::test]
async fn threat_25_no_link_that_is_a_script_is_stored() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    let gallery = world.gallery(&owner, &group, None).await;
    for link in LINKS {
        for name in ["eula", "releaseNoteUri", "privacyStatementUri"] {
            let mut body = definition_body();
            body["properties"][name] = json!(link);
            let path = format!("{gallery}/images/debian");
            for method in ["PUT", "PATCH"] {
                let answer = world
                    .send(&owner, method, &path, GALLERY, Some(&body))
                    .await;
                assert_eq!(
                    (answer.status(), answer.code()),
                    (400, "InvalidParameter"),
                    "{name} {link:?}: {}",
                    answer.text()
                );
            }
        }
        for name in ["publisherUri", "publisherContact", "eula"] {
            let mut info = json!({ "publisherUri": "https://acme.example", "publisherContact": "a@acme.example", "eula": "none", "publicNamePrefix": "acmeinc" });
            info[name] = json!(link);
            let body = json!({ "location": "eastus", "properties": { "sharingProfile": { "permissions": "Community", "communityGalleryInfo": info } } });
            let path = format!("{group}/providers/Microsoft.Compute/galleries/public");
            let answer = world.send(&owner, "PUT", &path, GALLERY, Some(&body)).await;
            assert_eq!(
                (answer.status(), answer.code()),
                (400, "InvalidParameter"),
                "{name} {link:?}: {}",
                answer.text()
            );
        }
    }
    for text in [
        "https://acme.example/eula",
        "http://x",
        "Terms: none",
        "see data sheet",
        "",
    ] {
        let mut body = definition_body();
        body["properties"]["eula"] = json!(text);
        let path = format!("{gallery}/images/debian");
        world
            .over(&owner, "PUT", &path, GALLERY, Some(&body))
            .await
            .0
            .expect(200, "");
    }
}

#[tokio::test]
async fn threat_25_text_comes_back_as_data_that_no_browser_runs() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    let gallery = world.gallery(&owner, &group, None).await;
    world.account(&owner, &group, "textacct").await;
    for (number, script) in SCRIPTS.into_iter().enumerate() {
        let tags = json!({ "note": script });
        let mut definition = definition_body();
        definition["tags"] = tags.clone();
        for name in ["description", "eula"] {
            definition["properties"][name] = json!(script);
        }
        definition["properties"]["identifier"]["sku"] = json!(format!("s{number}"));
        let disk = json!({ "location": "eastus", "tags": tags, "properties": { "diskSizeGB": 1, "creationData": { "createOption": "Empty" } } });
        for (path, api, body) in [
            (
                group.clone(),
                GROUP,
                json!({ "location": "eastus", "tags": tags }),
            ),
            (
                gallery.clone(),
                GALLERY,
                json!({ "location": "eastus", "properties": { "description": script } }),
            ),
            (format!("{gallery}/images/i{number}"), GALLERY, definition),
            (
                format!("{group}/providers/Microsoft.Compute/disks/d{number}"),
                DISK,
                disk,
            ),
            (
                format!("{group}/providers/Microsoft.Authorization/locks/l{number}"),
                "2020-05-01",
                json!({ "properties": { "level": "CanNotDelete", "notes": script } }),
            ),
        ] {
            let (put, _) = world.over(&owner, "PUT", &path, api, Some(&body)).await;
            let got = world.send(&owner, "GET", &path, api, None).await;
            for answer in [put, got] {
                is_inert(&answer, &path);
            }
        }
        let encoded: String = script.bytes().map(|b| format!("%{b:02X}")).collect();
        for path in [
            "/",
            "/subscriptions/",
            "/graph/v1.0/users/",
            "/devicelogin/",
            "/blob/textacct/",
            "/blob/",
            "/metadata/",
        ] {
            for query in ["", "?api-version=", "?$filter=", "?comp=", "?restype="] {
                let url = format!("https://{HOST}{path}{encoded}{query}{encoded}");
                for token in ["", owner.token.as_str(), owner.blob_token.as_str()] {
                    is_inert(&world.send_text(token, "GET", &url, "").await, &url);
                }
            }
        }
    }
    // A page that somebody stores as a blob is shown in a sandbox without scripts.
    let url = format!("https://{HOST}/blob/textacct/images/page.html");
    let html = [
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-blob-content-type", "text/html"),
    ];
    world
        .blob(
            &owner.blob_token,
            "PUT",
            &url,
            &html,
            b"<script>alert(1)</script>",
        )
        .await
        .expect(201, "");
    let page = world
        .blob(&owner.blob_token, "GET", &url, &[], &[])
        .await
        .expect(200, "");
    assert_eq!(page.header("content-type"), "text/html");
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains("sandbox")
            && policy.contains("default-src 'none'")
            && !policy.contains("allow-"),
        "{policy}"
    );
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    device_page(&world).await;
}

/// The one page for people shows again what was typed, escaped, and runs nothing.
async fn device_page(world: &World) {
    let form = "code=%3Cscript%3E&username=%22%3E%3Cimg%20src%3Dx%3E&password=x&answer=continue";
    let request = Request::post(format!("https://{HOST}/devicelogin"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form))
        .unwrap();
    let answer = world.raw(request).await;
    let text = answer.text();
    assert!(
        !text.contains("<script>") && !text.contains("<img"),
        "{text}"
    );
    let policy = answer.header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
}

fn is_inert(answer: &crate::world::Answer, path: &str) {
    let kind = answer.header("content-type");
    let is_data = kind.is_empty()
        || kind.starts_with("application/json")
        || kind.starts_with("application/xml");
    assert!(
        is_data || !answer.text().contains("alert(1)"),
        "{path}: {kind}: {}",
        answer.text()
    );
    assert!(
        answer.bytes.is_empty() || !is_data || answer.header("x-content-type-options") == "nosniff",
        "{path}: {:?}",
        answer.headers
    );
    for (name, value) in &answer.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        assert!(
            !value.contains('\r') && !value.contains('\n'),
            "{path}: {name}: {value}"
        );
    }
}

#[tokio::test]
async fn threat_31_documents_are_bounded_and_name_nothing_outside() {
    let world = World::new().await;
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    world.account(&owner, &group, "textacct").await;
    let url = format!("https://{HOST}/blob/textacct/images/b?comp=blocklist");
    let entity = |declared: &str| {
        format!(
            "<?xml version=\"1.0\"?><!DOCTYPE x [{declared}]><BlockList><Latest>&a;</Latest></BlockList>"
        )
    };
    let lol: String = (0..9)
        .map(|n| {
            format!(
                "<!ENTITY l{} \"&l{n};&l{n};&l{n};&l{n};&l{n};&l{n};&l{n};&l{n};\">",
                n + 1
            )
        })
        .collect();
    for body in [
        entity("<!ENTITY a SYSTEM \"file:///etc/passwd\">"),
        entity("<!ENTITY a SYSTEM \"http://127.0.0.1:1/\">"),
        entity("<!ENTITY % p SYSTEM \"http://127.0.0.1:1/\"> %p;"),
        entity(&format!("<!ENTITY l0 \"lol\">{lol}<!ENTITY a \"&l9;\">")),
        format!(
            "{}{}",
            "<BlockList>".repeat(100_000),
            "</BlockList>".repeat(100_000)
        ),
        format!(
            "<BlockList>{}</BlockList>",
            "<Latest>QUFB</Latest>".repeat(60_000)
        ),
        "<BlockList><Latest>".to_owned(),
        "\u{0}".repeat(1000),
    ] {
        let started = std::time::Instant::now();
        let answer = world
            .blob(&owner.blob_token, "PUT", &url, &[], body.as_bytes())
            .await;
        assert!([400, 413].contains(&answer.status()), "{}", answer.text());
        assert!(!answer.text().contains("root:"));
        assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    }
    json_bombs(&world, &group).await;
}

async fn json_bombs(world: &World, group: &str) {
    let owner = &world.owner;
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let wide: Value = (0..20_000)
        .map(|n| (n.to_string(), json!(n)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    for (path, api) in [
        (
            format!("{group}/providers/Microsoft.Compute/galleries/g"),
            GALLERY,
        ),
        (format!("{group}/providers/Microsoft.Compute/disks/d"), DISK),
        (
            format!("{group}/providers/Microsoft.Authorization/locks/l"),
            "2020-05-01",
        ),
    ] {
        for body in [
            deep.clone(),
            format!("{{\"location\":\"eastus\",\"properties\":{deep}}}"),
            format!("{{\"location\":\"eastus\",\"tags\":{wide}}}"),
            format!("{{\"location\":\"{}\"}}", "a".repeat(5 << 20)),
            "{\"location\":1e999999999}".to_owned(),
            "{\"location\":\"\\ud800\"}".to_owned(),
            "{\"location\":".to_owned(),
            "null".to_owned(),
            "\u{feff}\u{feff}{}".to_owned(),
        ] {
            let url = format!("https://{HOST}{path}?api-version={api}");
            let started = std::time::Instant::now();
            let answer = world.send_text(&owner.token, "PUT", &url, &body).await;
            let shown: String = body.chars().take(60).collect();
            assert!(
                [400, 413].contains(&answer.status()),
                "{path} {shown}: {}",
                answer.text()
            );
            assert!(
                answer.bytes.len() < 4096,
                "{shown}: an answer of {} bytes",
                answer.bytes.len()
            );
            assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
        }
    }
}
