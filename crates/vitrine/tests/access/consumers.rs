//! What consumers make of images of others, and what keeps them and their owners safe.

use serde_json::{Value, json};
use testkit::{Answer, DISK_VERSION, GALLERY_VERSION, definition_body, until};

use crate::sharing::Market;
use crate::world::{SOON, check, guid};

const ALLOWED: &str = "2026-11-01";

/// A public gallery named `acmeinc-…`; returns the name.
pub async fn publish(market: &Market, prefix: &str) -> String {
    let info = json!({ "publisherUri": "https://acme.example", "publisherContact": "a@acme.example", "eula": "none", "publicNamePrefix": prefix });
    let shown = market
        .profile(json!({ "permissions": "Community", "communityGalleryInfo": info }))
        .await;
    market.share("EnableCommunity", "", "").await;
    shown["properties"]["sharingProfile"]["communityGalleryInfo"]["publicNames"][0]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The unique name under which the gallery is shared with the consumer's subscription.
pub async fn share(market: &Market) -> String {
    let shown = market.profile(json!({ "permissions": "Groups" })).await;
    market
        .share("Add", "Subscriptions", market.subscription_id())
        .await;
    shown["properties"]["identifier"]["uniqueName"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The consumer's own gallery with a definition; returns the id of the definition.
async fn own_definition(market: &Market) -> String {
    let gallery = format!(
        "{}/providers/Microsoft.Compute/galleries/mine",
        market.group
    );
    let here = json!({ "location": "eastus" });
    let arm = &market.consumer.arm;
    arm.done("PUT", &gallery, GALLERY_VERSION, Some(&here))
        .await;
    let definition = format!("{gallery}/images/copy");
    let body = definition_body("me", "debian", "12");
    arm.done("PUT", &definition, GALLERY_VERSION, Some(&body))
        .await;
    definition
}

fn version_body(member: &str, id: &str) -> Value {
    json!({ "location": "eastus", "properties": { "storageProfile": { "source": { member: id } } } })
}

async fn put_version(market: &Market, id: &str, body: &Value) -> (Answer, Option<Value>) {
    let arm = &market.consumer.arm;
    let (answer, status) = arm.over("PUT", id, GALLERY_VERSION, Some(body)).await;
    let owner = market.world.server.credential("subscriptionId");
    for text in [answer.body.to_string(), format!("{status:?}")] {
        let is_silent = !text.contains(&owner) || body.to_string().contains(&owner);
        assert!(is_silent && !text.contains("hidden"), "{text}");
    }
    (answer, status)
}

#[tokio::test]
async fn a_version_is_made_from_an_image_of_others_and_tells_nothing_of_them() {
    let market = Market::new().await;
    let definition = own_definition(&market).await;
    let name = publish(&market, "acmeinc").await;
    let member = "communityGalleryImageId";
    let id = format!("/CommunityGalleries/{name}/Images/debian");
    let version = format!("{definition}/versions/1.0.0");
    let (made, status) = put_version(&market, &version, &version_body(member, &id)).await;
    check(&made, 201, "");
    assert_eq!(status.unwrap()["status"], "Succeeded");
    let arm = &market.consumer.arm;
    let shown = arm.done("GET", &version, GALLERY_VERSION, None).await;
    let storage = &shown["properties"]["storageProfile"];
    assert_eq!(storage["source"], json!({ member: id }), "{shown}");
    assert_eq!(storage["osDiskImage"]["sizeInGB"], 1, "{shown}");
    // An older client cannot say the member, and does not see it.
    let old = arm.done("GET", &version, "2021-10-01", None).await;
    assert!(!old.to_string().contains(&name), "{old}");
    let (refused, _) = arm
        .over(
            "PUT",
            &format!("{definition}/versions/9.0.0"),
            "2021-10-01",
            Some(&version_body(member, &id)),
        )
        .await;
    check(&refused, 400, "BadRequest");

    // The copy is the consumer's own: neither the owner's reset nor deletion takes it away.
    market.share("Reset", "", "").await;
    let owner = &market.world.owner;
    owner
        .done(
            "DELETE",
            &market.scene.version("1.0.0"),
            GALLERY_VERSION,
            None,
        )
        .await;
    let disk = format!("{}/providers/Microsoft.Compute/disks/kept", market.group);
    let body = json!({ "location": "eastus", "properties": { "creationData": { "createOption": "FromImage", "galleryImageReference": { "id": version } } } });
    arm.done("PUT", &disk, DISK_VERSION, Some(&body)).await;

    // What is not there, not public any more and never was have one answer.
    for id in [
        id.as_str(),
        "/CommunityGalleries/nobody-1/Images/debian",
        &format!("{id}/Versions/1.0.0"),
    ] {
        let next = format!("{definition}/versions/2.0.0");
        let (refused, _) = put_version(&market, &next, &version_body(member, id)).await;
        check(&refused, 404, "NotFound");
        assert_eq!(
            refused.message(),
            format!("Source was not found: {id}. Please make sure the source exists.")
        );
    }
}

#[tokio::test]
async fn a_version_is_made_from_a_shared_image_until_it_is_unshared() {
    let market = Market::new().await;
    let definition = own_definition(&market).await;
    let name = share(&market).await;
    let id = format!("/SharedGalleries/{name}/Images/debian/Versions/latest");
    let at = |number: &str| format!("{definition}/versions/{number}");
    let (made, status) = put_version(&market, &at("1.0.0"), &version_body("id", &id)).await;
    check(&made, 201, "");
    assert_eq!(status.unwrap()["status"], "Succeeded");
    for (member, id, status, code) in [
        (
            "communityGalleryImageId",
            id.as_str(),
            400,
            "InvalidParameter",
        ),
        (
            "id",
            "/CommunityGalleries/x-1/Images/debian",
            400,
            "InvalidParameter",
        ),
        (
            "id",
            "/SharedGalleries/x/Disks/debian",
            400,
            "LinkedInvalidPropertyId",
        ),
        (
            "id",
            "/SharedGalleries/other/Images/debian",
            404,
            "NotFound",
        ),
    ] {
        let (refused, _) = put_version(&market, &at("2.0.0"), &version_body(member, id)).await;
        check(&refused, status, code);
    }
    // A source that does not fit is said with the consumer's name for it.
    let other = definition.replace("/images/copy", "/images/windows");
    let mut body = definition_body("me", "windows", "1");
    body["properties"]["osType"] = json!("Windows");
    let arm = &market.consumer.arm;
    arm.done("PUT", &other, GALLERY_VERSION, Some(&body)).await;
    let wrong = format!("{other}/versions/1.0.0");
    let (_, status) = put_version(&market, &wrong, &version_body("id", &id)).await;
    let status = status.unwrap();
    assert_eq!(status["error"]["code"], "Conflict", "{status}");
    let message = status["error"]["message"].as_str().unwrap();
    assert!(
        message.contains(&format!("The resource with id '{id}'")),
        "{message}"
    );

    market
        .share("Remove", "Subscriptions", market.subscription_id())
        .await;
    let (refused, _) = put_version(&market, &at("3.0.0"), &version_body("id", &id)).await;
    check(&refused, 404, "NotFound");
}

#[tokio::test]
async fn an_invitation_is_rejected_and_accepted_by_who_got_it() {
    let market = Market::new().await;
    let name = share(&market).await;
    let owner = market.world.server.credential("subscriptionId");
    let path = |who: &str, gallery: &str, verb: &str| {
        format!(
            "{who}/providers/Microsoft.Compute/locations/eastus/sharedGallerySubscriptions/{owner}/sharedGalleries/{gallery}/{verb}"
        )
    };
    let answer = async |path: &str| {
        let arm = &market.consumer.arm;
        arm.send("POST", path, "2025-12-03", None).await
    };
    let seen = async || {
        let listed = market.look("eastus", "sharedGalleries").await;
        listed.body["value"].as_array().unwrap().len()
    };
    let id = format!("/SharedGalleries/{name}/Images/debian");
    let own = market.subscription.as_str();
    assert_eq!(seen().await, 1, "seen before any answer");
    for round in 0..2 {
        check(&answer(&path(own, "sig", "reject")).await, 204, "");
        check(&answer(&path(own, "SIG", "reject")).await, 204, "");
        assert_eq!(seen().await, 0);
        let local = format!("sharedGalleries/{name}/images/debian/versions/1.0.0");
        check(
            &market.look("eastus", &local).await,
            404,
            "ResourceNotFound",
        );
        let refused = market
            .deploy(&format!("no{round}"), "eastus", "sharedGalleryImageId", &id)
            .await;
        check(&refused, 404, "GalleryImageNotFound");
        check(&answer(&path(own, &name, "accept")).await, 204, "");
        assert_eq!(seen().await, 1);
        let made = market
            .deploy(
                &format!("yes{round}"),
                "eastus",
                "sharedGalleryImageId",
                &id,
            )
            .await;
        check(&made, 202, "");
    }
    // Sharing anew asks anew.
    check(&answer(&path(own, "sig", "reject")).await, 204, "");
    market
        .share("Remove", "Subscriptions", market.subscription_id())
        .await;
    check(
        &answer(&path(own, "sig", "accept")).await,
        404,
        "ResourceNotFound",
    );
    market
        .share("Add", "Subscriptions", market.subscription_id())
        .await;
    assert_eq!(seen().await, 1);

    // Nobody answers for others, and nobody hears what there is.
    let foreign = format!("/subscriptions/{owner}");
    for (who, gallery, version, status, code) in [
        (
            foreign.as_str(),
            "sig",
            "2025-12-03",
            404,
            "SubscriptionNotFound",
        ),
        (own, "other", "2025-12-03", 404, "ResourceNotFound"),
        (own, "sig", "2025-03-03", 400, "NoRegisteredProviderFound"),
        ("", "sig", "2025-12-03", 403, "AuthorizationFailed"),
    ] {
        let path = path(who, gallery, "reject");
        let path = match who {
            "" => path.replace("/sharedGalleryS", "/tenantLevelSharedGalleryS"),
            _ => path,
        };
        let refused = market.consumer.arm.send("POST", &path, version, None).await;
        check(&refused, status, code);
    }
}

#[tokio::test]
async fn a_tenant_rejects_for_its_subscriptions_and_leaves_their_own_invitations() {
    let market = Market::new().await;
    share(&market).await;
    let tenants = market
        .consumer
        .arm
        .send("GET", "/tenants", "2022-12-01", None)
        .await;
    let tenant = tenants.body["value"][0]["tenantId"]
        .as_str()
        .unwrap()
        .to_owned();
    market.share("Add", "AADTenants", &tenant).await;
    let id = &market.consumer.object_id;
    market
        .world
        .verb(&format!("principal grant {id} --role Owner --scope /"));
    let owner = market.world.server.credential("subscriptionId");
    let path = format!(
        "/providers/Microsoft.Compute/locations/eastus/tenantLevelSharedGallerySubscriptions/{owner}/sharedGalleries/sig/reject"
    );
    let sees = async |wanted: [usize; 2]| {
        until("the rejection and the role count", SOON, || async {
            let arm = &market.consumer.arm;
            let answered = arm.send("POST", &path, "2025-12-03", None).await;
            if answered.status == 403 {
                return None;
            }
            check(&answered, 204, "");
            let of = async |local| {
                market.look("eastus", local).await.body["value"]
                    .as_array()
                    .unwrap()
                    .len()
            };
            let seen = [
                of("sharedGalleries").await,
                of("sharedGalleries?sharedTo=tenant").await,
            ];
            (seen == wanted).then_some(())
        })
        .await;
    };
    sees([1, 0]).await;
    market
        .share("Remove", "Subscriptions", market.subscription_id())
        .await;
    sees([0, 0]).await;
}

#[tokio::test]
async fn a_gallery_that_holds_what_must_stay_private_is_not_opened() {
    let market = Market::new().await;
    let owner = &market.world.owner;
    let mut body = definition_body("acme", "trusted", "1");
    body["properties"]["features"] = json!([{ "name": "SecurityType", "value": "TrustedLaunch" }]);
    let trusted = format!("{}/images/trusted", market.scene.gallery);
    owner
        .done("PUT", &trusted, GALLERY_VERSION, Some(&body))
        .await;
    let profile = json!({ "location": "eastus", "properties": { "sharingProfile": { "permissions": "Groups" } } });
    let gallery = &market.scene.gallery;
    let refused = owner
        .send("PUT", gallery, GALLERY_VERSION, Some(&profile))
        .await;
    check(&refused, 409, "OperationNotAllowed");
    assert!(
        refused.message().contains("TrustedLaunch") && refused.message().contains("images/trusted"),
        "{}",
        refused.body
    );
    owner.done("DELETE", &trusted, GALLERY_VERSION, None).await;
    owner
        .done("PUT", gallery, GALLERY_VERSION, Some(&profile))
        .await;
    // And nothing of the kind comes in afterwards.
    let refused = owner
        .send("PUT", &trusted, GALLERY_VERSION, Some(&body))
        .await;
    check(&refused, 400, "InvalidParameter");
    let mut elsewhere = market
        .scene
        .version_body(&market.scene.disk("hiddensource"), &["westus2"]);
    elsewhere["location"] = json!("westus2");
    let refused = owner
        .send(
            "PUT",
            &market.scene.version("2.0.0"),
            GALLERY_VERSION,
            Some(&elsewhere),
        )
        .await;
    check(&refused, 400, "InvalidParameter");
    assert!(refused.message().contains("location"), "{}", refused.body);
}

#[tokio::test]
async fn a_badge_is_given_by_the_operator_alone_and_look_alikes_are_flagged() {
    let market = Market::new().await;
    let name = publish(&market, "Can0nical").await;
    let look = async || {
        let answer = market
            .look("eastus", &format!("communityGalleries/{name}"))
            .await;
        answer.body["properties"]["communityMetadata"].clone()
    };
    let flagged = look().await;
    assert!(
        flagged["publisherWarning"]
            .as_str()
            .unwrap()
            .contains("canonical"),
        "{flagged}"
    );
    assert_eq!(flagged["verifiedPublisher"], Value::Null);
    let list = market.world.verb("publisher list");
    assert_eq!(list["flagged"][0]["looksLike"], "canonical", "{list}");
    // No member of a body gives it.
    for info in [
        json!({ "verifiedPublisher": "Canonical" }),
        json!({ "communityMetadata": { "verifiedPublisher": "Canonical" } }),
    ] {
        let body = json!({ "location": "eastus", "properties": { "sharingProfile": { "communityGalleryInfo": info } } });
        let refused = market
            .world
            .owner
            .send("PUT", &market.scene.gallery, GALLERY_VERSION, Some(&body))
            .await;
        check(&refused, 400, "BadRequest");
    }
    let owner = market.world.server.credential("subscriptionId");
    market
        .world
        .verb(&format!("publisher verify {owner} --name Canonical"));
    let verified = look().await;
    assert_eq!(verified["verifiedPublisher"], "Canonical", "{verified}");
    assert_eq!(verified["publisherWarning"], Value::Null);
    let list = market.world.verb("publisher list");
    assert_eq!(
        (list["flagged"].clone(), list["verified"][0]["name"].clone()),
        (json!([]), json!("Canonical"))
    );
    market.world.verb(&format!("publisher unverify {owner}"));
    assert!(look().await["publisherWarning"].is_string());
}

#[tokio::test]
async fn a_subscription_is_told_or_kept_from_using_images_that_it_does_not_allow() {
    let market = Market::new().await;
    let definition = own_definition(&market).await;
    let name = publish(&market, "acmeinc").await;
    let id = format!("/CommunityGalleries/{name}/Images/debian");
    let member = "communityGalleryImageId";
    let path = format!(
        "{}/providers/Vitrine.Gallery/allowedImages/default",
        market.subscription
    );
    let arm = &market.consumer.arm;
    let allow = async |properties: Value| {
        let body = json!({ "properties": properties });
        let answer = arm.send("PUT", &path, ALLOWED, Some(&body)).await;
        check(&answer, 200, "");
    };
    let unset = arm.send("GET", &path, ALLOWED, None).await;
    assert_eq!(
        unset.body["properties"]["mode"], "Disabled",
        "{}",
        unset.body
    );

    allow(json!({ "mode": "Enforce" })).await;
    let refused = market.deploy("d0", "eastus", member, &id).await;
    check(&refused, 403, "RequestDisallowedByPolicy");
    assert!(refused.message().contains(&id), "{}", refused.body);
    let version = |n: u32| format!("{definition}/versions/{n}.0.0");
    let (refused, _) = put_version(&market, &version(1), &version_body(member, &id)).await;
    check(&refused, 403, "RequestDisallowedByPolicy");

    // The badge counts, not the words of the definition; other galleries do not.
    allow(json!({ "mode": "Enforce", "publishers": ["acme"], "galleries": ["/CommunityGalleries/other-1"] })).await;
    check(
        &market.deploy("d1", "eastus", member, &id).await,
        403,
        "RequestDisallowedByPolicy",
    );
    let owner = market.world.server.credential("subscriptionId");
    market
        .world
        .verb(&format!("publisher verify {owner} --name Acme"));
    check(&market.deploy("d2", "eastus", member, &id).await, 202, "");

    allow(json!({ "mode": "Enforce", "galleries": [format!("/CommunityGalleries/{name}")] })).await;
    check(&market.deploy("d3", "eastus", member, &id).await, 202, "");
    let (made, status) = put_version(&market, &version(2), &version_body(member, &id)).await;
    check(&made, 201, "");
    assert_eq!(status.unwrap()["status"], "Succeeded");

    // The subscription's own images are always allowed; watching refuses nothing and is told of.
    allow(json!({ "mode": "Enforce" })).await;
    check(
        &market.deploy("d4", "eastus", "id", &version(2)).await,
        202,
        "",
    );
    allow(json!({ "mode": "Audit" })).await;
    check(&market.deploy("d5", "eastus", member, &id).await, 202, "");
    let log = format!(
        "{}/providers/Microsoft.Insights/eventtypes/management/values",
        market.subscription
    );
    let events = arm.send("GET", &log, "2015-04-01", None).await;
    let told = events.body["value"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| {
            event["operationName"]["value"] == "Microsoft.Authorization/allowedImages/audit/action"
        });
    let told: Vec<&str> = told
        .filter_map(|event| event["resourceId"].as_str())
        .collect();
    assert_eq!(
        told,
        [format!(
            "{}/providers/Microsoft.Compute/disks/d5",
            market.group
        )]
    );

    // Who may not change roles may not change the list.
    let helper = market.world.person("helper --tenant other.example").await;
    let scope = &market.subscription;
    market.world.verb(&format!(
        "principal grant {} --role Contributor --scope {scope}",
        helper.object_id
    ));
    let body = json!({ "properties": { "mode": "Disabled" } });
    for (method, body, status) in [
        ("GET", None, 200),
        ("PUT", Some(&body), 403),
        ("DELETE", None, 403),
    ] {
        let answer = helper.arm.send(method, &path, ALLOWED, body).await;
        assert_eq!(answer.status, status, "{method}: {}", answer.body);
    }
    check(&arm.send("DELETE", &path, ALLOWED, None).await, 200, "");
    check(&arm.send("DELETE", &path, ALLOWED, None).await, 204, "");
}

#[tokio::test]
async fn nothing_moves_and_the_answer_says_so() {
    let market = Market::new().await;
    let owner = &market.world.owner;
    let group = &market.scene.group;
    let target = format!(
        "{}/resourceGroups/target",
        market.world.server.subscription()
    );
    let here = json!({ "location": "eastus" });
    owner
        .done("PUT", &target, testkit::GROUP_VERSION, Some(&here))
        .await;
    let version = market.scene.version("1.0.0");
    let disk = market.scene.disk("hiddensource");
    let missing = market.scene.disk("nothing");
    let gallery = &market.scene.gallery;
    let foreign = market.group.as_str();
    let body = |resources: &[&str], target: &str| json!({ "resources": resources, "targetResourceGroup": target });
    for (body, status, code, said) in [
        (
            body(&[gallery], &target),
            409,
            "ResourceMoveNotSupported",
            "types 'Microsoft.Compute/galleries'.",
        ),
        (
            body(&[gallery, &version, &disk], &target),
            409,
            "ResourceMoveNotSupported",
            "'Microsoft.Compute/galleries', 'Microsoft.Compute/galleries/images/versions' and 'Microsoft.Compute/disks'.",
        ),
        (
            body(&[&missing], &target),
            404,
            "ResourceNotFound",
            "disks/nothing",
        ),
        (
            body(&[gallery], &format!("{target}2")),
            404,
            "ResourceGroupNotFound",
            "target2",
        ),
        (
            body(&[gallery], group),
            400,
            "InvalidRequestContent",
            "are the same",
        ),
        (
            body(&[&gallery.replace("/rg/", "/target/")], &target),
            400,
            "InvalidRequestContent",
            "not in the source resource group",
        ),
        (
            body(&[], &target),
            400,
            "InvalidRequestContent",
            "resources",
        ),
        (
            body(&[gallery], gallery),
            400,
            "InvalidRequestContent",
            "targetResourceGroup",
        ),
        (body(&[gallery], foreign), 404, "SubscriptionNotFound", ""),
        (
            json!({}),
            400,
            "InvalidRequestContent",
            "targetResourceGroup",
        ),
    ] {
        for verb in ["moveResources", "validateMoveResources"] {
            let path = format!("{group}/{verb}");
            let answer = owner.send("POST", &path, "2021-04-01", Some(&body)).await;
            check(&answer, status, code);
            assert!(answer.message().contains(said), "{body}: {}", answer.body);
        }
    }
    let reader = market.world.person("reader").await;
    let scope = market.world.server.subscription();
    market.world.verb(&format!(
        "principal grant {} --role Reader --scope {scope}",
        reader.object_id
    ));
    let answer = reader
        .arm
        .send(
            "POST",
            &format!("{group}/moveResources"),
            "2021-04-01",
            Some(&body(&[gallery], &target)),
        )
        .await;
    check(&answer, 403, "AuthorizationFailed");
}

#[tokio::test]
async fn a_token_of_another_tenant_lets_a_body_name_what_its_account_may_read() {
    let market = Market::new().await;
    let version = market.scene.version("1.0.0");
    let path = format!("{}/providers/Microsoft.Compute/disks/linked", market.group);
    let body = json!({ "location": "eastus", "properties": { "creationData": { "createOption": "FromImage", "galleryImageReference": { "id": version } } } });
    let partner = market.world.person("partner").await;
    let ask = async |tokens: &[&str]| {
        let url = format!(
            "{}{path}?api-version={DISK_VERSION}",
            market.world.server.endpoint()
        );
        let all: Vec<String> = tokens
            .iter()
            .map(|token| format!("Bearer {token}"))
            .collect();
        let request = market
            .consumer
            .arm
            .http()
            .put(url)
            .bearer_auth(market.consumer.arm.token());
        let sent = request
            .header("x-ms-authorization-auxiliary", all.join(", "))
            .json(&body)
            .send()
            .await
            .unwrap();
        let status = sent.status().as_u16();
        (status, sent.json::<Value>().await.unwrap())
    };
    let token = partner.arm.token();
    let own = market.consumer.arm.token();
    // No token of the owner's tenant.
    let (status, said) = ask(&[own]).await;
    assert_eq!(
        (status, said["error"]["code"].as_str()),
        (403, Some("LinkedAuthorizationFailed")),
        "{said}"
    );
    assert!(
        said["error"]["message"]
            .as_str()
            .unwrap()
            .contains("is not authorized to access linked subscription"),
        "{said}"
    );
    // One whose account may not read it.
    let (status, said) = ask(&[token]).await;
    assert_eq!(
        (status, said["error"]["code"].as_str()),
        (403, Some("LinkedAuthorizationFailed")),
        "{said}"
    );
    assert!(
        said["error"]["message"]
            .as_str()
            .unwrap()
            .contains(&partner.object_id),
        "{said}"
    );
    // One that counts for nothing, and too many.
    let (status, said) = ask(&[token, "x.y.z"]).await;
    assert_eq!(status, 401, "{said}");
    let (status, said) = ask(&[token; 4]).await;
    assert_eq!(
        (status, said["error"]["code"].as_str()),
        (400, Some("InvalidAuxiliaryTokens")),
        "{said}"
    );
    let scope = &market.scene.gallery;
    let answer = market
        .world
        .assign(
            &market.world.owner,
            scope,
            &guid(7),
            "Compute Gallery Image Reader",
            &partner.object_id,
        )
        .await;
    check(&answer, 201, "");
    for _ in 0..1000 {
        let (status, said) = ask(&[own, token]).await;
        if status == 202 {
            return;
        }
        assert_eq!(status, 403, "{said}");
    }
    panic!("the role never counted");
}

#[tokio::test]
async fn the_owner_sees_in_which_regions_others_see_a_gallery() {
    let market = Market::new().await;
    let owner = &market.world.owner;
    let status = async |expand: &str, version: &str| {
        let path = format!("{}?{expand}", market.scene.gallery);
        let shown = owner.done("GET", &path, version, None).await;
        shown["properties"]["sharingStatus"].clone()
    };
    const ALL: &str = "$expand=sharingProfile%2FGroups";
    assert_eq!(status(ALL, GALLERY_VERSION).await, Value::Null, "private");
    share(&market).await;
    let expected = json!({ "aggregatedState": "Succeeded", "summary": [{ "region": "East US", "state": "Succeeded" }] });
    assert_eq!(status(ALL, GALLERY_VERSION).await, expected);
    for (expand, version) in [
        ("", GALLERY_VERSION),
        ("$select=Permissions", GALLERY_VERSION),
        (ALL, "2020-09-30"),
    ] {
        assert_eq!(
            status(expand, version).await,
            Value::Null,
            "{expand} {version}"
        );
    }
}
