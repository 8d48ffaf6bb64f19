//! `SharedKey` and `SharedKeyLite`: what the client signed, put together again.

use std::cmp::Ordering;

use domain::Result;
use engine::blob::Session;
use engine::blob::failure::authentication_failed;

use super::call::Call;
use super::reply::parse_date;

/// How far a request's date may be from the clock, in milliseconds.
const SKEW_MS: i64 = 15 * 60 * 1000;
/// Headers that are signed by position.
const SIGNED: [&str; 11] = [
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// Returns the session of a signed request.
pub(super) async fn authenticate(call: &Call, scheme: &str, rest: &str) -> Result<Session> {
    let (account, signature) = rest
        .split_once(':')
        .ok_or_else(|| authentication_failed("The header is malformed."))?;
    if !account.eq_ignore_ascii_case(&call.account) {
        return Err(authentication_failed("The key is that of another account."));
    }
    check_date(call)?;
    let strings = match scheme {
        "SharedKey" => full(call, account)?,
        "SharedKeyLite" => lite(call, account)?,
        _ => return Err(authentication_failed("The scheme is not known.")),
    };
    call.engine
        .session_by_key(&call.account, &strings, signature)
        .await
}

fn check_date(call: &Call) -> Result<()> {
    let sent = match call.header("x-ms-date")? {
        Some(date) => Some(date),
        None => call.header("date")?,
    };
    let at = sent
        .and_then(parse_date)
        .ok_or_else(|| authentication_failed("The request has no valid date."))?;
    if at.abs_diff(call.engine.now_ms()) > SKEW_MS.unsigned_abs() {
        return Err(authentication_failed(
            "The request's date is too far from the server's clock.",
        ));
    }
    Ok(())
}

fn full(call: &Call, account: &str) -> Result<Vec<String>> {
    let mut head = format!("{}\n", call.method);
    for name in SIGNED {
        let value = call.header(name)?.unwrap_or_default();
        let is_left_out = (name == "content-length" && value == "0")
            || (name == "date" && call.headers.contains_key("x-ms-date"));
        head.push_str(if is_left_out { "" } else { value });
        head.push('\n');
    }
    let resource = format!("/{account}{}{}", call.raw_path, signed_query(call));
    Ok(with_headers(call, &head, &resource))
}

fn lite(call: &Call, account: &str) -> Result<Vec<String>> {
    let mut head = format!("{}\n", call.method);
    for name in ["content-md5", "content-type", "date"] {
        let is_left_out = name == "date" && call.headers.contains_key("x-ms-date");
        head.push_str(if is_left_out {
            ""
        } else {
            call.header(name)?.unwrap_or_default()
        });
        head.push('\n');
    }
    let comp = call
        .option("comp")
        .map(|comp| format!("?comp={comp}"))
        .unwrap_or_default();
    Ok(with_headers(
        call,
        &head,
        &format!("/{account}{}{comp}", call.raw_path),
    ))
}

/// Clients sort `x-ms-` headers by bytes or, as the service does, with hyphens counting last.
fn with_headers(call: &Call, head: &str, resource: &str) -> Vec<String> {
    let mut headers: Vec<(&str, &str)> = call
        .headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-ms-"))
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default().trim()))
        .collect();
    let join = |headers: &[(&str, &str)]| {
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        format!("{head}{lines}{resource}")
    };
    headers.sort_by(|a, b| a.0.cmp(b.0));
    let by_bytes = join(&headers);
    headers.sort_by(|a, b| by_weight(a.0, b.0));
    let by_weight = join(&headers);
    if by_bytes == by_weight {
        vec![by_bytes]
    } else {
        vec![by_bytes, by_weight]
    }
}

/// Underscores before digits before letters; hyphens decide only between names alike without them.
fn by_weight(a: &str, b: &str) -> Ordering {
    let bare = |name: &str| name.replace('-', "");
    let weigh = |name: &str| -> Vec<(bool, u8)> {
        bare(name)
            .bytes()
            .map(|byte| (byte.is_ascii_alphanumeric(), byte))
            .collect()
    };
    weigh(a)
        .cmp(&weigh(b))
        .then_with(|| b.find('-').cmp(&a.find('-')))
        .then_with(|| b.cmp(a))
}

fn signed_query(call: &Call) -> String {
    let mut options: Vec<(String, &str)> = call
        .query
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
        .collect();
    options.sort();
    options
        .iter()
        .map(|(name, value)| format!("\n{name}:{value}"))
        .collect()
}
