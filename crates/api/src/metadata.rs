//! What clients read before they sign in: `/metadata/endpoints`, `OpenID` discovery, JWKS.
//!
//! Every URL is made from the host that the client used, so that the same server works under all
//! of its names. Source: `WIRE.md` 1.5 and 2, `CONVENTIONS.md` 1.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use axum::routing::get;
use engine::identity::SignInError;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::face::base_url;
use crate::handlers::platform_image;
use crate::state::ApiState;

/// The name under which clients file the cloud.
const CLOUD: &str = "Vitrine";

/// Returns the routes.
pub fn router() -> Router<ApiState> {
    Router::new()
        .route("/metadata/endpoints", get(endpoints))
        .route("/metadata/imageAliases", get(platform_image::aliases))
        .route(
            "/{tenant}/v2.0/.well-known/openid-configuration",
            get(discovery_v2),
        )
        .route(
            "/{tenant}/.well-known/openid-configuration",
            get(discovery_v1),
        )
        .route(
            "/adfs/.well-known/openid-configuration",
            get(discovery_adfs),
        )
        .route("/{tenant}/discovery/v2.0/keys", get(keys))
        .route("/{tenant}/discovery/keys", get(keys))
        .route("/common/userrealm/{user}", get(user_realm))
        .route("/common/discovery/instance", get(instance))
}

#[derive(Deserialize)]
struct Versioned {
    #[serde(rename = "api-version", default)]
    api_version: String,
}

/// GET /metadata/endpoints: one cloud, or a list of clouds, or the small form, by api-version.
async fn endpoints(Query(query): Query<Versioned>, request: Request) -> Response<Body> {
    let base = base_url(request.headers(), request.uri());
    let body = match query.api_version.as_str() {
        "" | "1.0" => small(&base),
        version if version < "2019" => small(&base),
        version if version < "2022" => json!([cloud(&base)]),
        _ => cloud(&base),
    };
    answer(StatusCode::OK, &body)
}

fn cloud(base: &str) -> Value {
    let authority = base.trim_start_matches("https://");
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    json!({
        "name": CLOUD,
        "portal": format!("{base}/portal"),
        "authentication": authentication(base),
        "resourceManager": format!("{base}/"),
        "graph": format!("{base}/"),
        "graphAudience": format!("{base}/"),
        "microsoftGraphResourceId": format!("{base}/graph/"),
        "gallery": format!("{base}/"),
        "vmImageAliasDoc": format!("{base}/metadata/imageAliases"),
        "suffixes": {
            "storage": authority,
            "keyVaultDns": format!("vault.{host}"),
            "mhsmDns": format!("mhsm.{host}"),
            "sqlServerHostname": format!("database.{host}"),
            "acrLoginServer": format!("acr.{host}"),
        },
    })
}

fn small(base: &str) -> Value {
    json!({
        "galleryEndpoint": format!("{base}/"),
        "graphEndpoint": format!("{base}/"),
        "graphAudience": format!("{base}/"),
        "portalEndpoint": format!("{base}/portal"),
        "authentication": authentication(base),
    })
}

/// `common` and `AAD` keep the clients of this form from taking us for Azure Stack.
fn authentication(base: &str) -> Value {
    json!({
        "loginEndpoint": format!("{base}/"),
        "audiences": [format!("{base}/"), base],
        "tenant": "common",
        "identityProvider": "AAD",
    })
}

async fn discovery_v2(
    State(state): State<ApiState>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response<Body> {
    discover(
        &state,
        &tenant,
        "v2.0/",
        base_url(request.headers(), request.uri()),
    )
    .await
}

async fn discovery_v1(
    State(state): State<ApiState>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response<Body> {
    discover(
        &state,
        &tenant,
        "",
        base_url(request.headers(), request.uri()),
    )
    .await
}

async fn discover(state: &ApiState, tenant: &str, dialect: &str, base: String) -> Response<Body> {
    match state.engine.tenant_of_path(tenant).await {
        Ok(tenant) => {
            let at = format!("{base}/{tenant}");
            answer(
                StatusCode::OK,
                &document(
                    &format!("{at}/v2.0"),
                    &format!("{at}/oauth2/{dialect}"),
                    &format!("{at}/discovery/v2.0/keys"),
                ),
            )
        }
        Err(SignInError::Unavailable) => answer(
            StatusCode::SERVICE_UNAVAILABLE,
            &refusal(&SignInError::Unavailable),
        ),
        Err(error) => answer(StatusCode::BAD_REQUEST, &refusal(&error)),
    }
}

fn refusal(error: &SignInError) -> Value {
    let word = if matches!(error, SignInError::UnknownTenant(_)) {
        "invalid_tenant"
    } else {
        error.error()
    };
    json!({ "error": word, "error_description": error.description(), "error_codes": [error.code()] })
}

async fn discovery_adfs(request: Request) -> Response<Body> {
    let base = base_url(request.headers(), request.uri());
    let at = format!("{base}/adfs");
    answer(
        StatusCode::OK,
        &document(
            &at,
            &format!("{at}/oauth2/"),
            &format!("{at}/discovery/keys"),
        ),
    )
}

/// `endpoints` ends with a slash.
fn document(issuer: &str, endpoints: &str, keys: &str) -> Value {
    json!({
        "issuer": issuer,
        "token_endpoint": format!("{endpoints}token"),
        "authorization_endpoint": format!("{endpoints}authorize"),
        "device_authorization_endpoint": format!("{endpoints}devicecode"),
        "jwks_uri": keys,
        "response_types_supported": ["id_token", "token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "private_key_jwt"],
        "grant_types_supported": [
            "client_credentials", "password", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code",
        ],
        "scopes_supported": ["openid", "profile", "offline_access"],
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "oid", "tid", "name", "preferred_username"],
        "request_uri_parameter_supported": false,
    })
}

/// GET /{tenant}/discovery/v2.0/keys: all tenants share the installation's keys.
async fn keys(State(state): State<ApiState>) -> Response<Body> {
    match state.engine.jwks().await {
        Ok(keys) => answer(StatusCode::OK, &keys),
        Err(error) => answer(crate::error::status(error.kind), &arm::error::body(&error)),
    }
}

/// GET /common/userrealm/{user}: nobody here is federated; whether the user exists is not said.
async fn user_realm(Path(user): Path<String>) -> Response<Body> {
    let domain = user.rsplit_once('@').map_or("", |(_, domain)| domain);
    answer(
        StatusCode::OK,
        &json!({
            "ver": "1.0",
            "account_type": "Managed",
            "domain_name": domain,
            "cloud_instance_name": CLOUD,
            "cloud_audience_urn": "urn:federation:vitrine",
        }),
    )
}

/// GET /common/discovery/instance: the only instance there is.
async fn instance(request: Request) -> Response<Body> {
    let base = base_url(request.headers(), request.uri());
    let host = base.trim_start_matches("https://");
    answer(
        StatusCode::OK,
        &json!({
            "tenant_discovery_endpoint": format!("{base}/organizations/v2.0/.well-known/openid-configuration"),
            "api-version": "1.1",
            "metadata": [{ "preferred_network": host, "preferred_cache": host, "aliases": [host] }],
        }),
    )
}

fn answer(status: StatusCode, body: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    response
}
