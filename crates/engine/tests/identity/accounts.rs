//! The first start, and what the operator does with tenants, subscriptions, principals and roles.

use engine::identity::{BootstrapOptions, NewPrincipal, NewSubscription, NewTenant, PrincipalKind};
use engine::{Ctx, Engine};
use uuid::Uuid;

use super::world::{BASE, CLI, World};

pub fn program(name: &str, tenant: Option<&str>) -> NewPrincipal {
    NewPrincipal {
        kind: PrincipalKind::ServicePrincipal,
        name: name.to_owned(),
        tenant: tenant.map(str::to_owned),
        secret: None,
    }
}

pub async fn ctx(engine: &Engine, named: &str) -> Ctx {
    let principal = engine.find_principal(named).await.unwrap();
    Ctx {
        auxiliary: Vec::new(),
        client: "127.0.0.1".to_owned(),
        caller: engine::Caller {
            object_id: principal.object_id,
            tenant: principal.tenant,
            app_id: CLI.to_owned(),
            name: principal.name,
            groups: Vec::new(),
        },
        api_version: "2023-07-03".to_owned(),
        base_url: BASE.to_owned(),
        correlation_id: Uuid::nil(),
    }
}

#[tokio::test]
async fn the_first_start_makes_everything_once() {
    let world = World::new().await;
    assert!(
        world
            .engine
            .bootstrap(&BootstrapOptions::default())
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        world
            .other_node()
            .await
            .bootstrap(&BootstrapOptions::default())
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(world.engine.list_tenants().await.unwrap().len(), 1);
    let kinds: Vec<_> = world
        .engine
        .list_principals(None)
        .await
        .unwrap()
        .iter()
        .map(|p| p.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            PrincipalKind::ServicePrincipal,
            PrincipalKind::ManagedIdentity
        ]
    );
    let ctx = ctx(&world.engine, &world.first.client_id).await;
    let seen = world.engine.subscriptions_of(&ctx).await.unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].id, world.first.subscription_id);
}

#[tokio::test]
async fn nodes_that_start_at_once_agree_on_one_first_tenant() {
    let empty = World::new().await;
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(super::world::open(dir.path(), &empty.clock).await);
    }
    let options = BootstrapOptions::default();
    let (a, b, c, d) = tokio::join!(
        nodes[0].bootstrap(&options),
        nodes[1].bootstrap(&options),
        nodes[2].bootstrap(&options),
        nodes[3].bootstrap(&options),
    );
    let made: Vec<_> = [a, b, c, d]
        .into_iter()
        .filter_map(Result::unwrap)
        .collect();
    assert_eq!(made.len(), 1);
    let tenants = nodes[3].list_tenants().await.unwrap();
    assert_eq!(
        tenants.iter().map(|t| t.id.as_str()).collect::<Vec<_>>(),
        [made[0].tenant_id.as_str()]
    );
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let world = World::new().await;
    let engine = &world.engine;
    let other = engine
        .create_tenant(&NewTenant {
            name: "Other".to_owned(),
            domain: "Other.test".to_owned(),
        })
        .await
        .unwrap();
    let stranger = engine
        .create_principal(program("stranger", Some("other.test")))
        .await
        .unwrap()
        .principal;
    engine
        .grant_role(&stranger.object_id, "Owner", "/")
        .await
        .unwrap();
    let foreign = format!("/subscriptions/{}", world.first.subscription_id);
    assert_eq!(
        engine
            .grant_role(&stranger.object_id, "Owner", &foreign)
            .await
            .unwrap_err()
            .code,
        "SubscriptionNotFound"
    );
    let ctx = ctx(engine, &stranger.object_id).await;
    assert!(engine.subscriptions_of(&ctx).await.unwrap().is_empty());
    assert_eq!(
        engine
            .subscription(&ctx, &world.first.subscription_id)
            .await
            .unwrap_err()
            .code,
        "SubscriptionNotFound"
    );
    assert_eq!(
        engine.delete_tenant(&other.id).await.unwrap_err().code,
        "TenantNotEmpty"
    );
    engine.delete_principal(&stranger.object_id).await.unwrap();
    engine.delete_tenant(&other.id).await.unwrap();
    assert_eq!(engine.list_tenants().await.unwrap().len(), 1);
}

