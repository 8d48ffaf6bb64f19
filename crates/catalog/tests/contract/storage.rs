//! Containers, blobs, staged blocks, grants.

use catalog::{Blob, BlobKind, Container, Grant, Kind as Failure, StagedBlock};
use domain::resource::Document;
use uuid::Uuid;

use crate::database::Database;
use crate::sample::{document, gallery};

fn container(name: &str) -> Container {
    Container {
        account: "acc".to_owned(),
        name: name.to_owned(),
        etag: "1".to_owned(),
        modified_ms: 1,
        metadata: document("k", "v"),
    }
}

fn blob(name: &str) -> Blob {
    Blob {
        account: "acc".to_owned(),
        container: "c".to_owned(),
        name: name.to_owned(),
        kind: BlobKind::Page,
        size_bytes: 1 << 45,
        etag: "1".to_owned(),
        created_ms: 1,
        modified_ms: 1,
        metadata: document("k", "v"),
        headers: Document::new(),
        layer: Uuid::from_u128(1),
        region: "east".to_owned(),
        sequence: 0,
    }
}

fn block(id: &str, created_ms: i64) -> StagedBlock {
    StagedBlock {
        account: "acc".to_owned(),
        container: "c".to_owned(),
        blob: "b".to_owned(),
        block_id: id.to_owned(),
        layer: Uuid::from_u128(2),
        offset: 4096,
        length: 1 << 40,
        created_ms,
    }
}

pub async fn containers_and_blobs_are_listed_in_byte_order(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    for name in ["b", "a-b", "ab", "a1"] {
        tx.insert_container(&container(name)).await.unwrap();
    }
    for name in ["dir/b", "dir/B", "dir/Ä", "dir/_", "e", "Z"] {
        assert!(tx.create_blob(&blob(name)).await.unwrap());
    }
    let page = tx.list_containers("acc", "", None, 9).await.unwrap();
    let names: Vec<&str> = page.items.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["a-b", "a1", "ab", "b"]);
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = tx
            .list_blobs("acc", "c", "dir/", after.as_deref(), 2)
            .await
            .unwrap();
        seen.extend(page.items.into_iter().map(|b| b.name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["dir/B", "dir/_", "dir/b", "dir/Ä"]);
}

pub async fn a_container_goes_with_what_is_in_it(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let mut one = container("c");
    tx.insert_container(&one).await.unwrap();
    one.etag = "2".to_owned();
    tx.put_container(&one).await.unwrap();
    assert_eq!(
        tx.load_container("acc", "c").await.unwrap().as_ref(),
        Some(&one)
    );
    tx.create_blob(&blob("b")).await.unwrap();
    tx.put_staged_block(&block("x", 1)).await.unwrap();
    let held = tx.container_bytes("acc", "c").await.unwrap();
    assert_eq!(held, (1 << 45) + (1 << 40), "blobs and staged blocks");
    let mut layers = tx.delete_container(&one).await.unwrap();
    layers.sort_unstable();
    let layers: Vec<Uuid> = layers.into_iter().map(|(_, layer)| layer).collect();
    assert_eq!(layers, [Uuid::from_u128(1), Uuid::from_u128(2)]);
    assert_eq!(tx.container_bytes("acc", "c").await.unwrap(), 0);
    assert!(tx.load_container("acc", "c").await.unwrap().is_none());
    assert!(tx.load_blob("acc", "c", "b").await.unwrap().is_none());
    assert!(tx.staged_blocks("acc", "c", "b").await.unwrap().is_empty());
    tx.insert_container(&one).await.unwrap();
    let error = tx.insert_container(&one).await.unwrap_err();
    assert_eq!(error.kind(), Failure::Exists);
}

