//! Tokens of other OpenID providers: which count, whom they stand for, when keys are fetched.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use engine::Clock;
use engine::identity::{AudienceClass, KEYS_FRESH_MS, KEYS_KEPT_MS, Provider, REFETCH_MS};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::world::{START_MS, World};

const ISSUER: &str = "https://login.example/v2.0";
const KEYS: &str = "https://login.example/keys";
const NOW: i64 = START_MS / 1000;

/// A key of the provider.
struct Key {
    kid: &'static str,
    jwk: Value,
    key: EncodingKey,
    public_pem: String,
}

impl Key {
    fn new(kid: &'static str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let point = pair.public_key_raw();
        let jwk = json!({
            "kty": "EC", "use": "sig", "alg": "ES256", "kid": kid, "crv": "P-256",
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..65]),
        });
        Self {
            kid,
            jwk,
            key: EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap(),
            public_pem: pair.public_key_pem(),
        }
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header {
            kid: Some(self.kid.to_owned()),
            ..Header::new(Algorithm::ES256)
        };
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

/// A gallery that trusts a provider, which answers as told and counts who asks.
struct Trusting {
    world: World,
    document: Arc<Mutex<Result<Value, String>>>,
    asked: Arc<AtomicUsize>,
}

impl Trusting {
    async fn new(keys: Value) -> Self {
        Self::with_groups(keys, None).await
    }

    async fn with_groups(keys: Value, claim: Option<&str>) -> Self {
        let world = World::new().await;
        let document = Arc::new(Mutex::new(Ok(keys)));
        let asked = Arc::new(AtomicUsize::new(0));
        let provider =
            Provider::new(ISSUER, &["api://gallery".to_owned()], KEYS, None, None).unwrap();
        let provider = provider.with_groups(claim).unwrap();
        let (answers, counter) = (document.clone(), asked.clone());
        let fetch = move |url: String| {
            assert_eq!(url, KEYS);
            counter.fetch_add(1, Ordering::SeqCst);
            let answer = answers.lock().unwrap().clone();
            let answer = answer.map(|document| document.to_string().into_bytes());
            Box::pin(std::future::ready(answer)) as engine::identity::Fetched
        };
        world
            .engine
            .trust_providers(vec![provider], Arc::new(fetch))
            .unwrap();
        let first = &world.first.client_id;
        world
            .engine
            .link_subject(first, ISSUER, "ada")
            .await
            .unwrap();
        Self {
            world,
            document,
            asked,
        }
    }

    fn answer(&self, document: Result<Value, String>) {
        *self.document.lock().unwrap() = document;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn clock(&self) -> &Clock {
        &self.world.clock
    }

    async fn code(&self, token: &str) -> String {
        match self.world.engine.authenticate(token).await {
            Ok(_) => String::new(),
            Err(error) => {
                assert_eq!(error.kind, domain::ErrorKind::Unauthenticated, "{error}");
                error.code.to_string()
            }
        }
    }
}

fn right() -> Value {
    json!({ "iss": ISSUER, "aud": "api://gallery", "sub": "ada", "exp": NOW + 600, "nbf": NOW })
}

fn set(keys: &[&Key]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk.clone()).collect::<Vec<_>>() })
}

