//! Role definitions and role assignments.

use serde_json::{Value, json};
use testkit::GALLERY_VERSION;

use crate::world::{World, check, guid, role_id};

fn names(answer: &testkit::Answer, pointer: &str) -> Vec<String> {
    let items = answer.body["value"]
        .as_array()
        .unwrap_or_else(|| panic!("{}", answer.body));
    let name = |item: &Value| {
        item.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    items.iter().map(name).collect()
}

#[tokio::test]
async fn a_role_that_is_given_counts_at_once_and_ends_at_once() {
    let world = World::new().await;
    let (group, gallery) = world.gallery("rg").await;
    let ada = world.person("ada").await;
    let read = async || ada.arm.send("GET", &gallery, GALLERY_VERSION, None).await;
    check(&read().await, 403, "AuthorizationFailed");

    let given = world
        .assign(&world.owner, &gallery, &guid(1), "Reader", &ada.object_id)
        .await;
    check(&given, 201, "");
    let properties = &given.body["properties"];
    assert_eq!(
        properties["principalType"], "ServicePrincipal",
        "{}",
        given.body
    );
    assert_eq!(properties["scope"], gallery.as_str());
    let subscription = world.server.subscription();
    assert_eq!(
        properties["roleDefinitionId"],
        format!("{subscription}{}", role_id("Reader"))
    );
    check(&read().await, 200, "");
    // Only there, and only reading.
    let above = ada.arm.send("GET", &group, GALLERY_VERSION, None).await;
    check(&above, 403, "AuthorizationFailed");
    let body = json!({ "location": "eastus" });
    let write = ada
        .arm
        .send("PUT", &gallery, GALLERY_VERSION, Some(&body))
        .await;
    check(&write, 403, "AuthorizationFailed");

    let local = format!("roleAssignments/{}", guid(1));
    let got = world
        .access(&world.owner, "GET", &gallery, &local, None)
        .await;
    assert_eq!(got.body, given.body);
    check(
        &world
            .access(&world.owner, "DELETE", &gallery, &local, None)
            .await,
        200,
        "",
    );
    check(&read().await, 403, "AuthorizationFailed");
    check(
        &world
            .access(&world.owner, "DELETE", &gallery, &local, None)
            .await,
        204,
        "",
    );
    check(
        &world
            .access(&world.owner, "GET", &gallery, &local, None)
            .await,
        404,
        "RoleAssignmentNotFound",
    );
}

#[tokio::test]
async fn what_cannot_be_given_is_refused_in_the_service_words() {
    let world = World::new().await;
    let (group, gallery) = world.gallery("rg").await;
    let ada = world.person("ada").await;
    let (stranger, foreign) = world.stranger().await;
    check(
        &world
            .assign(&world.owner, &group, &guid(1), "Reader", &ada.object_id)
            .await,
        201,
        "",
    );
    for (scope, name, role, principal, status, code) in [
        (
            &group,
            guid(2),
            "Reader",
            &ada.object_id,
            409,
            "RoleAssignmentExists",
        ),
        (
            &group,
            guid(1),
            "Reader",
            &ada.object_id,
            409,
            "RoleAssignmentExists",
        ),
        (
            &group,
            guid(1),
            "Owner",
            &ada.object_id,
            400,
            "RoleAssignmentUpdateNotPermitted",
        ),
        (
            &gallery,
            guid(1),
            "Reader",
            &ada.object_id,
            400,
            "RoleAssignmentUpdateNotPermitted",
        ),
        (
            &group,
            guid(3),
            "Reader",
            &stranger.object_id,
            400,
            "PrincipalNotFound",
        ),
        (
            &group,
            guid(3),
            "Reader",
            &guid(9),
            400,
            "PrincipalNotFound",
        ),
        (
            &group,
            guid(3),
            &guid(9),
            &ada.object_id,
            404,
            "RoleDefinitionDoesNotExist",
        ),
        (
            &group,
            "x".to_owned(),
            "Reader",
            &ada.object_id,
            400,
            "InvalidRoleAssignmentId",
        ),
        (
            &format!("{group}x"),
            guid(3),
            "Reader",
            &ada.object_id,
            404,
            "ResourceGroupNotFound",
        ),
        (
            &foreign,
            guid(3),
            "Owner",
            &ada.object_id,
            404,
            "SubscriptionNotFound",
        ),
    ] {
        let answer = world
            .assign(&world.owner, scope, &name, role, principal)
            .await;
        check(&answer, status, code);
    }
    for (properties, code) in [
        (json!({ "principalType": "User" }), "UnmatchedPrincipalType"),
        (
            json!({ "condition": "true", "conditionVersion": "2.0" }),
            "RoleAssignmentConditionNotSupported",
        ),
    ] {
        let mut body = json!({ "properties": { "roleDefinitionId": role_id("Owner"), "principalId": ada.object_id } });
        for (name, value) in properties.as_object().unwrap() {
            body["properties"][name] = value.clone();
        }
        let local = format!("roleAssignments/{}", guid(4));
        check(
            &world
                .access(&world.owner, "PUT", &group, &local, Some(&body))
                .await,
            400,
            code,
        );
    }
    // A reader gives nobody anything, a contributor neither.
    for role in ["Reader", "Contributor"] {
        let who = world.person(role).await;
        world
            .assign(&world.owner, &gallery, &uuid(), role, &who.object_id)
            .await;
        let refused = world
            .assign(&who.arm, &gallery, &guid(5), "Owner", &who.object_id)
            .await;
        check(&refused, 403, "AuthorizationFailed");
    }
}

fn uuid() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1000);
    guid(NEXT.fetch_add(1, Ordering::Relaxed))
}

