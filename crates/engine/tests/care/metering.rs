//! What is charged, from what really is stored and moved; what may be held.

use domain::ResourceId;
use engine::metering::{Days, UsageRow};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::world::{DAY_MS, World, noise, open, upload, version_body};

const BYTES: usize = 256 << 10;
const GIB: i64 = 1 << 30;

async fn usage(world: &World) -> Vec<UsageRow> {
    let days = Days::parse(Some("2027-01-01"), Some("2027-12-31"), 0).unwrap();
    let subscription = &world.subscription;
    let usage = world.engine.usage(&world.ctx, subscription, &days);
    usage.await.unwrap()
}

fn lines<'a>(rows: &'a [UsageRow], meter: &str, id: &ResourceId) -> Vec<&'a UsageRow> {
    let key = id.key();
    rows.iter()
        .filter(|row| row.meter == meter && row.resource == key)
        .collect()
}

#[tokio::test]
async fn storage_is_charged_by_region_and_day_and_replication_by_what_moved() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let mut bytes = noise(BYTES, 6);
    let source = world.disk("source", "eastus", &bytes).await;
    let (one, two) = (world.version("1.0.0"), world.version("1.0.1"));
    let body = version_body(&source, &["eastus", "westus2"]);
    world.make(&one, &body).await.unwrap();
    bytes[..BYTES / 4].copy_from_slice(&noise(BYTES / 4, 7));
    world.write_disk(&source, &bytes).await;
    world.make(&two, &body).await.unwrap();
    let stop = CancellationToken::new();
    world.engine.open_stores().await;
    world.engine.care_round(&stop).await.unwrap();

    let rows = usage(&world).await;
    let stored = lines(&rows, "storage", &one);
    let regions: Vec<&str> = stored.iter().map(|row| row.region.as_str()).collect();
    assert_eq!(regions, ["eastus", "westus2"]);
    for row in &stored {
        assert_eq!(
            (row.bytes, row.logical_bytes, row.copies),
            (BYTES as i64, GIB, 1)
        );
    }
    let moved = |id: &ResourceId| {
        let found = lines(&rows, "replication", id);
        assert_eq!(found.len(), 1, "{rows:?}");
        assert_eq!(
            (found[0].region.as_str(), found[0].target.as_str()),
            ("eastus", "westus2")
        );
        usize::try_from(found[0].bytes).unwrap()
    };
    assert!((BYTES..BYTES + 8192).contains(&moved(&one)), "all of it");
    assert!((BYTES / 4..BYTES / 2).contains(&moved(&two)), "what is new");

    // The next day has lines of its own, and what is gone is charged no more.
    world.remove(&two).await;
    world.clock.advance_ms(DAY_MS);
    world.engine.care_round(&stop).await.unwrap();
    let rows = usage(&world).await;
    assert_eq!(lines(&rows, "storage", &one).len(), 4);
    assert_eq!(lines(&rows, "storage", &two).len(), 2);
    assert_eq!(
        lines(&rows, "replication", &two).len(),
        1,
        "what was charged stays"
    );
}

