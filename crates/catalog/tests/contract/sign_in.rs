//! Refresh tokens, device codes, keys of principals, assertions.

use catalog::{DeviceCode, Kind as Failure, PrincipalKey, RefreshToken};

use crate::database::Database;

fn token(hash: &str, principal: &str, family: &str) -> RefreshToken {
    RefreshToken {
        hash: hash.to_owned(),
        principal: principal.to_owned(),
        tenant: "t".to_owned(),
        app_id: "app".to_owned(),
        family: family.to_owned(),
        spent_ms: None,
        expires_ms: 100,
    }
}

pub async fn refresh_tokens_go_by_one_by_family_and_by_principal(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let mut spent = token("a", "p", "f");
    for token in [
        &spent,
        &token("b", "p", "g"),
        &token("c", "q", "h"),
        &token("d", "r", "f"),
    ] {
        tx.put_refresh_token(token).await.unwrap();
    }
    spent.spent_ms = Some(7);
    tx.put_refresh_token(&spent).await.unwrap();
    assert_eq!(tx.load_refresh_token("a").await.unwrap(), Some(spent));
    tx.delete_refresh_family("f").await.unwrap();
    assert!(tx.load_refresh_token("d").await.unwrap().is_none());
    tx.delete_refresh_tokens_of("p").await.unwrap();
    assert!(tx.load_refresh_token("b").await.unwrap().is_none());
    tx.prune_tokens(100).await.unwrap();
    assert!(tx.load_refresh_token("c").await.unwrap().is_some());
    tx.prune_tokens(101).await.unwrap();
    assert!(tx.load_refresh_token("c").await.unwrap().is_none());
}

pub async fn device_codes_wait_for_their_person(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let mut code = DeviceCode {
        device_hash: "h".to_owned(),
        user_code: "ABCD".to_owned(),
        tenant: "t".to_owned(),
        app_id: "app".to_owned(),
        scope: "openid".to_owned(),
        principal: None,
        denied: false,
        polled_ms: 0,
        expires_ms: 100,
    };
    tx.put_device_code(&code).await.unwrap();
    assert_eq!(
        tx.load_device_code("h").await.unwrap().as_ref(),
        Some(&code)
    );
    code.principal = Some("p".to_owned());
    code.denied = true;
    code.polled_ms = 9;
    tx.put_device_code(&code).await.unwrap();
    let found = tx.load_device_code_by_user_code("ABCD").await.unwrap();
    assert_eq!(found.as_ref(), Some(&code));
    assert!(tx.delete_device_code("h").await.unwrap());
    assert!(!tx.delete_device_code("h").await.unwrap());
    tx.put_device_code(&code).await.unwrap();
    let same_word = DeviceCode {
        device_hash: "other".to_owned(),
        ..code
    };
    let error = tx.put_device_code(&same_word).await.unwrap_err();
    assert_eq!(error.kind(), Failure::Exists);
}

pub async fn keys_of_principals_come_newest_first(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let key = |kid: &str, created_ms| PrincipalKey {
        principal: "p".to_owned(),
        kid: kid.to_owned(),
        public_key: "pem".to_owned(),
        created_ms,
    };
    let (a, b, c) = (key("a", 1), key("b", 2), key("c", 2));
    for key in [&a, &c, &b] {
        tx.put_principal_key(key).await.unwrap();
    }
    assert_eq!(
        tx.list_principal_keys("p").await.unwrap(),
        [b, c, a.clone()]
    );
    assert!(tx.delete_principal_keys("p", Some("b")).await.unwrap());
    assert!(tx.delete_principal_keys("p", None).await.unwrap());
    assert!(!tx.delete_principal_keys("p", None).await.unwrap());
    tx.put_principal_key(&a).await.unwrap();
    let error = tx.put_principal_key(&a).await.unwrap_err();
    assert_eq!(error.kind(), Failure::Exists);
}

pub async fn an_assertion_is_used_once(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    assert!(tx.use_assertion("h", 100).await.unwrap());
    assert!(!tx.use_assertion("h", 100).await.unwrap());
    tx.prune_tokens(101).await.unwrap();
    assert!(tx.use_assertion("h", 200).await.unwrap());
}
