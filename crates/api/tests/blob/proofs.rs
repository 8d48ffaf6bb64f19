//! Keys, shared access signatures, tokens: who is let in, and who is not.

use crate::world::{ACCOUNT, HOST, World};

const PUT_PAGE: [(&str, &str); 2] = [("x-ms-page-write", "update"), ("x-ms-range", "bytes=0-511")];

pub async fn with_blob() -> World {
    let world = World::new().await;
    world
        .signed("PUT", "/vhds?restype=container", &[], b"")
        .await
        .expect(201);
    let headers = [
        ("x-ms-blob-type", "PageBlob"),
        ("x-ms-blob-content-length", "1048576"),
    ];
    world
        .signed("PUT", "/vhds/a%20b.vhd", &headers, b"")
        .await
        .expect(201);
    world
}

pub fn url(path: &str) -> String {
    format!("https://{HOST}/blob/{ACCOUNT}{path}")
}

fn encode(text: &str) -> String {
    text.replace('%', "%25")
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D")
        .replace(':', "%3A")
}

/// Signs a service SAS; `fields` overrides `sp`, `se`, `sr`, `st`.
pub fn service_sas(
    world: &World,
    resource: &str,
    sp: &str,
    sr: &str,
    se: &str,
    st: &str,
) -> String {
    let version = "2026-04-06";
    let string = [
        sp, st, se, resource, "", "", "https", version, sr, "", "", "", "", "", "", "",
    ]
    .join("\n");
    let st = if st.is_empty() {
        String::new()
    } else {
        format!("&st={}", encode(st))
    };
    format!(
        "sv={version}&spr=https&sr={sr}&sp={sp}&se={}{st}&sig={}",
        encode(se),
        encode(&world.mac(&string))
    )
}

fn account_sas(world: &World, ss: &str, srt: &str, sp: &str, se: &str) -> String {
    let version = "2022-11-02";
    let string = format!("{ACCOUNT}\n{sp}\n{ss}\n{srt}\n\n{se}\n\n\n{version}\n\n");
    format!(
        "sv={version}&ss={ss}&srt={srt}&sp={sp}&se={}&sig={}",
        encode(se),
        encode(&world.mac(&string))
    )
}

const LATER: &str = "2026-06-01T01:00:00Z";

#[tokio::test]
async fn a_key_lets_in_only_what_it_signed_and_only_now() {
    let world = with_blob().await;
    world
        .signed("HEAD", "/vhds/a%20b.vhd", &[], b"")
        .await
        .expect(200);
    for date in [
        "Sun, 31 May 2026 23:44:59 GMT",
        "Mon, 01 Jun 2026 00:15:01 GMT",
        "yesterday",
    ] {
        let answer = world
            .signed("HEAD", "/vhds/a%20b.vhd", &[("x-ms-date", date)], b"")
            .await;
        answer.expect_error(403, "AuthenticationFailed");
    }
    let mut other = with_blob().await;
    other.key[0] ^= 1;
    other
        .signed("HEAD", "/vhds/a%20b.vhd", &[], b"")
        .await
        .expect_error(403, "AuthenticationFailed");
    for value in [
        "SharedKey",
        "SharedKey acct1",
        "SharedKey acct1:",
        "SharedKey other:AAAA",
        "Basic YTpi",
        "Bearer x",
        "Bearer",
    ] {
        let headers = [
            ("authorization", value),
            ("x-ms-date", crate::world::NOW_TEXT),
        ];
        let answer = world
            .bare("GET", &url("/vhds/a%20b.vhd"), &headers, b"")
            .await;
        assert!(
            [401, 403].contains(&answer.status.as_u16()),
            "{value}: {}",
            answer.text()
        );
        assert!(answer.text().starts_with("<?xml"), "{}", answer.text());
    }
    let none = world.bare("GET", &url("/vhds/a%20b.vhd"), &[], b"").await;
    assert!(
        none.expect_error(401, "NoAuthenticationInformation")
            .header("www-authenticate")
            .contains("storage.azure.com")
    );
    world
        .bare(
            "GET",
            &format!("https://{HOST}/blob/nobody1/c/b?sv=2026-04-06&sr=b&sp=r&se={LATER}&sig=AA"),
            &[],
            b"",
        )
        .await
        .expect(404);
}

