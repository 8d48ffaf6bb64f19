//! Tenants, subscriptions, principals, keys, roles.

use catalog::{
    Kind as Failure, Principal, PrincipalKind, RoleAssignment, SigningKey, Subscription, Tenant,
};

use crate::database::Database;

fn subscription(id: &str, tenant: &str, name: &str) -> Subscription {
    Subscription {
        id: id.to_owned(),
        tenant: tenant.to_owned(),
        name: name.to_owned(),
        state: "Enabled".to_owned(),
    }
}

pub async fn tenants_and_subscriptions_come_back(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let mut tenant = Tenant {
        id: "t".to_owned(),
        name: "one".to_owned(),
        domain: "one.example".to_owned(),
    };
    tx.put_tenant(&tenant).await.unwrap();
    tenant.name = "two".to_owned();
    tx.put_tenant(&tenant).await.unwrap();
    assert_eq!(tx.load_tenant("t").await.unwrap().as_ref(), Some(&tenant));
    assert_eq!(tx.list_tenants().await.unwrap(), [tenant]);
    let (a, b) = (subscription("a", "t", "b"), subscription("b", "u", "B"));
    for subscription in [&a, &b] {
        tx.put_subscription(subscription).await.unwrap();
    }
    assert_eq!(tx.load_subscription("A").await.unwrap().as_ref(), Some(&a));
    assert_eq!(
        tx.list_subscriptions(None).await.unwrap(),
        [b.clone(), a.clone()]
    );
    assert_eq!(tx.list_subscriptions(Some("u")).await.unwrap(), [b]);
    assert!(tx.delete_subscription("A").await.unwrap());
    assert!(!tx.delete_subscription("A").await.unwrap());
    assert!(tx.delete_tenant("t").await.unwrap());
    assert!(!tx.delete_tenant("t").await.unwrap());
}

fn principal(object_id: &str, kind: PrincipalKind, name: &str) -> Principal {
    Principal {
        object_id: object_id.to_owned(),
        tenant: "t".to_owned(),
        kind,
        app_id: format!("app-{object_id}"),
        name: name.to_owned(),
        secret_hash: None,
        enabled: true,
        created_ms: 1,
    }
}

pub async fn principals_are_found_by_id_application_and_name(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let mut program = principal("p", PrincipalKind::ServicePrincipal, "Program");
    let person = principal("u", PrincipalKind::User, "Ada@Example");
    let machine = principal("m", PrincipalKind::ManagedIdentity, "machine");
    for principal in [&program, &person, &machine] {
        tx.put_principal(principal).await.unwrap();
    }
    program.secret_hash = Some("$argon2id$".to_owned());
    program.enabled = false;
    tx.put_principal(&program).await.unwrap();
    let found = tx.load_principal("p").await.unwrap().unwrap();
    assert!(found == program);
    let by_app = tx
        .load_principal_by_app("t", "app-m")
        .await
        .unwrap()
        .unwrap();
    assert!(by_app == machine);
    assert!(
        tx.load_principal_by_app("", "app-m")
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        tx.load_principal_by_app("x", "app-m")
            .await
            .unwrap()
            .is_none()
    );
    let by_name = tx
        .load_principal_by_name("t", "ADA@example")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (by_name.object_id.as_str(), by_name.name.as_str()),
        ("u", "ada@example")
    );
    assert!(
        tx.load_principal_by_name("", "program")
            .await
            .unwrap()
            .is_none()
    );
    let ids = |all: Vec<Principal>| all.into_iter().map(|p| p.object_id).collect::<Vec<_>>();
    assert_eq!(
        ids(tx.list_principals(None).await.unwrap()),
        ["p", "u", "m"]
    );
    assert!(tx.list_principals(Some("x")).await.unwrap().is_empty());
    assert!(tx.delete_principal("p").await.unwrap());
    assert!(!tx.delete_principal("p").await.unwrap());
}

pub async fn signing_keys_come_newest_first(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let key = |kid: &str, created_ms| SigningKey {
        kid: kid.to_owned(),
        private_pem: "pem".to_owned(),
        public_jwk: "{}".to_owned(),
        created_ms,
        retired_ms: None,
    };
    let (mut old, new) = (key("old", 1), key("new", 2));
    for key in [&old, &new] {
        tx.put_signing_key(key).await.unwrap();
    }
    old.retired_ms = Some(3);
    tx.put_signing_key(&old).await.unwrap();
    assert!(tx.list_signing_keys().await.unwrap() == [new, old]);
    assert!(tx.delete_signing_key("old").await.unwrap());
    assert!(!tx.delete_signing_key("old").await.unwrap());
}

pub async fn roles_are_found_by_principal_and_by_scope(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let role = |id: &str, scope: &str, principal: &str| RoleAssignment {
        id: id.to_owned(),
        scope: scope.to_owned(),
        role_definition: "reader".to_owned(),
        principal: principal.to_owned(),
        principal_type: "User".to_owned(),
        shown_scope: scope.to_uppercase(),
        description: Some("why".to_owned()),
        created_by: "somebody".to_owned(),
        created_ms: 1,
    };
    let (a, b, c) = (
        role("a", "/", "p"),
        role("b", "/x", "p"),
        role("c", "/", "q"),
    );
    for role in [&a, &b, &c] {
        tx.put_role_assignment(role).await.unwrap();
    }
    assert_eq!(
        tx.load_role_assignment("b").await.unwrap().as_ref(),
        Some(&b)
    );
    assert_eq!(tx.assignments_of("p").await.unwrap(), [a.clone(), b]);
    assert_eq!(tx.assignments_at("/").await.unwrap(), [a, c.clone()]);
    assert!(tx.delete_role_assignment("a").await.unwrap());
    assert!(!tx.delete_role_assignment("a").await.unwrap());
    tx.delete_role_assignments_of("p").await.unwrap();
    assert!(tx.assignments_of("p").await.unwrap().is_empty());
    // Last: PostgreSQL ends a transaction at the first refusal.
    let error = tx.put_role_assignment(&c).await.unwrap_err();
    assert_eq!(error.kind(), Failure::Exists);
}