#[tokio::test]
async fn disks_and_snapshots_are_charged_for_what_is_theirs() {
    const WRITTEN: usize = BYTES / 4;
    let world = World::new().await;
    world.gallery(json!({})).await;
    let source = world.disk("source", "eastus", &noise(BYTES, 6)).await;
    let version = world.version("1.0.0");
    let body = version_body(&source, &["eastus"]);
    world.make(&version, &body).await.unwrap();
    let made = world.disk_from("made", &version, "eastus").await.unwrap();
    let (snapshot, foreign) = (
        world.id("snapshots/s"),
        in_another_subscription(&world, &version).await,
    );
    let creation = json!({ "createOption": "Copy", "sourceResourceId": made.to_string() });
    let body = json!({ "location": "eastus", "properties": { "creationData": creation } });
    world.make(&snapshot, &body).await.unwrap();
    world.write_disk(&made, &noise(WRITTEN, 7)).await;
    let stop = CancellationToken::new();
    world.engine.open_stores().await;
    world.engine.care_round(&stop).await.unwrap();
    let (all, written) = (BYTES as i64, WRITTEN as i64);
    let charged = async |subscription: &str| {
        let days = Days::parse(Some("2027-01-01"), Some("2027-12-31"), 0).unwrap();
        let rows = world.engine.usage(&world.ctx, subscription, &days);
        let rows = rows.await.unwrap();
        let today = rows.last().map(|row| row.day.clone());
        let stored = rows.iter().filter(|row| row.copies > 0);
        stored
            .filter(|row| Some(&row.day) == today.as_ref())
            .map(|row| {
                let name = row.resource.rsplit('/').next().unwrap().to_owned();
                assert_eq!(row.logical_bytes, GIB, "{name}");
                (row.meter, name, row.bytes)
            })
            .collect::<Vec<_>>()
    };
    let line = |meter, name: &str, bytes| (meter, name.to_owned(), bytes);
    let own = &world.subscription;
    // What the disk shows of the version is on the bill once: as the version's.
    assert_eq!(
        charged(own).await,
        [
            line("disks", "made", written),
            line("disks", "source", all),
            line("snapshots", "s", all),
            line("storage", "1.0.0", all),
        ]
    );
    // On the bill of others it is not: there it is the disk's.
    let theirs = foreign.subscription();
    assert_eq!(charged(theirs).await, [line("disks", "foreign", all)]);
    // What is nobody else's any more is the disk's: what was written, and what is still seen of the version.
    world.remove(&version).await;
    world.remove(&snapshot).await;
    world.clock.advance_ms(DAY_MS);
    world.engine.care_round(&stop).await.unwrap();
    assert_eq!(
        charged(own).await,
        [line("disks", "made", all), line("disks", "source", all)]
    );
    // Where a disk's layer is not, as on another node, what was measured where it is stays.
    let held = world.replicas(&made).await.remove(0).content;
    let catalog::Content::Layer(layer) = held else {
        panic!("{held:?}")
    };
    let store = world.engine.store("eastus").await.unwrap();
    store.delete_layer(layer.into()).await.unwrap();
    world.clock.advance_ms(DAY_MS);
    world.engine.care_round(&stop).await.unwrap();
    assert_eq!(
        charged(own).await,
        [line("disks", "made", all), line("disks", "source", all)]
    );
}

/// A disk of the version in a group of another subscription.
async fn in_another_subscription(world: &World, version: &ResourceId) -> ResourceId {
    let new = engine::identity::NewSubscription {
        name: "Other".to_owned(),
        tenant: None,
        owner: Some(world.ctx.caller.object_id.clone()),
        id: None,
    };
    let own = world.engine.create_subscription(&new).await.unwrap().id;
    let group = ResourceId::group(&own, "rg");
    let here = json!({ "location": "eastus" });
    world.put(&group, &here).await.unwrap();
    let disk = group.child(domain::Kind::Disk, "foreign");
    let creation = json!({ "createOption": "FromImage", "galleryImageReference": { "id": version.to_string() } });
    let body = json!({ "location": "eastus", "properties": { "creationData": creation } });
    world.make(&disk, &body).await.unwrap();
    disk
}

#[tokio::test]
async fn a_download_is_charged_by_what_was_sent_whoever_counts() {
    let world = World::new().await;
    let disk = world.disk("d", "eastus", &noise(BYTES, 8)).await;
    let row = world.engine.get(&world.ctx, &disk).await.unwrap();
    for bytes in [100, 20] {
        world.engine.download_of(&row).sent(bytes);
    }
    let other = open(world.dir.path(), &world.clock).await;
    other.download_of(&row).sent(3);
    other.flush_egress().await.unwrap();
    let rows = usage(&world).await;
    let found = lines(&rows, "download", &disk);
    assert_eq!(found.len(), 1, "{rows:?}");
    assert_eq!((found[0].bytes, found[0].region.as_str()), (123, "eastus"));
}

