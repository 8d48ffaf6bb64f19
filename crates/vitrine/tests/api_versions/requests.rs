//! What all requests have in common: api-version, path, verb HEAD, pages.

use serde_json::{Value, json};
use testkit::GALLERY_VERSION;

use crate::{World, members};

#[tokio::test]
async fn an_api_version_is_required_known_by_age_and_open_to_the_future() {
    let world = World::new().await;
    let (arm, gallery) = (&world.scene.arm, &world.scene.gallery);
    let missing = arm.send("GET", gallery, "", None).await;
    assert_eq!(
        (missing.status, missing.code()),
        (400, "MissingApiVersionParameter")
    );
    for version in ["2017-12-01", "2018-05-31", "latest", "2023-13-01", "1"] {
        let refused = arm.send("GET", gallery, version, None).await;
        let found = (refused.status, refused.code());
        assert_eq!(
            found,
            (400, "NoRegisteredProviderFound"),
            "{version}: {}",
            refused.body
        );
        assert!(
            refused.message().contains("2018-06-01") && refused.message().contains("2026-03-03"),
            "{}",
            refused.body
        );
    }
    for version in ["2025-04-01", "2031-01-01", "2027-05-05-preview"] {
        let shown = world.get(gallery, version).await;
        assert_eq!(shown["name"], "sig", "{version}");
    }
    // Between two known versions the older one decides.
    let body = json!({ "location": "eastus", "properties": { "softDeletePolicy": { "gracePeriodInDays": 7 } } });
    assert_eq!(
        arm.send("PUT", gallery, "2025-04-01", Some(&body))
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn paths_ignore_case_and_empty_segments_and_names_keep_theirs() {
    let world = World::new().await;
    let arm = &world.scene.arm;
    let gallery = world.scene.gallery.replace("/sig", "/MySig");
    let made = world
        .made(&gallery, GALLERY_VERSION, &json!({ "location": "East US" }))
        .await;
    assert_eq!(
        (&made["name"], &made["location"]),
        (&json!("MySig"), &json!("eastus")),
        "{made}"
    );
    assert_eq!(made["type"], "Microsoft.Compute/galleries");
    let slashes = gallery.replace("/galleries", "//galleries");
    let lower = gallery.to_lowercase();
    let upper = gallery.to_uppercase();
    for path in [&slashes, &lower, &upper] {
        let shown = world.get(path, GALLERY_VERSION).await;
        assert_eq!(
            (&shown["name"], &shown["type"]),
            (&made["name"], &made["type"]),
            "{path}"
        );
        let id = shown["id"].as_str().expect("an id");
        assert!(
            id.ends_with("/providers/Microsoft.Compute/galleries/MySig"),
            "{path}: {id}"
        );
    }
    let again = arm
        .send(
            "PUT",
            &upper,
            GALLERY_VERSION,
            Some(&json!({ "location": "EASTUS" })),
        )
        .await;
    assert_eq!(
        (again.status, &again.body["name"]),
        (200, &made["name"]),
        "{}",
        again.body
    );
    let group = &world.scene.group;
    let listed = world
        .get(
            &format!(
                "{}/providers/microsoft.compute/GALLERIES",
                group.to_lowercase()
            ),
            "2021-10-01",
        )
        .await;
    let names: Vec<&Value> = listed["value"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|g| &g["name"])
        .collect();
    assert_eq!(names, ["MySig", "sig"], "{listed}");
    let encoded = world.scene.definition.replace("/images", "/%69mages");
    assert_eq!(world.get(&encoded, GALLERY_VERSION).await["name"], "debian");
    let escape = format!("{group}/providers/Microsoft.Compute/galleries/..%2f..");
    assert_eq!(
        arm.send("GET", &escape, GALLERY_VERSION, None).await.status,
        400
    );
}

#[tokio::test]
async fn a_head_says_whether_something_is_there_without_a_body() {
    let world = World::new().await;
    for (path, version) in [
        (&world.scene.group, "2024-11-01"),
        (&world.scene.gallery, GALLERY_VERSION),
    ] {
        for (path, status) in [(path.clone(), 204), (format!("{path}x"), 404)] {
            let answer = world.scene.arm.send("HEAD", &path, version, None).await;
            assert_eq!(
                (answer.status, &answer.body),
                (status, &Value::Null),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn lists_page_by_top_and_skiptoken_in_the_order_of_numbers() {
    let world = World::new().await;
    let arm = &world.scene.arm;
    let numbers = ["1.0.2", "1.0.10", "1.2.0", "1.10.0", "2.0.0"];
    for number in numbers.iter().rev() {
        let body = world.scene.version_body(&world.source, &["eastus"]);
        world
            .made(&world.scene.version(number), GALLERY_VERSION, &body)
            .await;
    }
    let list = format!("{}/versions", world.scene.definition);
    let names = |page: &Value| -> Vec<String> {
        let items = page["value"].as_array().expect("a list");
        items
            .iter()
            .map(|item| item["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    for top in ["$top=2", "%24top=2", "$Top=2"] {
        let mut pages = Vec::new();
        let mut page = world.get(&format!("{list}?{top}"), "2021-10-01").await;
        loop {
            pages.push(names(&page));
            let Some(next) = page.get("nextLink") else {
                break;
            };
            let next = next.as_str().expect("a link");
            assert!(
                next.starts_with("https://") && next.contains("api-version=2021-10-01"),
                "{next}"
            );
            assert!(next.to_lowercase().contains("skiptoken="), "{next}");
            page = arm.send_url("GET", next, None).await.body;
        }
        assert_eq!(
            pages,
            [
                vec!["1.0.2", "1.0.10"],
                vec!["1.2.0", "1.10.0"],
                vec!["2.0.0"]
            ],
            "{top}"
        );
    }
    let all = world.get(&list, "2021-10-01").await;
    assert_eq!(names(&all), numbers);
    assert_eq!(members(&all), ["value"], "the last page has no link");
    let exact = world.get(&format!("{list}?$top=5"), "2021-10-01").await;
    assert_eq!((names(&exact).len(), exact.get("nextLink")), (5, None));
    let junk = arm
        .send(
            "GET",
            &format!("{list}?$skiptoken=junk!"),
            "2021-10-01",
            None,
        )
        .await;
    assert_eq!(junk.status, 400, "{}", junk.body);
}
