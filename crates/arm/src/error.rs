//! The error envelope. Source: `API.md` 2.2.

use domain::Error;
use serde_json::{Map, Value, json};

/// Returns `{"error":{"code","message","target"?}}`.
pub fn body(error: &Error) -> Value {
    json!({ "error": detail(error) })
}

/// Returns the inner `{"code","message","target"?,"details"?}`, as operations show it.
pub fn detail(error: &Error) -> Value {
    let mut out = Map::new();
    out.insert("code".to_owned(), error.code.as_ref().into());
    out.insert("message".to_owned(), error.message.as_str().into());
    if let Some(target) = &error.target {
        out.insert("target".to_owned(), target.as_str().into());
    }
    if !error.details.is_empty() {
        let details: Vec<Value> = error.details.iter().map(detail).collect();
        out.insert("details".to_owned(), details.into());
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_shown_only_when_there_is_one() {
        let plain = Error::bad_request("No.");
        assert_eq!(
            body(&plain).to_string(),
            r#"{"error":{"code":"BadRequest","message":"No."}}"#
        );
        let aimed = Error::required("galleryImage.properties.osType");
        assert_eq!(
            body(&aimed).to_string(),
            r#"{"error":{"code":"InvalidParameter","message":"Required parameter 'osType' is missing (null).","target":"galleryImage.properties.osType"}}"#
        );
    }
}
