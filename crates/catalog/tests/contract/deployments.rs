//! Template deployments and their steps.

use catalog::Deployment;
use domain::operation::{Family, OperationState, Work};
use domain::resource::Document;
use domain::{Error, ErrorKind, ResourceId};
use serde_json::json;

use crate::database::Database;
use crate::sample::{SUBSCRIPTION, document, gallery, operation};

fn deployment(group: &str, name: &str, changed_ms: i64) -> Deployment {
    let id = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.Resources/deployments/{name}"
    );
    Deployment {
        id: ResourceId::parse(&id).unwrap(),
        state: "Running".to_owned(),
        tags: Some(document("a", "b")),
        shown: document("mode", "Incremental"),
        content: json!({ "template": { "resources": [] } }),
        secrets: Some("sealed".to_owned()),
        changed_ms,
    }
}

pub async fn deployments_are_kept_by_group_newest_first(database: &Database) {
    let catalog = database.open().await;
    let (one, two, other) = (
        deployment("Rg", "One", 1),
        deployment("rG", "Two", 2),
        deployment("x", "One", 3),
    );
    let mut tx = catalog.write().await.unwrap();
    for deployment in [&one, &two, &other] {
        tx.put_deployment(deployment).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut read = catalog.read().await.unwrap();
    let upper = ResourceId::parse(&one.id.to_string().to_uppercase()).unwrap();
    assert_eq!(
        read.load_deployment(&upper).await.unwrap(),
        Some(one.clone())
    );
    let group = ResourceId::group(SUBSCRIPTION, "RG");
    let listed = read.list_deployments(&group, 10).await.unwrap();
    let names: Vec<&str> = listed.iter().map(|d| d.id.name()).collect();
    assert_eq!(names, ["Two", "One"]);
    assert!(listed.iter().all(|d| d.content.is_null()));
    assert_eq!(read.list_deployments(&group, 1).await.unwrap().len(), 1);
    drop(read);

    let over = Deployment {
        state: "Succeeded".to_owned(),
        secrets: None,
        tags: None,
        shown: Document::new(),
        ..one.clone()
    };
    let mut tx = catalog.write().await.unwrap();
    tx.put_deployment(&over).await.unwrap();
    assert_eq!(tx.load_deployment(&one.id).await.unwrap(), Some(over));
    tx.delete_deployment(&one.id).await.unwrap();
    assert_eq!(tx.load_deployment(&one.id).await.unwrap(), None);
    assert!(tx.load_deployment(&other.id).await.unwrap().is_some());
    tx.commit().await.unwrap();
}

pub async fn steps_keep_the_order_in_which_they_were_begun(database: &Database) {
    let catalog = database.open().await;
    let held = deployment("Rg", "One", 1);
    let mut tx = catalog.write().await.unwrap();
    tx.put_deployment(&held).await.unwrap();
    for (step, shown) in [("Z", json!(1)), ("A", json!(2)), ("Z", json!(3))] {
        tx.put_deployment_step(&held.id, step, &shown)
            .await
            .unwrap();
    }
    assert_eq!(
        tx.deployment_steps(&held.id).await.unwrap(),
        [json!(3), json!(2)]
    );
    tx.delete_deployment_steps(&held.id).await.unwrap();
    assert!(tx.deployment_steps(&held.id).await.unwrap().is_empty());
    tx.put_deployment_step(&held.id, "A", &json!(1))
        .await
        .unwrap();
    tx.delete_deployment(&held.id).await.unwrap();
    assert!(tx.deployment_steps(&held.id).await.unwrap().is_empty());
    tx.commit().await.unwrap();
}

pub async fn deployments_and_other_work_are_claimed_apart(database: &Database) {
    let catalog = database.open().await;
    let mut deploys = operation(&gallery("a"));
    (deploys.work, deploys.family) = (Work::Deploy, Family::Deployment);
    let other = operation(&gallery("b"));
    let mut tx = catalog.write().await.unwrap();
    tx.insert_operation(&deploys).await.unwrap();
    tx.insert_operation(&other).await.unwrap();
    let worker = tx.claim_operation("w", 1, 10).await.unwrap().unwrap();
    assert!(tx.claim_operation("w", 1, 10).await.unwrap().is_none());
    let conductor = tx.claim_deployment("c", 1, 10).await.unwrap().unwrap();
    assert!(tx.claim_deployment("c", 1, 10).await.unwrap().is_none());
    assert_eq!((worker.id, conductor.id), (other.id, deploys.id));
    let inner = Error::not_found("ResourceNotFound", "No.").at("x");
    let error = Error::new(ErrorKind::Conflict, "DeploymentFailed", "Failed.").because(vec![inner]);
    let ended = tx
        .finish(&conductor, OperationState::Failed, Some(&error), None, 5)
        .await
        .unwrap();
    assert!(ended);
    let found = tx.load_operation(deploys.id).await.unwrap().unwrap();
    assert_eq!(found.error, Some(error));
    tx.commit().await.unwrap();
}
