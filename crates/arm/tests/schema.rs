//! Laws of the request check and of projection.

use arm::schema::{DEPTH_MAX, Shape, check_request, check_request_bytes, check_tags, project};
use domain::Kind;
use serde_json::{Value, json};

#[test]
fn write_only_members_are_never_shown() {
    let mut body = json!({"properties": {"allowUpdateImage": true, "osType": "Linux", "internalThing": 1}, "secret": 1});
    project(Kind::Image, "2026-03-03", &mut body);
    assert_eq!(body, json!({"properties": {"osType": "Linux"}}));
    let mut body = json!({"properties": {"restore": true}});
    project(Kind::ImageVersion, "2026-03-03", &mut body);
    assert_eq!(body, json!({"properties": {}}));
}

#[test]
fn names_become_canonical_and_nulls_vanish() {
    let raw = br#"{"LOCATION":"w","Properties":{"OSTYPE":"Linux","recommended":{"VCPUS":{"Min":1,"max":null}},"disallowed":{"diskTypes":[null,"a"]},"eula":null}}"#;
    assert_eq!(
        check_request_bytes(Kind::Image, "2023-07-03", raw)
            .unwrap()
            .to_string(),
        r#"{"location":"w","properties":{"osType":"Linux","recommended":{"vCPUs":{"min":1}},"disallowed":{"diskTypes":["a"]}}}"#
    );
    let error = check_request_bytes(
        Kind::Image,
        "2023-07-03",
        br#"{"location":"a","Location":"b"}"#,
    )
    .unwrap_err();
    assert_eq!(error.code, "InvalidRequestContent");
}

#[test]
fn read_only_members_are_accepted_and_left_in() {
    let body = json!({
        "id": "/x", "name": "n", "type": "t", "location": "w",
        "properties": {"provisioningState": "Succeeded", "identifier": {"uniqueName": "u"}}
    });
    assert_eq!(
        check_request(Kind::Gallery, "2022-03-03", &body).unwrap(),
        body
    );
}

#[test]
fn envelope_members_that_ask_for_nothing_are_dropped() {
    let body = json!({"location": "w", "identity": {"type": "None"}, "extendedLocation": {}, "systemData": {"a": 1}, "zones": [], "sku": null});
    assert_eq!(
        check_request(Kind::Gallery, "2022-03-03", &body).unwrap(),
        json!({"location": "w"})
    );
    for asks in [
        json!({"identity": {"type": "SystemAssigned"}}),
        json!({"extendedLocation": {"name": "edge"}}),
        json!({"zones": ["1"]}),
    ] {
        let error = check_request(Kind::Gallery, "2022-03-03", &asks).unwrap_err();
        assert!(
            error.message.starts_with("Could not find member '"),
            "{}",
            error.message
        );
    }
    let asks =
        json!({"identity": {"type": "UserAssigned", "userAssignedIdentities": {"/any/Id": {}}}});
    assert_eq!(
        check_request(Kind::Gallery, "2024-03-03", &asks).unwrap(),
        asks
    );
}

fn message(kind: Kind, raw: &str) -> String {
    check_request_bytes(kind, "2023-07-03", raw.as_bytes())
        .expect_err(raw)
        .to_string()
}

