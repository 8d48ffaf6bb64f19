//! Who can list, get, deploy, copy, update and delete a version: by roles, by direct sharing, by the
//! public door; before the door is opened, while it is open, after it was closed.

use serde_json::{Value, json};

use crate::world::{
    DISK, GALLERY, GROUP, MACHINE, Who, World, disk_body, on_both, page, version_body,
};

/// What is tried, in this order.
const DEEDS: [&str; 7] = [
    "list", "get", "deploy", "machine", "copy", "update", "delete",
];
/// `+` works, `-` does not: before, open, after.
type Cells = [&'static str; 7];

const NEVER: Cells = ["---"; 7];
/// Who is let in may use a version, and change nothing of it.
const OPEN: Cells = ["-+-", "-+-", "-+-", "-+-", "-+-", "---", "---"];

on_both! {
    by_roles_only_who_holds_one_comes_in_and_only_as_long,
    by_direct_sharing_only_the_named_subscription_or_tenant_comes_in_and_only_as_long,
    by_the_public_door_everybody_comes_in_and_only_as_long,
    threat_13_unsharing_cuts_new_use_with_its_own_answer_and_keeps_what_was_made,
}

/// Everybody, and the version that they are after.
struct Market {
    world: World,
    gallery: String,
    /// What the version is made from.
    source: String,
    /// Name of the actor, who it is, a group where he may make things.
    actors: Vec<(&'static str, Who, String)>,
    count: std::cell::Cell<u32>,
}

impl Market {
    async fn new(world: World) -> Self {
        let owner = world.owner.clone();
        let group = world.group(&owner, "rg").await;
        let work = world.group(&owner, "work").await;
        let (gallery, source, _) = world.published(&owner, &group).await;
        let mut actors = vec![("owner", owner.clone(), work.clone())];
        for name in ["reader", "deleted", "expired"] {
            let one = world.with_role(name, "Contributor", &work).await;
            actors.push((name, one, work.clone()));
        }
        for name in ["subscription", "tenant", "consumer"] {
            let one = world.stranger(name).await;
            let group = format!("{}/resourceGroups/rg", one.own);
            actors.push((name, one, group));
        }
        for (name, one, group) in &actors {
            let owner_of_group = if one.own.is_empty() { &owner } else { one };
            let gallery = format!("{group}/providers/Microsoft.Compute/galleries/{name}");
            let here = json!({ "location": "eastus" });
            world
                .done(owner_of_group, "PUT", &gallery, GALLERY, Some(here))
                .await;
            let image = format!("{gallery}/images/debian");
            let body = crate::world::definition_body();
            world
                .done(owner_of_group, "PUT", &image, GALLERY, Some(body))
                .await;
        }
        let market = Self {
            world,
            gallery,
            source,
            actors,
            count: std::cell::Cell::new(0),
        };
        let deleted = market.actor("deleted").object_id.clone();
        market
            .world
            .engine
            .grant_role(&deleted, "Reader", &market.gallery)
            .await
            .unwrap();
        market
            .world
            .engine
            .delete_principal(&deleted)
            .await
            .unwrap();
        let expired = market.actor("expired").object_id.clone();
        market
            .world
            .engine
            .grant_role(&expired, "Reader", &market.gallery)
            .await
            .unwrap();
        market
    }

    /// Lets an hour and a half go by and signs everybody in again but the one whose token is to be over.
    async fn expire(&mut self) {
        self.world.clock.advance_ms(90 * 60 * 1000);
        for (name, one, _) in &mut self.actors {
            if !["expired", "deleted"].contains(name) {
                *one = self.world.signed_in(one.clone()).await;
            }
        }
        self.world.owner = self.actors[0].1.clone();
    }

    fn actor(&self, name: &str) -> &Who {
        &self
            .actors
            .iter()
            .find(|(known, ..)| *known == name)
            .unwrap()
            .1
    }

    fn fresh(&self) -> u32 {
        self.count.set(self.count.get() + 1);
        self.count.get()
    }

    /// Tries a deed through a door: `list` and `get` below `place`, the rest by the version's `id`.
    async fn attempt(&self, actor: &str, deed: &str, place: &str, member: &str, id: &str) -> bool {
        let (_, one, group) = self
            .actors
            .iter()
            .find(|(known, ..)| *known == actor)
            .unwrap();
        let (world, number) = (&self.world, self.fresh());
        let place = place.replace("{own}", subscription_of(group));
        let versions = format!("{place}/images/debian/versions");
        let here = format!("{group}/providers/Microsoft.Compute");
        let tags = json!({ "tags": { "touched": actor } });
        let (method, path, version, body) = match deed {
            "list" => ("GET", versions, GALLERY, None),
            "get" => ("GET", format!("{versions}/1.0.0"), GALLERY, None),
            "deploy" => (
                "PUT",
                format!("{here}/disks/try{number}"),
                DISK,
                Some(disk_body(member, id)),
            ),
            "machine" => (
                "PUT",
                format!("{here}/virtualMachines/try{number}"),
                MACHINE,
                Some(machine_body(member, id)),
            ),
            "copy" => (
                "PUT",
                format!("{here}/galleries/{actor}/images/debian/versions/1.0.{number}"),
                GALLERY,
                Some(copy_body(member, id)),
            ),
            "update" => ("PATCH", format!("{versions}/1.0.0"), GALLERY, Some(tags)),
            _ => ("DELETE", format!("{versions}/1.0.0"), GALLERY, None),
        };
        let (answer, status) = world.over(one, method, &path, version, body.as_ref()).await;
        let line = format!("{actor} {deed}: {} {status}", answer.text());
        assert!(answer.status() < 500, "{line}");
        let is_done = answer.status() < 300 && status["status"] == "Succeeded";
        if ["expired", "deleted"].contains(&actor) {
            assert_eq!(answer.status(), 401, "{line}");
        }
        if deed == "list" && is_done {
            return answer.body["value"]
                .as_array()
                .is_some_and(|all| !all.is_empty());
        }
        if is_done {
            let who = if one.own.is_empty() {
                &world.owner
            } else {
                one
            };
            if ["deploy", "copy"].contains(&deed) {
                let shown = world.send(who, "GET", &path, version, None).await.body;
                self.hides_owner(who, &line, &shown);
            }
            match deed {
                // What was made is the version, byte for byte.
                "deploy" => {
                    assert_eq!(world.head_of(who, &path).await, page("secret"), "{line}");
                }
                "machine" => assert_eq!(self.started_from(who, &path).await, page("secret")),
                // The others need it again.
                "delete" => self.publish().await,
                _ => {}
            }
        }
        if !is_done && !one.own.is_empty() && one.tenant != world.owner.tenant {
            let owners = world.subscription.trim_start_matches("/subscriptions/");
            let said = answer.text();
            assert!(
                path.contains(owners) || id.contains(owners) || !said.contains(owners),
                "{line}"
            );
        }
        is_done
    }

    /// Asserts that nothing that a consumer sees of his own names the owner's subscription.
    fn hides_owner(&self, who: &Who, line: &str, shown: &Value) {
        if who.own.is_empty() || who.tenant == self.world.owner.tenant {
            return;
        }
        let owners = self
            .world
            .subscription
            .trim_start_matches("/subscriptions/");
        // The name of a shared gallery holds it, as the service's does: that is what the consumer named.
        let named = format!("/SharedGalleries/{owners}-");
        let text = shown.to_string().replace(&named, "");
        assert!(!text.contains(owners), "{line}: {shown}");
    }

    /// Returns what the disk of a machine begins with, which is removed for it.
    async fn started_from(&self, who: &Who, machine: &str) -> Vec<u8> {
        let world = &self.world;
        let whole = format!("{machine}?$expand=instanceView");
        let shown = world.send(who, "GET", &whole, MACHINE, None).await.body;
        self.hides_owner(who, machine, &shown);
        let disk = &shown["properties"]["storageProfile"]["osDisk"]["managedDisk"]["id"];
        let disk = disk.as_str().unwrap_or_else(|| panic!("{shown}"));
        world.done(who, "DELETE", machine, MACHINE, None).await;
        world.head_of(who, disk).await
    }

    /// Makes the version that everybody is after.
    async fn publish(&self) {
        let version = format!("{}/images/debian/versions/1.0.0", self.gallery);
        let (owner, body) = (&self.world.owner, version_body(&self.source));
        self.world
            .done(owner, "PUT", &version, GALLERY, Some(body))
            .await;
    }

    /// Tries everything as everybody and adds `+` or `-` to the cells.
    async fn round(
        &self,
        found: &mut [(String, Vec<String>)],
        place: &str,
        member: &str,
        id: &str,
    ) {
        for (actor, cells) in found {
            for (cell, deed) in cells.iter_mut().zip(DEEDS) {
                let is_done = self.attempt(actor, deed, place, member, id).await;
                cell.push(if is_done { '+' } else { '-' });
            }
        }
    }

    fn empty(&self) -> Vec<(String, Vec<String>)> {
        let row = |name: &&str| ((*name).to_owned(), vec![String::new(); DEEDS.len()]);
        self.actors.iter().map(|(name, ..)| row(name)).collect()
    }

    async fn profile(&self, profile: Value) -> Value {
        let body = json!({ "location": "eastus", "properties": { "sharingProfile": profile } });
        let owner = &self.world.owner;
        self.world
            .done(owner, "PUT", &self.gallery, GALLERY, Some(body))
            .await;
        self.world
            .send(owner, "GET", &self.gallery, GALLERY, None)
            .await
            .body
    }
}

fn subscription_of(group: &str) -> &str {
    group.split("/resourceGroups/").next().unwrap()
}

fn copy_body(member: &str, id: &str) -> Value {
    // Images of shared galleries are sources under the plain name.
    let member = match member {
        "sharedGalleryImageId" => "id",
        other => other,
    };
    let mut body = version_body("");
    body["properties"]["storageProfile"] = json!({ "source": { member: id } });
    body
}

fn machine_body(member: &str, id: &str) -> Value {
    json!({
        "location": "eastus",
        "properties": {
            "hardwareProfile": { "vmSize": "Standard_B1s" },
            "storageProfile": { "imageReference": { member: id } },
            "osProfile": { "computerName": "one", "adminUsername": "me", "adminPassword": "Passw0rd!" },
        },
    })
}

fn judge(found: &[(String, Vec<String>)], expected: &[(&str, Cells)]) {
    for (actor, cells) in found {
        let known = expected.iter().find(|(name, _)| name == actor);
        let wanted = known.map_or(NEVER, |(_, cells)| *cells);
        for ((deed, cell), wanted) in DEEDS.iter().zip(cells).zip(wanted) {
            assert!(
                cell == wanted,
                "{actor} {deed}: {cell} instead of {wanted} (before, open, after)"
            );
        }
    }
}

async fn by_roles_only_who_holds_one_comes_in_and_only_as_long(world: World) {
    let mut market = Market::new(world).await;
    market.expire().await;
    let (gallery, mut found) = (market.gallery.clone(), market.empty());
    let id = format!("{gallery}/images/debian/versions/1.0.0");
    let reader = market.actor("reader").object_id.clone();
    market.round(&mut found, &gallery, "id", &id).await;
    let name = "00000000-0000-4000-8000-000000000007";
    let path = format!("{gallery}/providers/Microsoft.Authorization/roleAssignments/{name}");
    let role = domain::role::find("Reader").unwrap();
    let body = json!({ "properties": {
        "roleDefinitionId": format!("/providers/Microsoft.Authorization/roleDefinitions/{}", role.id),
        "principalId": reader,
    } });
    let owner = market.world.owner.clone();
    market
        .world
        .send(&owner, "PUT", &path, "2022-04-01", Some(&body))
        .await
        .expect(201, "");
    market.round(&mut found, &gallery, "id", &id).await;
    market
        .world
        .send(&owner, "DELETE", &path, "2022-04-01", None)
        .await
        .expect(200, "");
    market.round(&mut found, &gallery, "id", &id).await;
    judge(&found, &[("owner", ["+++"; 7]), ("reader", OPEN)]);
    market
        .world
        .done(&owner, "DELETE", &id, GALLERY, None)
        .await;
}

async fn by_direct_sharing_only_the_named_subscription_or_tenant_comes_in_and_only_as_long(
    world: World,
) {
    let mut market = Market::new(world).await;
    market.expire().await;
    let shown = market.profile(json!({ "permissions": "Groups" })).await;
    let name = shown["properties"]["identifier"]["uniqueName"]
        .as_str()
        .unwrap();
    let place =
        format!("{{own}}/providers/Microsoft.Compute/locations/eastus/sharedGalleries/{name}");
    let id = format!("/SharedGalleries/{name}/Images/debian/Versions/1.0.0");
    let owner = market.world.owner.clone();
    let guest = market
        .actor("subscription")
        .own
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    let tenant = market.actor("tenant").tenant.clone();
    for (kind, guest_id, actor) in [
        ("Subscriptions", guest, "subscription"),
        ("AADTenants", tenant, "tenant"),
    ] {
        let mut found = market.empty();
        let groups = json!([{ "type": kind, "ids": [guest_id] }]);
        let member = "sharedGalleryImageId";
        market.round(&mut found, &place, member, &id).await;
        market
            .world
            .share(&owner, &market.gallery, "Add", groups.clone())
            .await;
        market.round(&mut found, &place, member, &id).await;
        market
            .world
            .share(&owner, &market.gallery, "Remove", groups)
            .await;
        market.round(&mut found, &place, member, &id).await;
        // The owner's own door is the other one.
        judge(&found, &[(actor, OPEN)]);
    }
}

async fn by_the_public_door_everybody_comes_in_and_only_as_long(world: World) {
    let mut market = Market::new(world).await;
    market.expire().await;
    let info = json!({ "publisherUri": "https://acme.example", "publisherContact": "a@acme.example", "eula": "none", "publicNamePrefix": "acmeinc" });
    let shown = market
        .profile(json!({ "permissions": "Community", "communityGalleryInfo": info }))
        .await;
    let name = shown["properties"]["sharingProfile"]["communityGalleryInfo"]["publicNames"][0]
        .as_str()
        .unwrap();
    let place =
        format!("{{own}}/providers/Microsoft.Compute/locations/eastus/communityGalleries/{name}");
    let id = format!("/CommunityGalleries/{name}/Images/debian/Versions/1.0.0");
    let (owner, mut found) = (market.world.owner.clone(), market.empty());
    let member = "communityGalleryImageId";
    market.round(&mut found, &place, member, &id).await;
    market
        .world
        .share(&owner, &market.gallery, "EnableCommunity", json!([]))
        .await;
    market.round(&mut found, &place, member, &id).await;
    market
        .world
        .share(&owner, &market.gallery, "Reset", json!([]))
        .await;
    market.round(&mut found, &place, member, &id).await;
    let at_work: Cells = ["---", "---", "-+-", "-+-", "-+-", "---", "---"];
    judge(
        &found,
        &[
            ("owner", OPEN),
            // He may make disks in one group, and see nothing of the subscription.
            ("reader", at_work),
            ("subscription", OPEN),
            ("tenant", OPEN),
            ("consumer", OPEN),
        ],
    );
}

async fn threat_13_unsharing_cuts_new_use_with_its_own_answer_and_keeps_what_was_made(
    world: World,
) {
    let market = Market::new(world).await;
    let shown = market.profile(json!({ "permissions": "Groups" })).await;
    let name = shown["properties"]["identifier"]["uniqueName"]
        .as_str()
        .unwrap();
    let id = format!("/SharedGalleries/{name}/Images/debian");
    let guest = market.actor("subscription").clone();
    let group = format!("{}/resourceGroups/rg", guest.own);
    let (world, owner) = (&market.world, market.world.owner.clone());
    let ids = json!([guest.own.rsplit('/').next().unwrap()]);
    let groups = json!([{ "type": "Subscriptions", "ids": ids }]);
    world
        .share(&owner, &market.gallery, "Add", groups.clone())
        .await;
    let body = disk_body("sharedGalleryImageId", &id);
    let kept = format!("{group}/providers/Microsoft.Compute/disks/kept");
    world
        .done(&guest, "PUT", &kept, DISK, Some(body.clone()))
        .await;
    let running = format!("{group}/providers/Microsoft.Compute/virtualMachines/running");
    let machine = machine_body("sharedGalleryImageId", &id);
    world
        .done(&guest, "PUT", &running, MACHINE, Some(machine.clone()))
        .await;
    let share = json!({ "operationType": "Remove", "groups": groups });
    let path = format!("{}/share", market.gallery);
    // The operation is not waited for: the answer alone must be enough.
    let answer = world
        .send(&owner, "POST", &path, GALLERY, Some(&share))
        .await;
    assert_eq!(answer.status(), 202, "{}", answer.text());
    let late = kept.replace("kept", "late");
    world
        .send(&guest, "PUT", &late, DISK, Some(&body))
        .await
        .expect(404, "GalleryImageNotFound");
    let late_machine = running.replace("running", "late");
    world
        .send(&guest, "PUT", &late_machine, MACHINE, Some(&machine))
        .await
        .expect(404, "GalleryImageNotFound");
    assert_eq!(world.head_of(&guest, &kept).await, page("secret"));
    // What runs goes on, also after it was off.
    let power = async || {
        let path = format!("{running}/instanceView");
        let view = world.send(&guest, "GET", &path, MACHINE, None).await;
        let all = view.body["statuses"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let code = |status: &Value| status["code"].as_str().unwrap_or_default().to_owned();
        let codes = all.iter().map(code);
        codes
            .filter(|code| code.starts_with("PowerState/"))
            .collect::<Vec<_>>()
    };
    assert_eq!(power().await, ["PowerState/running"]);
    for (action, state) in [
        ("deallocate", "PowerState/deallocated"),
        ("start", "PowerState/running"),
    ] {
        let path = format!("{running}/{action}");
        world.done(&guest, "POST", &path, MACHINE, None).await;
        assert_eq!(power().await, [state]);
    }
    assert_eq!(market.started_from(&guest, &running).await, page("secret"));
    let gone = world.send(&guest, "GET", &late, DISK, None).await;
    gone.expect(404, "ResourceNotFound");
    let group_of_others = world
        .send(
            &guest,
            "GET",
            &format!("{}/resourceGroups/rg", world.subscription),
            GROUP,
            None,
        )
        .await;
    group_of_others.expect(404, "SubscriptionNotFound");
}
