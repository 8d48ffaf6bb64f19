//! Actions of storage accounts.

use domain::{Error, Result};

use crate::reply::Reply;
use crate::request::Request;

/// POST …/listKeys.
pub(crate) async fn list_keys(_request: Request) -> Result<Reply> {
    Err(Error::internal())
}

/// POST …/regenerateKey.
pub(crate) async fn regenerate_key(_request: Request) -> Result<Reply> {
    Err(Error::internal())
}

/// POST …/checkNameAvailability.
pub(crate) async fn check_name(_request: Request) -> Result<Reply> {
    Err(Error::internal())
}
