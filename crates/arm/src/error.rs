//! The error envelope. Source: `API.md` 2.2.

use domain::Error;
use serde_json::{Map, Value, json};

/// Returns `{"error":{"code","message","target"?}}`.
pub fn body(error: &Error) -> Value {
    json!({ "error": detail(error) })
}

/// Returns the inner `{"code","message","target"?,"details"?}`, as operations show it.
pub fn detail(error: &Error) -> Value {
    in_order(error, false)
}

/// The same as deployments show it: the target stands before the message. Source: recorded.
pub fn deployment_detail(error: &Error) -> Value {
    in_order(error, true)
}

fn in_order(error: &Error, is_target_first: bool) -> Value {
    let message = ("message".to_owned(), error.message.as_str().into());
    let target = error.target.as_deref();
    let target = target.map(|target| ("target".to_owned(), target.into()));
    let mut out = Map::new();
    out.insert("code".to_owned(), error.code.as_ref().into());
    if is_target_first {
        out.extend(target);
        out.extend([message]);
    } else {
        out.extend([message]);
        out.extend(target);
    }
    if !error.details.is_empty() {
        let details = error.details.iter();
        let details: Vec<Value> = details.map(|e| in_order(e, is_target_first)).collect();
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
