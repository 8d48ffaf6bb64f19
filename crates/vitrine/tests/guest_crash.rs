//! `kill -9` of the server, of the emulator and of both, at every stage of a machine's life: what a guest has flushed is
//! there, what was asked for is done or can be asked for again, nothing is left over.

mod guests;

use std::time::Duration;

use guests::{GUEST, SOON, VERSION, World, body, kill};
use serde_json::{Value, json};
use testkit::{DISK_VERSION, GALLERY_VERSION, until};

/// A script that counts on the data disk, from where it was: each number is flushed before it is said.
const COUNT: &str = "#!/bin/busybox sh\nb=/bin/busybox\n\
    $b printf 'TINY-FOUND '; $b head -c 8 /dev/sda | $b tr -d '\\0'; echo\n\
    n=$($b head -c 8 /dev/sda | $b tr -d '\\0' | $b sed 's/^0*//'); n=${n:-0}\n\
    { while :; do n=$((n + 1)); $b printf '%08d' $n | $b dd of=/dev/sda bs=8 conv=notrunc,fsync 2>/dev/null && echo TINY-FLUSHED $n; $b usleep 50000; done; } &\n";

/// What is asked of a machine at a stage: method, path below the group, api-version, body.
struct Stage {
    name: &'static str,
    method: &'static str,
    id: String,
    version: &'static str,
    body: Option<Value>,
}

impl World {
    fn compute(&self, tail: &str) -> String {
        format!("{}/providers/Microsoft.Compute/{tail}", self.scene.group)
    }

    /// Sends and kills the server after `delay`, wherever it is then; the next server finishes what was accepted.
    async fn cut(&mut self, stage: &Stage, delay: Duration) {
        let sent = {
            let arm = &self.scene.arm;
            let answer = arm
                .send(stage.method, &stage.id, stage.version, stage.body.as_ref())
                .await;
            assert!(answer.status < 300, "{}: {}", stage.name, answer.body);
            tokio::time::sleep(delay).await;
            answer
        };
        self.restart().await;
        let poll = sent.header("azure-asyncoperation").map(str::to_owned);
        if let Some(poll) = poll {
            // The port of the new server is another one; the path is the same.
            let path = poll.splitn(4, '/').nth(3).unwrap_or_default();
            let url = format!("{}/{path}", self.server.endpoint());
            let ended = self.scene.arm.poll(&url).await;
            assert_eq!(
                ended["status"], "Succeeded",
                "{} {delay:?}: {ended}",
                stage.name
            );
        }
    }

    /// The highest number that the guest says it has flushed.
    async fn flushed(&self) -> u64 {
        let log = self.log("one").await;
        let said = log
            .lines()
            .filter_map(|line| line.strip_prefix("TINY-FLUSHED "));
        said.filter_map(|n| n.trim().parse().ok())
            .max()
            .unwrap_or(0)
    }

    /// What a disk holds at its start, as a number.
    async fn counted(&self, disk: &str) -> u64 {
        let url = self.scene.access(disk, "Read").await;
        let request = self
            .scene
            .arm
            .http()
            .get(&url)
            .header("x-ms-version", "2021-12-02");
        let answer = request.header("x-ms-range", "bytes=0-7").send().await;
        let bytes = answer.expect("it answers").bytes().await.expect("bytes");
        let end = format!("{disk}/endGetAccess");
        self.scene.arm.done("POST", &end, DISK_VERSION, None).await;
        String::from_utf8_lossy(&bytes)
            .trim_matches('\0')
            .parse()
            .unwrap_or(0)
    }

    fn stage(
        &self,
        name: &'static str,
        method: &'static str,
        tail: &str,
        body: Option<Value>,
    ) -> Stage {
        let version = match tail.split('/').next() {
            Some("snapshots" | "disks") => DISK_VERSION,
            Some("galleries") => GALLERY_VERSION,
            _ => VERSION,
        };
        Stage {
            name,
            method,
            id: self.compute(tail),
            version,
            body,
        }
    }
}

/// Whether the long campaigns run.
fn is_long() -> bool {
    std::env::var_os("VITRINE_TEST_LONG").is_some()
}

