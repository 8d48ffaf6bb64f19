//! Which tokens count: signature, issuer, class, tenant, time, standing of the principal.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::identity::{LocalRequest, SignInError};
use serde_json::{Value, json};

use super::world::{ARM, BASE, START_MS, World, claims, part};

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Signs claims with a key of the test's own, or with the installation's.
fn forged(header: &Value, claims: &Value, key: &jsonwebtoken::EncodingKey) -> String {
    let header: jsonwebtoken::Header = serde_json::from_value(header.clone()).unwrap();
    jsonwebtoken::encode(&header, claims, key).unwrap()
}

async fn installation_key(world: &World) -> jsonwebtoken::EncodingKey {
    let mut read = world.engine.catalog().read().await.unwrap();
    let keys = read.list_signing_keys().await.unwrap();
    jsonwebtoken::EncodingKey::from_ec_pem(keys[0].private_pem.as_bytes()).unwrap()
}

#[tokio::test]
async fn a_token_says_what_clients_read_and_speaks_for_its_principal() {
    let world = World::new().await;
    let token = world.token().await;
    let said = claims(&token);
    assert_eq!(said["tid"], json!(world.first.tenant_id));
    assert_eq!(said["appid"], json!(world.first.client_id));
    assert_eq!(said["aud"], json!("https://localhost:8443/"));
    assert_eq!(
        said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(),
        3600
    );
    assert_eq!(part(&token, 0)["alg"], json!("ES256"));
    let caller = world.engine.authenticate(&token).await.unwrap();
    assert_eq!(json!(caller.object_id), said["oid"]);
    assert_eq!(
        (caller.tenant, caller.name),
        (world.first.tenant_id.clone(), world.first.client_id.clone())
    );
}

#[tokio::test]
async fn each_plane_accepts_only_its_own_class_however_the_audience_is_written() {
    let world = World::new().await;
    for (scope, is_arm, is_storage) in [
        (ARM, true, false),
        ("https://LOCALHOST:8443/.default", true, false),
        ("https://management.azure.com/.default", true, false),
        ("https://management.core.windows.net//.default", true, false),
        ("https://storage.azure.com/.default", false, true),
        ("https://acct.blob.localhost:8443/.default", false, true),
        ("https://graph.microsoft.com/.default", false, false),
    ] {
        let token = world.token_for(scope).await;
        assert_eq!(
            world.engine.authenticate(&token).await.is_ok(),
            is_arm,
            "{scope}"
        );
        assert_eq!(
            world.engine.authenticate_storage(&token).await.is_ok(),
            is_storage,
            "{scope}"
        );
    }
}

#[tokio::test]
async fn forged_tokens_do_not_count() {
    let world = World::new().await;
    let token = world.token().await;
    let (header, said) = (part(&token, 0), claims(&token));
    let [head, body, signature]: [&str; 3] =
        token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let jwks = world.engine.jwks().await.unwrap();
    let public = jwks["keys"][0].to_string();
    let stranger = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let stranger =
        jsonwebtoken::EncodingKey::from_ec_pem(stranger.serialize_pem().as_bytes()).unwrap();
    let hmac = jsonwebtoken::EncodingKey::from_secret(public.as_bytes());
    let hs256 = json!({ "typ": "JWT", "alg": "HS256", "kid": header["kid"] });
    let mut other_kid = header.clone();
    other_kid["kid"] = json!("../../etc/passwd");
    let mut promoted = said.clone();
    promoted["oid"] = json!("00000000-0000-0000-0000-000000000000");
    let key = installation_key(&world).await;
    let without_kid = json!({ "typ": "JWT", "alg": "ES256" });
    for (what, bad) in [
        (
            "none",
            format!(
                "{}.{body}.",
                encoded(&json!({ "alg": "none", "typ": "JWT", "kid": header["kid"] }))
            ),
        ),
        ("no signature", format!("{head}.{body}.")),
        (
            "other body",
            format!("{head}.{}.{signature}", encoded(&promoted)),
        ),
        ("key of a stranger", forged(&header, &said, &stranger)),
        ("key confusion", forged(&hs256, &said, &hmac)),
        ("unknown kid", forged(&other_kid, &said, &key)),
        ("no kid", forged(&without_kid, &said, &key)),
        ("two parts", format!("{head}.{body}")),
        ("empty", String::new()),
        ("long", "a.".repeat(10_000)),
    ] {
        let refused = world.engine.authenticate(&bad).await.unwrap_err();
        assert_eq!(
            (refused.kind, refused.code.as_ref()),
            (
                domain::ErrorKind::Unauthenticated,
                "InvalidAuthenticationToken"
            ),
            "{what}"
        );
    }
    assert!(world.engine.authenticate(&token).await.is_ok());
}