#[tokio::test]
async fn a_token_of_a_provider_counts_exactly_as_configured() {
    let (key, stranger) = (Key::new("k1"), Key::new("k1"));
    let trusting = Trusting::new(set(&[&key])).await;
    let who = trusting
        .world
        .engine
        .authenticate(&key.sign(&right()))
        .await
        .unwrap();
    assert_eq!(who.tenant, trusting.world.first.tenant_id);
    assert_eq!(who.app_id, trusting.world.first.client_id);
    // Ours count beside it.
    let own = trusting.world.token().await;
    assert_eq!(trusting.code(&own).await, "");

    let with = |name: &str, value: Value| {
        let mut changed = right();
        match value {
            Value::Null => drop(changed.as_object_mut().unwrap().remove(name)),
            value => changed[name] = value,
        }
        changed
    };
    const INVALID: &str = "InvalidAuthenticationToken";
    const AUDIENCE: &str = "InvalidAuthenticationTokenAudience";
    for (claims, code) in [
        (right(), ""),
        (with("aud", json!(["x", "api://gallery"])), ""),
        (with("exp", json!(NOW as f64 + 600.5)), ""),
        (with("nbf", Value::Null), ""),
        (with("nbf", json!(NOW + 300)), ""),
        (with("exp", json!(NOW - 299)), ""),
        (with("exp", json!(NOW - 300)), "ExpiredAuthenticationToken"),
        (with("exp", Value::Null), INVALID),
        (with("exp", json!("soon")), INVALID),
        (with("nbf", json!(NOW + 301)), INVALID),
        (with("nbf", json!("now")), INVALID),
        (with("aud", Value::Null), AUDIENCE),
        (with("aud", json!("api://other")), AUDIENCE),
        (with("aud", json!("API://gallery")), AUDIENCE),
        (with("aud", json!([])), AUDIENCE),
        (with("iss", json!(format!("{ISSUER}/"))), INVALID),
        (with("iss", json!("https://evil.example")), INVALID),
        (with("iss", Value::Null), INVALID),
        (with("sub", Value::Null), INVALID),
        (with("sub", json!("")), INVALID),
        (with("sub", json!(1)), INVALID),
        (with("sub", json!("Ada")), "AuthenticationFailed"),
        (with("sub", json!("eve")), "AuthenticationFailed"),
    ] {
        assert_eq!(trusting.code(&key.sign(&claims)).await, code, "{claims}");
    }
    // Another's key of the same name, no name, other algorithms, no signature.
    let text =
        |header: &Header, key: &EncodingKey| jsonwebtoken::encode(header, &right(), key).unwrap();
    let named = |algorithm| Header {
        kid: Some("k1".to_owned()),
        ..Header::new(algorithm)
    };
    let confused = EncodingKey::from_secret(key.public_pem.as_bytes());
    let signed = key.sign(&right());
    let (rest, _) = signed.rsplit_once('.').unwrap();
    let none = URL_SAFE_NO_PAD.encode(json!({ "alg": "none", "kid": "k1" }).to_string());
    for token in [
        stranger.sign(&right()),
        text(&Header::new(Algorithm::ES256), &key.key),
        text(&named(Algorithm::HS256), &confused),
        format!("{rest}."),
        format!("{none}.{}.", rest.split('.').nth(1).unwrap()),
    ] {
        assert_eq!(trusting.code(&token).await, INVALID, "{token}");
    }
    // Other planes take our tokens alone.
    let storage = trusting
        .world
        .engine
        .authenticate_for(&signed, AudienceClass::Storage)
        .await;
    assert!(storage.is_err());
    assert_eq!(trusting.asked(), 1, "one set of keys for all");
}

#[tokio::test]
async fn keys_that_do_not_sign_tokens_are_left_out_of_a_set() {
    let key = Key::new("k1");
    let change = |name: &str, value: Value| {
        let mut jwk = key.jwk.clone();
        jwk[name] = value;
        jwk
    };
    for jwk in [
        change("use", json!("enc")),
        change("alg", json!("ES384")),
        change("kid", json!("other")),
        json!({ "kty": "oct", "kid": "k1", "alg": "HS256", "k": URL_SAFE_NO_PAD.encode("secret") }),
        json!("nothing"),
    ] {
        let trusting = Trusting::new(json!({ "keys": [jwk] })).await;
        assert_eq!(
            trusting.code(&key.sign(&right())).await,
            "InvalidAuthenticationToken",
            "{jwk}"
        );
    }
}

