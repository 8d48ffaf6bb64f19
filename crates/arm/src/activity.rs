//! The activity log: its filter, and events as clients read them.

use domain::audit::Entry;
use domain::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use crate::filter::FILTER_BYTES_MAX;
use crate::time::{format_zulu, parse};

/// One comparison of a filter: a field in lower case, its operator (`ge`, `le`, `eq`) and the text.
pub type Comparison = (String, String, String);

/// Reads `field op value` joined by `and`; values with or without quotes.
pub fn filter(text: &str) -> Result<Vec<Comparison>> {
    let invalid = || {
        let shown: String = text.chars().take(200).collect();
        Error::new(
            ErrorKind::Invalid,
            "BadRequest",
            format!(
                "The $filter '{shown}' is not supported: use eventTimestamp ge … and eventTimestamp le … [and one more field eq '…']."
            ),
        )
    };
    if text.len() > FILTER_BYTES_MAX {
        return Err(invalid());
    }
    let mut all = Vec::new();
    for part in text.split(" and ").map(str::trim).filter(|p| !p.is_empty()) {
        let mut words = part.splitn(3, ' ');
        let (Some(field), Some(operator), Some(value)) = (words.next(), words.next(), words.next())
        else {
            return Err(invalid());
        };
        let value = value.trim();
        let value = value
            .strip_prefix('\'')
            .and_then(|v| v.strip_suffix('\''))
            .unwrap_or(value);
        let (field, operator) = (field.to_ascii_lowercase(), operator.to_ascii_lowercase());
        let is_known = match field.as_str() {
            "eventtimestamp" => matches!(operator.as_str(), "ge" | "le") && time(value).is_some(),
            "resourcegroupname" | "resourceid" | "resourceuri" | "resourceprovider"
            | "correlationid" | "caller" | "status" => operator == "eq",
            // Sent by clients to say what there is anyway.
            "eventchannels" | "levels" => operator == "eq",
            _ => false,
        };
        if !is_known || value.contains('\'') {
            return Err(invalid());
        }
        all.push((field, operator, value.to_owned()));
    }
    Ok(all)
}

/// Reads a time of a filter; one without a zone is UTC.
pub fn time(text: &str) -> Option<i64> {
    // A plus that was not encoded arrived as a space.
    let text = text.replace(' ', "+");
    parse(&text).or_else(|| parse(&format!("{text}Z")))
}

/// Returns an event.
pub fn event(entry: &Entry) -> Value {
    let named = |value: &str| json!({ "value": value, "localizedValue": value });
    let (status, level) = match entry.code.as_str() {
        "" => ("Succeeded", "Informational"),
        _ => ("Failed", "Error"),
    };
    let at = format_zulu(entry.at_ms);
    let provider = entry.action.split('/').next().unwrap_or_default();
    let type_name = entry
        .action
        .rsplit_once('/')
        .map_or("", |(head, last)| match last {
            "action" => head
                .rsplit_once('/')
                .map_or(head, |(type_name, _)| type_name),
            _ => head,
        });
    let group = entry.scope.split('/').nth(4).unwrap_or_default();
    let method = match entry.action.rsplit('/').next() {
        Some("write") => "PUT",
        Some("delete") => "DELETE",
        Some("read") => "GET",
        _ => "POST",
    };
    let id = format!(
        "{}/events/{:016x}",
        entry.scope.trim_end_matches('/'),
        entry.sequence
    );
    json!({
        "authorization": { "action": entry.action, "scope": entry.scope },
        "caller": entry.caller,
        "category": named("Administrative"),
        "claims": {
            "appid": entry.caller,
            "http://schemas.microsoft.com/identity/claims/objectidentifier": entry.principal,
            "http://schemas.microsoft.com/identity/claims/tenantid": entry.tenant,
        },
        "correlationId": entry.correlation,
        "description": "",
        "eventDataId": format!("{:032x}", entry.sequence),
        "eventName": named("EndRequest"),
        "eventTimestamp": at,
        "httpRequest": { "clientRequestId": entry.correlation, "clientIpAddress": entry.client, "method": method },
        "id": id,
        "level": level,
        "operationId": entry.correlation,
        "operationName": named(&entry.action),
        "properties": {
            "statusCode": entry.code,
            "beforeDigest": entry.before,
            "afterDigest": entry.after,
            "entity": entry.scope,
            "repeats": entry.repeats.to_string(),
        },
        "resourceGroupName": group,
        "resourceId": entry.scope,
        "resourceProviderName": named(provider),
        "resourceType": named(type_name),
        "status": named(status),
        "subStatus": named(&entry.code),
        "submissionTimestamp": at,
        "subscriptionId": entry.subscription,
        "tenantId": entry.tenant,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_of_az_are_understood_and_nothing_else_is_guessed() {
        let times = "eventTimestamp ge 2026-11-24T00:44:30.123456 and eventTimestamp le 2026-11-25T00:44:30Z";
        for (text, fields) in [
            ("", Some(0)),
            (times, Some(2)),
            (&format!("{times} and resourceGroupName eq 'rg'"), Some(3)),
            (
                &format!("{times} and caller eq 'ada' and status eq 'Failed'"),
                Some(4),
            ),
            ("eventTimestamp ge '2026-11-24'", Some(1)),
            ("eventTimestamp ge yesterday", None),
            ("eventTimestamp eq 2026-11-24", None),
            ("principal eq 'x'", None),
            ("caller ne 'x'", None),
            ("caller eq 'x' or caller eq 'y'", None),
        ] {
            assert_eq!(filter(text).ok().map(|all| all.len()), fields, "{text}");
        }
        assert_eq!(
            time("2026-11-24T00:00:00 00:00"),
            time("2026-11-24T00:00:00")
        );
    }
}