#[tokio::test]
async fn an_account_is_charged_for_its_blobs_and_the_pages_that_were_written() {
    let world = World::new().await;
    let account = world.account().await;
    world.blob(&account, "block", &noise(BYTES + 1, 1)).await;
    world.blob(&account, "page", &noise(BYTES, 2)).await;
    let session = world.session(&account).await;
    let path_of = |name: &str| engine::blob::BlobPath::new("vhds", name).unwrap();
    let path = path_of("sparse");
    let put = engine::blob::PutBlob::default();
    let sparse = world.engine.put_page_blob(&session, &path, &put, 1 << 30);
    sparse.await.unwrap();
    let (path, body) = (path_of("staged"), upload(&noise(100, 3)));
    let staged = world.engine.stage_block(&session, &path, "QQ==", body);
    staged.await.unwrap();
    let stop = CancellationToken::new();
    world.engine.open_stores().await;
    world.engine.care_round(&stop).await.unwrap();
    let rows = usage(&world).await;
    let found = lines(&rows, "storage", &account);
    assert_eq!(found.len(), 1, "{rows:?}");
    let counted = 2 * BYTES as i64 + 1 + 100;
    assert_eq!(
        (
            found[0].region.as_str(),
            found[0].bytes,
            found[0].logical_bytes
        ),
        ("eastus", counted, counted + (1 << 30))
    );
    let quota = world.engine.byte_quota(&world.subscription).await.unwrap();
    assert_eq!(quota.held_bytes, counted + (1 << 30));
    // What is gone is charged no more.
    for name in ["block", "page", "sparse"] {
        world.delete_blob(&account, name).await;
    }
    world.clock.advance_ms(DAY_MS);
    world.engine.care_round(&stop).await.unwrap();
    let rows = usage(&world).await;
    let found = lines(&rows, "storage", &account);
    assert_eq!(found.len(), 2, "{rows:?}");
    assert_eq!((found[1].bytes, found[1].logical_bytes), (100, 100));
}

#[tokio::test]
async fn a_bill_is_read_by_who_may_read_the_subscription() {
    let world = World::new().await;
    let mut stranger = world.ctx.clone();
    stranger.caller.object_id = uuid::Uuid::new_v4().to_string();
    let days = Days::parse(None, None, world.clock.now_ms()).unwrap();
    let refused = world.engine.usage(&stranger, &world.subscription, &days);
    assert_eq!(
        refused.await.unwrap_err().kind,
        domain::ErrorKind::Forbidden
    );
    let refused = world
        .engine
        .usages(&stranger, &world.subscription, "eastus");
    assert_eq!(
        refused.await.unwrap_err().kind,
        domain::ErrorKind::Forbidden
    );
}

