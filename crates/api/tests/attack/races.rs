//! Races: uploads against deletions (22), many against a limit (23).

use futures::future::join_all;
use serde_json::json;

use crate::world::{GALLERY, HOST, World, on_both, page};

on_both! {
    threat_22_uploads_that_race_deletions_leave_nothing_behind,
    threat_23_many_at_once_never_get_more_than_the_limit,
}

/// Rounds of uploads and deletions, and how many run at once: a thousand in all.
const ROUNDS: u32 = 42;
const AT_ONCE: u32 = 24;
/// Room for about half of what they bring at once.
const QUOTA_BYTES: i64 = 20 << 10;

async fn threat_22_uploads_that_race_deletions_leave_nothing_behind(world: World) {
    let owner = world.owner.clone();
    let subscription = owner.own.rsplit('/').next().unwrap().to_owned();
    let set = world
        .engine
        .set_byte_quota(&subscription, Some(QUOTA_BYTES));
    set.await.unwrap();
    let held = async || {
        let quota = world.engine.byte_quota(&subscription).await.unwrap();
        quota.held_bytes
    };
    let group = world.group(&owner, "rg").await;
    world.account(&owner, &group, "raceacct").await;
    let token = owner.blob_token.as_str();
    for round in 0..ROUNDS {
        let work = (0..AT_ONCE).map(|number| {
            let (world, name) = (
                &world,
                format!("https://{HOST}/blob/raceacct/images/b{}", number % 4),
            );
            async move {
                let block = [("x-ms-blob-type", "BlockBlob")];
                let length = [
                    ("x-ms-blob-type", "PageBlob"),
                    ("x-ms-blob-content-length", "4096"),
                ];
                let pages = [
                    ("x-ms-page-write", "update"),
                    ("x-ms-range", "bytes=0-4095"),
                ];
                let body = page("race");
                let staged = format!("{name}?comp=block&blockid=QUFB");
                let answer = match number % 6 {
                    0 => world.blob(token, "PUT", &name, &block, &body).await,
                    1 => world.blob(token, "PUT", &name, &length, &[]).await,
                    2 => {
                        world
                            .blob(token, "PUT", &format!("{name}?comp=page"), &pages, &body)
                            .await
                    }
                    3 => world.blob(token, "PUT", &staged, &[], &body).await,
                    4 => {
                        let list = b"<BlockList><Latest>QUFB</Latest></BlockList>";
                        world
                            .blob(token, "PUT", &format!("{name}?comp=blocklist"), &[], list)
                            .await
                    }
                    _ => world.blob(token, "DELETE", &name, &[], &[]).await,
                };
                let status = answer.status();
                assert!(status < 500 || status == 503, "{number}: {}", answer.text());
            }
        });
        join_all(work).await;
        let now = held().await;
        assert!((0..=QUOTA_BYTES).contains(&now), "round {round}: {now}");
        if round % 2 == 1 {
            let container = format!("https://{HOST}/blob/raceacct/images?restype=container");
            let delete = world.blob(token, "DELETE", &container, &[], &[]);
            let again = world.blob(token, "PUT", &container, &[], &[]);
            let (gone, _) = futures::join!(delete, again);
            assert!(gone.status() < 500, "{}", gone.text());
            world.blob(token, "PUT", &container, &[], &[]).await;
        }
    }
    // Everything is removed: then no layer may be left without an owner.
    let container = format!("https://{HOST}/blob/raceacct/images?restype=container");
    world
        .blob(token, "DELETE", &container, &[], &[])
        .await
        .expect(202, "");
    for _ in 0..2 {
        world.engine.sweep(0).await.unwrap();
        world.clock.advance_ms(48 * 60 * 60 * 1000);
    }
    world.engine.sweep(0).await.unwrap();
    let findings = world.engine.fsck().await.unwrap();
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(held().await, 0);
    let store = world.engine.store("eastus").await.unwrap();
    assert!(store.layers().await.unwrap().is_empty());
}

async fn threat_23_many_at_once_never_get_more_than_the_limit(world: World) {
    let owner = world.owner.clone();
    let group = world.group(&owner, "rg").await;
    let here = json!({ "location": "eastus" });
    let limit = usize::try_from(domain::quota::GALLERIES_MAX).unwrap();
    let put = async |number: usize| {
        let path = format!("{group}/providers/Microsoft.Compute/galleries/g{number}");
        let answer = world.send(&owner, "PUT", &path, GALLERY, Some(&here)).await;
        (answer.status(), answer.code().to_owned())
    };
    for number in 0..limit - 3 {
        assert_eq!(put(number).await.0, 201, "{number}");
    }
    let answers = join_all((limit..limit + 20).map(put)).await;
    let made = answers.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(made, 3, "{answers:?}");
    for (status, code) in answers {
        assert!(
            status == 201 || (status, code.as_str()) == (409, "OperationNotAllowed"),
            "{status} {code}"
        );
    }
}
