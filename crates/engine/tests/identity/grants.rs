//! Who gets a token: secrets, assertions, passwords, device codes, refresh tokens.

use engine::identity::{Asked, Created, Grant, NewPrincipal, PrincipalKind, SignInError};
use serde_json::{Value, json};

use super::world::{ARM, BASE, CLI, World, claims};

const USER_SCOPE: &str = "https://localhost:8443//.default offline_access openid profile";
const PASSWORD: &str = "correct horse";

async fn user(world: &World) -> Created {
    let new = NewPrincipal {
        kind: PrincipalKind::User,
        name: "Ada".to_owned(),
        tenant: None,
        secret: Some(PASSWORD.to_owned().into()),
    };
    world.engine.create_principal(new).await.unwrap()
}

fn password(name: &str, password: &str) -> Grant {
    Grant::Password {
        username: name.to_owned(),
        password: password.to_owned().into(),
    }
}

fn secret(text: &str) -> Grant {
    Grant::ClientSecret(text.to_owned().into())
}

fn refresh(text: &str) -> Grant {
    Grant::RefreshToken(text.to_owned().into())
}

#[tokio::test]
async fn a_program_gets_a_token_for_its_secret_alone() {
    let world = World::new().await;
    let (id, right) = (
        world.first.client_id.clone(),
        world.first.client_secret.clone(),
    );
    for tenant in [
        world.first.tenant_id.as_str(),
        "VITRINE.local",
        "common",
        "organizations",
        "adfs",
    ] {
        assert!(
            world
                .ask_at(tenant, ARM, &id.to_uppercase(), secret(&right))
                .await
                .is_ok(),
            "{tenant}"
        );
    }
    let unknown = "00000000-0000-0000-0000-000000000001";
    for (tenant, scope, client, given, code) in [
        ("common", ARM, id.as_str(), "wrong", 7_000_215),
        ("common", ARM, id.as_str(), "", 7_000_215),
        ("common", ARM, unknown, right.as_str(), 700_016),
        ("nowhere.test", ARM, id.as_str(), right.as_str(), 90002),
        (
            "common",
            "https://database.windows.net/.default",
            id.as_str(),
            right.as_str(),
            500_011,
        ),
        (
            "common",
            "https://evil.test//.default",
            id.as_str(),
            right.as_str(),
            500_011,
        ),
        ("common", "", id.as_str(), right.as_str(), 900_144),
        ("common", ARM, "", right.as_str(), 900_144),
    ] {
        let refused = world
            .ask_at(tenant, scope, client, secret(given))
            .await
            .err()
            .unwrap();
        assert_eq!(refused.code(), code, "{tenant} {scope} {client} {given}");
    }
    let issued = world.ask(ARM, &id, secret(&right)).await.unwrap();
    assert!(issued.refresh_token.is_none() && issued.id_token.is_none());
}

#[tokio::test]
async fn a_program_of_one_tenant_does_not_exist_in_another() {
    let world = World::new().await;
    let other = engine::identity::NewTenant {
        name: "Other".to_owned(),
        domain: "other.test".to_owned(),
    };
    world.engine.create_tenant(&other).await.unwrap();
    let grant = secret(&world.first.client_secret);
    let refused = world
        .ask_at("other.test", ARM, &world.first.client_id, grant)
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), 700_016);
}

#[tokio::test]
async fn who_guesses_is_locked_out_for_a_minute() {
    let world = World::new().await;
    let id = world.first.client_id.clone();
    for _ in 0..10 {
        assert_eq!(
            world
                .ask(ARM, &id, secret("guess"))
                .await
                .err()
                .unwrap()
                .code(),
            7_000_215
        );
    }
    let right = world.first.client_secret.clone();
    assert_eq!(
        world.ask(ARM, &id, secret(&right)).await.err(),
        Some(SignInError::Locked)
    );
    world.clock.advance_ms(60_000);
    assert!(world.ask(ARM, &id, secret(&right)).await.is_ok());
}

