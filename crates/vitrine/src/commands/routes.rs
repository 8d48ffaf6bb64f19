//! `vitrine routes`: the route table, for people and for the test that walks it.

use serde_json::{Value, json};

/// Returns every ARM route as method and path.
pub fn all() -> Value {
    let routes = api::routes::Routes::new();
    routes
        .iter()
        .map(|r| json!({ "method": r.method.as_str(), "path": r.pattern }))
        .collect()
}
