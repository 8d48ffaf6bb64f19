//! What is asked of machines beside power, over plain HTTP: disks by their ids, reimaging, what is not offered.

use serde_json::{Value, json};
use testkit::{DISK_VERSION, GALLERY_VERSION, Gallery, Options, Scene, random_disk};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
const VERSION: &str = "2025-04-01";
const MIB: usize = 1 << 20;

/// A server with versions 1.0.0 and 2.0.0 of other bytes, and machine `one` of the first.
async fn world() -> (Gallery, Scene, [Vec<u8>; 2]) {
    let server = Gallery::start(Options::new(BINARY)).await;
    let scene = Scene::new(&server).await;
    let bytes = [1, 2].map(|seed| random_disk(4 * MIB, seed));
    for (number, bytes) in ["1.0.0", "2.0.0"].into_iter().zip(&bytes) {
        let disk = scene
            .upload(&format!("source{}", &number[..1]), bytes)
            .await;
        let body = scene.version_body(&disk, &["eastus"]);
        let version = scene.version(number);
        let put = scene
            .arm
            .done("PUT", &version, GALLERY_VERSION, Some(&body));
        put.await;
    }
    let body = json!({ "location": "eastus", "properties": {
        "hardwareProfile": { "vmSize": "Standard_B2s" },
        "storageProfile": {
            "imageReference": { "id": scene.version("1.0.0") },
            "osDisk": { "createOption": "FromImage", "deleteOption": "Detach" },
        },
        "osProfile": { "computerName": "one", "adminUsername": "me", "adminPassword": "Hidden-Word-2026" },
    } });
    let id = machine(&scene);
    scene.arm.done("PUT", &id, VERSION, Some(&body)).await;
    (server, scene, bytes)
}

fn machine(scene: &Scene) -> String {
    format!(
        "{}/providers/Microsoft.Compute/virtualMachines/one",
        scene.group
    )
}

async fn empty_disk(scene: &Scene, name: &str) -> String {
    let id = scene.disk(name);
    let body = json!({ "location": "eastus", "properties": { "diskSizeGB": 1, "creationData": { "createOption": "Empty" } } });
    scene.arm.done("PUT", &id, DISK_VERSION, Some(&body)).await;
    id
}

async fn get(scene: &Scene, id: &str, version: &str) -> Value {
    let answer = scene.arm.send("GET", id, version, None).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

fn data_disks(profile: &Value) -> Vec<(i64, String)> {
    let all = profile["dataDisks"].as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|disk| {
            let name = disk["name"].as_str().unwrap_or_default().to_owned();
            (disk["lun"].as_i64().unwrap_or(-1), name)
        })
        .collect()
}

