//! Per api-version: what is hidden below a version is refused below it.

use arm::schema::{check_request, project};
use domain::Kind;
use serde_json::{Value, json};

/// At least one member per api-version of the reference:
/// kind, path below `properties`, a value, the version before, the version that brought it.
const MEMBERS: &str = r#"
galleryImageVersion publishingProfile/storageAccountType "Standard_LRS" 2018-06-01 2019-03-01
galleryImage hyperVGeneration "V1" 2019-03-01 2019-07-01
galleryImageVersion publishingProfile/targetRegions/0/encryption {} 2019-07-01 2019-12-01
galleryImage features [{"name":"a","value":"b"}] 2019-12-01 2020-09-30
gallery sharingProfile {"permissions":"Groups"} 2019-12-01 2020-09-30
gallery softDeletePolicy {"isSoftDeleteEnabled":true} 2020-09-30 2021-07-01
galleryImageVersion publishingProfile/replicationMode "Full" 2020-09-30 2021-07-01
galleryImage architecture "x64" 2021-07-01 2021-10-01
gallery sharingProfile/communityGalleryInfo {"eula":"e"} 2021-07-01 2021-10-01
galleryImageVersion safetyProfile {"allowDeletionOfReplicatedLocations":true} 2022-01-03 2022-03-03
galleryImageVersion publishingProfile/targetRegions/0/excludeFromLatest true 2022-01-03 2022-03-03
galleryImageVersion securityProfile {"uefiSettings":{}} 2022-03-03 2022-08-03
galleryImageVersion storageProfile/source/virtualMachineId "/vm" 2022-08-03 2023-07-03
galleryImageVersion safetyProfile/blockDeletionBeforeEndOfLife true 2023-07-03 2024-03-03
galleryImage features/0/startsAtVersion "2.0.0" 2023-07-03 2024-03-03
galleryImageVersion publishingProfile/targetRegions/0/additionalReplicaSets [{"regionalReplicaCount":1}] 2023-07-03 2024-03-03
galleryImageVersion publishingProfile/storageAccountStrategy "PreferStandard_ZRS" 2024-03-03 2025-03-03
gallery softDeletePolicy/retentionPeriodInDays 30 2025-12-03 2026-03-03
galleryImageVersion imageMetadataProfiles [{"any":1}] 2025-12-03 2026-03-03
disk supportedCapabilities/diskControllerTypes "SCSI" 2022-03-02 2022-07-02
disk availabilityPolicy {"actionOnDiskDelay":"None"} 2024-03-02 2025-01-02
"#;

struct Member {
    kind: Kind,
    at: &'static str,
    value: Value,
    before: &'static str,
    since: &'static str,
}

fn members() -> impl Iterator<Item = Member> {
    MEMBERS.trim().lines().map(|line| {
        let columns: Vec<&str> = line.split(' ').collect();
        let [kind, at, value, before, since] = columns.try_into().expect(line);
        Member {
            kind: Kind::ALL
                .into_iter()
                .find(|k| k.wire_name() == kind)
                .expect(line),
            at,
            value: serde_json::from_str(value).expect(line),
            before,
            since,
        }
    })
}

/// Returns `{"properties": …}` with `value` at a path; numbers are indexes of lists.
fn body_with(at: &str, value: &Value) -> Value {
    let wrap = |inner: Value, step: &str| match step.parse::<usize>() {
        Ok(_) => json!([inner]),
        Err(_) => json!({ step: inner }),
    };
    let properties = at.rsplit('/').fold(value.clone(), wrap);
    json!({ "properties": properties })
}

