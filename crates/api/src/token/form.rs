//! Forms, `application/x-www-form-urlencoded`: strict, small, each field once.

use axum::body::Body;
use engine::identity::{SecretString, SignInError, SignInResult};
use percent_encoding::percent_decode_str;

/// The largest form, in bytes.
const FORM_BYTES_MAX: usize = 64 << 10;
/// Fields of a form.
const FIELDS_MAX: usize = 64;

/// The fields of a form or a query.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a body.
    pub async fn read(body: Body) -> SignInResult<Self> {
        let bytes = axum::body::to_bytes(body, FORM_BYTES_MAX)
            .await
            .map_err(|_| SignInError::Malformed("body"))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| SignInError::Malformed("body"))?;
        Self::parse(text)
    }

    /// Reads a query or a body; a field that comes twice is refused, because it means two things.
    pub fn parse(text: &str) -> SignInResult<Self> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if fields.len() == FIELDS_MAX || fields.iter().any(|(known, _)| *known == name) {
                return Err(SignInError::Malformed("body"));
            }
            fields.push((name, value));
        }
        Ok(Self(fields))
    }

    /// Returns a field that is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, value)| known == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Returns a field that must not be logged.
    pub fn secret(&self, name: &str) -> Option<SecretString> {
        self.get(name)
            .map(|value| SecretString::from(value.to_owned()))
    }
}

fn decode(text: &str) -> SignInResult<String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced)
        .decode_utf8()
        .map_err(|_| SignInError::Malformed("body"))?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_decoded_and_a_field_may_come_once() {
        let form = Form::parse("a=1+2%2B3&b=&c").unwrap();
        assert_eq!(form.get("a"), Some("1 2+3"));
        assert_eq!(
            (form.get("b"), form.get("c"), form.get("d")),
            (None, None, None)
        );
        for bad in ["a=1&a=2", "a=%ff"] {
            assert!(Form::parse(bad).is_err(), "{bad}");
        }
    }
}
