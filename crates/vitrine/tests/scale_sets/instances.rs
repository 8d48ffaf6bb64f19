//! One machine of a set changed by itself: protection and data disks, and what belongs to the model.

use serde_json::{Value, json};
use testkit::DISK_VERSION;

use crate::world::{VERSION, World, refused};

impl World {
    /// A uniform set of `capacity` machines of version 1.0.0.
    async fn of(capacity: usize) -> Self {
        let world = Self::new().await;
        let body = world.body(&world.scene.version("1.0.0"), capacity);
        world.put(&body).await;
        world
    }

    /// Changes a machine as clients do: what GET shows goes back, changed.
    async fn change(&self, instance: &str, change: impl Fn(&mut Value)) -> Value {
        let tail = format!("/virtualMachines/{instance}");
        let mut body = self.get(&tail).await;
        body["properties"]["storageProfile"]["imageReference"] = Value::Null;
        change(&mut body);
        let id = self.set(&tail);
        self.scene.arm.done("PUT", &id, VERSION, Some(&body)).await;
        self.get(&tail).await
    }

    async fn protect(&self, instance: &str, policy: &str) {
        let shown = self
            .change(instance, |body| {
                body["properties"]["protectionPolicy"] = json!({ policy: true });
            })
            .await;
        let held = &shown["properties"]["protectionPolicy"];
        assert_eq!(held, &json!({ policy: true }), "{shown}");
    }

    async fn instances(&self) -> Vec<String> {
        let all = self.get("/virtualMachines").await;
        let all = all["value"].as_array().cloned().unwrap_or_default();
        let id = |one: &Value| one["instanceId"].as_str().unwrap_or_default().to_owned();
        all.iter().map(id).collect()
    }

    async fn scale(&self, capacity: usize) {
        let body = json!({ "sku": { "capacity": capacity } });
        let id = self.set("");
        self.scene
            .arm
            .done("PATCH", &id, VERSION, Some(&body))
            .await;
    }

