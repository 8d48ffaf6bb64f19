//! What every database must do: the contract of the catalog, on SQLite.

use catalog::{Catalog, Kind as Failure, ListFilter};
use domain::operation::{Family, Operation, OperationState, Work};
use domain::{Kind, Resource, ResourceId};
use serde_json::Value;
use uuid::Uuid;

const SUBSCRIPTION: &str = "11111111-1111-1111-1111-111111111111";
const LEASE_MS: i64 = 1000;

async fn open(dir: &tempfile::TempDir) -> Catalog {
    Catalog::open(&format!(
        "sqlite:{}?mode=rwc",
        dir.path().join("catalog.db").display()
    ))
    .await
    .unwrap()
}

fn gallery(name: &str) -> Resource {
    let id = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/Rg/providers/Microsoft.Compute/galleries/{name}"
    );
    Resource::new(ResourceId::parse(&id).unwrap(), Kind::Gallery, "eastus", 7)
}

fn operation(on: &Resource) -> Operation {
    Operation {
        id: Uuid::new_v4(),
        family: Family::Caps,
        work: Work::Put,
        resource: on.id.clone(),
        location: on.location.clone(),
        state: OperationState::InProgress,
        step: Value::Null,
        error: None,
        output: None,
        attempts: 0,
        run_at_ms: 0,
        started_ms: 0,
        ended_ms: None,
        lease_generation: 0,
    }
}

#[tokio::test]
async fn rows_keep_their_case_and_are_found_whatever_the_case() {
    let dir = tempfile::tempdir().unwrap();
    let row = gallery("MyGallery");
    {
        let catalog = open(&dir).await;
        let mut tx = catalog.write().await.unwrap();
        tx.insert(&row).await.unwrap();
        tx.commit().await.unwrap();
        let mut again = catalog.write().await.unwrap();
        assert_eq!(
            again
                .insert(&gallery("mygallery"))
                .await
                .unwrap_err()
                .kind(),
            Failure::Exists
        );
    }
    let catalog = open(&dir).await;
    let found = catalog
        .read()
        .await
        .unwrap()
        .load(&gallery("MYGALLERY").id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.id.name(), "MyGallery");
}

#[tokio::test]
async fn a_write_that_was_not_committed_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(&dir).await;
    let row = gallery("a");
    let mut tx = catalog.write().await.unwrap();
    tx.insert(&row).await.unwrap();
    drop(tx);
    assert!(
        catalog
            .read()
            .await
            .unwrap()
            .load(&row.id)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn who_read_an_old_revision_does_not_overwrite_a_newer_one() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(&dir).await;
    let mut tx = catalog.write().await.unwrap();
    tx.insert(&gallery("a")).await.unwrap();
    let mut first = tx.load(&gallery("a").id).await.unwrap().unwrap();
    let mut second = first.clone();
    tx.update(&mut first).await.unwrap();
    assert_eq!(
        tx.update(&mut second).await.unwrap_err().kind(),
        Failure::Stale
    );
}

#[tokio::test]
async fn pages_walk_every_row_once_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(&dir).await;
    let mut tx = catalog.write().await.unwrap();
    let mut names: Vec<String> = (0..25).map(|n| format!("g{n}")).collect();
    for name in &names {
        tx.insert(&gallery(name)).await.unwrap();
    }
    tx.commit().await.unwrap();
    let filter = ListFilter {
        subscription: SUBSCRIPTION.to_owned(),
        kind: Some(Kind::Gallery),
        ..ListFilter::default()
    };
    let (mut seen, mut after) = (Vec::new(), None);
    let mut read = catalog.read().await.unwrap();
    loop {
        let page = read.list(&filter, after.as_deref(), 10).await.unwrap();
        seen.extend(page.items.iter().map(|row| row.id.name().to_owned()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    names.sort();
    assert_eq!(seen, names);
}

#[tokio::test]
async fn a_name_is_held_until_its_owner_releases_it() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(&dir).await;
    let (a, b) = (gallery("a"), gallery("b"));
    let mut tx = catalog.write().await.unwrap();
    tx.claim("scope", "name", &a.id).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = catalog.write().await.unwrap();
    assert_eq!(
        tx.claim("scope", "name", &b.id).await.unwrap_err().kind(),
        Failure::Taken
    );
    drop(tx);
    let mut tx = catalog.write().await.unwrap();
    tx.release(&a.id).await.unwrap();
    tx.claim("scope", "name", &b.id).await.unwrap();
}

#[tokio::test]
async fn an_operation_is_held_by_one_worker_until_its_lease_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let catalog = open(&dir).await;
    let row = gallery("a");
    let wanted = operation(&row);
    let mut tx = catalog.write().await.unwrap();
    tx.insert(&row).await.unwrap();
    tx.insert_operation(&wanted).await.unwrap();
    let first = tx
        .claim_operation("one", 10, LEASE_MS)
        .await
        .unwrap()
        .unwrap();
    assert!(
        tx.claim_operation("two", 20, LEASE_MS)
            .await
            .unwrap()
            .is_none()
    );
    let second = tx
        .claim_operation("two", 10 + LEASE_MS + 1, LEASE_MS)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((first.id, second.id), (wanted.id, wanted.id));
    assert!(
        !tx.finish(&first, OperationState::Succeeded, None, None, 2000)
            .await
            .unwrap()
    );
    assert!(
        tx.finish(&second, OperationState::Succeeded, None, None, 2000)
            .await
            .unwrap()
    );
    assert_eq!(
        tx.load_operation(wanted.id).await.unwrap().unwrap().state,
        OperationState::Succeeded
    );
}
