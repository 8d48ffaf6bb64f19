//! Who may do what, through the use cases that ask.

use domain::ResourceId;
use engine::Ctx;
use engine::identity::{NewPrincipal, NewSubscription, NewTenant, PrincipalKind};
use serde_json::json;

use super::accounts::{ctx, program};
use super::world::World;

fn id(subscription: &str, rest: &str) -> ResourceId {
    ResourceId::parse(&format!(
        "/subscriptions/{subscription}/resourceGroups/rg{rest}"
    ))
    .unwrap()
}

async fn with_group() -> (World, Ctx, String) {
    let world = World::new().await;
    let admin = ctx(&world.engine, &world.first.client_id).await;
    let subscription = world.first.subscription_id.clone();
    world
        .engine
        .put(
            &admin,
            &id(&subscription, ""),
            &json!({ "location": "eastus" }),
        )
        .await
        .unwrap();
    (world, admin, subscription)
}

#[tokio::test]
async fn a_role_allows_at_its_scope_and_below_and_a_refusal_says_what_is_missing() {
    let (world, _, subscription) = with_group().await;
    let engine = &world.engine;
    let group = id(&subscription, "");
    let reader = engine
        .create_principal(program("reader", None))
        .await
        .unwrap()
        .principal;
    let ctx = ctx(engine, "reader").await;
    let refused = engine.get(&ctx, &group).await.err().unwrap();
    assert_eq!(refused.code, "AuthorizationFailed");
    assert_eq!(
        refused.message,
        format!(
            "The client 'reader' with object id '{}' does not have authorization to perform action \
             'Microsoft.Resources/subscriptions/resourceGroups/read' over scope '{group}' or the scope is invalid. \
             If access was recently granted, please refresh your credentials.",
            reader.object_id
        )
    );
    engine
        .grant_role(
            "reader",
            "Reader",
            &group.to_string().to_uppercase().replace("/SUB", "/sub"),
        )
        .await
        .unwrap();
    assert!(
        engine.get(&ctx, &group).await.is_ok(),
        "a grant on this node counts at once"
    );
    let write = engine
        .put(&ctx, &group, &json!({ "location": "eastus" }))
        .await;
    assert_eq!(write.err().unwrap().code, "AuthorizationFailed");
    engine
        .revoke_role("reader", "Reader", &group.to_string())
        .await
        .unwrap();
    assert!(engine.get(&ctx, &group).await.is_err());
}

/// Makes a group with a gallery and a definition; returns their ids.
async fn estate(world: &World, admin: &Ctx, subscription: &str, group: &str) -> [ResourceId; 3] {
    let parse = |text: String| ResourceId::parse(&text).unwrap();
    let name = format!("sig{group}");
    let group = format!("/subscriptions/{subscription}/resourceGroups/{group}");
    let gallery = format!("{group}/providers/Microsoft.Compute/galleries/{name}");
    let image = format!("{gallery}/images/debian");
    let definition = json!({
        "location": "eastus",
        "properties": {
            "osType": "Linux", "osState": "Generalized", "hyperVGeneration": "V2",
            "identifier": { "publisher": "acme", "offer": "debian", "sku": "12" },
        },
    });
    let here = json!({ "location": "eastus" });
    let ids = [group, gallery, image].map(parse);
    for (id, body) in ids.iter().zip([&here, &here, &definition]) {
        world.engine.put(admin, id, body).await.unwrap();
    }
    ids
}