#[test]
fn a_member_is_refused_before_its_version_and_accepted_from_it_on() {
    for Member {
        kind,
        at,
        value,
        before,
        since,
    } in members()
    {
        let body = body_with(at, &value);
        let name = at.rsplit('/').next().unwrap();
        let error = check_request(kind, before, &body).unwrap_err();
        assert_eq!(error.code, "BadRequest", "{at}");
        // An older version may lack the object around the member as well.
        let named = at.split('/').any(|step| {
            error.message.starts_with(&format!(
                "Could not find member '{step}' on object of type '"
            ))
        });
        assert!(named, "{name} at {before}: {}", error.message);
        for version in [since, "2030-01-01"] {
            assert_eq!(
                check_request(kind, version, &body).unwrap(),
                body,
                "{at} at {version}"
            );
        }
    }
}

#[test]
fn a_member_is_hidden_before_its_version_and_shown_from_it_on() {
    for Member {
        kind,
        at,
        value,
        before,
        since,
    } in members()
    {
        let body = body_with(at, &value);
        let pointer = format!("/properties/{at}");
        let mut old = json!({ "value": [body] });
        project(kind, before, &mut old);
        assert_eq!(
            old.pointer(&format!("/value/0{pointer}")),
            None,
            "{at} at {before}"
        );
        let mut new = body.clone();
        project(kind, since, &mut new);
        assert_eq!(new.pointer(&pointer), Some(&value), "{at} at {since}");
    }
}

#[test]
fn the_oldest_version_keeps_its_words() {
    let id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/images/i";
    let old =
        json!({"properties": {"publishingProfile": {"source": {"managedImage": {"id": id}}}}});
    let new =
        json!({"properties": {"publishingProfile": {}, "storageProfile": {"source": {"id": id}}}});
    assert_eq!(
        check_request(Kind::ImageVersion, "2018-06-01", &old).unwrap(),
        new
    );
    let error = check_request(Kind::ImageVersion, "2019-07-01", &old).unwrap_err();
    assert_eq!(
        error.message,
        "Could not find member 'source' on object of type 'GalleryImageVersionPublishingProfile'. \
         Path 'properties.publishingProfile.source', line 1, position 45."
    );
    let mut shown = new.clone();
    project(Kind::ImageVersion, "2018-06-01", &mut shown);
    assert_eq!(
        shown["properties"]["publishingProfile"],
        old["properties"]["publishingProfile"]
    );
    assert_eq!(shown.pointer("/properties/storageProfile/source"), None);
    let disk = json!({"properties": {"accountType": "Premium_LRS"}});
    let checked = check_request(Kind::Disk, "2016-04-30-preview", &disk).unwrap();
    assert_eq!(
        checked,
        json!({"properties": {}, "sku": {"name": "Premium_LRS"}})
    );
}

#[test]
fn a_storage_profile_is_not_allowed_before_it_names_the_source() {
    let body = body_with("storageProfile", &json!({ "source": { "id": "/s" } }));
    for version in ["2018-06-01", "2019-03-01"] {
        let error = check_request(Kind::ImageVersion, version, &body).unwrap_err();
        assert_eq!(error.code, "InvalidParameter");
        assert_eq!(
            error.message,
            "Parameter 'galleryImageVersion.properties.storageProfile' is not allowed."
        );
        for read in [Value::Null, json!({ "osDiskImage": { "sizeInGB": 30 } })] {
            let back = body_with("StorageProfile", &read);
            assert!(check_request(Kind::ImageVersion, version, &back).is_ok());
        }
    }
    assert_eq!(
        check_request(Kind::ImageVersion, "2019-07-01", &body).unwrap(),
        body
    );
}

#[test]
fn an_unlisted_version_works_as_the_newest_before_it() {
    let body = body_with(
        "publishingProfile/storageAccountStrategy",
        &json!("PreferStandard_ZRS"),
    );
    assert!(check_request(Kind::ImageVersion, "2025-04-01", &body).is_ok());
    let body = body_with("softDeletePolicy/gracePeriodInDays", &json!(7));
    assert!(check_request(Kind::Gallery, "2025-04-01", &body).is_err());
    assert!(check_request(Kind::Gallery, "2027-01-01", &body).is_ok());
}
