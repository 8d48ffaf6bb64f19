//! The one query of the Resource Graph that is served: public galleries. Source: `WIRE.md` 4.2.
//!
//! ```text
//! communitygalleryresources
//! | where type == 'microsoft.compute/locations/communitygalleries'
//! | where location == 'eastus' | where name == 'acme-…'
//! ```
//! Anything else is refused with what is served, never answered in part.

use domain::{Error, ErrorKind, Result};
use serde_json::Value;

const TABLE: &str = "communitygalleryresources";
const TYPE: &str = "microsoft.compute/locations/communitygalleries";
const QUERY_BYTES_MAX: usize = 4096;
const PAGE_MAX: u64 = 1000;

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only in this region.
    pub location: Option<String>,
    /// Only of this public name.
    pub name: Option<String>,
    /// The most rows of one answer.
    pub top: usize,
    /// How many rows were answered before.
    pub skip: usize,
}

/// Reads the body of a query.
pub fn read(body: &Value) -> Result<Query> {
    let text = body
        .get("query")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut query = parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(200).collect();
        Error::new(
            ErrorKind::Invalid,
            "InvalidQuery",
            format!(
                "The query '{shown}' is not served. This server answers: {TABLE} | where type == '{TYPE}' \
                 [| where location == '…'] [| where name == '…']."
            ),
        )
    })?;
    let option = |name: &str| body.get("options").and_then(|o| o.get(name));
    let top = option("$top").and_then(Value::as_u64).unwrap_or(PAGE_MAX);
    query.top = usize::try_from(top.clamp(1, PAGE_MAX)).unwrap_or(1);
    if let Some(token) = option("$skipToken")
        .and_then(Value::as_str)
        .filter(|t| !t.is_empty())
    {
        let skip = crate::paging::decode(token)?;
        query.skip = skip
            .parse()
            .map_err(|_| Error::bad_request("The $skipToken is not one that this server gave."))?;
    }
    Ok(query)
}

fn parse(text: &str) -> Option<Query> {
    if text.len() > QUERY_BYTES_MAX {
        return None;
    }
    let mut parts = text.split('|').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(TABLE) {
        return None;
    }
    let mut query = Query::default();
    let mut has_type = false;
    for part in parts {
        let (word, rest) = part.split_once(' ')?;
        let (field, value) = rest.split_once("==").or_else(|| rest.split_once("=~"))?;
        let value = value.trim().trim_end_matches(';').trim_end();
        let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
        if !word.eq_ignore_ascii_case("where") || value.contains(['\'', '\\']) {
            return None;
        }
        match field.trim().to_ascii_lowercase().as_str() {
            "type" if value.eq_ignore_ascii_case(TYPE) => has_type = true,
            "location" if query.location.is_none() => query.location = Some(value.to_owned()),
            "name" if query.name.is_none() => query.name = Some(value.to_owned()),
            _ => return None,
        }
    }
    has_type.then_some(query)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_queries_of_az_are_served_and_no_other() {
        let table = "communitygalleryresources| where type == 'microsoft.compute/locations/communitygalleries' ";
        let found = |location: Option<&str>, name: Option<&str>| {
            Some((location.map(str::to_owned), name.map(str::to_owned)))
        };
        for (text, parsed) in [
            (table.to_owned(), found(None, None)),
            (
                format!("{table}| where location == 'eastus' "),
                found(Some("eastus"), None),
            ),
            (
                format!("{table}| where name =~ 'acme-1'"),
                found(None, Some("acme-1")),
            ),
            ("communitygalleryresources".to_owned(), None),
            ("resources | where type == 'x'".to_owned(), None),
            (
                format!("{table}| where location == 'a' or name == 'b'"),
                None,
            ),
            (format!("{table}| project name"), None),
            (format!("{table}| where location != 'eastus'"), None),
            (
                format!("{table}| where location == 'a' | where location == 'b'"),
                None,
            ),
            (String::new(), None),
        ] {
            let query = parse(&text);
            assert_eq!(query.map(|q| (q.location, q.name)), parsed, "{text}");
        }
        let read = read(&json!({ "query": table, "options": { "$top": 30 } })).unwrap();
        assert_eq!((read.top, read.skip), (30, 0));
    }
}