#[tokio::test]
async fn keys_rotate_and_a_provider_that_is_down_is_not_asked_for_every_token() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let trusting = Trusting::new(set(&[&old])).await;
    let long = |n: i64| {
        let mut claims = right();
        claims["exp"] = json!(NOW + 10 * 24 * 3600);
        claims["jti"] = json!(n);
        claims
    };
    assert_eq!(trusting.code(&old.sign(&long(1))).await, "");
    // A new key, once the provider may be asked again; until then its tokens do not count.
    trusting.answer(Ok(set(&[&old, &new])));
    assert_ne!(trusting.code(&new.sign(&long(2))).await, "");
    trusting.clock().advance_ms(REFETCH_MS);
    assert_eq!(trusting.code(&new.sign(&long(2))).await, "");
    assert_eq!(trusting.asked(), 2);
    // Names that nobody has make nobody ask more often.
    for n in 0..50 {
        let unknown = Key::new("unknown");
        assert_ne!(trusting.code(&unknown.sign(&long(n))).await, "");
    }
    assert_eq!(trusting.asked(), 2);
    // An old key is gone, and so is what it signed, seen before or not.
    trusting.answer(Ok(set(&[&new])));
    trusting.clock().advance_ms(KEYS_FRESH_MS);
    assert_eq!(trusting.code(&new.sign(&long(3))).await, "");
    assert_ne!(trusting.code(&old.sign(&long(1))).await, "");
    // The provider is down: keys go on for a while, and no longer.
    trusting.answer(Err("down".to_owned()));
    trusting.clock().advance_ms(KEYS_KEPT_MS - 1);
    assert_eq!(trusting.code(&new.sign(&long(4))).await, "");
    trusting.clock().advance_ms(2);
    assert_ne!(trusting.code(&new.sign(&long(4))).await, "");
    // Nonsense is no set of keys; what is right again counts again.
    trusting.answer(Ok(json!({ "keys": 1 })));
    trusting.clock().advance_ms(REFETCH_MS);
    assert_ne!(trusting.code(&new.sign(&long(5))).await, "");
    trusting.answer(Ok(set(&[&new])));
    trusting.clock().advance_ms(REFETCH_MS);
    assert_eq!(trusting.code(&new.sign(&long(5))).await, "");
}

#[tokio::test]
async fn a_subject_stands_for_one_account_until_it_is_unlinked_or_disabled() {
    let key = Key::new("k1");
    let trusting = Trusting::new(set(&[&key])).await;
    let engine = &trusting.world.engine;
    let first = &trusting.world.first.client_id;
    let token = key.sign(&right());
    assert_eq!(trusting.code(&token).await, "");
    let other = engine
        .create_principal(engine::identity::NewPrincipal {
            kind: engine::identity::PrincipalKind::ServicePrincipal,
            name: "other".to_owned(),
            tenant: None,
            secret: None,
        })
        .await
        .unwrap();
    let taken = engine
        .link_subject(&other.principal.object_id, ISSUER, "ada")
        .await;
    assert_eq!(taken.unwrap_err().code, "Conflict");
    engine.set_principal_enabled(first, false).await.unwrap();
    assert_eq!(trusting.code(&token).await, "AuthenticationFailed");
    engine.set_principal_enabled(first, true).await.unwrap();
    assert_eq!(trusting.code(&token).await, "");
    assert_eq!(engine.subjects_of(first).await.unwrap().len(), 1);
    engine.unlink_subject(ISSUER, "ada").await.unwrap();
    assert_eq!(trusting.code(&token).await, "AuthenticationFailed");
    assert!(engine.unlink_subject(ISSUER, "ada").await.is_err());
    engine.link_subject("other", ISSUER, "ada").await.unwrap();
    let who = engine.authenticate(&token).await.unwrap();
    assert_eq!(who.object_id, other.principal.object_id);
    engine.delete_principal("other").await.unwrap();
    assert_eq!(trusting.code(&token).await, "AuthenticationFailed");
}

#[test]
fn a_provider_under_which_nothing_or_everything_counts_is_refused() {
    let text = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let aud = text(&["a"]);
    assert!(
        Provider::new(
            ISSUER,
            &aud,
            KEYS,
            Some("oid"),
            Some(&text(&["RS256", "ES384"]))
        )
        .is_ok()
    );
    for (issuer, audiences, claim, algorithms) in [
        ("", aud.clone(), None, None),
        (ISSUER, text(&[]), None, None),
        (ISSUER, text(&[""]), None, None),
        (ISSUER, aud.clone(), Some(""), None),
        (ISSUER, aud.clone(), None, Some(text(&[]))),
        (ISSUER, aud.clone(), None, Some(text(&["none"]))),
        (ISSUER, aud.clone(), None, Some(text(&["RS256", "HS256"]))),
    ] {
        let made = Provider::new(issuer, &audiences, KEYS, claim, algorithms.as_deref());
        assert!(
            made.is_err(),
            "{issuer} {audiences:?} {claim:?} {algorithms:?}"
        );
    }
}

