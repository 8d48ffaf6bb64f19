//! Custom roles, members, locks.

use catalog::{Principal, PrincipalKind, RoleAssignment, Tx};
use domain::lock::{Level, Lock};
use domain::role::{Permission, Role};
use domain::role_definition::CustomRole;

use crate::database::Database;

fn custom(id: &str, tenant: &str, name: &str) -> CustomRole {
    CustomRole {
        role: Role {
            id: id.to_owned(),
            name: name.to_owned(),
            description: "what for".to_owned(),
            permissions: vec![Permission {
                actions: vec!["*/read".to_owned()],
                not_actions: vec!["a/b".to_owned()],
                data_actions: vec!["c/d".to_owned()],
                not_data_actions: vec!["e/f".to_owned()],
            }],
        },
        tenant: tenant.to_owned(),
        assignable_scopes: vec!["/subscriptions/S".to_owned()],
        created_by: "a".to_owned(),
        updated_by: "b".to_owned(),
        created_ms: 1,
        updated_ms: 2,
    }
}

pub async fn custom_roles_belong_to_their_tenant(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let (mut a, b) = (custom("a", "t", "zeta"), custom("b", "t", "alpha"));
    assert!(tx.put_role_definition(&a).await.unwrap());
    assert!(tx.put_role_definition(&b).await.unwrap());
    a.role.description = "else".to_owned();
    assert!(tx.put_role_definition(&a).await.unwrap());
    // Another tenant takes nobody's id.
    assert!(
        !tx.put_role_definition(&custom("a", "u", "mine"))
            .await
            .unwrap()
    );
    assert_eq!(
        tx.load_role_definition("t", "a").await.unwrap().as_ref(),
        Some(&a)
    );
    assert_eq!(tx.load_role_definition("u", "a").await.unwrap(), None);
    assert_eq!(tx.list_role_definitions("t").await.unwrap(), [b, a]);
    assert_eq!(tx.list_role_definitions("u").await.unwrap(), []);
    assert!(!tx.delete_role_definition("u", "a").await.unwrap());
    assert!(tx.delete_role_definition("t", "a").await.unwrap());
    assert!(!tx.delete_role_definition("t", "a").await.unwrap());
}

async fn assign(tx: &mut Tx, id: &str, scope: &str, principal: &str) {
    let assignment = RoleAssignment {
        id: id.to_owned(),
        scope: scope.to_owned(),
        shown_scope: scope.to_owned(),
        role_definition: "reader".to_owned(),
        principal: principal.to_owned(),
        principal_type: "User".to_owned(),
        description: None,
        created_by: String::new(),
        created_ms: 1,
    };
    tx.put_role_assignment(&assignment).await.unwrap();
}

async fn person(tx: &mut Tx, object_id: &str, tenant: &str) {
    let principal = Principal {
        object_id: object_id.to_owned(),
        tenant: tenant.to_owned(),
        kind: PrincipalKind::Group,
        app_id: String::new(),
        name: object_id.to_owned(),
        secret_hash: None,
        enabled: true,
        created_ms: 1,
    };
    tx.put_principal(&principal).await.unwrap();
}

fn ids(all: Vec<RoleAssignment>) -> Vec<String> {
    let mut ids: Vec<String> = all.into_iter().map(|a| a.id).collect();
    ids.sort();
    ids
}

pub async fn every_change_of_rights_moves_their_generation_and_nothing_else_does(
    database: &Database,
) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let mut seen = tx.access_generation().await.unwrap();
    macro_rules! moves {
        ($change:expr) => {{
            $change;
            let now = tx.access_generation().await.unwrap();
            assert!(now > seen, "{}", stringify!($change));
            seen = now;
        }};
    }
    let role = custom("a", "t", "zeta");
    moves!(person(&mut tx, "p", "t").await);
    moves!(assign(&mut tx, "1", "/subscriptions/s", "p").await);
    moves!(assign(&mut tx, "2", "/subscriptions/s", "p").await);
    moves!(assign(&mut tx, "3", "/subscriptions/s", "p").await);
    moves!(tx.delete_role_assignment("1").await.unwrap());
    moves!(tx.delete_access_at("/subscriptions/S").await.unwrap());
    moves!(assign(&mut tx, "4", "/", "p").await);
    moves!(tx.delete_role_assignments_of("p").await.unwrap());
    moves!(tx.put_role_definition(&role).await.unwrap());
    moves!(tx.delete_role_definition("t", "a").await.unwrap());
    moves!(tx.add_member("g", "p").await.unwrap());
    moves!(tx.remove_member("g", "p").await.unwrap());
    moves!(tx.forget_memberships("p").await.unwrap());
    moves!(tx.delete_principal("p").await.unwrap());
    // Resources that go take no rights with them but their own.
    tx.delete_access_at("/subscriptions/other").await.unwrap();
    tx.put_setting("k", "v").await.unwrap();
    assert_eq!(tx.access_generation().await.unwrap(), seen);
    drop(tx);
    // What was not committed changed nothing.
    let mut read = catalog.read().await.unwrap();
    assert!(read.access_generation().await.unwrap() < seen);
}

