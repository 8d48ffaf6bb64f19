//! The tags API: `…/providers/Microsoft.Resources/tags/default`, over any resource.

use axum::http::StatusCode;
use domain::resource::Document;
use domain::{Resource, ResourceId, Result};
use engine::TagChange;
use serde_json::{Value, json};

use crate::reply::Reply;
use crate::request::Request;

const SUFFIX: &str = "/providers/microsoft.resources/tags/default";

/// GET the tags.
pub(crate) async fn get(request: Request) -> Result<Reply> {
    let row = request.engine.get(&request.ctx, &holder(&request)?).await?;
    Ok(Reply::ok(shown(&row)))
}

/// PUT all tags.
pub(crate) async fn put(request: Request) -> Result<Reply> {
    let tags = sent(&request.json_body()?)?;
    change(&request, TagChange::Replace(tags)).await
}

/// PATCH: Merge, Replace or Delete. Source: `WIRE.md` 4.1.
pub(crate) async fn patch(request: Request) -> Result<Reply> {
    let body = request.json_body()?;
    let tags = sent(&body)?;
    let operation = body
        .get("operation")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_ascii_lowercase();
    let wanted = match operation.as_str() {
        "merge" => TagChange::Merge(tags),
        "replace" => TagChange::Replace(tags),
        "delete" => TagChange::Delete(tags),
        _ => {
            return Err(domain::Error::invalid_parameter(
                "operation",
                "The operation must be one of 'Merge', 'Replace', 'Delete'.",
            ));
        }
    };
    change(&request, wanted).await
}

/// DELETE all tags.
pub(crate) async fn delete(request: Request) -> Result<Reply> {
    let id = holder(&request)?;
    request
        .engine
        .change_tags(&request.ctx, &id, TagChange::Replace(Document::new()))
        .await?;
    Ok(Reply::empty(StatusCode::OK))
}

/// GET …/tagNames: the names in use, with their values.
pub(crate) async fn names(request: Request) -> Result<Reply> {
    let names = request
        .engine
        .tag_names(&request.ctx, request.param("subscription"))
        .await?;
    let value: Vec<Value> = names
        .into_iter()
        .map(|(name, values)| {
            let values: Vec<Value> = values
                .into_iter()
                .map(|(v, n)| json!({ "tagValue": v, "count": { "type": "Total", "value": n } }))
                .collect();
            json!({ "tagName": name, "values": values })
        })
        .collect();
    Ok(Reply::ok(json!({ "value": value })))
}

async fn change(request: &Request, wanted: TagChange) -> Result<Reply> {
    let row = request
        .engine
        .change_tags(&request.ctx, &holder(request)?, wanted)
        .await?;
    Ok(Reply::ok(shown(&row)))
}

fn holder(request: &Request) -> Result<ResourceId> {
    let cut = request.path.len().saturating_sub(SUFFIX.len());
    ResourceId::parse(&request.path[..cut])
}

fn sent(body: &Value) -> Result<Document> {
    let tags = body
        .pointer("/properties/tags")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    arm::schema::check_tags(&tags)?;
    Ok(tags)
}

fn shown(row: &Resource) -> Value {
    json!({
        "id": format!("{}/providers/Microsoft.Resources/tags/default", row.id),
        "name": "default",
        "type": "Microsoft.Resources/tags",
        "properties": { "tags": row.tags.clone().unwrap_or_default() },
    })
}
