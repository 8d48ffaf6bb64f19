//! The token service: tokens for programs and people, sign-in on another device, managed identity.
//!
//! Reads forms, calls the engine, answers in the words of OAuth. Source: `WIRE.md` 2.

mod device;
mod form;
mod local;
mod peer;
mod reply;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Response, header};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::identity::{
    Asked, Grant, Issued, SecretString, SignInError, SignInResult, TokenRequest,
};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::face::base_url;
use crate::state::ApiState;
use form::Form;
use reply::Context;

/// The longest a request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// What marks an assertion.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The grant of a device code.
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Which dialect of the token endpoint was called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// `resource`, numbers as texts.
    V1,
    /// `scope`.
    V2,
    /// Both, numbers as numbers, one endpoint for all tenants.
    Adfs,
}

/// Returns the routes.
pub fn router() -> Router<ApiState> {
    Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(token_v2))
        .route("/{tenant}/oauth2/token", post(token_v1))
        .route("/adfs/oauth2/token", post(token_adfs))
        .route("/{tenant}/oauth2/v2.0/devicecode", post(device::begin_v2))
        .route("/{tenant}/oauth2/devicecode", post(device::begin_v1))
        .route("/adfs/oauth2/devicecode", post(device::begin_adfs))
        .route("/devicelogin", get(device::page).post(device::submit))
        .route("/metadata/identity/oauth2/token", get(local::imds))
        .route("/msi/token", get(local::header))
}

