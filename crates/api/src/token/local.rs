//! Managed identity: tokens for programs on this machine.
//!
//! Only a connection from this machine to a local name counts, and only when no proxy has passed
//! it on. The metadata form also needs its header, which a browser cannot send to a stranger; the
//! other two need the secret of the installation.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Response};
use engine::identity::{
    LocalIdentity, LocalRequest, SecretString, SignInError, SignInResult, is_loopback,
};
use serde_json::{Value, json};

use super::form::Form;
use super::peer::is_other_user;
use super::reply::Context;
use crate::face::base_url;
use crate::state::ApiState;

/// Headers that only a proxy adds.
const PROXY_HEADERS: [&str; 5] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-real-ip",
    "via",
];

/// GET /metadata/identity/oauth2/token: the form of virtual machines.
pub(super) async fn imds(State(state): State<ApiState>, request: Request) -> Response<Body> {
    let context = Context::of(&request, state.engine.now_ms());
    let (parts, _) = request.into_parts();
    let given = async {
        check_local(&parts)?;
        let marked = parts
            .headers
            .get("metadata")
            .is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"true"));
        if !marked {
            return Err(SignInError::Missing("Metadata: true"));
        }
        let peer = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|peer| peer.0);
        if peer.is_some_and(is_other_user) {
            return Err(SignInError::NotLocal(
                " of the user that runs the server, or of root",
            ));
        }
        issue(&state, &parts).await
    };
    answer(&context, given.await)
}

/// GET /msi/token: the forms of 2017-09-01 and 2019-08-01, each with its header.
pub(super) async fn header(State(state): State<ApiState>, request: Request) -> Response<Body> {
    let context = Context::of(&request, state.engine.now_ms());
    let (parts, _) = request.into_parts();
    let given = async {
        check_local(&parts)?;
        let secret = secret(&parts.headers).ok_or(SignInError::NotLocal(
            " that show the secret of the installation in the header 'X-IDENTITY-HEADER' or 'secret'",
        ))?;
        if !state.engine.is_identity_secret(&secret).await? {
            return Err(SignInError::NotLocal(" that show the right secret"));
        }
        issue(&state, &parts).await
    };
    answer(&context, given.await)
}

fn answer(context: &Context, given: SignInResult<LocalIdentity>) -> Response<Body> {
    match given {
        Ok(local) => context.ok(&body(&local)),
        Err(error) => {
            tracing::info!(error = %error, trace.id = %context.trace, "refused a local program");
            context.refuse(&error)
        }
    }
}

async fn issue(state: &ApiState, request: &Parts) -> SignInResult<LocalIdentity> {
    let query = Form::parse(request.uri.query().unwrap_or_default())?;
    let resource = query
        .get("resource")
        .ok_or(SignInError::Missing("resource"))?;
    let names = [
        "client_id",
        "clientid",
        "object_id",
        "principal_id",
        "msi_res_id",
        "mi_res_id",
    ];
    let asked = LocalRequest {
        base_url: base_url(&request.headers, &request.uri),
        resource: resource.to_owned(),
        identity: names
            .iter()
            .find_map(|name| query.get(name))
            .map(str::to_owned),
    };
    state.engine.issue_local(&asked).await
}

fn check_local(request: &Parts) -> SignInResult<()> {
    let peer = request.extensions.get::<ConnectInfo<SocketAddr>>();
    if !peer.is_some_and(|peer| peer.0.ip().to_canonical().is_loopback()) {
        return Err(SignInError::NotLocal(""));
    }
    if PROXY_HEADERS
        .iter()
        .any(|name| request.headers.contains_key(*name))
    {
        return Err(SignInError::NotLocal(
            ", not requests that a proxy has passed on",
        ));
    }
    let base = base_url(&request.headers, &request.uri).to_ascii_lowercase();
    let authority = base.trim_start_matches("https://");
    let host = authority
        .rsplit_once(':')
        .filter(|(_, port)| !port.ends_with(']'))
        .map_or(authority, |(host, _)| host);
    if is_loopback(host) {
        Ok(())
    } else {
        Err(SignInError::NotLocal(" under the name localhost"))
    }
}

fn secret(headers: &HeaderMap) -> Option<SecretString> {
    let value = headers
        .get("x-identity-header")
        .or_else(|| headers.get("secret"))?;
    value
        .to_str()
        .ok()
        .map(|text| SecretString::from(text.to_owned()))
}

/// Numbers are texts in this form.
fn body(local: &LocalIdentity) -> Value {
    let issued = &local.issued;
    json!({
        "access_token": issued.access_token,
        "client_id": local.client_id,
        "expires_in": (issued.expires_in_s - 1).to_string(),
        "expires_on": (issued.issued_s + issued.expires_in_s).to_string(),
        "ext_expires_in": (issued.expires_in_s - 1).to_string(),
        "not_before": issued.issued_s.to_string(),
        "resource": issued.resource,
        "token_type": "Bearer",
    })
}
