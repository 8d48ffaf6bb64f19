//! Periodic work: when it is due, by one node, and what it heals.

use catalog::CareRun;
use engine::care::{CareSettings, Task};
use serde_json::json;
use std::os::unix::fs::FileExt as _;
use tokio_util::sync::CancellationToken;

use super::world::{DAY_MS, REGIONS, START_MS, World, noise, open, version_body};

const BYTES: usize = 256 << 10;
const MINUTE_MS: i64 = 60_000;

async fn round(world: &World) -> usize {
    let stop = CancellationToken::new();
    world.engine.care_round(&stop).await.unwrap()
}

async fn run(world: &World, task: Task, region: &str) -> CareRun {
    let mut read = world.engine.catalog().read().await.unwrap();
    let found = read.care_run(task.name(), region).await.unwrap();
    found.unwrap_or_else(|| panic!("{task:?} never ran in {region}"))
}

async fn published() -> World {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let source = world.disk("source", "eastus", &noise(BYTES, 5)).await;
    let body = version_body(&source, &["eastus", "westus2"]);
    world.make(&world.version("1.0.0"), &body).await.unwrap();
    world.engine.open_stores().await;
    world
}

/// Changes a byte in the middle of the only pack of a region.
fn damage(world: &World, region: &str) {
    let listed = std::fs::read_dir(world.store_path(region).join("packs")).unwrap();
    let path = listed.map(|e| e.unwrap().path()).next().unwrap();
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0_u8];
    file.read_exact_at(&mut byte, 100_000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 100_000).unwrap();
}

#[tokio::test]
async fn every_task_runs_once_when_it_is_due_and_not_before() {
    let world = published().await;
    assert_eq!(round(&world).await, Task::ALL.len() * REGIONS.len());
    assert_eq!(round(&world).await, 0);
    let sweep = run(&world, Task::Sweep, "eastus").await;
    assert_eq!(sweep.due_ms - sweep.ended_ms, 10 * MINUTE_MS);
    world.clock.advance_ms(10 * MINUTE_MS - 1);
    round(&world).await;
    assert_eq!(run(&world, Task::Sweep, "eastus").await, sweep);
    world.clock.advance_ms(1);
    round(&world).await;
    assert_ne!(run(&world, Task::Sweep, "eastus").await, sweep);
    assert_eq!(
        run(&world, Task::Meter, "eastus").await.ended_ms,
        sweep.ended_ms
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_never_do_the_same_work() {
    let world = published().await;
    let other = open(world.dir.path(), &world.clock).await;
    other.open_stores().await;
    for _ in 0..5 {
        let stop = CancellationToken::new();
        let (one, two) = tokio::join!(world.engine.care_round(&stop), other.care_round(&stop));
        let did = one.unwrap() + two.unwrap();
        assert_eq!(did, Task::ALL.len() * REGIONS.len());
        world.clock.advance_ms(DAY_MS * 8);
    }
}

#[tokio::test]
async fn a_node_that_died_is_overtaken_when_its_lease_is_over() {
    let world = published().await;
    let mut tx = world.engine.catalog().write().await.unwrap();
    let now = world.clock.now_ms();
    for region in REGIONS {
        let name = format!("care:sweep:{region}");
        assert!(tx.take_lease(&name, "dead", now, now + 1000).await.unwrap());
    }
    tx.commit().await.unwrap();
    let others = (Task::ALL.len() - 1) * REGIONS.len();
    assert_eq!(round(&world).await, others);
    world.clock.advance_ms(1000);
    round(&world).await;
    assert!(run(&world, Task::Sweep, "eastus").await.error.is_none());
}

#[tokio::test]
async fn scrub_finds_damage_and_heals_it_from_another_region() {
    let world = published().await;
    round(&world).await;
    damage(&world, "westus2");
    world.clock.advance_ms(8 * DAY_MS);
    round(&world).await;
    let scrub = run(&world, Task::Scrub, "westus2").await;
    assert_eq!(scrub.error, None);
    assert_eq!(scrub.result["findings"], json!([]), "{scrub:?}");
    assert!(
        scrub.result["healed"]["packs"].as_u64() > Some(0),
        "{scrub:?}"
    );
    let whole = world.engine.scrub().await.unwrap();
    assert!(whole.iter().all(|r| r.findings.is_empty()), "{whole:?}");
    let version = world.version("1.0.0");
    let content = world.content(&version, "westus2", BYTES).await.unwrap();
    assert!(content == noise(BYTES, 5));
    // Everything is read again before the week is over, then nothing until the next.
    while run(&world, Task::Scrub, "westus2").await.result["unverifiedBytes"] != 0 {
        world.clock.advance_ms(MINUTE_MS);
        round(&world).await;
    }
    let stat = world.engine.stat_now().await.unwrap();
    assert_eq!(stat.regions[1].unverified_bytes, Some(0));
    assert!(stat.regions[1].oldest_verified_ms > Some(START_MS + 7 * DAY_MS));
}

#[tokio::test]
async fn damage_that_nobody_can_heal_stays_a_finding() {
    let world = published().await;
    round(&world).await;
    for region in ["eastus", "westus2"] {
        damage(&world, region);
    }
    world.clock.advance_ms(8 * DAY_MS);
    round(&world).await;
    for _ in 0..3 {
        let scrub = run(&world, Task::Scrub, "eastus").await;
        let findings = scrub.result["findings"].as_array().unwrap();
        assert!(!findings.is_empty(), "{scrub:?}");
        world.clock.advance_ms(MINUTE_MS);
        round(&world).await;
    }
    let text = world.engine.metrics_text().await.unwrap();
    let line = "vitrine_care_findings{task=\"scrub\",region=\"eastus\"} ";
    let value = text.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    assert_ne!(value, "0");
}

#[tokio::test]
async fn check_brings_back_a_manifest_that_is_missing() {
    let world = published().await;
    let manifests = world.store_path("westus2").join("manifests");
    for entry in std::fs::read_dir(&manifests).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let findings = world.engine.fsck().await.unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    round(&world).await;
    // Its blocks must be there still when it is back.
    let sweep = run(&world, Task::Sweep, "westus2").await;
    assert!(sweep.error.unwrap().contains("lacks 1 manifests"));
    let check = run(&world, Task::Check, "westus2").await;
    assert_eq!(check.result["findings"], json!([]), "{check:?}");
    assert_eq!(world.engine.fsck().await.unwrap(), []);
}

#[tokio::test]
async fn fsck_tells_replicas_of_nothing_and_content_of_nobody() {
    let world = published().await;
    assert_eq!(world.engine.unreferenced().await.unwrap(), []);
    let version = world.version("1.0.0");
    world.remove(&version).await;
    world.remove(&world.id("disks/source")).await;
    let waiting = world.engine.unreferenced().await.unwrap();
    let regions: Vec<&str> = waiting.iter().map(|f| f.region.as_str()).collect();
    assert_eq!(regions, ["eastus", "westus2"], "{waiting:?}");
    assert_eq!(world.engine.fsck().await.unwrap(), [], "that is no fault");

    let mut tx = world.engine.catalog().write().await.unwrap();
    tx.put_replica(&catalog::Replica {
        owner: version.key(),
        slot: "os".to_owned(),
        region: "eastus".to_owned(),
        content: catalog::Content::Manifest("0".repeat(64)),
        state: catalog::ReplicaState::Replicating,
        bytes_total: 1,
        bytes_done: 0,
        details: None,
        updated_ms: 0,
    })
    .await
    .unwrap();
    tx.commit().await.unwrap();
    let findings = world.engine.fsck().await.unwrap();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].what, version.key());
}