pub async fn the_blobs_of_a_region_are_walked_once(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    for (number, region) in [(7, "east"), (0xF, "east"), (0xA0, "east"), (9, "west")] {
        let one = Blob {
            layer: Uuid::from_u128(number),
            region: region.to_owned(),
            ..blob(&number.to_string())
        };
        assert!(tx.create_blob(&one).await.unwrap());
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = tx.blobs_in("east", after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.layer);
        seen.extend(page.into_iter().map(|blob| blob.name));
    }
    seen.sort_unstable();
    assert_eq!(seen, ["15", "160", "7"]);
}

pub async fn a_blob_is_changed_by_who_read_it_last(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let first = blob("b");
    assert!(tx.create_blob(&first).await.unwrap());
    assert!(!tx.create_blob(&first).await.unwrap());
    let second = Blob {
        kind: BlobKind::Block,
        etag: "2".to_owned(),
        layer: Uuid::from_u128(3),
        ..first.clone()
    };
    assert!(tx.replace_blob(&second, "1").await.unwrap());
    assert!(!tx.replace_blob(&second, "1").await.unwrap());
    assert!(!tx.touch_blob(&first).await.unwrap());
    let third = Blob {
        etag: "3".to_owned(),
        ..second
    };
    assert!(tx.touch_blob(&third).await.unwrap());
    assert_eq!(
        tx.load_blob("acc", "c", "b").await.unwrap().as_ref(),
        Some(&third)
    );
    let layers = tx.blob_layers("east").await.unwrap();
    assert_eq!(layers, [third.layer]);
    assert!(!tx.delete_blob(&third, "2").await.unwrap());
    assert!(tx.delete_blob(&third, "3").await.unwrap());
}

pub async fn staged_blocks_wait_for_their_list(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    assert_eq!(tx.staged_totals("acc", "c", "b").await.unwrap(), (0, 0));
    for block in [block("x", 2), block("y", 1), block("x", 3)] {
        tx.put_staged_block(&block).await.unwrap();
    }
    let staged = tx.staged_blocks("acc", "c", "b").await.unwrap();
    assert_eq!(staged, [block("y", 1), block("x", 3)]);
    let by_account = tx.staged_by_account().await.unwrap();
    assert_eq!(by_account, [("acc".to_owned(), 2 << 40)]);
    assert_eq!(
        tx.staged_totals("acc", "c", "b").await.unwrap(),
        (2, 2 << 40)
    );
    assert_eq!(tx.stale_blocks(3, 9).await.unwrap(), [block("y", 1)]);
    let found = tx.staged_block("acc", "c", "b", "x").await.unwrap();
    assert_eq!(found, Some(block("x", 3)));
    assert!(tx.delete_staged_block(&block("y", 1)).await.unwrap());
    assert!(!tx.delete_staged_block(&block("y", 1)).await.unwrap());
    assert!(tx.delete_staged_blocks("acc", "c", "b").await.unwrap());
    assert!(!tx.delete_staged_blocks("acc", "c", "b").await.unwrap());
    let list = [("eA==".to_owned(), 7), ("eQ==".to_owned(), 9)];
    tx.put_block_list(&blob("b"), &list).await.unwrap();
    assert_eq!(tx.block_list("acc", "c", "b").await.unwrap(), list);
    tx.put_block_list(&blob("b"), &[]).await.unwrap();
    assert!(tx.block_list("acc", "c", "b").await.unwrap().is_empty());
}

pub async fn grants_end_with_their_resource(database: &Database) {
    let catalog = database.open().await;
    let mut tx = catalog.write().await.unwrap();
    let disk = gallery("d").id;
    let mut grant = Grant {
        token_hash: "h".to_owned(),
        resource: disk.clone(),
        write: true,
        expires_ms: 5,
    };
    tx.put_grant(&grant).await.unwrap();
    grant.expires_ms = 9;
    tx.put_grant(&grant).await.unwrap();
    assert_eq!(tx.load_grant("h").await.unwrap().as_ref(), Some(&grant));
    assert_eq!(tx.grants_of(&disk).await.unwrap(), [grant]);
    assert!(tx.delete_grants_of(&disk).await.unwrap());
    assert!(!tx.delete_grants_of(&disk).await.unwrap());
}
