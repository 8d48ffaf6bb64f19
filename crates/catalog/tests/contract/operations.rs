//! Operations and their leases.

use catalog::{Catalog, Kind as Failure};
use domain::Error;
use domain::operation::{Operation, OperationState, Work};
use serde_json::json;

use crate::database::Database;
use crate::sample::{gallery, operation};

const LEASE_MS: i64 = 1000;

async fn accept(catalog: &Catalog, operations: &[&Operation]) {
    let mut tx = catalog.write().await.unwrap();
    for operation in operations {
        tx.insert_operation(operation).await.unwrap();
    }
    tx.commit().await.unwrap();
}

pub async fn an_operation_is_held_by_one_worker_until_its_lease_is_over(database: &Database) {
    let catalog = database.open().await;
    let wanted = operation(&gallery("a"));
    accept(&catalog, &[&wanted]).await;
    let mut tx = catalog.write().await.unwrap();
    let first = tx
        .claim_operation("one", 10, LEASE_MS)
        .await
        .unwrap()
        .unwrap();
    let none = tx.claim_operation("two", 20, LEASE_MS).await.unwrap();
    assert!(none.is_none());
    let later = 10 + LEASE_MS;
    let second = tx
        .claim_operation("two", later, LEASE_MS)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((first.id, second.id), (wanted.id, wanted.id));
    assert_eq!((second.attempts, second.lease_generation), (2, 2));
    let done = OperationState::Succeeded;
    assert!(!tx.finish(&first, done, None, None, 2000).await.unwrap());
    assert!(tx.finish(&second, done, None, None, 2000).await.unwrap());
    tx.commit().await.unwrap();
    let found = catalog
        .read()
        .await
        .unwrap()
        .load_operation(wanted.id)
        .await
        .unwrap();
    assert_eq!(found.unwrap().state, done);
}

pub async fn a_lease_is_kept_by_its_holder_alone(database: &Database) {
    let catalog = database.open().await;
    accept(&catalog, &[&operation(&gallery("a"))]).await;
    let mut tx = catalog.write().await.unwrap();
    let lost = tx.claim_operation("one", 0, 1).await.unwrap().unwrap();
    let mut held = tx
        .claim_operation("two", 10, LEASE_MS)
        .await
        .unwrap()
        .unwrap();
    held.step = json!({"bytes": 7});
    assert!(!tx.renew_lease(&lost, 9000).await.unwrap());
    assert!(!tx.checkpoint(&lost).await.unwrap());
    assert!(!tx.retry_at(&lost, 0, None).await.unwrap());
    assert!(tx.renew_lease(&held, 9000).await.unwrap());
    assert!(tx.checkpoint(&held).await.unwrap());
    let none = tx.claim_operation("three", 8999, LEASE_MS).await.unwrap();
    assert!(none.is_none());
    let next = tx
        .claim_operation("three", 9000, LEASE_MS)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(next.step, held.step);
}

pub async fn an_operation_ends_with_what_it_made(database: &Database) {
    let catalog = database.open().await;
    let (good, bad) = (operation(&gallery("a")), operation(&gallery("b")));
    accept(&catalog, &[&good, &bad]).await;
    let mut tx = catalog.write().await.unwrap();
    assert_eq!(tx.count_open_operations().await.unwrap(), 2);
    let output = json!({"accessSAS": "https://localhost/"});
    let error = Error::conflict("Busy", "not now").at("disk");
    let first = tx.claim_operation("w", 0, LEASE_MS).await.unwrap().unwrap();
    let second = tx.claim_operation("w", 0, LEASE_MS).await.unwrap().unwrap();
    assert_eq!((first.id, second.id), (good.id, bad.id));
    let (done, failed) = (OperationState::Succeeded, OperationState::Failed);
    assert!(
        tx.finish(&first, done, None, Some(output.clone()), 5)
            .await
            .unwrap()
    );
    assert!(
        tx.finish(&second, failed, Some(&error), None, 6)
            .await
            .unwrap()
    );
    let first = tx.load_operation(good.id).await.unwrap().unwrap();
    let second = tx.load_operation(bad.id).await.unwrap().unwrap();
    assert_eq!(
        (first.output, first.error, first.ended_ms),
        (Some(output), None, Some(5))
    );
    assert_eq!(
        (second.output, second.error, second.ended_ms),
        (None, Some(error), Some(6))
    );
    assert_eq!(tx.count_open_operations().await.unwrap(), 0);
    let again = tx.insert_operation(&good).await.unwrap_err();
    assert_eq!(again.kind(), Failure::Exists);
}