#[tokio::test]
async fn data_disks_are_attached_and_detached_several_at_once() {
    let (_server, scene, _) = world().await;
    let arm = &scene.arm;
    let (a, b, c) = (
        empty_disk(&scene, "a").await,
        empty_disk(&scene, "b").await,
        empty_disk(&scene, "c").await,
    );
    let verb = format!("{}/attachDetachDataDisks", machine(&scene));
    let ask = async |attach: Value, detach: Value| {
        let body = json!({ "dataDisksToAttach": attach, "dataDisksToDetach": detach });
        let answer = arm.send("POST", &verb, VERSION, Some(&body)).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        let poll = answer.header("azure-asyncoperation").expect("polled");
        let ended = arm.poll(poll).await;
        assert_eq!(ended["status"], "Succeeded", "{ended}");
        // The result stands behind `Location`, where clients of the SDKs read it.
        let location = answer.header("location").expect("a result");
        let profile = arm.monitor(location).await.body;
        let shown = get(&scene, &machine(&scene), VERSION).await;
        assert_eq!(shown["properties"]["storageProfile"], profile);
        data_disks(&profile)
    };
    let on = |id: &String| json!({ "diskId": id });
    let named = |list: &[(i64, &str)]| -> Vec<(i64, String)> {
        list.iter()
            .map(|(lun, name)| (*lun, (*name).to_owned()))
            .collect()
    };
    let left = ask(json!([on(&a), { "diskId": b, "lun": 7 }]), json!([])).await;
    assert_eq!(left, named(&[(0, "a"), (7, "b")]));
    let left = ask(json!([on(&c)]), json!([on(&a)])).await;
    assert_eq!(left, named(&[(0, "c"), (7, "b")]));
    for (id, state) in [(&a, "Unattached"), (&b, "Attached"), (&c, "Attached")] {
        let row = get(&scene, id, DISK_VERSION).await;
        assert_eq!(row["properties"]["diskState"], state, "{id}");
    }
    for (body, status, code) in [
        (json!({}), 400, "InvalidParameter"),
        (
            json!({ "dataDisksToDetach": [on(&a)] }),
            409,
            "OperationNotAllowed",
        ),
        (
            json!({ "dataDisksToAttach": [{ "diskId": scene.disk("none") }] }),
            404,
            "NotFound",
        ),
        (json!({ "disks": [] }), 400, "BadRequest"),
    ] {
        let answer = arm.send("POST", &verb, VERSION, Some(&body)).await;
        assert_eq!(
            (answer.status, answer.code()),
            (status, code),
            "{body} {}",
            answer.body
        );
    }
    let left = ask(json!(null), json!([on(&b), on(&c)])).await;
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_reimage_brings_the_images_bytes_back_and_keeps_or_deletes_the_old_disk() {
    let (server, scene, bytes) = world().await;
    let arm = &scene.arm;
    let id = machine(&scene);
    let os_disk = |shown: &Value| {
        let os = &shown["properties"]["storageProfile"]["osDisk"];
        os["managedDisk"]["id"].as_str().expect("an id").to_owned()
    };
    let verb = format!("{id}/reimage");
    let first = os_disk(&get(&scene, &id, VERSION).await);
    arm.done("POST", &format!("{id}/deallocate"), VERSION, None)
        .await;
    arm.done("POST", &verb, VERSION, None).await;
    let shown = get(&scene, &id, VERSION).await;
    let second = os_disk(&shown);
    assert_ne!(first, second);
    assert_eq!(shown["properties"]["provisioningState"], "Succeeded");
    let view = get(&scene, &format!("{id}/instanceView"), VERSION).await;
    assert!(view.to_string().contains("PowerState/running"), "{view}");
    let row = get(&scene, &first, DISK_VERSION).await;
    assert_eq!(
        (row.get("managedBy"), &row["properties"]["diskState"]),
        (None, &json!("Unattached"))
    );
    let row = get(&scene, &second, DISK_VERSION).await;
    assert_eq!(
        (&row["managedBy"], &row["properties"]["diskState"]),
        (&json!(id), &json!("Attached"))
    );

    // The next one is of another version, and takes the disk before it away.
    let goes =
        json!({ "properties": { "storageProfile": { "osDisk": { "deleteOption": "Delete" } } } });
    arm.done("PATCH", &id, VERSION, Some(&goes)).await;
    let body =
        json!({ "exactVersion": "2.0.0", "osProfile": { "adminPassword": "Another-Word-2026" } });
    arm.done("POST", &verb, VERSION, Some(&body)).await;
    let shown = get(&scene, &id, VERSION).await;
    let reference = &shown["properties"]["storageProfile"]["imageReference"];
    assert_eq!(
        reference,
        &json!({ "id": scene.version("2.0.0"), "exactVersion": "2.0.0" })
    );
    assert_eq!(
        arm.send("GET", &second, DISK_VERSION, None).await.status,
        404
    );
    let third = os_disk(&shown);
    arm.done("POST", &format!("{id}/deallocate"), VERSION, None)
        .await;
    let url = scene.access(&third, "Read").await;
    let request = arm.http().get(&url).header("x-ms-version", "2021-12-02");
    let disk = request
        .send()
        .await
        .expect("it answers")
        .bytes()
        .await
        .expect("bytes");
    assert!(
        disk[..bytes[1].len()] == bytes[1],
        "the bytes of version 2.0.0"
    );
    arm.done("POST", &format!("{third}/endGetAccess"), DISK_VERSION, None)
        .await;
    for word in ["Hidden-Word", "Another-Word"] {
        assert!(!server.log_text().contains(word), "{word} is in the log");
    }
    let missing = json!({ "exactVersion": "3.0.0" });
    let answer = arm.send("POST", &verb, VERSION, Some(&missing)).await;
    assert_eq!(answer.status, 404, "{}", answer.body);
    assert_eq!(
        os_disk(&get(&scene, &id, VERSION).await),
        third,
        "a refusal changes nothing"
    );
    arm.done("DELETE", &id, VERSION, None).await;
    assert_eq!(
        arm.send("GET", &third, DISK_VERSION, None).await.status,
        404
    );
}

#[tokio::test]
async fn what_is_not_offered_is_refused_in_the_services_form() {
    let (_server, scene, _) = world().await;
    let arm = &scene.arm;
    let id = machine(&scene);
    for (verb, text) in [
        ("simulateEviction", "evicts no machines"),
        ("performMaintenance", "no maintenance is planned"),
        ("convertToManagedDisks", "managed already"),
        ("capture", "Create an image"),
        ("assessPatches", "does not look into"),
        ("installPatches", "does not look into"),
    ] {
        let answer = arm
            .send("POST", &format!("{id}/{verb}"), VERSION, None)
            .await;
        assert_eq!(
            (answer.status, answer.code()),
            (409, "OperationNotAllowed"),
            "{verb}"
        );
        assert!(answer.message().contains(text), "{}", answer.body);
        let none = format!("{}2/{verb}", id);
        let answer = arm.send("POST", &none, VERSION, None).await;
        assert_eq!(
            (answer.status, answer.code()),
            (404, "ResourceNotFound"),
            "{verb}"
        );
    }
    let script = json!({ "commandId": "RunShellScript", "script": ["id"] });
    let verb = format!("{id}/runCommand");
    let answer = arm.send("POST", &verb, VERSION, Some(&script)).await;
    assert_eq!((answer.status, answer.code()), (409, "OperationNotAllowed"));
    assert!(answer.message().contains("simulated"), "{}", answer.body);
    let odd = json!({ "commandId": "RunShellScript", "scripts": ["id"] });
    let answer = arm.send("POST", &verb, VERSION, Some(&odd)).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    for (part, text) in [
        ("extensions", "has none"),
        ("runCommands", "not kept as resources"),
    ] {
        let (all, one) = (format!("{id}/{part}"), format!("{id}/{part}/x"));
        let list = arm.send("GET", &all, VERSION, None).await;
        assert_eq!((list.status, list.body), (200, json!({ "value": [] })));
        let answer = arm.send("GET", &one, VERSION, None).await;
        assert_eq!((answer.status, answer.code()), (404, "ResourceNotFound"));
        assert_eq!(arm.send("DELETE", &one, VERSION, None).await.status, 204);
        let body = json!({ "location": "eastus", "properties": {} });
        for method in ["PUT", "PATCH"] {
            let answer = arm.send(method, &one, VERSION, Some(&body)).await;
            assert_eq!((answer.status, answer.code()), (409, "OperationNotAllowed"));
            assert!(answer.message().contains(text), "{}", answer.body);
        }
    }
}
