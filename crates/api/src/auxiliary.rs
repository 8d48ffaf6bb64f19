//! `x-ms-authorization-auxiliary`: tokens of further tenants, for what a body names there.
//!
//! A token here gives the right to name what its own account may name in its own tenant, nothing else.

use axum::http::HeaderMap;
use domain::{Error, ErrorKind, Result};
use engine::{Caller, Engine};

const HEADER: &str = "x-ms-authorization-auxiliary";
/// Tokens of one request. Source: the original's limit.
const TOKENS_MAX: usize = 3;

/// Returns whom the auxiliary tokens of a request speak for; each must count by itself.
pub(crate) async fn callers(engine: &Engine, headers: &HeaderMap) -> Result<Vec<Caller>> {
    let mut callers = Vec::new();
    for token in tokens(headers)? {
        callers.push(engine.authenticate(token).await?);
    }
    Ok(callers)
}

fn tokens(headers: &HeaderMap) -> Result<Vec<&str>> {
    let mut tokens = Vec::new();
    for value in headers.get_all(HEADER) {
        let text = value.to_str().map_err(|_| malformed())?;
        for part in text.split([',', ';']).map(str::trim) {
            let (scheme, token) = part.split_once(' ').ok_or_else(malformed)?;
            if !scheme.eq_ignore_ascii_case("bearer") {
                return Err(malformed());
            }
            tokens.push(token.trim());
        }
    }
    if tokens.len() > TOKENS_MAX {
        return Err(Error::new(
            ErrorKind::Invalid,
            "InvalidAuxiliaryTokens",
            format!(
                "The header '{HEADER}' holds {} tokens; at most {TOKENS_MAX} are accepted.",
                tokens.len()
            ),
        ));
    }
    Ok(tokens)
}

fn malformed() -> Error {
    Error::new(
        ErrorKind::Invalid,
        "InvalidAuxiliaryTokens",
        format!(
            "The header '{HEADER}' must hold tokens as 'Bearer {{token}}', separated by commas."
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn read(values: &[&'static str]) -> Result<Vec<String>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_static(value));
        }
        tokens(&headers).map(|tokens| tokens.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn up_to_three_tokens_come_in_one_header_or_in_several() {
        assert_eq!(read(&[]).unwrap(), [""; 0]);
        assert_eq!(
            read(&["Bearer a, bearer b;Bearer  c"]).unwrap(),
            ["a", "b", "c"]
        );
        assert_eq!(read(&["Bearer a", "Bearer b"]).unwrap(), ["a", "b"]);
        for refused in [
            &["a"][..],
            &["Basic a"],
            &["Bearer a,"],
            &[""],
            &["Bearer a,Bearer b", "Bearer c,Bearer d"],
        ] {
            assert_eq!(
                read(refused).unwrap_err().code,
                "InvalidAuxiliaryTokens",
                "{refused:?}"
            );
        }
    }
}
