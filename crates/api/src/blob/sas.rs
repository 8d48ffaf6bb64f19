//! Shared access signatures: of one container or blob (`sr`), or of the account (`ss`, `srt`).

use domain::{Error, ErrorKind, Result};
use engine::blob::failure::{authentication_failed, not_permitted};
use engine::blob::{Level, SasRights, Session};
use jiff::Timestamp;

use super::call::Call;

/// Since when an encryption scope is signed.
const WITH_SCOPE: &str = "2020-12-06";
/// Since when resource and snapshot are signed.
const WITH_RESOURCE: &str = "2018-11-09";
/// The oldest version whose signatures are known.
const OLDEST: &str = "2015-04-05";

/// Returns the session of a request whose URL carries a SAS.
pub(super) async fn authenticate(call: &Call) -> Result<Session> {
    let field = |name: &str| call.option(name).unwrap_or_default();
    let version = field("sv");
    if version < OLDEST {
        return Err(authentication_failed(
            "The signature's version (sv) is missing or too old.",
        ));
    }
    if call.option("skoid").is_some() || call.option("sktid").is_some() {
        return Err(authentication_failed(
            "User delegation signatures are not offered by this server; sign with an account key, or send a bearer token.",
        ));
    }
    if call.option("si").is_some() {
        return Err(authentication_failed(
            "Stored access policies (si) are not offered by this server; put permissions and expiry into the signature.",
        ));
    }
    check_times(call)?;
    check_source(call)?;
    let (string, rights) = if call.option("ss").is_some() {
        of_account(call, version)?
    } else {
        of_service(call, version)?
    };
    call.engine
        .session_by_sas(&call.account, &[string], field("sig"), rights)
        .await
}

fn check_times(call: &Call) -> Result<()> {
    let now_ms = call.engine.now_ms();
    let time = |name: &str| -> Result<Option<i64>> {
        let Some(text) = call.option(name) else {
            return Ok(None);
        };
        parse_time(text)
            .map(Some)
            .ok_or_else(|| authentication_failed(format!("The time {name} cannot be read.")))
    };
    let expiry = time("se")?.ok_or_else(|| authentication_failed("The expiry (se) is missing."))?;
    if expiry <= now_ms {
        return Err(authentication_failed(
            "Signature not valid in the specified time frame: it has expired.",
        ));
    }
    if time("st")?.is_some_and(|start| start > now_ms) {
        return Err(authentication_failed(
            "Signature not valid in the specified time frame: it is not valid yet.",
        ));
    }
    Ok(())
}

/// Reads `2026-01-02`, `2026-01-02T03:04Z` and `2026-01-02T03:04:05.6789Z`.
fn parse_time(text: &str) -> Option<i64> {
    let whole = if text.len() == 10 {
        format!("{text}T00:00Z")
    } else {
        text.to_owned()
    };
    whole
        .parse::<Timestamp>()
        .ok()
        .map(Timestamp::as_millisecond)
}

/// `sip` cannot be checked behind a proxy and is refused; every connection is HTTPS, so `spr` always holds.
fn check_source(call: &Call) -> Result<()> {
    if call.option("sip").is_some() {
        return Err(not_permitted("AuthorizationSourceIPMismatch"));
    }
    match call.option("spr") {
        None | Some("https" | "https,http" | "http,https") => Ok(()),
        Some(_) => Err(not_permitted("AuthorizationProtocolMismatch")),
    }
}

fn of_account(call: &Call, version: &str) -> Result<(String, SasRights)> {
    let field = |name: &str| call.option(name).unwrap_or_default();
    if !field("ss").contains('b') {
        return Err(not_permitted("AuthorizationServiceMismatch"));
    }
    let levels = field("srt").chars().filter_map(|letter| match letter {
        's' => Some(Level::Service),
        'c' => Some(Level::Container),
        'o' => Some(Level::Object),
        _ => None,
    });
    let rights = SasRights {
        permissions: field("sp").to_owned(),
        levels: levels.collect(),
        container: None,
        blob: None,
    };
    let mut lines = vec![call.account.as_str()];
    lines.extend(["sp", "ss", "srt", "st", "se", "sip", "spr", "sv"].map(field));
    if version >= WITH_SCOPE {
        lines.push(field("ses"));
    }
    let string: String = lines.iter().map(|line| format!("{line}\n")).collect();
    Ok((string, rights))
}

fn of_service(call: &Call, version: &str) -> Result<(String, SasRights)> {
    let field = |name: &str| call.option(name).unwrap_or_default();
    let container = call
        .container
        .clone()
        .ok_or_else(|| not_permitted("AuthorizationResourceTypeMismatch"))?;
    let blob = match field("sr") {
        "c" => None,
        "b" => Some(
            call.blob
                .clone()
                .ok_or_else(|| not_permitted("AuthorizationResourceTypeMismatch"))?,
        ),
        other => {
            return Err(Error::new(
                ErrorKind::Forbidden,
                "AuthenticationFailed",
                format!(
                    "Signatures of the kind sr={} are not offered by this server; use sr=b or sr=c.",
                    other.chars().take(4).collect::<String>()
                ),
            ));
        }
    };
    let mut resource = format!("/blob/{}/{container}", call.account);
    if let Some(blob) = &blob {
        resource.push('/');
        resource.push_str(blob);
    }
    let mut lines = vec![
        field("sp"),
        field("st"),
        field("se"),
        &resource,
        field("si"),
        field("sip"),
        field("spr"),
        field("sv"),
    ];
    if version >= WITH_RESOURCE {
        lines.extend([field("sr"), ""]);
    }
    if version >= WITH_SCOPE {
        lines.push(field("ses"));
    }
    lines.extend(["rscc", "rscd", "rsce", "rscl", "rsct"].map(field));
    let rights = SasRights {
        permissions: field("sp").to_owned(),
        levels: Vec::new(),
        container: Some(container),
        blob,
    };
    Ok((lines.join("\n"), rights))
}