#[tokio::test]
async fn a_doubled_header_or_option_is_refused() {
    let world = with_blob().await;
    let doubled = [("x-ms-range", "bytes=0-1"), ("x-ms-range", "bytes=0-2")];
    world
        .bare("GET", &url("/vhds/b"), &doubled, b"")
        .await
        .expect_error(400, "InvalidHeaderValue");
    world
        .bare("GET", &url("/vhds/b?comp=list&COMP=page"), &[], b"")
        .await
        .expect_error(400, "InvalidQueryParameterValue");
}

#[tokio::test]
async fn a_service_sas_allows_what_it_names_and_nothing_else() {
    let world = with_blob().await;
    let blob = "/blob/acct1/vhds/a b.vhd";
    let read = service_sas(&world, blob, "r", "b", LATER, "");
    world
        .bare("GET", &url(&format!("/vhds/a%20b.vhd?{read}")), &[], b"")
        .await
        .expect(200);
    let list = service_sas(&world, "/blob/acct1/vhds", "rl", "c", LATER, "2026-05-31");
    world
        .bare(
            "GET",
            &url(&format!("/vhds?restype=container&comp=list&{list}")),
            &[],
            b"",
        )
        .await
        .expect(200);
    world
        .bare("GET", &url(&format!("/vhds/a%20b.vhd?{list}")), &[], b"")
        .await
        .expect(200);
    let page = [7_u8; 512];
    let put = |sas: &str| url(&format!("/vhds/a%20b.vhd?comp=page&{sas}"));
    let write = service_sas(&world, blob, "w", "b", LATER, "");
    world
        .bare("PUT", &put(&write), &PUT_PAGE, &page)
        .await
        .expect(201);
    let changed = read.replace("sp=r&", "sp=rw&");
    let expired = service_sas(&world, blob, "r", "b", "2026-06-01T00:00:00Z", "");
    let early = service_sas(&world, blob, "r", "b", LATER, "2026-06-01T00:30:00Z");
    let (g, p) = ("GET", "PUT");
    let table = [
        (p, put(&read), "AuthorizationPermissionMismatch"),
        (p, put(&changed), "AuthenticationFailed"),
        (
            g,
            url(&format!("/vhds/other?{read}")),
            "AuthenticationFailed",
        ),
        (
            g,
            url(&format!("/vhds/a%20b.vhd?{write}")),
            "AuthorizationPermissionMismatch",
        ),
        (
            g,
            url(&format!("/vhds/a%20b.vhd?{expired}")),
            "AuthenticationFailed",
        ),
        (
            g,
            url(&format!("/vhds/a%20b.vhd?{early}")),
            "AuthenticationFailed",
        ),
        (
            g,
            url(&format!("/vhds/a%20b.vhd?{read}&si=policy")),
            "AuthenticationFailed",
        ),
        (
            g,
            url(&format!("/vhds/a%20b.vhd?{read}&skoid=x")),
            "AuthenticationFailed",
        ),
        (
            g,
            url(&format!("/vhds/a%20b.vhd?{read}&sip=10.0.0.1")),
            "AuthorizationSourceIPMismatch",
        ),
        (
            g,
            url(&format!("/vhds?restype=container&{list}")),
            "AuthorizationResourceTypeMismatch",
        ),
        (
            g,
            url(&format!("/?comp=list&{list}")),
            "AuthorizationResourceTypeMismatch",
        ),
    ];
    for (method, url, code) in table {
        world
            .bare(method, &url, &PUT_PAGE, &page)
            .await
            .expect_error(403, code);
    }
    let both = [("authorization", "Bearer x")];
    world
        .bare("GET", &url(&format!("/vhds/a%20b.vhd?{read}")), &both, b"")
        .await
        .expect_error(403, "AuthenticationFailed");
}