async fn token_v2(
    State(state): State<ApiState>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response<Body> {
    serve(&state, &tenant, Dialect::V2, request).await
}

async fn token_v1(
    State(state): State<ApiState>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response<Body> {
    serve(&state, &tenant, Dialect::V1, request).await
}

async fn token_adfs(State(state): State<ApiState>, request: Request) -> Response<Body> {
    serve(&state, "adfs", Dialect::Adfs, request).await
}

async fn serve(
    state: &ApiState,
    tenant: &str,
    dialect: Dialect,
    request: Request,
) -> Response<Body> {
    let context = Context::of(&request, state.engine.now_ms());
    let answered = async {
        let (parts, body) = request.into_parts();
        let form = Form::read(body).await?;
        let asked = read_request(
            tenant,
            dialect,
            &parts.headers,
            &form,
            base_url(&parts.headers, &parts.uri),
        )?;
        state.engine.issue(asked).await
    };
    let outcome = tokio::time::timeout(REQUEST_LIMIT, answered).await;
    match outcome.unwrap_or(Err(SignInError::Unavailable)) {
        Ok(issued) => context.ok(&body(&issued, dialect)),
        Err(error) => {
            tracing::info!(tenant, error = %error.error(), code = error.code(), trace.id = %context.trace, "refused a sign-in");
            context.refuse(&error)
        }
    }
}

/// Reads who asks for what.
fn read_request(
    tenant: &str,
    dialect: Dialect,
    headers: &HeaderMap,
    form: &Form,
    base_url: String,
) -> SignInResult<TokenRequest> {
    let (basic_id, basic_secret) = match basic(headers)? {
        Some((id, secret)) => (Some(id), Some(secret)),
        None => (None, None),
    };
    let client_id = form
        .get("client_id")
        .map(str::to_owned)
        .or(basic_id)
        .ok_or(SignInError::Missing("client_id"))?;
    let secret = form.secret("client_secret").or(basic_secret);
    Ok(TokenRequest {
        tenant: tenant.to_owned(),
        base_url,
        client_id,
        asked: asked(dialect, form),
        grant: grant(form, secret)?,
    })
}

fn grant(form: &Form, secret: Option<SecretString>) -> SignInResult<Grant> {
    let missing = SignInError::Missing;
    match form.get("grant_type").ok_or(missing("grant_type"))? {
        "client_credentials" => match (form.secret("client_assertion"), secret) {
            (Some(assertion), _) if form.get("client_assertion_type") == Some(ASSERTION_TYPE) => {
                Ok(Grant::ClientAssertion(assertion))
            }
            (Some(_), _) => Err(SignInError::Malformed("client_assertion_type")),
            (None, Some(secret)) => Ok(Grant::ClientSecret(secret)),
            (None, None) => Err(SignInError::NoCredential("client_credentials")),
        },
        "password" => Ok(Grant::Password {
            username: form.get("username").ok_or(missing("username"))?.to_owned(),
            password: form.secret("password").ok_or(missing("password"))?,
        }),
        // Older clients of device codes send the code as `code`, with a short name of the grant.
        DEVICE_GRANT | "device_code" => {
            let code = form.secret("device_code").or_else(|| form.secret("code"));
            Ok(Grant::DeviceCode(code.ok_or(missing("device_code"))?))
        }
        "refresh_token" => Ok(Grant::RefreshToken(
            form.secret("refresh_token")
                .ok_or(missing("refresh_token"))?,
        )),
        other => Err(SignInError::UnsupportedGrant(
            other
                .chars()
                .filter(|c| !c.is_control())
                .take(100)
                .collect(),
        )),
    }
}

/// Reads what a token is asked for; each dialect understands the other's word.
fn asked(dialect: Dialect, form: &Form) -> Asked {
    let resource = form.get("resource").map(Asked::from_resource);
    let scope = form.get("scope").map(Asked::from_scope);
    match dialect {
        // A v1 scope is only `openid`: the audience is the resource.
        Dialect::V1 => resource.or(scope).unwrap_or_default(),
        Dialect::V2 | Dialect::Adfs => {
            let scope = scope.unwrap_or_default();
            if scope.resource.is_some() {
                scope
            } else {
                resource.unwrap_or(scope)
            }
        }
    }
}

/// Reads HTTP Basic; both halves are form-encoded (RFC 6749, 2.3.1).
fn basic(headers: &HeaderMap) -> SignInResult<Option<(String, SecretString)>> {
    const MALFORMED: SignInError = SignInError::Malformed("Authorization");
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let value = value.to_str().map_err(|_| MALFORMED)?;
    let Some((_, encoded)) = value
        .split_once(' ')
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
    else {
        return Ok(None);
    };
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| MALFORMED)?;
    let pair = String::from_utf8(decoded).map_err(|_| MALFORMED)?;
    let (id, secret) = pair.split_once(':').ok_or(MALFORMED)?;
    let decode = |text: &str| -> SignInResult<String> {
        let text = percent_decode_str(text)
            .decode_utf8()
            .map_err(|_| MALFORMED)?;
        Ok(text.into_owned())
    };
    Ok(Some((decode(id)?, decode(secret)?.into())))
}

fn body(issued: &Issued, dialect: Dialect) -> Value {
    // One second less: the client's clock starts when the answer arrives.
    let expires_in = issued.expires_in_s - 1;
    let number = |n: i64| {
        if dialect == Dialect::V1 {
            json!(n.to_string())
        } else {
            json!(n)
        }
    };
    let mut out = Map::new();
    out.insert("token_type".to_owned(), json!("Bearer"));
    if !issued.scope.is_empty() {
        out.insert("scope".to_owned(), json!(issued.scope));
    }
    out.insert("expires_in".to_owned(), number(expires_in));
    out.insert("ext_expires_in".to_owned(), number(expires_in));
    if dialect != Dialect::V2 {
        out.insert(
            "expires_on".to_owned(),
            number(issued.issued_s + issued.expires_in_s),
        );
        out.insert("not_before".to_owned(), number(issued.issued_s));
        out.insert("resource".to_owned(), json!(issued.resource));
    }
    out.insert("access_token".to_owned(), json!(issued.access_token));
    let optional = [
        ("refresh_token", &issued.refresh_token),
        ("id_token", &issued.id_token),
        ("client_info", &issued.client_info),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            out.insert(name.to_owned(), json!(value));
        }
    }
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_form_encoded_and_other_schemes_are_not_read() {
        let mut headers = HeaderMap::new();
        assert!(basic(&headers).unwrap().is_none());
        let value = format!("Basic {}", STANDARD.encode("app%2D1:s%3Ae"));
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        let (id, _) = basic(&headers).unwrap().unwrap();
        assert_eq!(id, "app-1");
        headers.insert(header::AUTHORIZATION, "Bearer x".parse().unwrap());
        assert!(basic(&headers).unwrap().is_none());
        headers.insert(header::AUTHORIZATION, "Basic !".parse().unwrap());
        assert!(basic(&headers).is_err());
    }
}