#[test]
fn errors_name_path_line_and_position() {
    assert_eq!(
        message(Kind::Image, r#"{"location":"w","properties":{"colour":1}}"#),
        "BadRequest: Could not find member 'colour' on object of type 'GalleryImageProperties'. Path 'properties.colour', line 1, position 39."
    );
    assert_eq!(
        message(Kind::ImageVersion, "{\n \"é\": 1}"),
        "BadRequest: Could not find member 'é' on object of type 'GalleryImageVersion'. Path 'é', line 2, position 5."
    );
    assert_eq!(
        message(
            Kind::ImageVersion,
            r#"{"properties":{"publishingProfile":{"targetRegions":[{"name":"a"},{"name":1}]}}}"#
        ),
        "BadRequest: Error reading string. Unexpected token: Integer. Path 'properties.publishingProfile.targetRegions[1].name', line 1, position 75."
    );
    assert_eq!(
        message(Kind::Image, r#"{"properties":{"endOfLifeDate":"soon"}}"#),
        "BadRequest: Could not convert string to DateTimeOffset: soon. Path 'properties.endOfLifeDate', line 1, position 37."
    );
}

#[test]
fn wrong_types_are_refused_in_the_readers_words() {
    for (raw, sentence) in [
        (
            r#"{"location":{}}"#,
            "Unexpected character encountered while parsing value: {.",
        ),
        (
            r#"{"location":["w"]}"#,
            "Unexpected character encountered while parsing value: [.",
        ),
        (
            r#"{"location":true}"#,
            "Error reading string. Unexpected token: Boolean.",
        ),
        (
            r#"{"properties":{"recommended":{"vCPUs":{"min":"two"}}}}"#,
            "Could not convert string to integer: two.",
        ),
        (
            r#"{"properties":{"recommended":{"vCPUs":{"min":1.5}}}}"#,
            "Input string '1.5' is not a valid integer.",
        ),
        (
            r#"{"properties":{"recommended":{"vCPUs":{"min":3000000000}}}}"#,
            "JSON integer 3000000000 is too large or small for an Int32.",
        ),
        (
            r#"{"properties":"x"}"#,
            "Error converting value \"x\" to type 'GalleryImageProperties'.",
        ),
        (
            r#"{"properties":[]}"#,
            "Cannot deserialize the current JSON array",
        ),
        (
            r#"{"properties":{"features":{}}}"#,
            "Cannot deserialize the current JSON object",
        ),
        (
            r#"{"tags":["a"]}"#,
            "Cannot deserialize the current JSON value (StartArray)",
        ),
        (
            r#"{"tags":{"a":1}}"#,
            "Error reading string. Unexpected token: Integer.",
        ),
        ("[]", "Cannot deserialize the current JSON array"),
        (
            "null",
            "Error converting value Null to type 'GalleryImage'.",
        ),
    ] {
        let message = message(Kind::Image, raw);
        assert!(
            message.starts_with(&format!("BadRequest: {sentence}")),
            "{raw}: {message}"
        );
    }
    let size = br#"{"properties":{"creationData":{"uploadSizeBytes":32213303808}}}"#;
    assert!(check_request_bytes(Kind::Disk, "2023-10-02", size).is_ok());
}

#[test]
fn what_is_not_json_is_refused_before_all_else() {
    let deep = "[".repeat(DEPTH_MAX + 1);
    for (raw, sentence) in [
        (
            "",
            "Unexpected end when reading JSON. Path '', line 1, position 0.",
        ),
        ("{", "Unexpected end when reading JSON."),
        (
            r#"{"a"}"#,
            "Invalid character after parsing property name. Expected ':' but got: }.",
        ),
        (
            r#"{"a":}"#,
            "Unexpected character encountered while parsing value: }. Path 'a', line 1, position 5.",
        ),
        (r#"{"a":1,}"#, "Invalid property identifier character: }."),
        (
            r#"{"a":1 "b":2}"#,
            "After parsing a value an unexpected character was encountered: \".",
        ),
        (
            r#"{"a":"x}"#,
            "Unterminated string. Expected delimiter: \".",
        ),
        (r#"{"a":1-2}"#, "Input string '1-2' is not a valid number."),
        (r#"{"a":01}"#, "Input string '01' is not a valid number."),
        (r#"{"a":"\q"}"#, "Bad JSON escape sequence"),
        (
            r#"{} x"#,
            "Additional text encountered after finished reading JSON content: x.",
        ),
        (
            r#"{"a":1,"a":2}"#,
            "Can not add property a to the object. Property with the same name already exists on object.",
        ),
        (&deep, "The reader's MaxDepth of 64 has been exceeded."),
    ] {
        let message = message(Kind::ResourceGroup, raw);
        let start = "InvalidRequestContent: The request content was invalid and could not be deserialized: '";
        assert!(
            message.starts_with(&format!("{start}{sentence}")),
            "{raw}: {message}"
        );
    }
    let error = check_request_bytes(Kind::Gallery, "2023-07-03", b"{\"a\":\"\xff\"}").unwrap_err();
    assert_eq!(error.code, "InvalidRequestContent");
    assert!(check_request_bytes(Kind::Gallery, "2023-07-03", "\u{feff}{}".as_bytes()).is_ok());
    let nested = |depth: usize| {
        let lists = depth - 2; // The body and its properties are two.
        format!(
            r#"{{"properties":{{"x":{}{}}}}}"#,
            "[".repeat(lists),
            "]".repeat(lists)
        )
    };
    let check =
        |raw: String| check_request_bytes(Kind::ResourceGroup, "2023-07-01", raw.as_bytes());
    assert!(check(nested(DEPTH_MAX)).is_ok());
    assert!(check(nested(DEPTH_MAX + 1)).is_err());
}

#[test]
fn errors_repeat_only_the_beginning_of_long_names() {
    let raw = format!(r#"{{"{}":1}}"#, "x".repeat(100_000));
    assert!(message(Kind::Gallery, &raw).len() < 1000);
    let raw = format!(r#"{{"location":{}.}}"#, "1".repeat(100_000));
    assert!(message(Kind::Gallery, &raw).len() < 1000);
}

#[test]
fn tags_have_limits() {
    let check = |tags: Value| check_request(Kind::Gallery, "2023-07-03", &json!({ "tags": tags }));
    let many = |count: usize| {
        (0..count)
            .map(|n| (format!("t{n}"), json!("v")))
            .collect::<Value>()
    };
    assert!(check(many(50)).is_ok());
    assert_eq!(check(many(51)).unwrap_err().code, "TooManyTags");
    assert!(check(json!({"n".repeat(512): "é".repeat(256)})).is_ok());
    assert_eq!(
        check(json!({"n".repeat(513): ""})).unwrap_err().code,
        "InvalidTagName"
    );
    assert_eq!(
        check(json!({"n": "v".repeat(257)})).unwrap_err().code,
        "TagValueTooLong"
    );
    assert_eq!(
        check(json!({"a/b": "v"})).unwrap_err().code,
        "InvalidTagNameCharacters"
    );
    assert_eq!(check(json!({"": "v"})).unwrap_err().code, "InvalidTagName");
    assert_eq!(
        check(json!({"a": "v", "A": "w"})).unwrap_err().code,
        "InvalidTagName"
    );
    assert_eq!(
        check(json!({"a": null, "b": ""})).unwrap(),
        json!({"tags": {"b": ""}})
    );
}

#[test]
fn tags_alone_are_checked_alike() {
    let check = |tags: Value| check_tags(tags.as_object().unwrap());
    assert!(check(json!({"a": "b"})).is_ok());
    assert_eq!(check(json!({"a": 1})).unwrap_err().code, "BadRequest");
    assert_eq!(
        check(json!({"a?": "b"})).unwrap_err().code,
        "InvalidTagNameCharacters"
    );
}

#[test]
fn dates_come_out_in_one_form() {
    let body = |date: &str| json!({"properties": {"endOfLifeDate": date}});
    for given in [
        "2030-12-01T12:59:59.000Z",
        "2030-12-01T12:59:59",
        "2030-12-01T14:59:59+02:00",
    ] {
        let checked = check_request(Kind::Image, "2021-10-01", &body(given)).unwrap();
        assert_eq!(checked, body("2030-12-01T12:59:59+00:00"), "{given}");
    }
}

#[test]
fn accounts_and_groups_are_open() {
    let account = json!({"kind": "StorageV2", "sku": {"name": "Standard_LRS"}, "location": "w", "newThing": {"a": [1]}, "properties": {"allowBlobPublicAccess": false, "x": {"y": 1}}});
    assert_eq!(
        check_request(Kind::StorageAccount, "2025-08-01", &account).unwrap(),
        account
    );
    let group = json!({"location": "w", "tags": {}, "managedBy": "x", "properties": {"z": 1}});
    assert_eq!(
        check_request(Kind::ResourceGroup, "2024-11-01", &group).unwrap(),
        group
    );
    let mut shown = account.clone();
    project(Kind::StorageAccount, "2015-06-15", &mut shown);
    assert_eq!(shown, account);
}

#[test]
fn every_shape_has_a_table_with_versions() {
    for shape in Shape::ALL {
        assert!(!shape.api_versions().is_empty(), "{shape:?}");
    }
    for kind in Kind::ALL {
        assert!(
            check_request(kind, "2026-03-03", &json!({"location": "w", "tags": {}})).is_ok(),
            "{kind:?}"
        );
    }
    let share =
        json!({"operationType": "Add", "groups": [{"type": "Subscriptions", "ids": ["a"]}]});
    assert_eq!(
        check_request(Shape::SharingUpdate, "2023-07-03", &share).unwrap(),
        share
    );
    let access = json!({"access": "Read", "durationInSeconds": 3600});
    assert_eq!(
        check_request(Shape::GrantAccess, "2025-01-02", &access).unwrap(),
        access
    );
}