#[tokio::test]
async fn a_role_counts_for_people_programs_and_groups_at_its_scope_and_below() {
    let world = World::new().await;
    let engine = &world.engine;
    let admin = ctx(engine, &world.first.client_id).await;
    let first = world.first.subscription_id.clone();
    let second = NewSubscription {
        name: "Second".to_owned(),
        tenant: None,
        owner: None,
        id: None,
    };
    let second = engine.create_subscription(&second).await.unwrap().id;
    let mut places = Vec::from(estate(&world, &admin, &first, "rg").await);
    places.extend(estate(&world, &admin, &first, "other").await);
    places.extend(estate(&world, &admin, &second, "rg").await);
    let principal = |kind, name: &str| NewPrincipal {
        kind,
        ..program(name, None)
    };
    for (kind, name) in [
        (PrincipalKind::User, "ada@vitrine.local"),
        (PrincipalKind::ServicePrincipal, "robot"),
        (PrincipalKind::ManagedIdentity, "identity"),
        (PrincipalKind::User, "member@vitrine.local"),
        (PrincipalKind::Group, "outer"),
        (PrincipalKind::Group, "inner"),
    ] {
        engine
            .create_principal(principal(kind, name))
            .await
            .unwrap();
    }
    engine.add_member("outer", "inner").await.unwrap();
    engine
        .add_member("inner", "member@vitrine.local")
        .await
        .unwrap();
    let tree = places[..3].iter().map(ToString::to_string);
    let mut scopes = vec!["/".to_owned(), format!("/subscriptions/{first}")];
    scopes.extend(tree);
    // Who reads, and who holds the role for him.
    for (reader, holder) in [
        ("ada@vitrine.local", "ada@vitrine.local"),
        ("robot", "robot"),
        ("identity", "identity"),
        ("member@vitrine.local", "outer"),
    ] {
        let kept = ctx(engine, reader).await;
        let reads = async || {
            let mut all = String::new();
            for place in &places {
                let read = engine.get(&kept, place).await;
                all.push(if read.is_ok() { '+' } else { '-' });
            }
            all
        };
        let expected = [
            "+++++++++",
            "++++++---",
            "+++------",
            "-++------",
            "--+------",
        ];
        for (scope, expected) in scopes.iter().zip(expected) {
            assert_eq!(reads().await, "---------", "{reader} before {scope}");
            engine.grant_role(holder, "Reader", scope).await.unwrap();
            assert_eq!(reads().await, expected, "{reader} by {holder} at {scope}");
            engine.revoke_role(holder, "Reader", scope).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_subscription_of_another_tenant_is_as_good_as_none() {
    let (world, _, subscription) = with_group().await;
    let engine = &world.engine;
    let other = NewTenant {
        name: "Other".to_owned(),
        domain: "other.test".to_owned(),
    };
    engine.create_tenant(&other).await.unwrap();
    engine
        .create_principal(program("stranger", Some("other.test")))
        .await
        .unwrap();
    engine.grant_role("stranger", "Owner", "/").await.unwrap();
    let ctx = ctx(engine, "stranger").await;
    let nowhere = "00000000-0000-0000-0000-000000000009";
    for asked in [
        subscription.clone(),
        subscription.to_uppercase(),
        nowhere.to_owned(),
    ] {
        let refused = engine.get(&ctx, &id(&asked, "")).await.err().unwrap();
        assert_eq!(refused.code, "SubscriptionNotFound");
        assert_eq!(
            refused.message,
            format!("The subscription '{asked}' could not be found.")
        );
    }
}

#[tokio::test]
async fn a_disabled_subscription_is_read_only() {
    let (world, admin, subscription) = with_group().await;
    let engine = &world.engine;
    engine
        .set_subscription_enabled(&subscription, false)
        .await
        .unwrap();
    assert!(engine.get(&admin, &id(&subscription, "")).await.is_ok());
    let write = engine
        .put(
            &admin,
            &id(&subscription, ""),
            &json!({ "location": "eastus" }),
        )
        .await;
    assert_eq!(write.err().unwrap().code, "ReadOnlyDisabledSubscription");
}

#[tokio::test]
async fn a_body_may_refer_only_to_what_the_caller_may_read() {
    let (world, admin, subscription) = with_group().await;
    let engine = &world.engine;
    let second = NewSubscription {
        name: "Second".to_owned(),
        tenant: None,
        owner: Some("builder".to_owned()),
        id: None,
    };
    engine
        .create_principal(NewPrincipal {
            kind: PrincipalKind::ServicePrincipal,
            ..program("builder", None)
        })
        .await
        .unwrap();
    let own = engine.create_subscription(&second).await.unwrap().id;
    let builder = ctx(engine, "builder").await;
    engine
        .put(&builder, &id(&own, ""), &json!({ "location": "eastus" }))
        .await
        .unwrap();
    let disk = "/providers/Microsoft.Compute/disks/secret";
    let mine = id(&own, "/providers/Microsoft.Compute/disks/copy");
    let body = |source: &str| {
        json!({
            "location": "eastus",
            "properties": { "creationData": { "createOption": "Copy", "sourceResourceId": source } },
        })
    };
    let secret = id(&subscription, disk).to_string();
    for source in [
        secret.clone(),
        secret.to_uppercase(),
        secret.replace("/providers", "//PROVIDERS"),
        format!(" {secret} "),
    ] {
        let refused = engine
            .put(&builder, &mine, &body(&source))
            .await
            .err()
            .unwrap();
        assert_eq!(refused.code, "LinkedAuthorizationFailed", "{source}");
        assert!(
            refused.message.contains("Microsoft.Compute/disks/read"),
            "{}",
            refused.message
        );
    }
    let nowhere = id("00000000-0000-0000-0000-000000000009", disk).to_string();
    let refused = engine
        .put(&builder, &mine, &body(&nowhere))
        .await
        .err()
        .unwrap();
    assert!(
        refused
            .message
            .contains("is not authorized to access linked subscription"),
        "{}",
        refused.message
    );
    // Who may read it comes as far as the rules of disks.
    let allowed = engine
        .put(
            &admin,
            &id(&subscription, "/providers/Microsoft.Compute/disks/copy"),
            &body(&secret),
        )
        .await;
    assert_ne!(
        allowed.err().map(|e| e.code.to_string()),
        Some("LinkedAuthorizationFailed".to_owned())
    );
}

#[tokio::test]
async fn work_that_goes_on_for_a_disabled_principal_may_nothing_any_more() {
    let (world, _, subscription) = with_group().await;
    let engine = &world.engine;
    let group = id(&subscription, "");
    let made = engine.create_principal(program("builder", None)).await;
    let builder = made.unwrap().principal.object_id;
    let scope = format!("/subscriptions/{subscription}");
    engine
        .grant_role(&builder, "Contributor", &scope)
        .await
        .unwrap();
    // A deployment keeps who began it and asks for rights with every step.
    let kept = ctx(engine, "builder").await;
    assert!(engine.get(&kept, &group).await.is_ok());
    for (is_enabled, may) in [(false, false), (true, true)] {
        engine
            .set_principal_enabled(&builder, is_enabled)
            .await
            .unwrap();
        assert_eq!(engine.get(&kept, &group).await.is_ok(), may);
    }
    engine.delete_principal(&builder).await.unwrap();
    assert!(engine.get(&kept, &group).await.is_err());
}
