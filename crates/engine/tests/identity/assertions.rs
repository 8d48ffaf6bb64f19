//! Programs that sign in with assertions: which keys, which claims, how often.

use engine::identity::{Grant, SignInError};
use serde_json::{Value, json};

use super::world::{ARM, BASE, START_MS, World};

struct Program {
    key: jsonwebtoken::EncodingKey,
    client_id: String,
}

impl Program {
    async fn new(world: &World) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        world
            .engine
            .add_principal_key(&world.first.client_id, &pair.public_key_pem())
            .await
            .unwrap();
        Self {
            key: jsonwebtoken::EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap(),
            client_id: world.first.client_id.clone(),
        }
    }

    fn claims(&self, world: &World) -> Value {
        json!({
            "iss": self.client_id, "sub": self.client_id,
            "aud": format!("{BASE}/{}/oauth2/v2.0/token", world.first.tenant_id),
            "exp": START_MS / 1000 + 600, "nbf": START_MS / 1000,
        })
    }

    fn sign(&self, claims: &Value) -> Grant {
        let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
        Grant::ClientAssertion(
            jsonwebtoken::encode(&header, claims, &self.key)
                .unwrap()
                .into(),
        )
    }
}

#[tokio::test]
async fn a_program_signs_in_with_an_assertion_of_its_key() {
    let world = World::new().await;
    let program = Program::new(&world).await;
    let right = program.claims(&world);
    // Without a jti it counts until it is over: Terraform sends one token several times.
    for _ in 0..2 {
        assert!(
            world
                .ask(ARM, &program.client_id, program.sign(&right))
                .await
                .is_ok()
        );
    }
    let change = |name: &str, value: Value| {
        let mut changed = right.clone();
        changed[name] = value;
        changed
    };
    let now = START_MS / 1000;
    let tenant = &world.first.tenant_id;
    for (changed, code) in [
        (change("aud", json!(format!("{BASE}/{tenant}/v2.0"))), None),
        (
            change("aud", json!(["x", "api://AzureADTokenExchange"])),
            None,
        ),
        (
            change(
                "aud",
                json!(format!("https://evil.test/{tenant}/oauth2/v2.0/token")),
            ),
            Some(700_023),
        ),
        (change("aud", json!([])), Some(700_023)),
        (change("iss", json!("somebody")), Some(700_023)),
        (change("sub", json!("somebody")), Some(700_023)),
        (change("exp", json!(1_800_000_600.25)), None),
        (change("exp", json!(now - 300)), Some(700_024)),
        (change("exp", json!(now + 30 * 24 * 3600)), Some(700_024)),
        (change("nbf", json!(now + 301)), Some(700_024)),
    ] {
        let outcome = world
            .ask(ARM, &program.client_id, program.sign(&changed))
            .await;
        assert_eq!(outcome.err().map(|error| error.code()), code, "{changed}");
    }
}

#[tokio::test]
async fn an_assertion_with_an_id_counts_once_on_every_node() {
    let world = World::new().await;
    let program = Program::new(&world).await;
    let mut once = program.claims(&world);
    once["jti"] = json!("one");
    assert!(
        world
            .ask(ARM, &program.client_id, program.sign(&once))
            .await
            .is_ok()
    );
    assert_eq!(
        world
            .ask(ARM, &program.client_id, program.sign(&once))
            .await
            .err(),
        Some(SignInError::AssertionReplayed)
    );
    once["jti"] = json!("two");
    assert!(
        world
            .ask(ARM, &program.client_id, program.sign(&once))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn assertions_of_strangers_and_removed_keys_do_not_count() {
    let world = World::new().await;
    let program = Program::new(&world).await;
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let stranger = Program {
        key: jsonwebtoken::EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap(),
        client_id: program.client_id.clone(),
    };
    let right = program.claims(&world);
    let wrong = Some(SignInError::WrongSignature(program.client_id.clone()));
    assert_eq!(
        world
            .ask(ARM, &program.client_id, stranger.sign(&right))
            .await
            .err(),
        wrong
    );
    let hs256 = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let confused = jsonwebtoken::EncodingKey::from_secret(pair.public_key_pem().as_bytes());
    let confused = Grant::ClientAssertion(
        jsonwebtoken::encode(&hs256, &right, &confused)
            .unwrap()
            .into(),
    );
    assert_eq!(
        world.ask(ARM, &program.client_id, confused).await.err(),
        wrong
    );
    let kid = {
        let id = world
            .engine
            .find_principal(&program.client_id)
            .await
            .unwrap()
            .object_id;
        let mut read = world.engine.catalog().read().await.unwrap();
        read.list_principal_keys(&id).await.unwrap()[0].kid.clone()
    };
    world
        .engine
        .remove_principal_key(&program.client_id, &kid)
        .await
        .unwrap();
    assert_eq!(
        world
            .ask(ARM, &program.client_id, program.sign(&right))
            .await
            .err(),
        wrong
    );
    let private = world
        .engine
        .add_principal_key(&program.client_id, &pair.serialize_pem())
        .await;
    assert!(private.is_err(), "a private key is not taken");
}

#[tokio::test]
async fn a_certificate_counts_as_the_key_in_it() {
    let world = World::new().await;
    let program = Program::new(&world).await;
    for (made, signed) in [
        (
            &rcgen::PKCS_ECDSA_P256_SHA256,
            jsonwebtoken::Algorithm::ES256,
        ),
        (&rcgen::PKCS_RSA_SHA256, jsonwebtoken::Algorithm::PS256),
    ] {
        let pair = rcgen::KeyPair::generate_for(made).unwrap();
        let certificate = rcgen::CertificateParams::default()
            .self_signed(&pair)
            .unwrap()
            .pem();
        world
            .engine
            .add_principal_key(&program.client_id, &certificate)
            .await
            .unwrap();
        let pem = pair.serialize_pem();
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(pem.as_bytes())
            .or_else(|_| jsonwebtoken::EncodingKey::from_ec_pem(pem.as_bytes()))
            .unwrap();
        let header = jsonwebtoken::Header::new(signed);
        let assertion = jsonwebtoken::encode(&header, &program.claims(&world), &key).unwrap();
        let grant = Grant::ClientAssertion(assertion.into());
        assert!(
            world.ask(ARM, &program.client_id, grant).await.is_ok(),
            "{signed:?}"
        );
    }
}