fn on(disks: &[(i64, &str)]) -> Value {
    let all: Vec<Value> = disks
        .iter()
        .map(|(lun, id)| json!({ "lun": lun, "createOption": "Attach", "managedDisk": { "id": id } }))
        .collect();
    json!({ "properties": { "storageProfile": { "dataDisks": all } } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_at_every_stage_loses_nothing_that_was_flushed() {
    let mut world = World::new().await;
    let (data, extra) = (world.scene.disk("data"), world.scene.disk("extra"));
    let empty = json!({ "location": "eastus", "properties": { "diskSizeGB": 1, "creationData": { "createOption": "Empty" } } });
    for disk in [&data, &extra] {
        let put = world
            .scene
            .arm
            .done("PUT", disk, DISK_VERSION, Some(&empty));
        put.await;
    }
    let mut made = body(&world.scene.version("1.0.0"), "one", COUNT);
    made["properties"]["storageProfile"]["dataDisks"] =
        json!([{ "lun": 0, "createOption": "Attach", "managedDisk": { "id": data } }]);
    let one = "virtualMachines/one";
    let create = world.stage("create", "PUT", one, Some(made));
    let creations: &[u64] = if is_long() {
        &[0, 15, 60, 200, 600]
    } else {
        &[15, 200]
    };
    for (number, delay) in creations.iter().copied().enumerate() {
        world.cut(&create, Duration::from_millis(delay)).await;
        assert_eq!(world.power("one").await, "running");
        assert_eq!(world.server.guests().len(), 1, "one machine, one process");
        world.pid();
        if number + 1 < creations.len() {
            let delete = world.stage("delete", "DELETE", one, None);
            world.cut(&delete, Duration::from_millis(delay / 2)).await;
            assert!(
                world.server.guests().is_empty(),
                "{:?}",
                world.server.guests()
            );
        }
    }
    let pid = world.pid();
    world.says("one", "TINY-FLUSHED 3").await;
    let copy = |source: &str| json!({ "location": "eastus", "properties": { "creationData": { "createOption": "Copy", "sourceResourceId": source } } });
    let kept = format!("{}/images/kept", world.scene.gallery);
    let mut definition = testkit::definition_body("acme", "kept", "1");
    definition["properties"]["osState"] = json!("Specialized");
    let put = world
        .scene
        .arm
        .done("PUT", &kept, GALLERY_VERSION, Some(&definition));
    put.await;
    let of_machine = json!({ "location": "eastus", "properties": {
        "publishingProfile": { "targetRegions": [{ "name": "eastus" }] },
        "storageProfile": { "source": { "virtualMachineId": world.machine("one") } } } });
    let mut snapshots: Vec<(String, u64)> = Vec::new();
    let changes: &[u64] = if is_long() {
        &[0, 10, 40, 150]
    } else {
        &[10, 150]
    };
    for delay in changes.iter().copied() {
        let delay_of = Duration::from_millis(delay);
        let attach = world.stage("attach", "PATCH", one, Some(on(&[(0, &data), (5, &extra)])));
        world.cut(&attach, delay_of).await;
        let before = world.flushed().await;
        let name = format!("snapshots/s{delay}");
        let snapshot = world.stage("snapshot", "PUT", &name, Some(copy(&data)));
        world.cut(&snapshot, delay_of).await;
        snapshots.push((name, before));
        let tail = format!("galleries/sig/images/kept/versions/1.0.{delay}");
        let capture = world.stage("capture", "PUT", &tail, Some(of_machine.clone()));
        world.cut(&capture, delay_of).await;
        let detach = world.stage("detach", "PATCH", one, Some(on(&[(0, &data)])));
        world.cut(&detach, delay_of).await;
        assert_eq!(world.pid(), pid, "the guest has outlived every server");
    }
    let before = world.flushed().await;
    until("the guest writes on", GUEST, || async {
        (world.flushed().await > before).then_some(())
    })
    .await;
    for (name, before) in snapshots {
        let disk = world.scene.disk("probe");
        let made = copy(&world.compute(&name));
        world
            .scene
            .arm
            .done("PUT", &disk, DISK_VERSION, Some(&made))
            .await;
        let found = world.counted(&disk).await;
        assert!(
            found >= before,
            "{name} holds {found}, {before} was flushed before it was asked for"
        );
        world
            .scene
            .arm
            .done("DELETE", &disk, DISK_VERSION, None)
            .await;
    }
    for (verb, delay) in [
        ("deallocate", 5),
        ("start", 20),
        ("deallocate", 300),
        ("start", 150),
    ] {
        let tail = format!("{one}/{verb}");
        let stage = world.stage("power", "POST", &tail, None);
        world.cut(&stage, Duration::from_millis(delay)).await;
        let is_up = verb == "start";
        assert_eq!(
            world.server.guests().concat().len(),
            usize::from(is_up),
            "{verb}"
        );
    }
    let delete = world.stage("delete", "DELETE", one, None);
    world.cut(&delete, Duration::from_millis(10)).await;
    let flushed_last = world.counted(&data).await;
    assert!(
        flushed_last >= before,
        "{flushed_last} on the disk, {before} was flushed"
    );
    nothing_is_left(world).await;
}

/// Deletes everything and finds no process, directory, socket, lease or byte.
async fn nothing_is_left(world: World) {
    let (mut server, scene) = (world.server, world.scene);
    assert!(server.guests().is_empty());
    let machines = std::fs::read_dir(server.data().join("machines"));
    assert_eq!(
        machines.map_or(0, Iterator::count),
        0,
        "directories of machines"
    );
    scene
        .arm
        .over("DELETE", &scene.group, "2024-11-01", None)
        .await;
    assert!(server.stop());
    for verb in [&["fsck"][..], &["sweep", "--now"]] {
        let done = server.vitrine(verb);
        assert!(
            done.status.success(),
            "{verb:?} {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
    let stat = server.vitrine(&["stat"]);
    let stat: Value = serde_json::from_slice(&stat.stdout).expect("stat prints JSON");
    assert_eq!(stat["openOperations"], 0, "{stat}");
    for region in stat["regions"].as_array().into_iter().flatten() {
        let left = (&region["storedBytes"], &region["layers"]);
        assert_eq!(left, (&0.into(), &0.into()), "{region}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emulator_that_is_killed_at_every_stage_leaves_what_was_flushed_and_nothing_else() {
    let world = World::new().await;
    let (data, extra) = (world.scene.disk("data"), world.scene.disk("extra"));
    let empty = json!({ "location": "eastus", "properties": { "diskSizeGB": 1, "creationData": { "createOption": "Empty" } } });
    let arm = &world.scene.arm;
    for disk in [&data, &extra] {
        arm.done("PUT", disk, DISK_VERSION, Some(&empty)).await;
    }
    let mut made = body(&world.scene.version("1.0.0"), "one", COUNT);
    made["properties"]["storageProfile"]["dataDisks"] =
        json!([{ "lun": 0, "createOption": "Attach", "managedDisk": { "id": data } }]);
    world.make("one", &made).await;
    world.says("one", "TINY-FLUSHED 3").await;
    let id = world.machine("one");
    let snapshot = |name: &str| {
        let body = json!({ "location": "eastus", "properties": { "creationData": { "createOption": "Copy", "sourceResourceId": data } } });
        (
            world.scene.disk(name).replace("/disks/", "/snapshots/"),
            body,
        )
    };
    let mut flushed = 0;
    // Killed while each of these is under way: it ends one way or the other, and the machine can be started again.
    for (number, what) in ["attach", "snapshot", "restart", "powerOff", "start"]
        .into_iter()
        .enumerate()
    {
        let (path, version, body, method) = match what {
            "attach" => (
                id.clone(),
                VERSION,
                Some(on(&[(0, &data), (5, &extra)])),
                "PATCH",
            ),
            "snapshot" => {
                let (path, body) = snapshot(&format!("s{number}"));
                (path, DISK_VERSION, Some(body), "PUT")
            }
            verb => (format!("{id}/{verb}"), VERSION, None, "POST"),
        };
        flushed = flushed.max(world.flushed().await);
        let pid = world.server.guests().concat().first().copied();
        let answer = arm.send(method, &path, version, body.as_ref()).await;
        assert!(answer.status < 300, "{what}: {}", answer.body);
        if let Some(pid) = pid {
            kill(pid);
        }
        let poll = answer.header("azure-asyncoperation").expect("polled");
        let ended = arm.poll(poll).await;
        println!("{what}: {}", ended["status"]);
        if what == "snapshot" {
            assert_eq!(ended["status"], "Succeeded", "it needs no guest: {ended}");
        }
        until(
            "the machine is seen to stand still or to run",
            SOON,
            || async {
                let power = world.power("one").await;
                let is_up = !world.server.guests().concat().is_empty();
                ((power == "running") == is_up).then_some(())
            },
        )
        .await;
        world.act("one", "start").await;
        assert_eq!(world.power("one").await, "running", "{what}");
        world.pid();
    }
    let count = world.log("one").await.matches("TINY-FLUSHED").count();
    until("the guest writes again", GUEST, || async {
        let log = world.log("one").await;
        (log.matches("TINY-FLUSHED").count() > count).then_some(())
    })
    .await;
    // What the guest found when it came up was never less than what it had been told was durable.
    let log = world.log("one").await;
    let mut last = 0_u64;
    for line in log.lines() {
        if let Some(found) = line.strip_prefix("TINY-FOUND ") {
            let found = found.trim().parse().unwrap_or(0);
            assert!(
                found >= last,
                "{found} was found where {last} was flushed: {log}"
            );
            last = 0;
        } else if let Some(n) = line.strip_prefix("TINY-FLUSHED ") {
            last = n.trim().parse().unwrap_or(last);
        }
    }
    kill(world.pid());
    arm.done("DELETE", &id, VERSION, None).await;
    assert!(world.counted(&data).await >= 1);
    nothing_is_left(world).await;
}
