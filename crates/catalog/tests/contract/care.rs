//! Leases, periodic work, digests, metering, bytes of quotas.

use catalog::{CareRun, ContentDigest, EgressUsage, HeldUpload, StorageUsage};
use serde_json::json;

use crate::database::Database;

pub async fn a_lease_has_one_owner_until_it_is_over(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    assert!(tx.take_lease("a:x", "n1", 0, 10).await.unwrap());
    assert!(!tx.take_lease("a:x", "n2", 9, 19).await.unwrap());
    assert!(tx.take_lease("a:x", "n1", 9, 19).await.unwrap(), "kept");
    assert!(!tx.take_lease("a:x", "n2", 18, 28).await.unwrap());
    assert!(tx.take_lease("a:x", "n2", 19, 29).await.unwrap(), "over");
    assert!(tx.take_lease("a:y", "n1", 19, 25).await.unwrap());
    assert!(tx.take_lease("b:x", "n1", 19, 29).await.unwrap());
    let held = |name: &str, owner: &str| (name.to_owned(), owner.to_owned());
    assert_eq!(
        tx.leases("a:", 20).await.unwrap(),
        [held("a:x", "n2"), held("a:y", "n1")]
    );
    assert_eq!(tx.leases("a:", 25).await.unwrap(), [held("a:x", "n2")]);
    tx.drop_lease("a:x", "n1").await.unwrap();
    assert_eq!(tx.leases("a:x", 20).await.unwrap().len(), 1, "not theirs");
    tx.drop_lease("a:x", "n2").await.unwrap();
    assert!(tx.leases("a:x", 20).await.unwrap().is_empty());
    assert_eq!(tx.prune_leases(26).await.unwrap(), 1);
    assert_eq!(tx.leases("", 0).await.unwrap(), [held("b:x", "n1")]);
    tx.commit().await.unwrap();
}

pub async fn periodic_work_keeps_its_last_run(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let mut run = CareRun {
        task: "scrub".to_owned(),
        region: "east".to_owned(),
        ended_ms: 1,
        due_ms: 2,
        result: json!({ "bytes": 3 }),
        error: Some("down".to_owned()),
    };
    tx.put_care_run(&run).await.unwrap();
    run.error = None;
    run.due_ms = 9;
    tx.put_care_run(&run).await.unwrap();
    let other = CareRun {
        region: "west".to_owned(),
        ..run.clone()
    };
    tx.put_care_run(&other).await.unwrap();
    tx.commit().await.unwrap();
    let mut read = catalog.read().await.unwrap();
    let found = read.care_run("scrub", "east").await.unwrap();
    assert_eq!(found.as_ref(), Some(&run));
    assert_eq!(read.care_run("sweep", "east").await.unwrap(), None);
    assert_eq!(read.care_runs().await.unwrap(), [run, other]);
}

pub async fn a_digest_is_asked_for_once_and_kept(database: &Database) {
    let catalog = database.open().await;
    let digest = |content: &str, asked_ms: i64| ContentDigest {
        content: content.to_owned(),
        manifest: "m".to_owned(),
        size_bytes: 1 << 45,
        sha256: None,
        asked_ms,
    };
    let mut tx = catalog.write().await.unwrap();
    tx.ask_digest(&digest("b", 2)).await.unwrap();
    tx.ask_digest(&digest("a", 3)).await.unwrap();
    tx.ask_digest(&digest("b", 9)).await.unwrap();
    let waiting = tx.waiting_digests(9).await.unwrap();
    assert_eq!(waiting, [digest("b", 2), digest("a", 3)], "oldest first");
    tx.put_digest("b", "sum").await.unwrap();
    tx.ask_digest(&digest("b", 9)).await.unwrap();
    let known = tx.digest("b").await.unwrap().unwrap();
    assert_eq!(known.sha256.as_deref(), Some("sum"), "asking keeps it");
    assert_eq!(tx.waiting_digests(9).await.unwrap(), [digest("a", 3)]);
    tx.forget_digest("a").await.unwrap();
    assert_eq!(tx.digest("a").await.unwrap(), None);
    tx.commit().await.unwrap();
}

