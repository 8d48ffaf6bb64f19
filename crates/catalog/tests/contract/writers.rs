//! Many writers at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use catalog::Catalog;
use domain::Kind;
use domain::operation::OperationState;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::database::Database;
use crate::sample::{SUBSCRIPTION, gallery, operation};

const WORKERS: usize = 8;
const OPERATIONS: usize = 200;
const RESOURCES: usize = 20;

/// Ids by resource, in some order.
type ByResource = BTreeMap<String, Vec<Uuid>>;

/// Works until nothing is open; writes down what it claims while it holds it.
async fn work(catalog: Catalog, name: String, log: Arc<Mutex<ByResource>>) {
    loop {
        let mut tx = catalog.write().await.unwrap();
        let held = tx.claim_operation(&name, 0, 60_000).await.unwrap();
        let open = tx.count_open_operations().await.unwrap();
        tx.commit().await.unwrap();
        let Some(held) = held else {
            if open == 0 {
                return;
            }
            tokio::task::yield_now().await;
            continue;
        };
        let key = held.resource.key();
        log.lock().unwrap().entry(key).or_default().push(held.id);
        let mut tx = catalog.write().await.unwrap();
        let state = OperationState::Succeeded;
        assert!(tx.finish(&held, state, None, None, 1).await.unwrap());
        tx.commit().await.unwrap();
    }
}

pub async fn eight_workers_claim_each_operation_once_and_in_order(database: &Database) {
    let catalog = database.open().await;
    let mut accepted = ByResource::new();
    // Accepted by many at once, too: the numbers must still tell the order of each resource.
    let mut clients = JoinSet::new();
    for resource in 0..RESOURCES {
        let catalog = catalog.clone();
        clients.spawn(async move {
            let row = gallery(&format!("g{resource}"));
            let mut ids = Vec::new();
            for _ in 0..OPERATIONS / RESOURCES {
                let wanted = operation(&row);
                let mut tx = catalog.write().await.unwrap();
                tx.insert_operation(&wanted).await.unwrap();
                tx.commit().await.unwrap();
                ids.push(wanted.id);
            }
            (row.id.key(), ids)
        });
    }
    while let Some(done) = clients.join_next().await {
        let (key, ids) = done.unwrap();
        accepted.insert(key, ids);
    }
    let log = Arc::new(Mutex::new(ByResource::new()));
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        workers.spawn(work(
            catalog.clone(),
            format!("worker-{worker}"),
            Arc::clone(&log),
        ));
    }
    while let Some(done) = workers.join_next().await {
        done.unwrap();
    }
    assert_eq!(*log.lock().unwrap(), accepted);
}

pub async fn a_decision_sees_every_write_before_it(database: &Database) {
    const QUOTA: i64 = 5;
    let catalog = database.open().await;
    let start = Arc::new(Barrier::new(WORKERS));
    let mut clients = JoinSet::new();
    for client in 0..WORKERS {
        let (catalog, start) = (catalog.clone(), Arc::clone(&start));
        clients.spawn(async move {
            // The first round only opens the connections, so that the others meet.
            for round in 0..5 {
                start.wait().await;
                let mut tx = catalog.write().await.unwrap();
                let held = tx.count(SUBSCRIPTION, None, Kind::Gallery).await.unwrap();
                if round > 0 && held < QUOTA {
                    tx.insert(&gallery(&format!("g{client}-{round}")))
                        .await
                        .unwrap();
                }
                tx.commit().await.unwrap();
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let mut read = catalog.read().await.unwrap();
    let held = read.count(SUBSCRIPTION, None, Kind::Gallery).await.unwrap();
    assert_eq!(held, QUOTA);
}
