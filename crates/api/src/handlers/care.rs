//! What operators ask of a running gallery.

use domain::{Error, Result};

use crate::reply::Reply;
use crate::request::Request;

/// GET /providers/Vitrine.Gallery/stat: what is stored, by region.
pub(crate) async fn stat(request: Request) -> Result<Reply> {
    let stat = request.engine.stat(&request.ctx).await?;
    serde_json::to_value(stat)
        .map(Reply::ok)
        .map_err(|_| Error::internal())
}
