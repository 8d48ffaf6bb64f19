//! The scope that stands before an extension such as `/providers/Microsoft.Authorization/…`.

use crate::request::Request;

const AUTHORIZATION: &str = "/providers/microsoft.authorization/";

/// Returns what the path says before its extension; `/` when it says nothing.
pub(crate) fn scope_of(request: &Request) -> String {
    let cut = request
        .path
        .to_ascii_lowercase()
        .rfind(AUTHORIZATION)
        .unwrap_or(0);
    match cut {
        0 => "/".to_owned(),
        _ => request.path[..cut].to_owned(),
    }
}