/// A gallery that reads groups, with a group `builders` here that `dev` there stands for, Reader of the subscription.
async fn with_builders(key: &Key) -> Trusting {
    let trusting = Trusting::with_groups(set(&[key]), Some("groups")).await;
    let engine = &trusting.world.engine;
    let group = engine::identity::NewPrincipal {
        kind: engine::identity::PrincipalKind::Group,
        name: "builders".to_owned(),
        tenant: None,
        secret: None,
    };
    engine.create_principal(group).await.unwrap();
    engine
        .link_subject("builders", ISSUER, "dev")
        .await
        .unwrap();
    let scope = format!("/subscriptions/{}", trusting.world.first.subscription_id);
    engine
        .grant_role("builders", "Reader", &scope)
        .await
        .unwrap();
    trusting
}

fn of(subject: &str, groups: Value) -> Value {
    let mut claims = right();
    claims["sub"] = json!(subject);
    claims["groups"] = groups;
    claims
}

impl Trusting {
    /// Whether a token may read and write in the first subscription, and how many subscriptions it sees.
    async fn may(
        &self,
        engine: &engine::Engine,
        token: &str,
    ) -> Result<(bool, bool, usize), String> {
        let caller = engine.authenticate(token).await.map_err(|e| e.message)?;
        let ctx = engine::Ctx {
            caller,
            auxiliary: Vec::new(),
            api_version: String::new(),
            base_url: String::new(),
            client: String::new(),
            correlation_id: uuid::Uuid::nil(),
        };
        let scope = format!("/subscriptions/{}", self.world.first.subscription_id);
        let mut may = Vec::new();
        for verb in ["read", "write"] {
            let action = format!("Microsoft.Compute/galleries/{verb}");
            may.push(engine.authorize(&ctx, &action, &scope).await.is_ok());
        }
        let seen = engine.subscriptions_of(&ctx).await.unwrap().len();
        Ok((may[0], may[1], seen))
    }
}

#[tokio::test]
async fn groups_of_a_token_give_the_roles_of_the_groups_that_they_stand_for() {
    let key = Key::new("k1");
    let trusting = with_builders(&key).await;
    let engine = &trusting.world.engine;
    let node = trusting.world.other_node().await;
    let may = async |claims: Value| trusting.may(engine, &key.sign(&claims)).await;
    let reads = Ok((true, false, 1));
    // Nobody of that name here: he comes in by his group, as the same one every time, and by nothing else.
    assert_eq!(may(of("eve", json!(["x", "dev"]))).await, reads);
    assert_eq!(may(of("eve", json!("dev"))).await, reads);
    let who = async |subject: &str| {
        let token = key.sign(&of(subject, json!(["dev"])));
        engine.authenticate(&token).await.unwrap()
    };
    let (eve, again, mallory) = (who("eve").await, who("eve").await, who("mallory").await);
    assert_eq!(eve, again);
    assert_eq!((eve.name.as_str(), eve.app_id.as_str()), ("eve", ""));
    assert_eq!(eve.tenant, trusting.world.first.tenant_id);
    assert_ne!(eve.object_id, mallory.object_id);
    for groups in [
        json!([]),
        json!(["Dev", "dev ", "builders"]),
        json!({ "dev": true }),
        json!(7),
        json!([["dev"], 7, null]),
        Value::Null,
    ] {
        let refused = may(of("eve", groups.clone())).await.unwrap_err();
        assert!(
            refused.contains("stands for no account here"),
            "{groups} {refused}"
        );
    }
    // A name of a group is nobody's name.
    assert!(may(of("dev", json!([]))).await.is_err());
    // Who is linked himself has his own roles and those of his groups.
    let other = engine::identity::NewPrincipal {
        kind: engine::identity::PrincipalKind::ServicePrincipal,
        name: "robot".to_owned(),
        tenant: None,
        secret: None,
    };
    engine.create_principal(other).await.unwrap();
    engine.link_subject("robot", ISSUER, "bob").await.unwrap();
    assert_eq!(may(of("bob", json!([]))).await, Ok((false, false, 0)));
    assert_eq!(may(of("bob", json!(["dev"]))).await, reads);
    engine.set_principal_enabled("robot", false).await.unwrap();
    assert!(
        may(of("bob", json!(["dev"]))).await.is_err(),
        "disabled is disabled"
    );
    // Changes count at once here, and within a second on the other node: the token is the same.
    let token = key.sign(&of("eve", json!(["dev"])));
    let scope = format!("/subscriptions/{}", trusting.world.first.subscription_id);
    engine
        .revoke_role("builders", "Reader", &scope)
        .await
        .unwrap();
    assert_eq!(trusting.may(engine, &token).await, Ok((false, false, 0)));
    node.grant_role("builders", "Owner", &scope).await.unwrap();
    trusting.clock().advance_ms(1000);
    assert_eq!(trusting.may(engine, &token).await, Ok((true, true, 1)));
    node.set_principal_enabled("builders", false).await.unwrap();
    trusting.clock().advance_ms(1000);
    assert!(trusting.may(engine, &token).await.is_err());
    node.set_principal_enabled("builders", true).await.unwrap();
    node.unlink_subject(ISSUER, "dev").await.unwrap();
    trusting.clock().advance_ms(1000);
    assert!(trusting.may(engine, &token).await.is_err());
}