pub async fn a_failed_try_comes_again_at_its_time(database: &Database) {
    let catalog = database.open().await;
    let row = gallery("a");
    let (first, second) = (operation(&row), operation(&row));
    accept(&catalog, &[&first, &second]).await;
    let mut tx = catalog.write().await.unwrap();
    let newest = tx.open_operation_of(&row.id).await.unwrap().unwrap();
    assert_eq!(newest.id, second.id);
    let held = tx.claim_operation("w", 0, LEASE_MS).await.unwrap().unwrap();
    let error = Error::internal();
    assert!(tx.retry_at(&held, 50, Some(&error)).await.unwrap());
    // The second must not overtake the first, even while that one waits.
    assert!(
        tx.claim_operation("w", 49, LEASE_MS)
            .await
            .unwrap()
            .is_none()
    );
    let again = tx
        .claim_operation("w", 50, LEASE_MS)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((again.id, again.error), (first.id, Some(error)));
}

pub async fn cancelling_takes_the_lease_away(database: &Database) {
    let catalog = database.open().await;
    let (row, other) = (gallery("a"), gallery("b"));
    let (first, second, beside) = (operation(&row), operation(&row), operation(&other));
    accept(&catalog, &[&first, &second, &beside]).await;
    let mut tx = catalog.write().await.unwrap();
    let held = tx.claim_operation("w", 0, LEASE_MS).await.unwrap().unwrap();
    assert_eq!(tx.cancel_operations_of(&row.id, 3).await.unwrap(), 2);
    assert!(!tx.checkpoint(&held).await.unwrap());
    assert!(tx.open_operation_of(&row.id).await.unwrap().is_none());
    assert!(tx.open_operation_of(&other.id).await.unwrap().is_some());
    let over = tx.load_operation(second.id).await.unwrap().unwrap();
    assert_eq!(
        (over.state, over.ended_ms),
        (OperationState::Canceled, Some(3))
    );
}

pub async fn ended_operations_are_forgotten_oldest_first(database: &Database) {
    let catalog = database.open().await;
    let all: Vec<Operation> = (0..4)
        .map(|n| operation(&gallery(&format!("g{n}"))))
        .collect();
    accept(&catalog, &all.iter().collect::<Vec<_>>()).await;
    let mut tx = catalog.write().await.unwrap();
    for ended_ms in [10, 20, 30] {
        let held = tx.claim_operation("w", 0, LEASE_MS).await.unwrap().unwrap();
        let state = OperationState::Succeeded;
        assert!(tx.finish(&held, state, None, None, ended_ms).await.unwrap());
    }
    assert_eq!(tx.prune_operations(30, 1).await.unwrap(), 1);
    assert!(tx.load_operation(all[0].id).await.unwrap().is_none());
    assert_eq!(tx.prune_operations(30, 9).await.unwrap(), 1);
    assert!(tx.load_operation(all[2].id).await.unwrap().is_some());
    assert!(tx.load_operation(all[3].id).await.unwrap().is_some());
}

pub async fn what_waits_for_others_is_put_aside_with_its_step(database: &Database) {
    let catalog = database.open().await;
    let row = gallery("a");
    let first = operation(&row);
    accept(&catalog, &[&first]).await;
    let mut tx = catalog.write().await.unwrap();
    let mut held = tx.claim_operation("w", 0, LEASE_MS).await.unwrap().unwrap();
    held.step = json!({ "running": ["x"] });
    assert!(tx.put_aside(&held, 50).await.unwrap());
    let none = tx.claim_operation("w", 49, LEASE_MS).await.unwrap();
    assert!(none.is_none());
    let again = tx
        .claim_operation("w", 50, LEASE_MS)
        .await
        .unwrap()
        .unwrap();
    // Waiting is no failed try.
    assert_eq!((again.step, again.attempts), (held.step.clone(), 1));
    assert!(!tx.put_aside(&held, 0).await.unwrap(), "the lease is lost");
}