#[tokio::test]
async fn a_reset_secret_replaces_the_old_one() {
    let world = World::new().await;
    let id = world.first.client_id.clone();
    let fresh = world
        .engine
        .reset_secret(&id, None)
        .await
        .unwrap()
        .secret
        .unwrap();
    assert!(world.ask(ARM, &id, secret(&fresh)).await.is_ok());
    assert!(
        world
            .ask(ARM, &id, secret(&world.first.client_secret))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_person_gets_all_tokens_that_msal_needs() {
    let world = World::new().await;
    let ada = user(&world).await;
    assert_eq!(ada.principal.name, "ada@vitrine.local");
    let issued = world
        .ask(USER_SCOPE, CLI, password("ADA@Vitrine.local", PASSWORD))
        .await
        .unwrap();
    let id = claims(issued.id_token.as_deref().unwrap());
    assert_eq!(id["aud"], json!(CLI));
    assert_eq!(id["preferred_username"], json!("ada@vitrine.local"));
    assert_eq!(
        id["iss"],
        json!(format!("{BASE}/{}/v2.0", world.first.tenant_id))
    );
    assert_eq!(
        (&id["oid"], &id["tid"]),
        (
            &json!(ada.principal.object_id),
            &json!(world.first.tenant_id)
        )
    );
    let info: Value = {
        use base64::Engine as _;
        let raw = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(issued.client_info.unwrap())
            .unwrap();
        serde_json::from_slice(&raw).unwrap()
    };
    assert_eq!(
        info,
        json!({ "uid": ada.principal.object_id, "utid": world.first.tenant_id })
    );
    let caller = world
        .engine
        .authenticate(&issued.access_token)
        .await
        .unwrap();
    assert_eq!(
        (caller.name.as_str(), caller.app_id.as_str()),
        ("ada@vitrine.local", CLI)
    );
    assert!(
        world
            .engine
            .authenticate(issued.id_token.as_deref().unwrap())
            .await
            .is_err(),
        "an id token opens nothing"
    );
}

#[tokio::test]
async fn wrong_names_and_wrong_passwords_are_one_answer() {
    let world = World::new().await;
    let ada = user(&world).await;
    for grant in [
        password("nobody@vitrine.local", PASSWORD),
        password("ada@vitrine.local", "wrong"),
    ] {
        assert_eq!(
            world.ask(USER_SCOPE, CLI, grant).await.err(),
            Some(SignInError::WrongPassword)
        );
    }
    world
        .engine
        .set_principal_enabled(&ada.principal.object_id, false)
        .await
        .unwrap();
    let refused = world
        .ask(USER_SCOPE, CLI, password("ada@vitrine.local", "wrong"))
        .await
        .err();
    assert_eq!(
        refused,
        Some(SignInError::WrongPassword),
        "who does not know the password learns nothing"
    );
    let refused = world
        .ask(USER_SCOPE, CLI, password("ada@vitrine.local", PASSWORD))
        .await
        .err();
    assert_eq!(refused, Some(SignInError::DisabledUser));
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_for_its_successor_and_a_stolen_one_ends_the_family() {
    let world = World::new().await;
    user(&world).await;
    let first = world
        .ask(USER_SCOPE, CLI, password("ada@vitrine.local", PASSWORD))
        .await
        .unwrap();
    let first = first.refresh_token.unwrap();
    let second = world
        .ask(USER_SCOPE, CLI, refresh(&first))
        .await
        .unwrap()
        .refresh_token
        .unwrap();
    assert_ne!(first, second);
    // Programs side by side may hold the same token for a moment.
    assert!(world.ask(USER_SCOPE, CLI, refresh(&first)).await.is_ok());
    // Another client cannot use it; a request that cannot be answered does not spend it.
    let other = "1950a258-227b-4e31-a9cf-717495945fc2";
    assert_eq!(
        world.ask(USER_SCOPE, other, refresh(&second)).await.err(),
        Some(SignInError::WrongRefreshToken)
    );
    assert!(
        world
            .ask("https://evil.test/.default", CLI, refresh(&second))
            .await
            .is_err()
    );
    world.clock.advance_ms(60_000);
    assert_eq!(
        world.ask(USER_SCOPE, CLI, refresh(&first)).await.err(),
        Some(SignInError::WrongRefreshToken)
    );
    assert_eq!(
        world.ask(USER_SCOPE, CLI, refresh(&second)).await.err(),
        Some(SignInError::WrongRefreshToken)
    );
}

#[tokio::test]
async fn refresh_tokens_end_with_time_and_with_the_password() {
    let world = World::new().await;
    let ada = user(&world).await;
    let sign_in = || async {
        let issued = world
            .ask(USER_SCOPE, CLI, password("ada@vitrine.local", PASSWORD))
            .await
            .unwrap();
        issued.refresh_token.unwrap()
    };
    let old = sign_in().await;
    world.clock.advance_ms(90 * 24 * 3600 * 1000);
    assert_eq!(
        world.ask(USER_SCOPE, CLI, refresh(&old)).await.err(),
        Some(SignInError::WrongRefreshToken)
    );
    let held = sign_in().await;
    world
        .engine
        .reset_secret(
            &ada.principal.object_id,
            Some("another horse".to_owned().into()),
        )
        .await
        .unwrap();
    assert_eq!(
        world.ask(USER_SCOPE, CLI, refresh(&held)).await.err(),
        Some(SignInError::WrongRefreshToken)
    );
    let mut read = world.engine.catalog().read().await.unwrap();
    assert!(
        read.load_refresh_token(&held).await.unwrap().is_none(),
        "tokens are not kept in the clear"
    );
}

#[tokio::test]
async fn a_device_code_waits_for_a_person_and_counts_once() {
    let world = World::new().await;
    user(&world).await;
    let asked = Asked::from_scope(USER_SCOPE);
    let flow = world
        .engine
        .begin_device_flow("organizations", BASE, CLI, &asked)
        .await
        .unwrap();
    let poll = || {
        world.ask_at(
            "organizations",
            "",
            CLI,
            Grant::DeviceCode(flow.device_code.clone().into()),
        )
    };
    assert_eq!(poll().await.err(), Some(SignInError::Pending));
    assert_eq!(poll().await.err(), Some(SignInError::SlowDown));
    world.clock.advance_ms(3000);
    assert_eq!(poll().await.err(), Some(SignInError::Pending));
    let wrong = world
        .engine
        .approve_device(
            &flow.user_code,
            "ada@vitrine.local",
            "wrong".to_owned().into(),
        )
        .await;
    assert_eq!(wrong, Err(SignInError::WrongPassword));
    let typed = flow.user_code.to_lowercase();
    world
        .engine
        .approve_device(&typed, "ada@vitrine.local", PASSWORD.to_owned().into())
        .await
        .unwrap();
    let again = world.engine.deny_device(&typed).await;
    assert_eq!(
        again,
        Err(SignInError::UnknownUserCode),
        "the first answer counts"
    );
    let thief = Grant::DeviceCode(flow.device_code.clone().into());
    let refused = world
        .ask_at("organizations", "", "another-client", thief)
        .await
        .err();
    assert_eq!(refused, Some(SignInError::UnknownDeviceCode));
    let issued = poll().await.unwrap();
    assert!(issued.id_token.is_some() && issued.refresh_token.is_some());
    assert_eq!(
        issued.scope, USER_SCOPE,
        "what was asked at the start is given"
    );
    assert_eq!(poll().await.err(), Some(SignInError::UnknownDeviceCode));
}

#[tokio::test]
async fn a_device_code_is_declined_by_the_person_and_by_time() {
    let world = World::new().await;
    let asked = Asked::from_scope(USER_SCOPE);
    let poll = |code: &str| {
        let grant = Grant::DeviceCode(code.to_owned().into());
        world.ask_at("organizations", "", CLI, grant)
    };
    let denied = world
        .engine
        .begin_device_flow("organizations", BASE, CLI, &asked)
        .await
        .unwrap();
    world.engine.deny_device(&denied.user_code).await.unwrap();
    assert_eq!(
        poll(&denied.device_code).await.err(),
        Some(SignInError::Declined)
    );
    let late = world
        .engine
        .begin_device_flow("organizations", BASE, CLI, &asked)
        .await
        .unwrap();
    world.clock.advance_ms(late.expires_in_s * 1000);
    assert_eq!(
        poll(&late.device_code).await.err(),
        Some(SignInError::DeviceExpired)
    );
    let typed = world
        .engine
        .approve_device(
            &late.user_code,
            "ada@vitrine.local",
            PASSWORD.to_owned().into(),
        )
        .await;
    assert_eq!(typed, Err(SignInError::UnknownUserCode));
}