#[tokio::test]
async fn lists_show_what_counts_at_a_scope_as_their_filter_says() {
    let world = World::new().await;
    let (group, gallery) = world.gallery("rg").await;
    let (ada, eve) = (world.person("ada").await, world.person("eve").await);
    world
        .assign(&world.owner, &group, &guid(1), "Reader", &ada.object_id)
        .await;
    world
        .assign(
            &world.owner,
            &gallery,
            &guid(2),
            "Contributor",
            &eve.object_id,
        )
        .await;
    let list = async |scope: &str, filter: &str| {
        let local = format!(
            "roleAssignments{}{filter}",
            if filter.is_empty() { "" } else { "?$filter=" }
        );
        let answer = world.access(&world.owner, "GET", scope, &local, None).await;
        check(&answer, 200, "");
        let mut all = names(&answer, "/name");
        all.retain(|name| [guid(1), guid(2)].contains(name));
        all.sort();
        all
    };
    assert_eq!(
        list(&world.server.subscription(), "").await,
        [guid(1), guid(2)]
    );
    assert_eq!(list(&group, "atScope()").await, [guid(1)]);
    assert_eq!(list(&gallery, "atScope()").await, [guid(1), guid(2)]);
    assert_eq!(
        list("", &format!("principalId eq '{}'", eve.object_id)).await,
        [guid(2)]
    );
    assert_eq!(
        list(
            &gallery,
            &format!("atScope() and assignedTo('{}')", ada.object_id)
        )
        .await,
        [guid(1)]
    );
    let refused = world
        .access(
            &world.owner,
            "GET",
            &group,
            "roleAssignments?$filter=name eq 'x'",
            None,
        )
        .await;
    check(&refused, 400, "InvalidFilterInQueryString");
    // Another tenant's assignments are nobody's business, whatever the scope.
    let (stranger, foreign) = world.stranger().await;
    let theirs = world
        .access(&stranger.arm, "GET", &foreign, "roleAssignments", None)
        .await;
    assert_eq!(
        names(&theirs, "/properties/principalId"),
        [stranger.object_id]
    );
}

