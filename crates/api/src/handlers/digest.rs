//! Digests of a version's content.

use axum::http::StatusCode;
use domain::{Error, Resource, Result};
use engine::care::DiskDigests;
use serde_json::{Value, json};

use crate::reply::Reply;
use crate::request::Request;

/// Goes with a GET of a version: BLAKE3 of every disk.
pub(crate) const HEADER: &str = "vitrine-content-digest";

/// POST …/versions/{version}/computeDigests: 200 with every SHA-256, 202 while a worker computes them.
pub(crate) async fn compute(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let digests = request.engine.ask_digests(&request.ctx, &id).await?;
    let body = json!({ "contentDigests": member(&digests)? });
    if digests.iter().all(|digest| digest.sha256.is_some()) {
        return Ok(Reply::ok(body));
    }
    Ok(Reply::json(StatusCode::ACCEPTED, body).header("retry-after", "1"))
}

/// Returns the member that `$expand=ContentDigests` shows.
pub(crate) fn member(digests: &[DiskDigests]) -> Result<Value> {
    serde_json::to_value(digests).map_err(|_| Error::internal())
}

/// Returns the header of a version: `os=blake3:…, lun:0=blake3:…`; none until its content is captured.
pub(crate) fn header(version: &Resource) -> Result<Option<String>> {
    let disks = engine::publish::captured(version)?;
    let shown: Vec<String> = disks
        .iter()
        .map(|disk| format!("{}=blake3:{}", disk.slot, disk.digest))
        .collect();
    Ok((!shown.is_empty()).then(|| shown.join(", ")))
}
