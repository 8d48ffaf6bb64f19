//! The directory: own tenant only, with a token of its own class.

use serde_json::{Value, json};

use crate::world::{Person, World};

/// Returns a token of a person for an audience.
async fn token(world: &World, audience: &str) -> String {
    let credential = |name: &str| world.server.credential(name);
    let endpoint = world.server.endpoint();
    let form = [
        ("grant_type", "client_credentials".to_owned()),
        ("client_id", credential("clientId")),
        ("client_secret", credential("clientSecret")),
        ("scope", format!("{audience}/.default")),
    ];
    let url = format!("{endpoint}/{}/oauth2/v2.0/token", credential("tenantId"));
    let answer = world
        .owner
        .http()
        .post(url)
        .form(&form)
        .send()
        .await
        .unwrap();
    let body: Value = answer.json().await.unwrap();
    body["access_token"]
        .as_str()
        .unwrap_or_else(|| panic!("{body}"))
        .to_owned()
}

async fn ask(world: &World, token: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let url = format!("{}{path}", world.server.endpoint());
    let http = world.owner.http();
    let request = match &body {
        Some(body) => http.post(url).json(body),
        None => http.get(url),
    };
    let answer = request.bearer_auth(token).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn ids(body: &Value) -> Vec<&str> {
    let all = body["value"].as_array().unwrap_or_else(|| panic!("{body}"));
    all.iter().filter_map(|one| one["id"].as_str()).collect()
}

#[tokio::test]
async fn principals_of_the_own_tenant_are_found_as_az_asks() {
    let world = World::new().await;
    let ada = world.person("ada").await;
    let user = world.verb("principal create-user Grace");
    let team = world.verb("principal create-group team");
    let (stranger, _) = world.stranger().await;
    world.verb(&format!("principal add-member team {}", ada.client_id));
    let (user, team) = (
        user["objectId"].as_str().unwrap(),
        team["objectId"].as_str().unwrap(),
    );
    let token = token(&world, &format!("{}/graph/", world.server.endpoint())).await;
    let Person {
        object_id,
        client_id,
        ..
    } = &ada;
    for (path, found) in [
        (
            format!("servicePrincipals?$filter=servicePrincipalNames/any(c:c eq '{client_id}')"),
            vec![object_id.as_str()],
        ),
        (
            format!(
                "servicePrincipals?$filter=servicePrincipalNames/any(c:c eq '{}')",
                stranger.client_id
            ),
            vec![],
        ),
        (
            "servicePrincipals?$filter=servicePrincipalNames/any(c:c eq '')".to_owned(),
            vec![],
        ),
        (
            "users?$filter=userPrincipalName eq 'GRACE@vitrine.local'".to_owned(),
            vec![user],
        ),
        (
            "groups?$filter=startswith(displayName,'te')".to_owned(),
            vec![team],
        ),
        (
            "groups/TEAM/members".replace("TEAM", team),
            vec![object_id.as_str()],
        ),
    ] {
        let (status, body) = ask(&world, &token, &format!("/graph/v1.0/{path}"), None).await;
        assert_eq!((status, ids(&body)), (200, found), "{path}: {body}");
    }
    let wanted = json!({ "ids": [team, stranger.object_id, object_id, user], "types": ["user"] });
    let (_, body) = ask(
        &world,
        &token,
        "/graph/v1.0/directoryObjects/getByIds",
        Some(wanted),
    )
    .await;
    assert_eq!(ids(&body), [team, object_id, user]);
    assert!(!body.to_string().contains("argon2"), "{body}");
    for (path, status) in [
        (format!("users/{}", stranger.object_id), 404),
        (format!("groups/{user}/members"), 404),
        ("users?$filter=secretHash eq 'x'".to_owned(), 400),
        ("applications".to_owned(), 404),
    ] {
        let (found, body) = ask(&world, &token, &format!("/graph/v1.0/{path}"), None).await;
        assert_eq!(found, status, "{path}: {body}");
    }
}

#[tokio::test]
async fn a_token_of_the_directory_opens_nothing_else_and_others_do_not_open_it() {
    let world = World::new().await;
    let endpoint = world.server.endpoint().to_owned();
    let graph = token(&world, &format!("{endpoint}/graph/")).await;
    let storage = token(&world, "https://storage.azure.com").await;
    let arm = token(&world, &endpoint).await;
    for (token, path, status) in [
        (&graph, "/graph/v1.0/users", 200),
        (&graph, "/v1.0/users", 200),
        (&arm, "/graph/v1.0/users", 401),
        (&arm, "/v1.0/users", 200),
        (&storage, "/v1.0/users", 401),
        (&storage, "/graph/v1.0/users", 401),
        (&graph, "/subscriptions?api-version=2022-12-01", 401),
    ] {
        let (found, body) = ask(&world, token, path, None).await;
        assert_eq!(found, status, "{path}: {body}");
    }
}