#[tokio::test]
async fn a_custom_role_is_made_given_changed_and_goes_last() {
    let world = World::new().await;
    let (group, gallery) = world.gallery("rg").await;
    let ada = world.person("ada").await;
    let role = |actions: &[&str]| {
        json!({ "properties": {
            "roleName": "Gallery looker", "type": "CustomRole", "description": "looks",
            "permissions": [{ "actions": actions }], "assignableScopes": [group],
        } })
    };
    let local = format!("roleDefinitions/{}", guid(7));
    let read = ["Microsoft.Compute/galleries/read"];
    let made = world
        .access(&world.owner, "PUT", &group, &local, Some(&role(&read)))
        .await;
    check(&made, 201, "");
    assert_eq!(made.body["properties"]["type"], "CustomRole");
    let list = async |filter: &str| {
        let local = format!("roleDefinitions?$filter={filter}");
        world
            .access(&world.owner, "GET", &group, &local, None)
            .await
    };
    assert_eq!(
        names(&list("roleName eq 'gallery LOOKER'").await, "/name"),
        [guid(7)]
    );
    assert_eq!(
        names(&list("type eq 'CustomRole'").await, "/name"),
        [guid(7)]
    );
    let builtin = names(&list("type eq 'BuiltInRole'").await, "/properties/roleName");
    assert!(
        builtin.contains(&"Owner".to_owned()) && !builtin.contains(&"Gallery looker".to_owned())
    );
    let above = world.server.subscription();
    let at = world
        .access(
            &world.owner,
            "GET",
            &above,
            "roleDefinitions?$filter=type eq 'CustomRole'",
            None,
        )
        .await;
    assert_eq!(names(&at, "/name"), [""; 0]);
    let below = "roleDefinitions?$filter=atScopeAndBelow() and type eq 'CustomRole'";
    assert_eq!(
        names(
            &world.access(&world.owner, "GET", &above, below, None).await,
            "/name"
        ),
        [guid(7)]
    );

    check(
        &world
            .assign(&world.owner, &above, &guid(1), &guid(7), &ada.object_id)
            .await,
        400,
        "RoleAssignmentScopeNotAssignableToRoleDefinition",
    );
    check(
        &world
            .assign(&world.owner, &gallery, &guid(1), &guid(7), &ada.object_id)
            .await,
        201,
        "",
    );
    check(
        &ada.arm.send("GET", &gallery, GALLERY_VERSION, None).await,
        200,
        "",
    );
    // What is taken out again is not allowed, whatever stands beside it.
    let mut all_but = role(&["Microsoft.Compute/galleries/*"]);
    all_but["properties"]["permissions"][0]["notActions"] =
        json!(["Microsoft.Compute/galleries/write"]);
    check(
        &world
            .access(&world.owner, "PUT", &group, &local, Some(&all_but))
            .await,
        201,
        "",
    );
    let here = json!({ "location": "eastus" });
    for (method, body, status) in [("GET", None, 200), ("PUT", Some(&here), 403)] {
        let answer = ada.arm.send(method, &gallery, GALLERY_VERSION, body).await;
        assert_eq!(answer.status, status, "{method}: {}", answer.body);
    }
    // Less is allowed from the next request on.
    let other = ["Microsoft.Compute/disks/read"];
    check(
        &world
            .access(&world.owner, "PUT", &group, &local, Some(&role(&other)))
            .await,
        201,
        "",
    );
    check(
        &ada.arm.send("GET", &gallery, GALLERY_VERSION, None).await,
        403,
        "AuthorizationFailed",
    );

    check(
        &world
            .access(&world.owner, "DELETE", &group, &local, None)
            .await,
        400,
        "RoleDefinitionHasAssignments",
    );
    let assignment = format!("roleAssignments/{}", guid(1));
    world
        .access(&world.owner, "DELETE", &gallery, &assignment, None)
        .await;
    check(
        &world
            .access(&world.owner, "DELETE", &group, &local, None)
            .await,
        200,
        "",
    );
    check(
        &world
            .access(&world.owner, "DELETE", &group, &local, None)
            .await,
        204,
        "",
    );
    check(
        &world
            .access(&world.owner, "GET", &group, &local, None)
            .await,
        404,
        "RoleDefinitionDoesNotExist",
    );
}