fn disk_body(gib: i64) -> Value {
    json!({ "location": "eastus", "properties": { "creationData": { "createOption": "Empty" }, "diskSizeGB": gib } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_bytes_of_a_quota_go_to_as_many_as_fit() {
    as_many_as_fit(World::new().await).await;
}

mod postgres {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_last_bytes_of_a_quota_go_to_as_many_as_fit() {
        super::as_many_as_fit(crate::world::World::on_postgres().await).await;
    }
}

async fn as_many_as_fit(world: World) {
    const FIT: usize = 5;
    let limit = Some(i64::try_from(FIT).unwrap() * 2 * GIB + GIB);
    let set = world.engine.set_byte_quota(&world.subscription, limit);
    set.await.unwrap();
    let nodes = [world.engine.clone(), world.node().await];
    let mut writers = JoinSet::new();
    for number in 0..16 {
        let (node, ctx) = (nodes[number % 2].clone(), world.ctx.clone());
        let id = world.id(&format!("disks/d{number}"));
        writers.spawn(async move {
            let put = node.put(&ctx, &id, &disk_body(2)).await;
            put.map(|_| id)
        });
    }
    let (won, refused): (Vec<_>, Vec<_>) = writers
        .join_all()
        .await
        .into_iter()
        .partition(Result::is_ok);
    assert_eq!(won.len(), FIT);
    for error in refused {
        let error = error.unwrap_err();
        assert_eq!(error.code, "QuotaExceeded");
        let text = format!(
            "Current Usage: {}, Additional Required: {}",
            10 * GIB,
            2 * GIB
        );
        assert!(error.message.contains(&text), "{error}");
    }
    world.settle().await;
    // What is given back can be taken again; growing takes too.
    let id = won[0].as_ref().unwrap();
    world.remove(id).await;
    world
        .put(&world.id("disks/last"), &disk_body(3))
        .await
        .unwrap();
    let more = world.put(&world.id("disks/last"), &disk_body(4)).await;
    assert_eq!(more.map(|_| ()).unwrap_err().code, "QuotaExceeded");
    world.settle().await;
    let usages = world
        .engine
        .usages(&world.ctx, &world.subscription, "EastUS");
    let usages = usages.await.unwrap();
    let shown = |name: &str| {
        let usage = usages.iter().find(|usage| usage.name == name).unwrap();
        (usage.held, usage.limit)
    };
    assert_eq!(shown("storageBytes"), (11 * GIB, 11 * GIB));
    assert_eq!(shown("disks"), (5, 50_000));
    world.nothing_is_orphaned().await;
    let quota = world.engine.byte_quota(&world.subscription).await.unwrap();
    assert_eq!(quota.held_bytes, 0);
}

#[tokio::test]
async fn a_version_holds_its_disks_once_for_every_region() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let source = world.disk("source", "eastus", &noise(BYTES, 9)).await;
    let held = || async {
        let quota = world.engine.byte_quota(&world.subscription).await;
        quota.unwrap().held_bytes / GIB
    };
    assert_eq!(held().await, 1);
    let version = world.version("1.0.0");
    let two = version_body(&source, &["eastus", "westus2"]);
    world.make(&version, &two).await.unwrap();
    assert_eq!(held().await, 3);
    let from = world.disk_from("d", &version, "westus2").await.unwrap();
    assert_eq!(held().await, 4, "of the version's disk");
    world.remove(&from).await;
    let set = world
        .engine
        .set_byte_quota(&world.subscription, Some(3 * GIB));
    set.await.unwrap();
    let three = version_body(&source, &["eastus", "westus2", "westeurope"]);
    let refused = world.make(&version, &three).await.unwrap_err();
    assert_eq!(refused.code, "QuotaExceeded");
    let one = version_body(&source, &["eastus"]);
    world.make(&version, &one).await.unwrap();
    assert_eq!(held().await, 2, "fewer regions hold less");
    world.remove(&version).await;
    assert_eq!(held().await, 1);
}

#[tokio::test]
async fn a_version_of_an_application_holds_its_package_once_for_every_region() {
    let world = World::new().await;
    world.gallery(json!({})).await;
    let account = world.account().await;
    let link = world.blob(&account, "app.zip", &noise(BYTES, 7)).await;
    let application = world.id("galleries/sig/applications/app");
    let body = json!({ "location": "eastus", "properties": { "supportedOSType": "Linux" } });
    world.make(&application, &body).await.unwrap();
    let body = |regions: &[&str]| {
        let regions: Vec<Value> = regions.iter().map(|name| json!({ "name": name })).collect();
        json!({ "location": "eastus", "properties": { "publishingProfile": {
            "source": { "mediaLink": link }, "targetRegions": regions,
            "manageActions": { "install": "i", "remove": "r" },
        } } })
    };
    let (one, held) = (BYTES as i64, async || {
        let quota = world.engine.byte_quota(&world.subscription).await;
        quota.unwrap().held_bytes
    });
    let limit = Some(3 * one + one / 2);
    let set = world.engine.set_byte_quota(&world.subscription, limit);
    set.await.unwrap();
    let version = world.id("galleries/sig/applications/app/versions/1.0.0");
    let three = body(&["eastus", "westus2", "westeurope"]);
    let refused = world.make(&version, &three).await.unwrap_err();
    assert_eq!(refused.code, "QuotaExceeded");
    assert_eq!(held().await, one, "the blob alone");
    world
        .make(&version, &body(&["eastus", "westus2"]))
        .await
        .unwrap();
    assert_eq!(held().await, 3 * one);
    world.remove(&version).await;
    assert_eq!(held().await, one);
}
