//! Rows, lists, names, settings, replicas.

use catalog::{Content, Kind as Failure, LayerBase, ListFilter, Replica, ReplicaState};
use domain::{Kind, ProvisioningState, Resource, ResourceId};
use serde_json::json;
use uuid::Uuid;

use crate::database::Database;
use crate::sample::{SUBSCRIPTION, document, gallery, image, row, version};

fn names(rows: &[Resource]) -> Vec<&str> {
    rows.iter().map(|row| row.id.name()).collect()
}

fn everything() -> ListFilter {
    ListFilter {
        subscription: SUBSCRIPTION.to_owned(),
        ..ListFilter::default()
    }
}

pub async fn rows_keep_their_case_and_are_found_whatever_the_case(database: &Database) {
    {
        let catalog = database.open().await;
        let mut tx = catalog.write().await.unwrap();
        tx.insert(&gallery("MyGallery")).await.unwrap();
        tx.commit().await.unwrap();
        let mut again = catalog.write().await.unwrap();
        let error = again.insert(&gallery("mygallery")).await.unwrap_err();
        assert_eq!(error.kind(), Failure::Exists);
    }
    let catalog = database.open().await;
    let mut read = catalog.read().await.unwrap();
    let found = read.load(&gallery("MYGALLERY").id).await.unwrap().unwrap();
    assert_eq!(found.id.name(), "MyGallery");
}

pub async fn every_member_of_a_row_comes_back(database: &Database) {
    let catalog = database.open().await;
    let bare = gallery("bare");
    let full = Resource {
        tags: Some(document("Größe", "\u{0}'\"\u{1F980}")),
        top: document("kind", "v2"),
        properties: document("description", "a\nb"),
        internal: document("content", "ff"),
        state: ProvisioningState::Succeeded,
        created_ms: i64::MAX,
        changed_ms: i64::MIN,
        revision: 3,
        ..gallery("full")
    };
    let mut tx = catalog.write().await.unwrap();
    for row in [&bare, &full] {
        tx.insert(row).await.unwrap();
        assert_eq!(tx.load(&row.id).await.unwrap().as_ref(), Some(row));
    }
}

pub async fn a_write_that_was_not_committed_leaves_nothing(database: &Database) {
    let catalog = database.open().await;
    let row = gallery("a");
    let mut tx = catalog.write().await.unwrap();
    tx.insert(&row).await.unwrap();
    drop(tx);
    let mut read = catalog.read().await.unwrap();
    assert!(read.load(&row.id).await.unwrap().is_none());
}

pub async fn who_read_an_old_revision_does_not_overwrite_a_newer_one(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    tx.insert(&gallery("a")).await.unwrap();
    let mut first = tx.load(&gallery("a").id).await.unwrap().unwrap();
    let mut second = first.clone();
    tx.update(&mut first).await.unwrap();
    let error = tx.update(&mut second).await.unwrap_err();
    assert_eq!(error.kind(), Failure::Stale);
}