#[tokio::test]
async fn subscriptions_are_made_disabled_and_deleted() {
    let world = World::new().await;
    let engine = &world.engine;
    let owner = engine
        .create_principal(program("builder", None))
        .await
        .unwrap()
        .principal;
    let new = NewSubscription {
        name: "Second".to_owned(),
        tenant: None,
        owner: Some("builder".to_owned()),
        id: None,
    };
    let made = engine.create_subscription(&new).await.unwrap();
    let ctx = ctx(engine, "builder").await;
    assert_eq!(
        engine.subscriptions_of(&ctx).await.unwrap(),
        std::slice::from_ref(&made)
    );
    assert_eq!(
        engine.roles_of(&owner.object_id).await.unwrap()[0].scope,
        format!("/subscriptions/{}", made.id)
    );
    let disabled = engine
        .set_subscription_enabled(&made.id.to_uppercase(), false)
        .await
        .unwrap();
    assert_eq!(disabled.state, "Disabled");
    let again = NewSubscription {
        id: Some(made.id.clone()),
        ..new
    };
    assert_eq!(
        engine.create_subscription(&again).await.unwrap_err().kind,
        domain::ErrorKind::Conflict
    );
    engine.delete_subscription(&made.id).await.unwrap();
    assert!(engine.roles_of(&owner.object_id).await.unwrap().is_empty());
    assert_eq!(
        engine.delete_subscription(&made.id).await.unwrap_err().code,
        "SubscriptionNotFound"
    );
}

#[tokio::test]
async fn roles_are_granted_once_and_taken_back() {
    let world = World::new().await;
    let engine = &world.engine;
    engine
        .create_principal(program("reader", None))
        .await
        .unwrap();
    let scope = format!(
        "/Subscriptions/{}//resourceGroups/RG/",
        world.first.subscription_id
    );
    let first = engine.grant_role("reader", "reader", &scope).await.unwrap();
    let again = engine
        .grant_role("reader", "Reader", &scope.to_lowercase())
        .await
        .unwrap();
    assert_eq!(first, again);
    assert_eq!(
        first.scope,
        format!(
            "/subscriptions/{}/resourcegroups/rg",
            world.first.subscription_id
        )
    );
    engine
        .revoke_role("reader", "Reader", &scope)
        .await
        .unwrap();
    assert_eq!(
        engine
            .revoke_role("reader", "Reader", &scope)
            .await
            .unwrap_err()
            .code,
        "RoleAssignmentNotFound"
    );
    for (role, scope) in [
        ("No such role", "/"),
        ("Reader", "subscriptions/x"),
        ("Reader", "/elsewhere/x"),
    ] {
        assert!(
            engine.grant_role("reader", role, scope).await.is_err(),
            "{role} {scope}"
        );
    }
    assert_eq!(
        engine.find_principal("nobody").await.err().map(|e| e.kind),
        Some(domain::ErrorKind::NotFound)
    );
}

#[tokio::test]
async fn user_names_are_unique_whatever_their_case() {
    let world = World::new().await;
    let user = |name: &str| NewPrincipal {
        kind: PrincipalKind::User,
        name: name.to_owned(),
        tenant: None,
        secret: Some("long enough".to_owned().into()),
    };
    world.engine.create_principal(user("ada")).await.unwrap();
    assert!(
        world
            .engine
            .create_principal(user("ADA@vitrine.local"))
            .await
            .is_err()
    );
    let short = NewPrincipal {
        secret: Some("short".to_owned().into()),
        ..user("bob")
    };
    assert!(world.engine.create_principal(short).await.is_err());
}
