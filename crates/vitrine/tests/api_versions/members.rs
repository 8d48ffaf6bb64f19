//! What each api-version knows: shown, hidden, refused, and its defaults.

use serde_json::{Value, json};
use testkit::GALLERY_VERSION;

use crate::{VERSIONS, World, as_of, members, plain_definition};

#[tokio::test]
async fn every_api_version_makes_all_three_and_shows_what_it_knows() {
    let world = World::new().await;
    let image = world.first().await;
    for version in VERSIONS {
        let gallery = world.gallery(version);
        let shown = world
            .made(&gallery, version, &json!({ "location": "eastus" }))
            .await;
        assert_eq!(
            members(&shown),
            ["id", "location", "name", "properties", "type"],
            "{version}: {shown}"
        );
        assert_eq!(
            members(&shown["properties"]),
            ["identifier", "provisioningState"],
            "{version}: {shown}"
        );

        let definition = format!("{gallery}/images/debian");
        let mut body = plain_definition(version);
        if version >= "2020-09-30" {
            // Said outright, or the default of 2025-03-03 refuses a disk as source.
            body["properties"]["features"] =
                json!([{ "name": "SecurityType", "value": "Standard" }]);
        }
        let shown = world.made(&definition, version, &body).await;
        let known = [
            ("2018-06-01", "osType"),
            ("2018-06-01", "osState"),
            ("2018-06-01", "identifier"),
            ("2018-06-01", "provisioningState"),
            ("2019-07-01", "hyperVGeneration"),
            ("2020-09-30", "features"),
            ("2021-10-01", "architecture"),
        ];
        assert_eq!(
            members(&shown["properties"]),
            as_of(version, &known),
            "{version}: {shown}"
        );

        let mut body = world
            .scene
            .version_body(&world.source, &["eastus", "westus2"]);
        if version < "2019-07-01" {
            body["properties"]["publishingProfile"]["source"] =
                json!({ "managedImage": { "id": image } });
            body["properties"]
                .as_object_mut()
                .expect("an object")
                .remove("storageProfile");
        }
        let shown = world
            .made(&format!("{definition}/versions/1.0.0"), version, &body)
            .await;
        check_version_members(version, &shown);
        let source = match version < "2019-07-01" {
            true => shown.pointer("/properties/publishingProfile/source/managedImage/id"),
            false => shown.pointer("/properties/storageProfile/osDiskImage/source/id"),
        };
        let wanted = if version < "2019-07-01" {
            &image
        } else {
            &world.source
        };
        assert_eq!(source, Some(&json!(wanted)), "{version}: {shown}");
    }
}