#[tokio::test]
async fn an_account_sas_is_bound_to_its_levels_and_letters() {
    let world = with_blob().await;
    let all = account_sas(&world, "b", "sco", "rwdlc", LATER);
    world
        .bare("GET", &url(&format!("/?comp=list&{all}")), &[], b"")
        .await
        .expect(200);
    world
        .bare(
            "PUT",
            &url(&format!("/new?restype=container&{all}")),
            &[],
            b"",
        )
        .await
        .expect(201);
    let headers = [("x-ms-blob-type", "BlockBlob")];
    world
        .bare("PUT", &url(&format!("/new/b?{all}")), &headers, b"x")
        .await
        .expect(201);
    let create = account_sas(&world, "b", "o", "c", LATER);
    world
        .bare("PUT", &url(&format!("/new/c?{create}")), &headers, b"x")
        .await
        .expect(201);
    world
        .bare("PUT", &url(&format!("/new/c?{create}")), &headers, b"y")
        .await
        .expect_error(409, "BlobAlreadyExists");
    let objects = account_sas(&world, "b", "o", "rl", LATER);
    let files = account_sas(&world, "f", "sco", "rl", LATER);
    for (path, code) in [
        (
            format!("/?comp=list&{objects}"),
            "AuthorizationResourceTypeMismatch",
        ),
        (
            format!("/new?restype=container&comp=list&{objects}"),
            "AuthorizationResourceTypeMismatch",
        ),
        (format!("/new/b?{files}"), "AuthorizationServiceMismatch"),
        (
            format!("/new/b?{}", objects.replace("srt=o", "srt=sco")),
            "AuthenticationFailed",
        ),
    ] {
        world
            .bare("GET", &url(&path), &[], b"")
            .await
            .expect_error(403, code);
    }
}

#[tokio::test]
async fn a_storage_token_of_an_owner_works_and_an_arm_token_does_not() {
    let world = with_blob().await;
    let bearer = format!("Bearer {}", world.storage_token);
    world
        .bare(
            "GET",
            &url("/vhds/a%20b.vhd"),
            &[("authorization", &bearer)],
            b"",
        )
        .await
        .expect(200);
    let arm = format!("Bearer {}", world.token);
    let answer = world
        .bare(
            "GET",
            &url("/vhds/a%20b.vhd"),
            &[("authorization", &arm)],
            b"",
        )
        .await;
    assert!(
        [401, 403].contains(&answer.status.as_u16()),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_regenerated_key_ends_what_the_old_one_signed() {
    let world = with_blob().await;
    let path = format!("{}/regenerateKey", world.account_id());
    let body = serde_json::json!({ "keyName": "key1" });
    let keys = world
        .arm("POST", &path, "2025-08-01", Some(body))
        .await
        .expect(200)
        .json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    world
        .signed("HEAD", "/vhds/a%20b.vhd", &[], b"")
        .await
        .expect_error(403, "AuthenticationFailed");
    let shown = world
        .arm("GET", &world.account_id(), "2025-08-01", None)
        .await
        .expect(200);
    assert!(
        !shown
            .text()
            .contains(keys["keys"][0]["value"].as_str().unwrap())
    );
    assert_eq!(
        shown.json()["properties"]["primaryEndpoints"]["blob"],
        format!("https://{HOST}/blob/{ACCOUNT}/")
    );
    let check = format!(
        "/subscriptions/{}/providers/Microsoft.Storage/checkNameAvailability",
        world.group.split('/').nth(2).unwrap()
    );
    for (name, free) in [("acct1", false), ("fresh1", true), ("Bad_Name", false)] {
        let body = serde_json::json!({ "name": name, "type": "Microsoft.Storage/storageAccounts" });
        let answer = world
            .arm("POST", &check, "2025-08-01", Some(body))
            .await
            .expect(200)
            .json();
        assert_eq!(answer["nameAvailable"], free, "{answer}");
    }
}

#[tokio::test]
async fn a_host_names_the_account_too() {
    let world = with_blob().await;
    let sas = service_sas(&world, "/blob/acct1/vhds/a b.vhd", "r", "b", LATER, "");
    let url = format!("https://acct1.blob.localhost:8443/vhds/a%20b.vhd?{sas}");
    world.bare("GET", &url, &[], b"").await.expect(200);
}