#[tokio::test]
async fn custom_roles_stay_in_their_tenant_and_below_their_writers_rights() {
    let world = World::new().await;
    let (group, _) = world.gallery("rg").await;
    let (stranger, foreign) = world.stranger().await;
    let role = |name: &str, scopes: &[&str]| json!({ "properties": { "roleName": name, "permissions": [{ "actions": ["*"] }], "assignableScopes": scopes } });
    let local = format!("roleDefinitions/{}", guid(8));
    let put = async |who, scope: &str, body: &Value| {
        world.access(who, "PUT", scope, &local, Some(body)).await
    };
    check(
        &put(&world.owner, &group, &role("mine", &[&group])).await,
        201,
        "",
    );
    let seen = world
        .access(&stranger.arm, "GET", &foreign, &local, None)
        .await;
    check(&seen, 404, "RoleDefinitionDoesNotExist");
    check(
        &put(&stranger.arm, &foreign, &role("theirs", &[&foreign])).await,
        409,
        "RoleDefinitionIdInUse",
    );
    check(
        &put(
            &stranger.arm,
            &foreign,
            &role("theirs", &[&foreign, &group]),
        )
        .await,
        404,
        "SubscriptionNotFound",
    );
    // Who may write roles in one group makes none for the subscription.
    let ada = world.person("ada").await;
    world
        .assign(&world.owner, &group, &guid(1), "Owner", &ada.object_id)
        .await;
    let wide = role("wide", &[&world.server.subscription()]);
    let other = format!("roleDefinitions/{}", guid(9));
    let refused = world
        .access(&ada.arm, "PUT", &group, &other, Some(&wide))
        .await;
    check(&refused, 403, "AuthorizationFailed");
}

#[tokio::test]
async fn members_have_what_their_group_has_until_they_leave() {
    let world = World::new().await;
    let (_, gallery) = world.gallery("rg").await;
    let ada = world.person("ada").await;
    let team = world.verb("principal create-group team");
    let inner = world.verb("principal create-group inner");
    assert_eq!(team["kind"], "Group");
    let (team, inner) = (
        team["objectId"].as_str().unwrap(),
        inner["objectId"].as_str().unwrap(),
    );
    let given = world
        .assign(&world.owner, &gallery, &guid(1), "Reader", team)
        .await;
    check(&given, 201, "");
    assert_eq!(given.body["properties"]["principalType"], "Group");
    world.verb(&format!("principal add-member {team} {inner}"));
    // A circle of groups ends nowhere and harms nobody.
    world.verb(&format!("principal add-member {inner} {team}"));
    world.verb(&format!("principal add-member {inner} {}", ada.client_id));
    let read = async |status: u16| {
        // Another process changed it: this node hears of it within a second.
        let limit = std::time::Duration::from_secs(20);
        testkit::until("the membership counts", limit, || async {
            let answer = ada.arm.send("GET", &gallery, GALLERY_VERSION, None).await;
            (answer.status == status).then_some(())
        })
        .await;
    };
    read(200).await;
    let filter = format!("roleAssignments?$filter=assignedTo('{}')", ada.object_id);
    let assigned = world.access(&world.owner, "GET", "", &filter, None).await;
    assert_eq!(names(&assigned, "/name"), [guid(1)]);
    world.verb(&format!(
        "principal remove-member {inner} {}",
        ada.client_id
    ));
    read(403).await;
}

#[tokio::test]
async fn a_resource_made_again_has_no_rights_of_the_old_one() {
    let world = World::new().await;
    let (_, gallery) = world.gallery("rg").await;
    let ada = world.person("ada").await;
    world
        .assign(&world.owner, &gallery, &guid(1), "Owner", &ada.object_id)
        .await;
    world
        .owner
        .done("DELETE", &gallery, GALLERY_VERSION, None)
        .await;
    world.gallery("rg").await;
    check(
        &ada.arm.send("GET", &gallery, GALLERY_VERSION, None).await,
        403,
        "AuthorizationFailed",
    );
}
