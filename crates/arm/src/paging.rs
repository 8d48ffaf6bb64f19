//! Pages of lists: an opaque token, and the absolute link that carries it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::{Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The longest token that is read, in bytes.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// What stays readable in a query: `$skiptoken` and dates; everything else is encoded.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$');

/// Returns the opaque, url-safe form of a place in a list.
pub fn encode(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

/// Returns the place that a token of [`encode`] names.
pub fn decode(token: &str) -> Result<String> {
    let place = if token.len() > TOKEN_BYTES_MAX {
        None
    } else {
        URL_SAFE_NO_PAD.decode(token).ok()
    };
    place
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Error::bad_request("The $skiptoken is not one that this service issued."))
}

/// Returns the absolute link to the page behind `place`.
///
/// `path` is as the request had it (still encoded), `query` decoded; an older token is replaced.
pub fn next_link(base_url: &str, path: &str, query: &[(String, String)], place: &str) -> String {
    let escape = |text: &str| utf8_percent_encode(text, QUERY).to_string();
    let mut link = format!("{}{path}?", base_url.trim_end_matches('/'));
    for (name, value) in query
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("$skiptoken"))
    {
        link.push_str(&format!("{}={}&", escape(name), escape(value)));
    }
    link.push_str("$skiptoken=");
    link.push_str(&encode(place));
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_need_no_encoding() {
        for place in ["", "1.0.10|/subscriptions/s", "naïve/ä?&=#"] {
            let token = encode(place);
            assert!(
                token
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            );
            assert_eq!(decode(&token).unwrap(), place);
        }
        for bad in ["a", "a b", "====", "/w==", "_w"] {
            assert_eq!(decode(bad).unwrap_err().code, "BadRequest", "{bad}");
        }
    }

    #[test]
    fn the_link_keeps_the_query_and_replaces_the_token() {
        let query = [
            ("api-version", "2023-07-03"),
            ("$filter", "name eq 'x'"),
            ("$skipToken", "old"),
        ];
        let query = query.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            next_link("https://h:1/", "/subscriptions/s/resources", &query, "x"),
            "https://h:1/subscriptions/s/resources?api-version=2023-07-03&$filter=name%20eq%20%27x%27&$skiptoken=eA"
        );
    }
}