pub async fn usage_is_kept_by_day_and_subscription(database: &Database) {
    let catalog = database.open().await;
    let storage = |day: &str, bytes: i64| StorageUsage {
        day: day.to_owned(),
        subscription: "s".to_owned(),
        owner: "o".to_owned(),
        region: "east".to_owned(),
        logical_bytes: bytes * 2,
        content_bytes: bytes,
        copies: 1,
        measured_ms: 7,
    };
    let egress = |day: &str, meter: &str, bytes: i64| EgressUsage {
        day: day.to_owned(),
        subscription: "s".to_owned(),
        owner: "o".to_owned(),
        meter: meter.to_owned(),
        region: "east".to_owned(),
        target: String::new(),
        bytes,
    };
    let mut tx = catalog.write().await.unwrap();
    for usage in [
        storage("2026-11-01", 5),
        storage("2026-11-01", 1 << 50),
        storage("2026-11-02", 7),
    ] {
        tx.put_storage_usage(&usage).await.unwrap();
    }
    let other = StorageUsage {
        subscription: "t".to_owned(),
        ..storage("2026-11-01", 9)
    };
    tx.put_storage_usage(&other).await.unwrap();
    for usage in [
        egress("2026-11-01", "download", 3),
        egress("2026-11-01", "download", 4),
        egress("2026-11-03", "replication", 5),
    ] {
        tx.add_egress(&usage).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut read = catalog.read().await.unwrap();
    let days = ("2026-11-01", "2026-11-02");
    let stored = read.storage_usage("s", days.0, days.1, 9).await.unwrap();
    assert_eq!(
        stored,
        [storage("2026-11-01", 1 << 50), storage("2026-11-02", 7)],
        "the last of a day counts"
    );
    let last = read.last_storage_usage("s", "o", "east").await.unwrap();
    assert_eq!(last, Some(storage("2026-11-02", 7)));
    for (subscription, owner, region) in
        [("u", "o", "east"), ("s", "p", "east"), ("s", "o", "west")]
    {
        let none = read.last_storage_usage(subscription, owner, region).await;
        assert_eq!(none.unwrap(), None);
    }
    let moved = read.egress_usage("s", days.0, days.1, 9).await.unwrap();
    assert_eq!(moved, [egress("2026-11-01", "download", 7)], "it adds up");
}

pub async fn bytes_are_held_until_they_are_freed(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    assert_eq!(tx.held_bytes("s").await.unwrap(), 0);
    tx.hold_bytes("a", "s", 5).await.unwrap();
    tx.hold_bytes("b", "s", 1 << 50).await.unwrap();
    tx.hold_bytes("c", "t", 9).await.unwrap();
    tx.hold_bytes("a", "s", 7).await.unwrap();
    assert_eq!(tx.held_bytes("s").await.unwrap(), (1 << 50) + 7);
    assert_eq!(tx.bytes_of("a").await.unwrap(), 7);
    for (bytes, held) in [(3, 10), (-9, 1)] {
        tx.add_held_bytes("a", "s", bytes).await.unwrap();
        assert_eq!(tx.bytes_of("a").await.unwrap(), held);
    }
    tx.add_held_bytes("d", "t", 4).await.unwrap();
    assert_eq!(tx.held_bytes("t").await.unwrap(), 13);
    tx.free_bytes("a").await.unwrap();
    assert_eq!(tx.bytes_of("a").await.unwrap(), 0);
    assert_eq!(tx.held_bytes("s").await.unwrap(), 1 << 50);
    tx.commit().await.unwrap();
}

pub async fn uploads_hold_bytes_until_they_end_or_are_not_renewed(database: &Database) {
    let catalog = database.open().await;
    let upload = |id: u128, subscription: &str, bytes: i64, until_ms: i64| HeldUpload {
        id: uuid::Uuid::from_u128(id),
        subscription: subscription.to_owned(),
        blob: "b".to_owned(),
        bytes,
        lent_bytes: bytes / 2,
        until_ms,
    };
    let mut tx = catalog.write().await.unwrap();
    let all = [
        upload(1, "s", 1 << 50, 10),
        upload(2, "s", 6, 20),
        upload(3, "t", 8, 20),
    ];
    for one in &all {
        tx.begin_upload(one).await.unwrap();
    }
    assert_eq!(tx.uploading_bytes("s", 9).await.unwrap(), (1 << 50) + 6);
    assert_eq!(tx.uploading_bytes("s", 10).await.unwrap(), 6);
    assert_eq!(tx.lent_bytes("b", 10).await.unwrap(), 3 + 4);
    assert_eq!(tx.lent_bytes("c", 10).await.unwrap(), 0);
    assert!(tx.renew_upload(all[1].id, 30).await.unwrap());
    assert_eq!(tx.prune_uploads(20).await.unwrap(), 2);
    assert!(!tx.renew_upload(all[0].id, 30).await.unwrap());
    assert_eq!(tx.uploading_bytes("s", 20).await.unwrap(), 6);
    assert!(tx.end_upload(all[1].id).await.unwrap());
    assert!(!tx.end_upload(all[1].id).await.unwrap());
    assert_eq!(tx.uploading_bytes("s", 0).await.unwrap(), 0);
    tx.commit().await.unwrap();
}

pub async fn a_copy_holds_what_was_committed_and_nothing_else(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    tx.put_setting("kept", "1").await.unwrap();
    tx.commit().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("it's a copy.db");
    let is_file = catalog.copy_to(&file).await.unwrap();
    assert_eq!(is_file, file.exists(), "a server is not copied");
    let mut tx = catalog.write().await.unwrap();
    tx.put_setting("later", "1").await.unwrap();
    tx.commit().await.unwrap();
    if is_file {
        let copy = catalog::Catalog::open(&format!("sqlite:{}", file.display())).await;
        let mut read = copy.unwrap().read().await.unwrap();
        assert_eq!(read.setting("kept").await.unwrap().as_deref(), Some("1"));
        assert_eq!(read.setting("later").await.unwrap(), None);
        assert!(
            catalog.copy_to(&file).await.is_err(),
            "nothing is overwritten"
        );
    }
}
