//! A walk over the route table as people who have no business there.
//!
//! The table comes from `vitrine routes`, so a new route is walked without a word here: parameters
//! that `estate` knows get the names of real resources, others get a name that nothing has.

mod blobs;
mod estate;

use estate::{API_VERSION, Estate, GALLERY, GROUP, MARK, Principal, Route, marked_words, verb};
use serde_json::{Value, json};
use testkit::{Answer, Arm, DISK_VERSION, GALLERY_VERSION, GROUP_VERSION};

/// An account, below its group.
const ACCOUNT: &str = "/providers/Microsoft.Storage/storageAccounts/{account}";

/// Routes that answer everyone who is signed in, and why that is right.
const FOR_EVERYONE: [(&str, &str); 4] = [
    ("/tenants", "lists the caller's own tenant"),
    (
        "/subscriptions",
        "lists what the caller has a role in; empty for who has none",
    ),
    (
        "/providers",
        "says what this kind of server serves, nothing of anybody",
    ),
    (
        "/providers/{namespace}",
        "says what this kind of server serves, nothing of anybody",
    ),
];

/// Lists the galleries that their owners made public; empty here.
const PUBLIC_QUESTION: &str = "/providers/Microsoft.ResourceGraph/resources";

/// Actions that are reads, whatever their verb, and why.
const READERS_MAY_POST: [(&str, &str); 3] = [
    (PUBLIC_QUESTION, "asks and changes nothing"),
    (
        "/subscriptions/{subscription}/providers/Microsoft.Storage/checkNameAvailability",
        "asks and changes nothing",
    ),
    (
        "/subscriptions/{subscription}/providers/{namespace}/register",
        "every provider is registered: changes nothing",
    ),
];

/// Routes whose path the first tenant's owner gets 200 from when the names are right.
const OWNER_READS_AT_LEAST: usize = 20;

fn is_for_everyone(route: &Route) -> bool {
    if route.pattern == PUBLIC_QUESTION {
        return true;
    }
    route.method == "GET"
        && FOR_EVERYONE
            .iter()
            .any(|(pattern, _)| *pattern == route.pattern)
}

#[tokio::test]
async fn no_route_answers_without_a_token_that_this_server_signed() {
    let estate = Estate::new().await;
    let text = estate
        .owner
        .send("GET", "/subscriptions", API_VERSION, None)
        .await;
    assert_eq!(text.status, 200, "{}", text.body);
    for token in [
        "",
        "garbage",
        "a.b.c",
        "eyJhbGciOiJub25lIn0.eyJvaWQiOiJ4In0.",
    ] {
        let stranger = estate.owner.with_token(token);
        for route in estate.routes() {
            let answer = estate.ask(&stranger, &route).await;
            let line = format!(
                "{} {} with {token:?}: {} {}",
                route.method, route.pattern, answer.status, answer.body
            );
            assert_eq!(answer.status, 401, "{line}");
            let challenge = answer
                .header("www-authenticate")
                .unwrap_or_else(|| panic!("no challenge: {line}"));
            assert!(challenge.starts_with("Bearer "), "{challenge}: {line}");
            if route.method != "HEAD" {
                assert!(
                    !answer.code().is_empty() && !answer.message().is_empty(),
                    "{line}"
                );
            }
            assert_eq!(
                estate.leaks(&estate.fill(&route.pattern), &answer),
                [""; 0],
                "{line}"
            );
        }
    }
}

#[tokio::test]
async fn a_principal_of_another_tenant_gets_nothing_of_the_first_one() {
    let estate = Estate::new().await;
    let before = estate.everything().await;
    let (stranger, own) = estate.stranger().await;
    let stranger = stranger.arm;
    let shown = stranger
        .send("GET", "/subscriptions", API_VERSION, None)
        .await;
    assert_eq!(shown.body["value"][0]["id"], own, "{}", shown.body);
    let tenant = estate.server.credential("tenantId");
    for answer in walk_refused(&estate, &stranger).await {
        assert!(
            !answer.body.to_string().contains(&tenant),
            "{}",
            answer.body
        );
    }
    assert_eq!(
        estate.everything().await,
        before,
        "a stranger changed something"
    );
}