    async fn power(&self, instance: &str) -> String {
        let view = self
            .get(&format!("/virtualMachines/{instance}/instanceView"))
            .await;
        let statuses = view["statuses"].as_array().cloned().unwrap_or_default();
        let codes = statuses.iter().filter_map(|status| status["code"].as_str());
        let mut power = codes.filter(|code| code.starts_with("PowerState/"));
        power.next().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn who_is_protected_from_scale_in_stays_when_the_set_gets_smaller() {
    let world = World::of(3).await;
    world.protect("2", "protectFromScaleIn").await;
    world.protect("0", "protectFromScaleIn").await;
    world.scale(2).await;
    assert_eq!(world.instances().await, ["0", "2"]);
    let less = json!({ "sku": { "capacity": 1 } });
    let id = world.set("");
    let answer = world
        .scene
        .arm
        .send("PATCH", &id, VERSION, Some(&less))
        .await;
    refused(
        &answer,
        409,
        "OperationNotAllowed",
        "2 of them are protected from scale-in",
    );
    // Who is named goes, and the whole set goes.
    world
        .post("/delete", &json!({ "instanceIds": ["2"] }))
        .await;
    assert_eq!(world.instances().await, ["0"]);
    world.post("/deallocate", &json!({})).await;
    assert_eq!(world.power("0").await, "PowerState/deallocated");
    world
        .scene
        .arm
        .done("DELETE", &world.set(""), VERSION, None)
        .await;
}

#[tokio::test]
async fn who_is_protected_from_actions_is_left_out_unless_it_is_named() {
    let world = World::of(2).await;
    world.protect("1", "protectFromScaleSetActions").await;
    world
        .post("/deallocate", &json!({ "instanceIds": ["*"] }))
        .await;
    assert_eq!(world.power("0").await, "PowerState/deallocated");
    assert_eq!(world.power("1").await, "PowerState/running");
    world.scale(1).await;
    assert_eq!(world.instances().await, ["1"]);

    let mut body = world.body(&world.scene.version("2.0.0"), 2);
    body["properties"]["upgradePolicy"]["mode"] = json!("Automatic");
    world.put(&body).await;
    assert_eq!(world.versions().await, ["1.0.0", "2.0.0"]);
    world.post("/osRollingUpgrade", &json!({})).await;
    world
        .post("/manualupgrade", &json!({ "instanceIds": ["*"] }))
        .await;
    assert_eq!(world.versions().await, ["1.0.0", "2.0.0"]);
    world
        .post("/manualupgrade", &json!({ "instanceIds": ["1"] }))
        .await;
    assert_eq!(world.versions().await, ["2.0.0", "2.0.0"]);
    let shown = world.get("/virtualMachines/1").await;
    let kept = &shown["properties"]["protectionPolicy"]["protectFromScaleSetActions"];
    assert_eq!(kept, true, "{shown}");
}

#[tokio::test]
async fn a_disk_of_one_machine_is_attached_kept_at_reimage_and_detached() {
    let world = World::of(1).await;
    let id = world.compute("disks/own");
    let body = json!({ "location": "eastus", "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 4 } });
    let arm = &world.scene.arm;
    arm.done("PUT", &id, DISK_VERSION, Some(&body)).await;
    let before = world.get("/virtualMachines/0").await;
    assert_eq!(
        before["properties"]["modelDefinitionApplied"],
        "VirtualMachineScaleSet"
    );
    let shown = world
        .change("0", |body| {
            let disk = json!({ "lun": 3, "createOption": "Attach", "managedDisk": { "id": id } });
            body["properties"]["storageProfile"]["dataDisks"] = json!([disk]);
        })
        .await;
    let disk = |shown: &Value| {
        shown["properties"]["storageProfile"]["dataDisks"][0]["managedDisk"]["id"].clone()
    };
    assert_eq!(disk(&shown), json!(id), "{shown}");
    assert_eq!(
        shown["properties"]["modelDefinitionApplied"],
        "VirtualMachine"
    );
    let owner = async || arm.send("GET", &id, DISK_VERSION, None).await.body["managedBy"].clone();
    assert_eq!(owner().await, json!(world.set("/virtualMachines/0")));

    world
        .post("/reimage", &json!({ "instanceIds": ["0"] }))
        .await;
    let shown = world.get("/virtualMachines/0").await;
    assert_eq!(disk(&shown), json!(id), "{shown}");
    let shown = world
        .change("0", |body| {
            body["properties"]["storageProfile"]["dataDisks"] = json!([])
        })
        .await;
    assert_eq!(disk(&shown), Value::Null, "{shown}");
    assert_eq!(owner().await, Value::Null);
    // A set that goes takes its own disks with it, and no others.
    arm.done("DELETE", &world.set(""), VERSION, None).await;
    assert_eq!(arm.send("GET", &id, DISK_VERSION, None).await.status, 200);
}

#[tokio::test]
async fn a_disk_goes_with_the_model_that_drops_it_and_what_one_machine_has_of_its_own_stays() {
    let world = World::new().await;
    let mut body = world.body(&world.scene.version("1.0.0"), 1);
    let storage = &mut body["properties"]["virtualMachineProfile"]["storageProfile"];
    storage["dataDisks"] = json!([{ "lun": 1, "createOption": "Empty", "diskSizeGB": 4 }]);
    world.put(&body).await;
    let arm = &world.scene.arm;
    let own = world.compute("disks/own");
    let empty = json!({ "location": "eastus", "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": 4 } });
    arm.done("PUT", &own, DISK_VERSION, Some(&empty)).await;
    let shown = world
        .change("0", |body| {
            let disk = json!({ "lun": 3, "createOption": "Attach", "managedDisk": { "id": own } });
            let disks = &mut body["properties"]["storageProfile"]["dataDisks"];
            disks.as_array_mut().unwrap().push(disk);
        })
        .await;
    let disks = |shown: &Value| shown["properties"]["storageProfile"]["dataDisks"].clone();
    assert_eq!(disks(&shown).as_array().map(Vec::len), Some(2), "{shown}");
    let of_model = disks(&shown)[0]["managedDisk"]["id"].clone();
    let of_model = of_model.as_str().unwrap();
    let status = async |id: &str| arm.send("GET", id, DISK_VERSION, None).await.status;
    assert_eq!(status(of_model).await, 200);

    body["properties"]["virtualMachineProfile"]["storageProfile"]["dataDisks"] = json!([]);
    world.put(&body).await;
    world
        .post("/manualupgrade", &json!({ "instanceIds": ["0"] }))
        .await;
    let shown = world.get("/virtualMachines/0").await;
    assert_eq!(disks(&shown)[0]["managedDisk"]["id"], json!(own), "{shown}");
    assert_eq!(disks(&shown).as_array().map(Vec::len), Some(1), "{shown}");
    assert_eq!(status(of_model).await, 404);
    assert_eq!(status(&own).await, 200);
}

#[tokio::test]
async fn what_belongs_to_the_model_is_not_changed_at_one_machine() {
    let world = World::of(1).await;
    let tail = "/virtualMachines/0";
    let shown = world.get(tail).await;
    for (place, value, name) in [
        ("/sku/name", json!("Standard_B2s"), "sku"),
        (
            "/properties/hardwareProfile/vmSize",
            json!("Standard_B2s"),
            "hardwareProfile",
        ),
        (
            "/properties/osProfile/computerName",
            json!("other"),
            "osProfile",
        ),
        (
            "/properties/storageProfile/imageReference/id",
            json!(world.scene.version("2.0.0")),
            "storageProfile.imageReference",
        ),
        (
            "/properties/networkProfileConfiguration/networkInterfaceConfigurations/0/name",
            json!("other"),
            "networkProfileConfiguration",
        ),
    ] {
        let mut body = shown.clone();
        *body
            .pointer_mut(place)
            .unwrap_or_else(|| panic!("no {place} in {shown}")) = value;
        let id = world.set(tail);
        let answer = world.scene.arm.send("PUT", &id, VERSION, Some(&body)).await;
        refused(&answer, 409, "PropertyChangeNotAllowed", name);
    }
    let tagged = world
        .change("0", |body| body["tags"] = json!({ "a": "b" }))
        .await;
    assert_eq!(tagged["tags"], json!({ "a": "b" }));
    let none = world.set("/virtualMachines/7");
    let answer = world
        .scene
        .arm
        .send("PUT", &none, VERSION, Some(&json!({})))
        .await;
    assert_eq!(answer.status, 404, "{}", answer.body);
}