#[tokio::test]
async fn well_signed_claims_of_another_place_do_not_count() {
    let world = World::new().await;
    let token = world.token().await;
    let (header, said) = (part(&token, 0), claims(&token));
    let key = installation_key(&world).await;
    let other = world
        .engine
        .create_tenant(&engine::identity::NewTenant {
            name: "Other".to_owned(),
            domain: "other.test".to_owned(),
        })
        .await
        .unwrap();
    let change = |name: &str, value: Value| {
        let mut changed = said.clone();
        changed[name] = value;
        changed
    };
    let mut moved = change("tid", json!(other.id));
    moved["iss"] = json!(
        said["iss"]
            .as_str()
            .unwrap()
            .replace(&world.first.tenant_id, &other.id)
    );
    let now = START_MS / 1000;
    for (changed, code) in [
        (
            change("iss", json!("https://login.microsoftonline.com/x")),
            "InvalidAuthenticationTokenTenant",
        ),
        (
            change("tid", json!(other.id)),
            "InvalidAuthenticationTokenTenant",
        ),
        (moved, "InvalidAuthenticationTokenTenant"),
        (
            change("vitrine_class", json!("storage")),
            "InvalidAuthenticationTokenAudience",
        ),
        (
            change("vitrine_class", json!("root")),
            "InvalidAuthenticationToken",
        ),
        (
            change("exp", json!(now - 301)),
            "ExpiredAuthenticationToken",
        ),
        (change("exp", json!(i64::MIN)), "ExpiredAuthenticationToken"),
        (
            change("nbf", json!(now + 301)),
            "InvalidAuthenticationToken",
        ),
        (change("oid", json!("nobody")), "AuthenticationFailed"),
    ] {
        let refused = world
            .engine
            .authenticate(&forged(&header, &changed, &key))
            .await
            .unwrap_err();
        assert_eq!(refused.code, code, "{changed}");
    }
    let same = forged(&header, &said, &key);
    assert!(
        world.engine.authenticate(&same).await.is_ok(),
        "the key is the right one"
    );
}

#[tokio::test]
async fn a_token_ends_an_hour_and_the_skew_after_it_was_made() {
    let world = World::new().await;
    let token = world.token().await;
    world.clock.advance_ms((3600 + 299) * 1000);
    assert!(world.engine.authenticate(&token).await.is_ok());
    world.clock.advance_ms(1000);
    assert_eq!(
        world.engine.authenticate(&token).await.unwrap_err().code,
        "ExpiredAuthenticationToken"
    );
}

#[tokio::test]
async fn a_new_key_signs_and_the_old_one_counts_until_its_tokens_are_over() {
    let world = World::new().await;
    let node = world.other_node().await;
    let old = world.token().await;
    assert!(node.authenticate(&old).await.is_ok());
    world.engine.rotate_signing_key().await.unwrap();
    let new = world.token().await;
    assert_ne!(part(&old, 0)["kid"], part(&new, 0)["kid"]);
    assert!(world.engine.authenticate(&old).await.is_ok());
    assert!(
        node.authenticate(&new).await.is_ok(),
        "an unknown key makes a node read again"
    );
    assert_eq!(
        world.engine.jwks().await.unwrap()["keys"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    world.clock.advance_ms(25 * 3600 * 1000);
    world.engine.rotate_signing_key().await.unwrap();
    let kids = world.engine.jwks().await.unwrap().to_string();
    assert!(!kids.contains(part(&old, 0)["kid"].as_str().unwrap()));
    assert!(kids.contains(part(&new, 0)["kid"].as_str().unwrap()));
    assert!(!kids.contains("\"d\""), "no private half is published");
}

#[tokio::test]
async fn keys_are_renewed_by_age_without_anybody_asking() {
    let world = World::new().await;
    let old = world.token().await;
    world.clock.advance_ms(61 * 24 * 3600 * 1000);
    assert_ne!(part(&old, 0)["kid"], part(&world.token().await, 0)["kid"]);
}

#[tokio::test]
async fn disabling_a_principal_ends_its_tokens_at_once_here_and_within_a_second_elsewhere() {
    let world = World::new().await;
    let node = world.other_node().await;
    let token = world.token().await;
    assert!(node.authenticate(&token).await.is_ok());
    world
        .engine
        .set_principal_enabled(&world.first.client_id, false)
        .await
        .unwrap();
    assert_eq!(
        world.engine.authenticate(&token).await.unwrap_err().code,
        "AuthenticationFailed"
    );
    world.clock.advance_ms(1000);
    assert_eq!(
        node.authenticate(&token).await.unwrap_err().code,
        "AuthenticationFailed"
    );
    world
        .engine
        .set_principal_enabled(&world.first.client_id, true)
        .await
        .unwrap();
    assert!(world.engine.authenticate(&token).await.is_ok());
}

#[tokio::test]
async fn the_identity_of_the_machine_gets_a_token_with_its_resource_id() {
    let world = World::new().await;
    let request = |resource: &str, identity: Option<&str>| LocalRequest {
        base_url: BASE.to_owned(),
        resource: resource.to_owned(),
        identity: identity.map(str::to_owned),
    };
    let local = world
        .engine
        .issue_local(&request("https://localhost:8443/", None))
        .await
        .unwrap();
    let said = claims(&local.issued.access_token);
    assert!(
        said["xms_mirid"]
            .as_str()
            .unwrap()
            .contains("/userAssignedIdentities/vitrine-local")
    );
    assert!(
        world
            .engine
            .authenticate(&local.issued.access_token)
            .await
            .is_ok()
    );
    let again = world
        .engine
        .issue_local(&request("https://localhost:8443/", Some(&local.client_id)))
        .await
        .unwrap();
    assert_eq!(again.client_id, local.client_id);
    // A service principal is no identity of the machine.
    let refused = world
        .engine
        .issue_local(&request(
            "https://localhost:8443/",
            Some(&world.first.client_id),
        ))
        .await;
    assert_eq!(refused.err(), Some(SignInError::UnknownIdentity));
    let refused = world
        .engine
        .issue_local(&request("https://evil.test/", None))
        .await;
    assert!(matches!(
        refused.err(),
        Some(SignInError::UnknownResource(_))
    ));
    assert!(
        world
            .engine
            .is_identity_secret(&world.first.identity_secret.clone().into())
            .await
            .unwrap()
    );
    assert!(
        !world
            .engine
            .is_identity_secret(&"guess".to_owned().into())
            .await
            .unwrap()
    );
}