pub async fn pages_walk_every_row_once_in_byte_order(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    // People sort `a_b` and `a.b` beside `ab`; bytes do not.
    let mut expected: Vec<String> = (0..20).map(|n| format!("g{n}")).collect();
    expected.extend(["a_b", "a.b", "ab", "a1", "b"].map(str::to_owned));
    for name in &expected {
        tx.insert(&gallery(name)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let (mut seen, mut after) = (Vec::new(), None);
    let mut read = catalog.read().await.unwrap();
    loop {
        let page = read
            .list(&everything(), after.as_deref(), 10)
            .await
            .unwrap();
        seen.extend(names(&page.items).into_iter().map(str::to_owned));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    expected.sort();
    assert_eq!(seen, expected);
}

pub async fn a_list_shows_what_its_filter_says(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let far = Resource {
        location: "west".to_owned(),
        ..row(Kind::Disk, "disks/d")
    };
    for row in [&gallery("g"), &image("i"), &far] {
        tx.insert(row).await.unwrap();
    }
    let filters = [
        (everything(), vec!["d", "g", "i"]),
        (
            ListFilter {
                group: Some("RG".to_owned()),
                ..everything()
            },
            vec!["d", "g", "i"],
        ),
        (
            ListFilter {
                group: Some("other".to_owned()),
                ..everything()
            },
            vec![],
        ),
        (
            ListFilter {
                parent: Some(gallery("G").id),
                ..everything()
            },
            vec!["i"],
        ),
        (
            ListFilter {
                kind: Some(Kind::Gallery),
                ..everything()
            },
            vec!["g"],
        ),
        (
            ListFilter {
                location: Some("west".to_owned()),
                ..everything()
            },
            vec!["d"],
        ),
        (
            ListFilter {
                deleted: true,
                ..everything()
            },
            vec![],
        ),
    ];
    for (filter, expected) in filters {
        let page = tx.list(&filter, None, 9).await.unwrap();
        assert_eq!(names(&page.items), expected, "{filter:?}");
        assert_eq!(page.next, None);
    }
}

pub async fn versions_sort_by_number(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    for name in ["1.10.0", "1.9.0", "10.0.0", "2.0.0"] {
        tx.insert(&version(name)).await.unwrap();
    }
    let up = tx.list(&everything(), None, 9).await.unwrap();
    assert_eq!(names(&up.items), ["1.9.0", "1.10.0", "2.0.0", "10.0.0"]);
    let first = tx
        .versions_descending(&image("i").id, None, 3)
        .await
        .unwrap();
    assert_eq!(names(&first.items), ["10.0.0", "2.0.0", "1.10.0"]);
    let rest = tx
        .versions_descending(&image("i").id, first.next.as_deref(), 3)
        .await
        .unwrap();
    assert_eq!(names(&rest.items), ["1.9.0"]);
}

pub async fn children_are_what_is_below_and_nothing_beside(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    for row in [
        gallery("g"),
        gallery("g0"),
        gallery("g.x"),
        gallery("g_x"),
        image("i"),
        version("1.0.0"),
    ] {
        tx.insert(&row).await.unwrap();
    }
    let mut hidden = image("hidden");
    hidden.deleted_ms = Some(1);
    tx.insert(&hidden).await.unwrap();
    let below = |ids: Vec<ResourceId>| -> Vec<String> {
        ids.iter().map(|id| id.name().to_owned()).collect()
    };
    let living = tx.children(&gallery("g").id, 9, false).await.unwrap();
    assert_eq!(below(living), ["i", "1.0.0"]);
    let all = tx.children(&gallery("g").id, 9, true).await.unwrap();
    assert_eq!(below(all), ["hidden", "i", "1.0.0"]);
    let one = tx.children(&gallery("g").id, 1, true).await.unwrap();
    assert_eq!(below(one), ["hidden"]);
}

pub async fn a_soft_deleted_row_is_found_among_the_deleted_alone(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let mut row = gallery("a");
    tx.insert(&row).await.unwrap();
    assert!(tx.load_deleted(&row.id).await.unwrap().is_none());
    row.deleted_ms = Some(5);
    tx.update(&mut row).await.unwrap();
    assert!(tx.load(&row.id).await.unwrap().is_none());
    assert_eq!(tx.load_deleted(&row.id).await.unwrap(), Some(row.clone()));
    assert!(tx.delete(&row.id).await.unwrap());
    assert!(!tx.delete(&row.id).await.unwrap());
}

pub async fn counts_hold_the_soft_deleted_too(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    assert!(tx.is_subscription_empty(SUBSCRIPTION).await.unwrap());
    let mut gone = gallery("gone");
    gone.deleted_ms = Some(5);
    for row in [&gallery("a"), &gone, &image("i")] {
        tx.insert(row).await.unwrap();
    }
    assert!(!tx.is_subscription_empty(SUBSCRIPTION).await.unwrap());
    let east = Some("eastus");
    assert_eq!(
        tx.count(SUBSCRIPTION, None, Kind::Gallery).await.unwrap(),
        2
    );
    assert_eq!(
        tx.count(SUBSCRIPTION, east, Kind::Gallery).await.unwrap(),
        2
    );
    assert_eq!(
        tx.count(SUBSCRIPTION, Some("west"), Kind::Gallery)
            .await
            .unwrap(),
        0
    );
    let counts = tx.counts().await.unwrap();
    assert_eq!(
        counts.into_iter().collect::<Vec<_>>(),
        [(Kind::Gallery, 2), (Kind::Image, 1)]
    );
}

pub async fn a_name_is_held_until_its_owner_releases_it(database: &Database) {
    let catalog = database.open().await;
    let (a, b) = (gallery("a"), gallery("b"));
    let mut tx = catalog.write().await.unwrap();
    tx.claim("scope", "name", &a.id).await.unwrap();
    tx.claim("scope", "name", &a.id).await.unwrap();
    let error = tx.claim("scope", "name", &b.id).await.unwrap_err();
    assert_eq!(error.kind(), Failure::Taken);
    assert_eq!(tx.claimed("scope", "name").await.unwrap(), Some(a.id.key()));
    tx.claim("held", "a", &a.id).await.unwrap();
    tx.unclaim("held", &b.id).await.unwrap();
    assert_eq!(tx.claimants("held", 9).await.unwrap(), [a.id.key()]);
    tx.unclaim("held", &a.id).await.unwrap();
    assert!(tx.claimants("held", 9).await.unwrap().is_empty());
    assert_eq!(tx.claimed("scope", "name").await.unwrap(), Some(a.id.key()));
    tx.claim("scope", "other", &b.id).await.unwrap();
    let holders = tx.claimants("scope", 9).await.unwrap();
    assert_eq!(holders, [a.id.key(), b.id.key()]);
    tx.release(&a.id).await.unwrap();
    assert_eq!(tx.claimed("scope", "name").await.unwrap(), None);
    tx.claim("scope", "name", &b.id).await.unwrap();
}

pub async fn settings_are_made_once_and_changed_on_purpose(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    assert_eq!(tx.setting("key").await.unwrap(), None);
    tx.put_setting_if_absent("key", "one").await.unwrap();
    tx.put_setting_if_absent("key", "two").await.unwrap();
    assert_eq!(tx.setting("key").await.unwrap().as_deref(), Some("one"));
    tx.put_setting("key", "three").await.unwrap();
    assert_eq!(tx.setting("key").await.unwrap().as_deref(), Some("three"));
}

fn replica(owner: &str, slot: &str, region: &str) -> Replica {
    Replica {
        owner: owner.to_owned(),
        slot: slot.to_owned(),
        region: region.to_owned(),
        content: Content::Manifest("ff".to_owned()),
        state: ReplicaState::Replicating,
        bytes_total: 1 << 40,
        bytes_done: 0,
        details: None,
        updated_ms: 1,
    }
}

pub async fn replicas_are_kept_by_owner_slot_and_region(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let done = Replica {
        content: Content::Layer(Uuid::from_u128(7)),
        state: ReplicaState::Failed,
        details: Some("no space".to_owned()),
        ..replica("/a", "os", "east")
    };
    let all = [
        replica("/a", "os", "east"),
        replica("/a", "lun:0", "east"),
        replica("/a", "os", "west"),
        replica("/B", "os", "east"),
    ];
    for replica in &all {
        tx.put_replica(replica).await.unwrap();
    }
    tx.put_replica(&done).await.unwrap();
    let expected = [all[1].clone(), done.clone(), all[2].clone()];
    assert_eq!(tx.replicas("/a").await.unwrap(), expected);
    let first = tx.contents("east", None, 2).await.unwrap();
    assert_eq!(first.items, [all[3].clone(), all[1].clone()]);
    let rest = tx.contents("east", first.next.as_deref(), 2).await.unwrap();
    assert_eq!((rest.items, rest.next), (vec![done], None));
    assert_eq!(tx.delete_replicas("/a", Some("east")).await.unwrap(), 2);
    assert_eq!(tx.delete_replicas("/a", None).await.unwrap(), 1);
    for replica in &all {
        tx.put_replica(replica).await.unwrap();
    }
    tx.keep_replica_slots("/a", &["lun:0"]).await.unwrap();
    assert_eq!(tx.replicas("/a").await.unwrap(), [all[1].clone()]);
    assert_eq!(tx.replicas("/B").await.unwrap(), [all[3].clone()]);
}

pub async fn what_layers_stand_on_goes_with_their_owner(database: &Database) {
    let known = |number, base: Option<&str>| LayerBase {
        layer: Uuid::from_u128(number),
        base: base.map(str::to_owned),
    };
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    for (owner, region, known) in [
        ("/a", "east", known(1, Some("aa"))),
        ("/a", "east", known(1, Some("bb"))),
        // Once more is the same.
        ("/a", "east", known(1, Some("bb"))),
        ("/a", "west", known(2, None)),
        ("/b", "east", known(3, None)),
    ] {
        tx.put_layer_base(owner, region, &known).await.unwrap();
    }
    // A layer that is older than this is known once its node says so, while somebody owns it.
    let old = Replica {
        content: Content::Layer(Uuid::from_u128(4)),
        ..replica("/c", "disk", "east")
    };
    tx.put_replica(&old).await.unwrap();
    let adopted = known(4, Some("cc"));
    let unknown = tx.layers_without_base("east").await.unwrap();
    assert_eq!(unknown, [adopted.layer]);
    assert!(tx.layers_without_base("west").await.unwrap().is_empty());
    assert!(tx.adopt_layer_base("east", &adopted).await.unwrap());
    assert!(!tx.adopt_layer_base("west", &adopted).await.unwrap());
    assert!(tx.layers_without_base("east").await.unwrap().is_empty());
    let nobodys = known(5, Some("dd"));
    assert!(!tx.adopt_layer_base("east", &nobodys).await.unwrap());
    let first = [known(1, Some("aa")), known(1, Some("bb"))];
    let others = [known(3, None), adopted];
    let expected = [first, others.clone()].concat();
    assert_eq!(tx.layer_bases("east").await.unwrap(), expected);
    tx.delete_replicas("/a", Some("east")).await.unwrap();
    assert_eq!(tx.layer_bases("east").await.unwrap(), others);
    assert_eq!(tx.layer_bases("west").await.unwrap(), [known(2, None)]);
    tx.drop_layer_bases("/c", None).await.unwrap();
    assert_eq!(tx.layer_bases("east").await.unwrap(), [known(3, None)]);
    tx.delete_replicas("/a", None).await.unwrap();
    assert_eq!(tx.layer_bases("west").await.unwrap(), []);
}

pub async fn galleries_with_a_sharing_profile_are_found_wherever_they_lie(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let (mut shared, mut gone) = (gallery("b"), gallery("c"));
    for row in [&mut shared, &mut gone] {
        row.properties.insert(
            "sharingProfile".to_owned(),
            json!({ "permissions": "Groups" }),
        );
    }
    gone.deleted_ms = Some(1);
    let mut image = image("sharingProfile");
    image.properties = document("sharingProfile", "x");
    for row in [&gallery("a"), &shared, &gone, &image] {
        tx.insert(row).await.unwrap();
    }
    let found = tx.list_galleries().await.unwrap();
    let names: Vec<&str> = found.iter().map(|row| row.id.name()).collect();
    assert_eq!(names, ["b"]);
}