#[tokio::test]
async fn work_that_goes_on_for_a_member_ends_with_the_link_of_its_group() {
    let key = Key::new("k1");
    let trusting = with_builders(&key).await;
    let engine = &trusting.world.engine;
    let caller = engine
        .authenticate(&key.sign(&of("eve", json!(["dev"]))))
        .await
        .unwrap();
    let ctx = engine::Ctx {
        caller,
        auxiliary: Vec::new(),
        api_version: String::new(),
        base_url: String::new(),
        client: String::new(),
        correlation_id: uuid::Uuid::nil(),
    };
    let scope = format!("/subscriptions/{}", trusting.world.first.subscription_id);
    let action = "Microsoft.Compute/galleries/read";
    engine.authorize(&ctx, action, &scope).await.unwrap();
    engine.unlink_subject(ISSUER, "dev").await.unwrap();
    let refused = engine.authorize(&ctx, action, &scope).await.unwrap_err();
    assert_eq!(refused.code, "AuthorizationFailed");
}

#[tokio::test]
async fn groups_count_only_where_the_configuration_names_their_claim() {
    let key = Key::new("k1");
    for claim in [None, Some("roles")] {
        let trusting = Trusting::with_groups(set(&[&key]), claim).await;
        let engine = &trusting.world.engine;
        let group = engine::identity::NewPrincipal {
            kind: engine::identity::PrincipalKind::Group,
            name: "builders".to_owned(),
            tenant: None,
            secret: None,
        };
        engine.create_principal(group).await.unwrap();
        engine
            .link_subject("builders", ISSUER, "dev")
            .await
            .unwrap();
        let token = key.sign(&of("eve", json!(["dev"])));
        assert_eq!(
            trusting.code(&token).await,
            "AuthenticationFailed",
            "{claim:?}"
        );
    }
    let provider = Provider::new(ISSUER, &["a".to_owned()], KEYS, None, None).unwrap();
    assert!(provider.with_groups(Some("")).is_err());
}

#[tokio::test]
async fn groups_that_a_provider_left_out_are_not_fetched_and_do_not_count() {
    let key = Key::new("k1");
    let trusting = with_builders(&key).await;
    let engine = &trusting.world.engine;
    for (name, value) in [
        ("_claim_names", json!({ "groups": "src1" })),
        ("hasgroups", json!(true)),
    ] {
        let mut claims = of("eve", Value::Null);
        claims.as_object_mut().unwrap().remove("groups");
        claims[name] = value;
        claims["_claim_sources"] = json!({ "src1": { "endpoint": "https://evil.example/groups" } });
        let refused = trusting.may(engine, &key.sign(&claims)).await.unwrap_err();
        assert!(
            refused.contains("left its groups out of the token"),
            "{refused}"
        );
        // The owner is let in as himself, whatever was left out.
        claims["sub"] = json!("ada");
        assert_eq!(
            trusting.may(engine, &key.sign(&claims)).await,
            Ok((true, true, 1))
        );
    }
    assert_eq!(trusting.asked(), 1, "nothing but the keys was asked for");
}