pub async fn a_node_that_starts_again_gets_back_what_it_held_and_nothing_else(database: &Database) {
    let catalog = database.open().await;
    let all: Vec<Operation> = (0..3)
        .map(|n| operation(&gallery(&format!("g{n}"))))
        .collect();
    let mut deploying = operation(&gallery("d"));
    deploying.work = Work::Deploy;
    accept(
        &catalog,
        &all.iter().chain([&deploying]).collect::<Vec<_>>(),
    )
    .await;
    let mut tx = catalog.write().await.unwrap();
    let mut held = Vec::new();
    // The name of one node is how the other one's begins.
    for owner in ["node/0", "node/1", "node2/0"] {
        let claimed = tx.claim_operation(owner, 0, LEASE_MS).await.unwrap();
        held.push(claimed.unwrap());
    }
    let conducted = tx.claim_deployment("node/deployments", 0, LEASE_MS).await;
    let conducted = conducted.unwrap().unwrap();
    tx.commit().await.unwrap();

    let mut tx = catalog.write().await.unwrap();
    assert_eq!(tx.give_back_leases("node").await.unwrap(), 3);
    assert_eq!(tx.give_back_leases("node").await.unwrap(), 0);
    tx.commit().await.unwrap();

    let mut tx = catalog.write().await.unwrap();
    let done = OperationState::Succeeded;
    for dead in [&held[0], &held[1], &conducted] {
        assert!(!tx.checkpoint(dead).await.unwrap());
        assert!(!tx.renew_lease(dead, 9000).await.unwrap());
        assert!(!tx.finish(dead, done, None, None, 1).await.unwrap());
    }
    assert!(tx.renew_lease(&held[2], LEASE_MS).await.unwrap());
    for wanted in [&held[0], &held[1]] {
        let next = tx.claim_operation("node/0", 0, LEASE_MS).await.unwrap();
        let next = next.unwrap();
        assert_eq!((next.id, next.attempts), (wanted.id, 1));
        assert!(next.lease_generation > wanted.lease_generation);
    }
    let none = tx.claim_operation("node/0", 0, LEASE_MS).await.unwrap();
    assert!(none.is_none(), "the other node works on it");
    let next = tx.claim_deployment("node/deployments", 0, LEASE_MS).await;
    assert_eq!(next.unwrap().map(|o| o.id), Some(deploying.id));
}

pub async fn a_command_in_a_guest_waits_for_what_came_before_and_holds_up_nothing(
    database: &Database,
) {
    let catalog = database.open().await;
    let machine = gallery("a");
    let (before, mut command, after) = (
        operation(&machine),
        operation(&machine),
        operation(&machine),
    );
    command.work = Work::RunCommand;
    accept(&catalog, &[&before, &command, &after]).await;
    let mut tx = catalog.write().await.unwrap();
    let open = tx.open_operation_of(&machine.id).await.unwrap().unwrap();
    assert_eq!(open.id, after.id);
    let running = tx.open_command_of(&machine.id).await.unwrap().unwrap();
    assert_eq!(running.id, command.id);
    let first = tx.claim_operation("w", 0, LEASE_MS).await.unwrap().unwrap();
    assert_eq!(first.id, before.id);
    assert!(
        tx.claim_operation("w", 0, LEASE_MS)
            .await
            .unwrap()
            .is_none()
    );
    let done = OperationState::Succeeded;
    assert!(tx.finish(&first, done, None, None, 1).await.unwrap());
    for expected in [command.id, after.id] {
        let next = tx.claim_operation("w", 1, LEASE_MS).await.unwrap();
        assert_eq!(next.unwrap().id, expected);
    }
    assert_eq!(tx.cancel_operations_of(&machine.id, 2).await.unwrap(), 2);
    assert!(tx.open_command_of(&machine.id).await.unwrap().is_none());
}