pub async fn assignments_are_listed_above_and_below_a_scope(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    person(&mut tx, "p", "t").await;
    person(&mut tx, "q", "u").await;
    for (id, scope, principal) in [
        ("root", "/", "p"),
        ("sub", "/subscriptions/s", "p"),
        ("group", "/subscriptions/s/resourcegroups/g", "p"),
        ("beside", "/subscriptions/s/resourcegroups/g2", "p"),
        ("other", "/subscriptions/s2", "p"),
        ("foreign", "/subscriptions/s", "q"),
    ] {
        assign(&mut tx, id, scope, principal).await;
    }
    for (tenant, scope, with_below, found) in [
        ("t", "/", false, &["root"][..]),
        ("t", "/", true, &["beside", "group", "other", "root", "sub"]),
        ("t", "/subscriptions/s", false, &["root", "sub"]),
        (
            "t",
            "/subscriptions/s",
            true,
            &["beside", "group", "root", "sub"],
        ),
        (
            "t",
            "/subscriptions/s/resourcegroups/g",
            true,
            &["group", "root", "sub"],
        ),
        ("u", "/subscriptions/s", true, &["foreign"]),
    ] {
        let listed = tx
            .assignments_around(tenant, scope, with_below)
            .await
            .unwrap();
        assert_eq!(ids(listed), found, "{tenant} {scope} {with_below}");
    }
    assert_eq!(tx.assignments_of_role("reader").await.unwrap().len(), 6);
    assert!(tx.assignments_of_role("owner").await.unwrap().is_empty());
    assert!(tx.describe_role_assignment("sub", "why").await.unwrap());
    assert!(!tx.describe_role_assignment("none", "why").await.unwrap());
    let described = tx.load_role_assignment("sub").await.unwrap().unwrap();
    assert_eq!(described.description.as_deref(), Some("why"));
}

pub async fn members_are_found_from_both_sides(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    for (group, member) in [("g", "b"), ("g", "a"), ("g", "a"), ("h", "a"), ("g", "h")] {
        tx.add_member(group, member).await.unwrap();
    }
    assert_eq!(tx.members_of("g").await.unwrap(), ["a", "b", "h"]);
    assert_eq!(tx.groups_of("a").await.unwrap(), ["g", "h"]);
    assert!(tx.remove_member("g", "b").await.unwrap());
    assert!(!tx.remove_member("g", "b").await.unwrap());
    tx.forget_memberships("h").await.unwrap();
    assert_eq!(tx.members_of("g").await.unwrap(), ["a"]);
    assert_eq!(tx.groups_of("a").await.unwrap(), ["g"]);
}

fn lock(scope: &str, name: &str, level: Level) -> Lock {
    Lock {
        scope: scope.to_ascii_lowercase(),
        shown_scope: scope.to_owned(),
        name: name.to_owned(),
        level,
        notes: Some("why".to_owned()),
        owners: vec!["a".to_owned()],
        created_ms: 3,
    }
}

pub async fn locks_are_found_by_scope_and_name(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let mut at_group = lock("/subscriptions/s/resourceGroups/G", "Keep", Level::ReadOnly);
    let above = lock("/subscriptions/s", "all", Level::CanNotDelete);
    let beside = lock("/subscriptions/s/resourceGroups/G2", "x", Level::ReadOnly);
    for lock in [&at_group, &above, &beside] {
        tx.put_lock(lock).await.unwrap();
    }
    at_group.level = Level::CanNotDelete;
    tx.put_lock(&at_group).await.unwrap();
    let found = tx
        .load_lock("/SUBSCRIPTIONS/s/resourcegroups/g", "KEEP")
        .await
        .unwrap();
    assert_eq!(found.as_ref(), Some(&at_group));
    let at = tx.locks_around(&at_group.shown_scope, false).await.unwrap();
    assert_eq!(at, [above.clone(), at_group.clone()]);
    let all = tx.locks_around("/subscriptions/s", true).await.unwrap();
    assert_eq!(all, [above.clone(), at_group.clone(), beside]);
    assert_eq!(
        tx.locks_around("/subscriptions/s", false).await.unwrap(),
        [above]
    );
    assert!(tx.delete_lock(&at_group.scope, "keep").await.unwrap());
    assert!(!tx.delete_lock(&at_group.scope, "keep").await.unwrap());
}

pub async fn what_was_given_at_a_scope_goes_with_it(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    assign(&mut tx, "here", "/subscriptions/s/resourcegroups/g", "p").await;
    assign(&mut tx, "above", "/subscriptions/s", "p").await;
    tx.put_lock(&lock(
        "/subscriptions/s/resourceGroups/g",
        "l",
        Level::ReadOnly,
    ))
    .await
    .unwrap();
    tx.delete_access_at("/subscriptions/s/resourceGroups/G")
        .await
        .unwrap();
    assert_eq!(ids(tx.assignments_of("p").await.unwrap()), ["above"]);
    assert!(
        tx.locks_around("/subscriptions/s", true)
            .await
            .unwrap()
            .is_empty()
    );
}