#[tokio::test]
async fn a_principal_without_roles_is_refused_everywhere() {
    let estate = Estate::new().await;
    let before = estate.everything().await;
    let nobody = estate.principal("nobody").await.arm;
    walk_refused(&estate, &nobody).await;
    let shown = nobody
        .send("GET", "/subscriptions", API_VERSION, None)
        .await;
    assert_eq!(shown.body["value"], json!([]), "{}", shown.body);
    assert_eq!(
        estate.everything().await,
        before,
        "nobody changed something"
    );
}

/// Walks all routes as one who has no business there; returns the answers.
async fn walk_refused(estate: &Estate, client: &Arm) -> Vec<Answer> {
    let mut answers = Vec::new();
    for route in estate.routes() {
        let answer = estate.ask(client, &route).await;
        let line = line(&route, &answer);
        if is_for_everyone(&route) {
            assert_eq!(answer.status, 200, "{line}");
        } else {
            assert!([403, 404].contains(&answer.status), "{line}");
        }
        let path = estate.fill(&route.pattern);
        assert_eq!(estate.leaks(&path, &answer), [""; 0], "{line}");
        answers.push(answer);
    }
    answers
}

fn line(route: &Route, answer: &Answer) -> String {
    let (method, pattern) = (&route.method, &route.pattern);
    format!("{method} {pattern}: {} {}", answer.status, answer.body)
}

#[tokio::test]
async fn a_reader_reads_everything_and_changes_and_opens_nothing() {
    let estate = Estate::new().await;
    let Principal {
        arm: reader, id, ..
    } = estate.principal("reader").await;
    let scope = estate.server.subscription();
    verb(
        &estate.server,
        &format!("principal grant {id} --role Reader --scope {scope}"),
    );
    let before = estate.everything().await;
    for route in estate.routes() {
        let answer = estate.ask(&reader, &route).await;
        let line = line(&route, &answer);
        if READERS_MAY_POST
            .iter()
            .any(|(pattern, _)| *pattern == route.pattern)
        {
            assert!(
                answer.status < 500 && ![401, 403].contains(&answer.status),
                "{line}"
            );
        } else if !["GET", "HEAD"].contains(&route.method.as_str()) {
            assert_eq!(
                (answer.status, answer.code()),
                (403, "AuthorizationFailed"),
                "{line}"
            );
        } else if route.pattern.starts_with("/subscriptions/") {
            let owner = estate.ask(&estate.owner, &route).await;
            assert_eq!(
                (answer.status, answer.body),
                (owner.status, owner.body),
                "{line}"
            );
        }
    }
    assert_eq!(
        estate.everything().await,
        before,
        "a reader changed something"
    );
}

