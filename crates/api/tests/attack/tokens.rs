//! Forged tokens at every door (19).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::world::{GROUP, HOST, NOW_MS, World};

fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// Signs with a key as `HS256` does.
fn hs256(header: &Value, claims: &Value, key: &[u8]) -> String {
    let text = format!("{}.{}", encoded(header), encoded(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    format!(
        "{text}.{}",
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    )
}

/// Signs with an elliptic key in PEM; the header is as given, whatever it says.
fn es256(header: &Value, claims: &Value, pem: &str) -> String {
    let text = format!("{}.{}", encoded(header), encoded(claims));
    let key = jsonwebtoken::EncodingKey::from_ec_pem(pem.as_bytes()).unwrap();
    let signature =
        jsonwebtoken::crypto::sign(text.as_bytes(), &key, jsonwebtoken::Algorithm::ES256).unwrap();
    format!("{text}.{signature}")
}

/// A key pair of the attacker: PEM and JWK.
fn own_key() -> (String, Value) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    // An uncompressed point: 4, x, y.
    let point = pair.public_key_raw();
    let (x, y) = (&point[1..33], &point[33..65]);
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "own",
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    });
    (pair.serialize_pem(), jwk)
}

#[tokio::test]
async fn threat_19_no_forged_token_opens_any_plane() {
    let world = World::new().await;
    let group = world.group(&world.owner, "rg").await;
    let token = world.owner.token.clone();
    let (header, claims) = (part(&token, 0), part(&token, 1));
    let jwks = world.engine.jwks().await.unwrap();
    let mut read = world.engine.catalog().read().await.unwrap();
    let real = read.list_signing_keys().await.unwrap()[0]
        .private_pem
        .clone();
    drop(read);
    let (own, jwk) = own_key();
    let stranger = world.stranger("stranger").await;
    let with = |base: &Value, changes: Value| {
        let mut all = base.clone();
        for (name, value) in changes.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    };
    let [head, body, signature]: [&str; 3] =
        token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let kid = header["kid"].clone();
    let now = NOW_MS / 1000;
    let mut forged: Vec<(String, String)> = Vec::new();
    let mut add = |what: &str, token: String| forged.push((what.to_owned(), token));
    for name in ["none", "None", "NONE", "nOnE", ""] {
        for end in ["", signature] {
            let header = json!({ "alg": name, "typ": "JWT", "kid": kid });
            add(
                &format!("alg {name:?}"),
                format!("{}.{body}.{end}", encoded(&header)),
            );
        }
    }
    // The public key as a shared secret, in every form that a library may take it in.
    for key in [
        jwks["keys"][0].to_string().into_bytes(),
        jwks.to_string().into_bytes(),
        STANDARD
            .encode(jwks["keys"][0]["x"].as_str().unwrap())
            .into_bytes(),
        URL_SAFE_NO_PAD
            .decode(jwks["keys"][0]["x"].as_str().unwrap())
            .unwrap(),
        Vec::new(),
        b"secret".to_vec(),
    ] {
        add(
            "HS256",
            hs256(
                &json!({ "alg": "HS256", "typ": "JWT", "kid": kid }),
                &claims,
                &key,
            ),
        );
    }
    for kid in [
        "../../../../dev/null",
        "/dev/null",
        "' UNION SELECT 'x",
        "own",
        "",
        "\u{0}",
        "http://127.0.0.1:1/key",
    ] {
        add(
            &format!("kid {kid:?}"),
            es256(
                &json!({ "alg": "ES256", "typ": "JWT", "kid": kid }),
                &claims,
                &own,
            ),
        );
        add(
            &format!("kid {kid:?} empty key"),
            hs256(&json!({ "alg": "HS256", "kid": kid }), &claims, b""),
        );
    }
    for extra in [
        json!({ "jwk": jwk }),
        json!({ "jku": "https://evil.example/jwks.json" }),
        json!({ "jku": format!("https://{HOST}/blob/acct/images/jwks.json") }),
        json!({ "x5u": "https://evil.example/cert.pem" }),
        json!({ "x5c": [STANDARD.encode(b"certificate")] }),
        json!({ "crit": ["exp"], "b64": false }),
        json!({ "kid": "own", "jwk": jwk }),
    ] {
        add(
            &format!("header {extra}"),
            es256(&with(&header, extra), &claims, &own),
        );
    }
    for (what, changes) in [
        (
            "foreign issuer",
            json!({ "iss": "https://sts.windows.net/x/" }),
        ),
        ("no issuer", json!({ "iss": "" })),
        ("foreign tenant", json!({ "tid": stranger.tenant })),
        ("unknown class", json!({ "vitrine_class": "root" })),
        ("no principal", json!({ "oid": "" })),
        ("expired", json!({ "exp": now - 301 })),
        ("expired long ago", json!({ "exp": 0 })),
        ("before all time", json!({ "exp": i64::MIN })),
        ("not yet", json!({ "nbf": now + 301 })),
        ("far ahead", json!({ "nbf": i64::MAX, "exp": i64::MAX })),
        ("a text for a time", json!({ "exp": "never" })),
        ("no time", json!({ "exp": null })),
    ] {
        add(what, es256(&header, &with(&claims, changes), &real));
    }
    let other = with(&claims, json!({ "oid": stranger.object_id }));
    add(
        "another body",
        format!("{head}.{}.{signature}", encoded(&other)),
    );
    add(
        "cut signature",
        format!("{head}.{body}.{}", &signature[..signature.len() - 4]),
    );
    add(
        "zero signature",
        format!("{head}.{body}.{}", URL_SAFE_NO_PAD.encode([0; 64])),
    );
    add("more parts", format!("{token}.{signature}"));
    add("padded", format!("{head}=.{body}=.{signature}="));
    add("long", "a.".repeat(20_000));
    for (what, token) in &forged {
        refused_everywhere(&world, &group, what, token).await;
    }
    // The same claims under the same key do open: nothing was refused for being made by a test.
    let again = es256(&header, &claims, &real);
    let url = format!("https://{HOST}{group}?api-version={GROUP}");
    world
        .send_text(&again, "GET", &url, "")
        .await
        .expect(200, "");
}

async fn refused_everywhere(world: &World, group: &str, what: &str, token: &str) {
    for url in [
        format!("https://{HOST}{group}?api-version={GROUP}"),
        format!("https://{HOST}/subscriptions?api-version=2022-12-01"),
        format!("https://{HOST}/graph/v1.0/users"),
        format!("https://{HOST}/v1.0/users"),
        format!("https://{HOST}/blob/acct/images/b"),
    ] {
        if axum::http::HeaderValue::from_str(&format!("Bearer {token}")).is_err() {
            continue;
        }
        let answer = match url.contains("/blob/") {
            true => world.blob(token, "GET", &url, &[], &[]).await,
            false => world.send_text(token, "GET", &url, "").await,
        };
        let status = answer.status();
        let is_refused = status == 401 || (url.contains("/blob/") && [400, 403].contains(&status));
        assert!(is_refused, "{what} at {url}: {status} {}", answer.text());
        assert!(
            !answer.text().contains(token) || token.len() < 20,
            "{what}: the token is repeated"
        );
    }
}
