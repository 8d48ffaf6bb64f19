//! Which proof a request carries; exactly one is used.

use domain::{Error, ErrorKind, Result};
use engine::blob::Session;
use engine::blob::failure::authentication_failed;

use super::call::Call;
use super::{sas, shared_key};

/// Returns the session of a request, or why there is none.
pub(super) async fn authenticate(call: &Call) -> Result<Session> {
    let session = verify(call).await?;
    Ok(session.seen_from(&call.client, call.request_id))
}

async fn verify(call: &Call) -> Result<Session> {
    let header = call.header("authorization")?;
    let is_signed = call.option("sig").is_some();
    match header {
        Some(_) if is_signed => Err(authentication_failed(
            "The request carries both an Authorization header and a shared access signature.",
        )),
        Some(header) => {
            let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                return call
                    .engine
                    .session_by_token(&call.account, rest.trim(), &call.base_url)
                    .await;
            }
            shared_key::authenticate(call, scheme, rest.trim()).await
        }
        None if is_signed => sas::authenticate(call).await,
        None => Err(no_proof(call)),
    }
}

fn no_proof(call: &Call) -> Error {
    let challenge = format!(
        "Bearer authorization_uri={}/common/oauth2/authorize resource_id=https://storage.azure.com",
        call.base_url
    );
    Error::new(
        ErrorKind::Unauthenticated,
        "NoAuthenticationInformation",
        "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.",
    )
    .at(challenge)
}