#[tokio::test]
async fn a_schedule_is_changed_within_its_limits() {
    let world = published().await;
    let faster = CareSettings {
        sweep_every_minutes: 1,
        ..CareSettings::default()
    };
    world.engine.set_care_settings(&faster).await.unwrap();
    assert_eq!(world.engine.care_settings().await.unwrap(), faster);
    for bad in [0, -1, i64::MAX] {
        let settings = CareSettings {
            scrub_mib_at_once: bad,
            ..CareSettings::default()
        };
        assert!(
            world.engine.set_care_settings(&settings).await.is_err(),
            "{bad}"
        );
    }
    round(&world).await;
    let swept = run(&world, Task::Sweep, "eastus").await;
    assert_eq!(swept.due_ms - swept.ended_ms, MINUTE_MS);
}

/// Short words in an order that does not come again: what a higher level makes smaller.
fn text(length: usize) -> Vec<u8> {
    let (mut text, mut state) = (String::new(), 1_u64);
    while text.len() < length {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let word = state >> 33;
        text.push_str(&format!("{:x}={};", word % 97, word / 97 % 13));
    }
    text.truncate(length);
    text.into_bytes()
}

#[tokio::test]
async fn packs_that_stay_for_a_day_are_condensed_unless_that_is_off() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let source = world.disk("source", "eastus", &text(1 << 20)).await;
    let body = version_body(&source, &["eastus", "westus2"]);
    world.make(&world.version("1.0.0"), &body).await.unwrap();
    world.engine.open_stores().await;
    let stored = async || {
        let stat = world.engine.stat_now().await.unwrap();
        stat.regions.iter().map(|r| r.stored_bytes).sum::<u64>()
    };
    let off = CareSettings {
        condense_mib_per_second: 0,
        ..CareSettings::default()
    };
    world.engine.set_care_settings(&off).await.unwrap();
    round(&world).await;
    let before = stored().await;
    world.clock.advance_ms(2 * DAY_MS);
    round(&world).await;
    assert_eq!(
        run(&world, Task::Condense, "eastus").await.result["isOff"],
        true
    );
    assert_eq!(stored().await, before);
    world
        .engine
        .set_care_settings(&CareSettings::default())
        .await
        .unwrap();
    world.clock.advance_ms(60 * MINUTE_MS);
    round(&world).await;
    let seen = run(&world, Task::Condense, "eastus").await;
    assert_eq!(seen.result["packs"], 0, "nobody knew of it before");
    world.clock.advance_ms(DAY_MS);
    round(&world).await;
    let condensed = run(&world, Task::Condense, "eastus").await;
    assert_eq!(condensed.error, None);
    assert!(
        condensed.result["savedBytes"].as_u64() > Some(10_000),
        "{condensed:?}"
    );
    assert!(stored().await < before);
    let findings = world.engine.fsck().await.unwrap();
    assert!(findings.is_empty(), "{findings:?}");
    world.clock.advance_ms(DAY_MS);
    round(&world).await;
    assert_eq!(
        run(&world, Task::Condense, "eastus").await.result["packs"],
        0,
        "once is enough"
    );
}