fn check_version_members(version: &str, shown: &Value) {
    let properties = &shown["properties"];
    assert_eq!(
        properties["provisioningState"], "Succeeded",
        "{version}: {shown}"
    );
    let known = [
        ("2018-06-01", "publishingProfile"),
        ("2018-06-01", "storageProfile"),
        ("2018-06-01", "provisioningState"),
        ("2022-03-03", "safetyProfile"),
    ];
    assert_eq!(
        members(properties),
        as_of(version, &known),
        "{version}: {shown}"
    );
    let mut known = vec![
        ("2018-06-01", "targetRegions"),
        ("2018-06-01", "replicaCount"),
        ("2018-06-01", "excludeFromLatest"),
        ("2018-06-01", "publishedDate"),
        ("2019-03-01", "storageAccountType"),
        ("2025-03-03", "storageAccountStrategy"),
    ];
    if version < "2019-07-01" {
        known.push(("2018-06-01", "source"));
    }
    let profile = &properties["publishingProfile"];
    assert_eq!(
        members(profile),
        as_of(version, &known),
        "{version}: {shown}"
    );
    let known = [
        ("2018-06-01", "name"),
        ("2018-06-01", "regionalReplicaCount"),
        ("2019-03-01", "storageAccountType"),
    ];
    assert_eq!(
        members(&profile["targetRegions"][0]),
        as_of(version, &known),
        "{version}: {shown}"
    );
    let known = [
        ("2022-03-03", "allowDeletionOfReplicatedLocations"),
        ("2022-03-03", "reportedForPolicyViolation"),
    ];
    assert_eq!(
        members(&properties["safetyProfile"]),
        as_of(version, &known),
        "{version}: {shown}"
    );
    let names: Vec<&Value> = profile["targetRegions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|r| &r["name"])
        .collect();
    assert_eq!(names, ["East US", "West US 2"], "{version}: {shown}");
    assert_eq!(
        properties["storageProfile"]["osDiskImage"]["sizeInGB"], 1,
        "{version}: {shown}"
    );
}

/// Resource, path below `properties`, a value, an api-version without the member, one with it.
const MEMBERS: &str = r#"
gallery softDeletePolicy {"isSoftDeleteEnabled":true} 2018-06-01 2021-10-01
gallery softDeletePolicy/gracePeriodInDays 7 2025-03-03 2026-03-03
image hyperVGeneration "V2" 2019-03-01 2021-10-01
image features [{"name":"SecurityType","value":"Standard"}] 2018-06-01 2021-10-01
image architecture "x64" 2019-03-01 2021-10-01
version publishingProfile/storageAccountType "Standard_LRS" 2018-06-01 2019-03-01
version safetyProfile/allowDeletionOfReplicatedLocations true 2021-10-01 2022-03-03
version safetyProfile/blockDeletionBeforeEndOfLife true 2023-07-03 2024-03-03
version publishingProfile/storageAccountStrategy "PreferStandard_ZRS" 2024-03-03 2025-03-03
"#;

#[tokio::test]
async fn a_member_is_refused_below_its_api_version_and_hidden_from_older_clients() {
    let world = World::new().await;
    let version = world.scene.version("1.0.0");
    let made = world.scene.version_body(&world.source, &["eastus"]);
    world.made(&version, GALLERY_VERSION, &made).await;
    for line in MEMBERS.trim().lines() {
        let columns: Vec<&str> = line.split(' ').collect();
        let [kind, at, value, before, since] = columns.try_into().expect(line);
        let id = match kind {
            "gallery" => &world.scene.gallery,
            "image" => &world.scene.definition,
            _ => &version,
        };
        let value: Value = serde_json::from_str(value).expect(line);
        let pointer = format!("/properties/{at}");
        let nested = |inner: Value, name: &str| json!({ name: inner });
        let properties = at.rsplit('/').fold(value.clone(), nested);
        let body = json!({ "location": "eastus", "properties": properties });
        let refused = world.put(id, before, &body).await;
        let found = (refused.status, refused.code());
        assert_eq!(found, (400, "BadRequest"), "{line}: {}", refused.body);
        let is_named = at.split('/').any(|name| {
            let sentence = format!("Could not find member '{name}' on object of type '");
            refused.message().starts_with(&sentence)
        });
        assert!(is_named, "{line}: {}", refused.body);
        let shown = world.made(id, since, &body).await;
        assert_eq!(shown.pointer(&pointer), Some(&value), "{line}: {shown}");
        let older = world.get(id, before).await;
        assert_eq!(older.pointer(&pointer), None, "{line}: {older}");
        let newest = world.get(id, GALLERY_VERSION).await;
        assert_eq!(newest.pointer(&pointer), Some(&value), "{line}: {newest}");
    }
}

#[tokio::test]
async fn a_member_that_no_version_knows_is_refused_with_its_place() {
    let world = World::new().await;
    let unknown = json!({ "location": "eastus", "properties": { "colour": "red" } });
    let gallery = &world.scene.gallery;
    let refused = world.put(gallery, GALLERY_VERSION, &unknown).await;
    assert_eq!((refused.status, refused.code()), (400, "BadRequest"));
    let (start, end) = refused.message().split_once("'. Path ").expect("a place");
    assert!(
        start.starts_with("Could not find member 'colour' on object of type 'Gallery"),
        "{start}"
    );
    let position = r#"{"location":"eastus","properties":{"colour":"#.len();
    let place = format!("'properties.colour', line 1, position {position}.");
    assert_eq!(end, place);
}

#[tokio::test]
async fn the_source_of_old_clients_is_an_image_in_the_publishing_profile_and_nothing_else() {
    let world = World::new().await;
    let id = world.scene.version("1.0.0");
    for version in ["2018-06-01", "2019-03-01"] {
        let body = world.scene.version_body(&world.source, &["eastus"]);
        let refused = world.put(&id, version, &body).await;
        assert_eq!(
            (refused.status, refused.code()),
            (400, "InvalidParameter"),
            "{}",
            refused.body
        );
        assert_eq!(
            refused.message(),
            "Parameter 'galleryImageVersion.properties.storageProfile' is not allowed."
        );
        assert_eq!(
            refused.body["error"]["target"],
            "galleryImageVersion.properties.storageProfile"
        );

        let absent = format!(
            "{}/providers/Microsoft.Compute/images/absent",
            world.scene.group
        );
        let body = json!({
            "location": "eastus",
            "properties": { "publishingProfile": { "source": { "managedImage": { "id": absent } } } },
        });
        let refused = world.put(&id, version, &body).await;
        assert_eq!(
            (refused.status, refused.code()),
            (404, "NotFound"),
            "{}",
            refused.body
        );
        assert_eq!(
            refused.message(),
            format!("Source was not found: {absent}. Please make sure the source exists.")
        );
    }
    let body = json!({
        "location": "eastus",
        "properties": { "publishingProfile": { "source": { "managedImage": { "id": world.source } } } },
    });
    let refused = world.put(&id, "2021-10-01", &body).await;
    assert!(
        refused
            .message()
            .starts_with("Could not find member 'source' on object"),
        "{}",
        refused.body
    );
}

#[tokio::test]
async fn defaults_are_those_of_the_api_version_that_made_the_resource() {
    let world = World::new().await;
    let definition = |version: &str| format!("{}/images/d{version}", world.scene.gallery);
    let trusted = json!([{ "name": "SecurityType", "value": "TrustedLaunchSupported" }]);
    for (version, generation, features) in [
        ("2018-06-01", "V1", &Value::Null),
        ("2021-10-01", "V1", &Value::Null),
        ("2024-03-03", "V1", &Value::Null),
        ("2025-03-03", "V2", &trusted),
        ("2026-03-03", "V2", &trusted),
    ] {
        world
            .made(&definition(version), version, &plain_definition(version))
            .await;
        let shown = &world.get(&definition(version), GALLERY_VERSION).await["properties"];
        assert_eq!(shown["hyperVGeneration"], generation, "{version}: {shown}");
        assert_eq!(&shown["features"], features, "{version}: {shown}");
        assert_eq!(shown["architecture"], "x64", "{version}: {shown}");
    }
    let mut outright = plain_definition("outright");
    outright["properties"]["hyperVGeneration"] = json!("V1");
    world
        .made(&definition("outright"), "2025-03-03", &outright)
        .await;
    let shown = &world.get(&definition("outright"), GALLERY_VERSION).await["properties"];
    assert_eq!(
        (&shown["hyperVGeneration"], &shown["features"]),
        (&json!("V1"), &Value::Null),
        "{shown}"
    );

    for (number, version, region_type, strategy) in [
        ("1.0.0", "2021-10-01", "Standard_LRS", Value::Null),
        ("1.0.1", "2024-03-03", "Standard_LRS", Value::Null),
        (
            "1.0.2",
            "2025-03-03",
            "Standard_ZRS",
            json!("PreferStandard_ZRS"),
        ),
        (
            "1.0.3",
            "2026-03-03",
            "Standard_ZRS",
            json!("PreferStandard_ZRS"),
        ),
    ] {
        let id = world.scene.version(number);
        world
            .made(
                &id,
                version,
                &world.scene.version_body(&world.source, &["eastus"]),
            )
            .await;
        let profile = &world.get(&id, GALLERY_VERSION).await["properties"]["publishingProfile"];
        assert_eq!(
            profile["targetRegions"][0]["storageAccountType"], region_type,
            "{version}: {profile}"
        );
        assert_eq!(
            profile["storageAccountStrategy"], strategy,
            "{version}: {profile}"
        );
        assert_eq!(
            (&profile["replicaCount"], &profile["excludeFromLatest"]),
            (&json!(1), &json!(false))
        );
    }
}