#[tokio::test]
async fn what_is_not_in_the_table_is_404_and_another_verb_405() {
    let estate = Estate::new().await;
    let group = estate.fill(GROUP);
    for (method, path, status, code) in [
        ("GET", "/nothing".to_owned(), 404, "InvalidResourceType"),
        (
            "GET",
            format!("{group}/providers/Microsoft.Compute/gallerie"),
            404,
            "InvalidResourceType",
        ),
        (
            "PUT",
            format!("{group}/providers/Microsoft.Sql/servers/s"),
            404,
            "InvalidResourceType",
        ),
        (
            "POST",
            format!("{group}/providers/Microsoft.Compute/galleries/g"),
            405,
            "HttpMethodNotSupported",
        ),
        (
            "DELETE",
            "/subscriptions".to_owned(),
            405,
            "HttpMethodNotSupported",
        ),
    ] {
        let answer = estate.owner.send(method, &path, API_VERSION, None).await;
        assert_eq!(
            (answer.status, answer.code()),
            (status, code),
            "{method} {path}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_body_that_names_content_of_others_makes_nothing_of_it() {
    let estate = Estate::new().await;
    let blob = estate.upload_blob().await;
    let (stranger, own) = estate.stranger().await;
    let stranger = stranger.arm;
    let Principal {
        arm: builder, id, ..
    } = estate.principal("builder").await;
    let open = estate.fill(GROUP).replace(MARK, "open");
    let here = json!({ "location": "eastus" });
    estate
        .owner
        .done("PUT", &open, GROUP_VERSION, Some(&here))
        .await;
    verb(
        &estate.server,
        &format!("principal grant {id} --role Contributor --scope {open}"),
    );
    let foreign = format!("{own}/resourceGroups/theirs");
    stranger
        .done("PUT", &foreign, GROUP_VERSION, Some(&here))
        .await;
    check_links(&estate, &stranger, &foreign, &blob).await;
    check_links(&estate, &builder, &open, &blob).await;
    // The same bodies work for who may read what they name.
    let disk = format!("{open}/providers/Microsoft.Compute/disks/own");
    let account = estate.fill(&format!("{GROUP}{ACCOUNT}"));
    let image = estate.fill(&format!("{GROUP}{GALLERY}/images/{{image}}"));
    for creation in [
        json!({ "createOption": "Import", "sourceUri": blob, "storageAccountId": account }),
        json!({ "createOption": "Import", "sourceUri": blob }),
        json!({ "createOption": "FromImage", "galleryImageReference": { "id": image } }),
    ] {
        let body = json!({ "location": "eastus", "properties": { "creationData": creation } });
        estate
            .owner
            .done("PUT", &disk, DISK_VERSION, Some(&body))
            .await;
        estate.owner.done("DELETE", &disk, DISK_VERSION, None).await;
    }
}

/// Tries to make disks and versions in `group` of what belongs to the estate.
async fn check_links(estate: &Estate, client: &Arm, group: &str, blob: &str) {
    let here = json!({ "location": "eastus" });
    let own = format!(
        "{group}{}",
        ACCOUNT.replace("{account}", &format!("own{}", group.len()))
    );
    let account =
        json!({ "location": "eastus", "sku": { "name": "Standard_LRS" }, "kind": "StorageV2" });
    client.done("PUT", &own, "2025-08-01", Some(&account)).await;
    let gallery = format!(
        "{group}/providers/Microsoft.Compute/galleries/sig{}",
        group.len()
    );
    client
        .done("PUT", &gallery, GALLERY_VERSION, Some(&here))
        .await;
    let definition = format!("{gallery}/images/d");
    let body = testkit::definition_body("acme", "debian", "12");
    client
        .done("PUT", &definition, GALLERY_VERSION, Some(&body))
        .await;

    let theirs = |tail: &str| estate.fill(&format!("{GROUP}{tail}"));
    let image = theirs(&format!("{GALLERY}/images/{{image}}"));
    let version = format!("{image}/versions/1.0.0");
    let account = theirs(ACCOUNT);
    let disk = theirs("/providers/Microsoft.Compute/disks/{disk}");
    let disks = [
        json!({ "createOption": "FromImage", "galleryImageReference": { "id": version } }),
        json!({ "createOption": "FromImage", "galleryImageReference": { "id": image.to_uppercase() } }),
        json!({ "createOption": "Copy", "sourceResourceId": disk }),
        json!({ "createOption": "Import", "sourceUri": blob, "storageAccountId": account }),
        json!({ "createOption": "Import", "sourceUri": blob }),
        json!({ "createOption": "Import", "sourceUri": blob, "storageAccountId": own }),
    ];
    let storage = |source: Value| json!({ "osDiskImage": { "source": source } });
    let versions = [
        json!({ "source": { "id": version } }),
        storage(json!({ "id": disk })),
        storage(json!({ "uri": blob, "storageAccountId": account })),
        storage(json!({ "uri": blob })),
        storage(json!({ "uri": blob, "storageAccountId": own })),
    ];
    let disks = disks.map(|creation| (DISK_VERSION, json!({ "creationData": creation })));
    let versions = versions.map(|profile| (GALLERY_VERSION, json!({ "storageProfile": profile })));
    for (number, (api_version, properties)) in disks.into_iter().chain(versions).enumerate() {
        let path = match api_version {
            DISK_VERSION => format!("{group}/providers/Microsoft.Compute/disks/d{number}"),
            _ => format!("{definition}/versions/1.0.{number}"),
        };
        let body = json!({ "location": "eastus", "properties": properties });
        let answer = client.send("PUT", &path, api_version, Some(&body)).await;
        let line = format!("{body}: {} {}", answer.status, answer.body);
        assert_eq!(
            (answer.status, answer.code()),
            (403, "LinkedAuthorizationFailed"),
            "{line}"
        );
        assert_eq!(
            estate.leaks(&format!("{path} {body}"), &answer),
            [""; 0],
            "{line}"
        );
    }
}

#[tokio::test]
async fn the_walk_asks_for_what_is_there() {
    let estate = Estate::new().await;
    let read = estate.everything().await;
    assert!(
        read.len() >= OWNER_READS_AT_LEAST,
        "the owner reads only {} routes",
        read.len()
    );
    let marked = read
        .iter()
        .filter(|(_, body)| !marked_words(&body.to_string()).is_empty())
        .count();
    assert!(
        marked >= 10,
        "only {marked} answers hold what must not leak"
    );
    for (pattern, reason) in FOR_EVERYONE {
        assert!(
            read.iter().any(|(known, _)| known == pattern),
            "no route {pattern} ({reason})"
        );
    }
}

#[tokio::test]
async fn a_contributor_of_one_group_works_there_to_the_end_and_nowhere_else() {
    let estate = Estate::new().await;
    let Principal {
        arm: builder, id, ..
    } = estate.principal("builder").await;
    let group = estate.fill(GROUP).replace(MARK, "open");
    let here = json!({ "location": "eastus" });
    estate
        .owner
        .done("PUT", &group, GROUP_VERSION, Some(&here))
        .await;
    verb(
        &estate.server,
        &format!("principal grant {id} --role Contributor --scope {group}"),
    );

    let gallery = format!("{group}/providers/Microsoft.Compute/galleries/open");
    // Waits for the operation too: who may write a resource may also ask how far it is.
    let made = builder
        .done("PUT", &gallery, GALLERY_VERSION, Some(&here))
        .await;
    assert_eq!(made["properties"]["provisioningState"], "Succeeded");
    let (deleted, status) = builder
        .over("DELETE", &gallery, GALLERY_VERSION, None)
        .await;
    assert_eq!(deleted.status, 202, "{}", deleted.body);
    assert_eq!(status.expect("an operation")["status"], "Succeeded");

    for (method, pattern) in [
        ("GET", GALLERY),
        ("PUT", GALLERY),
        ("DELETE", GALLERY),
        ("GET", ""),
    ] {
        let path = estate.fill(&format!("{GROUP}{pattern}"));
        let answer = builder
            .send(
                method,
                &path,
                GALLERY_VERSION,
                (method == "PUT").then_some(&here),
            )
            .await;
        assert_eq!(
            (answer.status, answer.code()),
            (403, "AuthorizationFailed"),
            "{method} {path}: {}",
            answer.body
        );
    }
    let operation = format!(
        "/subscriptions/{{subscription}}/providers/Microsoft.Compute/locations/eastus/capsOperations/{}",
        estate.operation
    );
    let foreign = builder
        .send("GET", &estate.fill(&operation), GALLERY_VERSION, None)
        .await;
    assert!([403, 404].contains(&foreign.status), "{}", foreign.body);
}
