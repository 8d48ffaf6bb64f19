//! The questions that clients ask the directory. Source: `WIRE.md` 4.7.

use domain::directory::Lookup;

use crate::authorization::quoted;
use crate::filter::FILTER_BYTES_MAX;

/// Reads a `$filter` over principals; `None` for a form that is not known.
///
/// ```text
/// userPrincipalName | displayName | id | appId eq 'text' · startswith(displayName,'text')
/// servicePrincipalNames/any(c:c eq 'text')
/// ```
pub fn filter(text: &str) -> Option<Lookup> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Lookup::All);
    }
    if text.len() > FILTER_BYTES_MAX {
        return None;
    }
    let compact: String = text.chars().filter(|c| *c != ' ').collect();
    if let Some(rest) = strip(&compact, "servicePrincipalNames/any(c:ceq") {
        return Some(Lookup::ServiceName(whole(rest, ")")?));
    }
    if let Some(rest) = strip(text, "startswith(displayName,") {
        return Some(Lookup::StartsWith(whole(rest.trim_start(), ")")?));
    }
    let (field, rest) = text.split_once(' ')?;
    let text = whole(strip(rest.trim_start(), "eq ")?.trim_start(), "")?;
    match field.to_ascii_lowercase().as_str() {
        "userprincipalname" | "mail" => Some(Lookup::UserName(text)),
        "displayname" => Some(Lookup::DisplayName(text)),
        "id" => Some(Lookup::Id(text)),
        "appid" => Some(Lookup::ServiceName(text)),
        _ => None,
    }
}

/// Strips a prefix, whatever its case.
fn strip<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Reads `'text'` that is followed by `end` and nothing else.
fn whole(text: &str, end: &str) -> Option<String> {
    let (text, rest) = quoted(text)?;
    (rest.trim() == end).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_az_asks_is_understood_and_nothing_else_is_guessed() {
        let text = |t: &str| t.to_owned();
        for (asked, lookup) in [
            ("", Some(Lookup::All)),
            (
                "userPrincipalName eq 'ada@x'",
                Some(Lookup::UserName(text("ada@x"))),
            ),
            (
                "servicePrincipalNames/any(c:c eq 'a-b')",
                Some(Lookup::ServiceName(text("a-b"))),
            ),
            (
                "displayName eq 'o''b'",
                Some(Lookup::DisplayName(text("o'b"))),
            ),
            (
                "startswith(displayName,'te am')",
                Some(Lookup::StartsWith(text("te am"))),
            ),
            ("appId eq 'x'", Some(Lookup::ServiceName(text("x")))),
            ("id eq 'x'", Some(Lookup::Id(text("x")))),
            ("displayName eq 'a' or id eq 'b'", None),
            ("passwordHash eq 'x'", None),
            ("displayName eq", None),
            ("é", None),
        ] {
            assert_eq!(filter(asked), lookup, "{asked}");
        }
    }
}
