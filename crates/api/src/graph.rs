//! The directory face: what clients look up about principals before they assign roles.
//!
//! Read only, own tenant only. `/metadata/endpoints` sends clients to `/graph/`, whose tokens have a
//! class of their own; `/v1.0/` is for clients that were told the bare host, for which a token of the
//! resource manager is the only one they can get. Source: `WIRE.md` 4.7.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use axum::routing::any;
use domain::directory::Lookup;
use domain::{Error, ErrorKind, Result};
use engine::identity::{AudienceClass, Principal, PrincipalKind};
use engine::{Caller, Engine};
use serde_json::{Value, json};

use crate::face::{base_url, bearer, clean_path, parse_query, read_body};
use crate::state::ApiState;

/// The most ids of one `getByIds`.
const IDS_MAX: usize = 1000;
const PROGRAMS: [PrincipalKind; 2] = [
    PrincipalKind::ServicePrincipal,
    PrincipalKind::ManagedIdentity,
];
const ANYBODY: [PrincipalKind; 4] = [
    PrincipalKind::User,
    PrincipalKind::ServicePrincipal,
    PrincipalKind::ManagedIdentity,
    PrincipalKind::Group,
];

/// Returns the routes.
pub fn router() -> Router<ApiState> {
    Router::new()
        .route("/graph/v1.0/{*path}", any(serve))
        .route("/v1.0/{*path}", any(serve))
}

async fn serve(State(state): State<ApiState>, request: Request) -> Response<Body> {
    let (status, body) = match handle(&state.engine, request).await {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => (
            crate::error::status(error.kind),
            json!({ "error": { "code": error.code, "message": error.message } }),
        ),
    };
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer error=\"invalid_token\""),
        );
    }
    response
}

async fn handle(engine: &Engine, request: Request) -> Result<Value> {
    let (parts, body) = request.into_parts();
    let path = clean_path(parts.uri.path())?;
    let caller = caller(engine, bearer(&parts.headers)?, &path).await?;
    let local = path
        .split_once("/v1.0/")
        .map_or("", |(_, local)| local)
        .to_owned();
    let query = parse_query(parts.uri.query().unwrap_or_default())?;
    let filter = query
        .iter()
        .find(|(name, _)| name == "filter")
        .map_or("", |(_, text)| text.as_str());
    let segments: Vec<&str> = local.split('/').collect();
    let base = base_url(&parts.headers, &parts.uri);
    if parts.method == Method::POST {
        return match segments.as_slice() {
            ["directoryObjects", "getByIds"] => {
                let body = read_body(body).await?;
                by_ids(engine, &caller, &body, &base).await
            }
            _ => Err(no_route()),
        };
    }
    if parts.method != Method::GET {
        return Err(no_route());
    }
    match segments.as_slice() {
        ["me"] => one(engine, &caller, &ANYBODY, &caller.object_id).await,
        ["groups", group, "members"] => {
            let members = engine.look_up_members(&caller, group).await?;
            let members = members.ok_or_else(|| missing(group))?;
            Ok(list(&base, &members))
        }
        [set] => {
            let lookup = arm::directory::filter(filter).ok_or_else(|| {
                Error::new(
                    ErrorKind::Invalid,
                    "Request_UnsupportedQuery",
                    "This $filter is not supported. Compare userPrincipalName, displayName, appId or id with a text.",
                )
            })?;
            let found = engine.look_up(&caller, kinds(set)?, &lookup).await?;
            Ok(list(&base, &found))
        }
        [set, id] => one(engine, &caller, kinds(set)?, id).await,
        _ => Err(no_route()),
    }
}

async fn caller(engine: &Engine, token: &str, path: &str) -> Result<Caller> {
    match engine.authenticate_for(token, AudienceClass::Graph).await {
        Err(_) if path.starts_with("/v1.0/") => engine.authenticate(token).await,
        other => other,
    }
}

fn kinds(set: &str) -> Result<&'static [PrincipalKind]> {
    match set {
        "users" => Ok(&[PrincipalKind::User]),
        "servicePrincipals" => Ok(&PROGRAMS),
        "groups" => Ok(&[PrincipalKind::Group]),
        "directoryObjects" => Ok(&ANYBODY),
        _ => Err(no_route()),
    }
}

async fn one(engine: &Engine, caller: &Caller, kinds: &[PrincipalKind], id: &str) -> Result<Value> {
    let lookup = match id.contains('@') {
        true => Lookup::UserName(id.to_owned()),
        false => Lookup::Id(id.to_owned()),
    };
    let found = engine.look_up(caller, kinds, &lookup).await?;
    found.first().map(view).ok_or_else(|| missing(id))
}

async fn by_ids(engine: &Engine, caller: &Caller, body: &[u8], base: &str) -> Result<Value> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let ids = body.get("ids").and_then(Value::as_array);
    let ids = ids.filter(|ids| ids.len() <= IDS_MAX).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            "Request_BadRequest",
            format!("The property 'ids' must be a list of at most {IDS_MAX} ids."),
        )
    })?;
    let ids: Vec<String> = ids
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let found = engine.look_up_ids(caller, &ids).await?;
    Ok(list(base, &found))
}

fn list(base: &str, found: &[Principal]) -> Value {
    let value: Vec<Value> = found.iter().map(view).collect();
    json!({
        "@odata.context": format!("{base}/graph/v1.0/$metadata#directoryObjects"),
        "value": value,
    })
}

fn view(principal: &Principal) -> Value {
    let (id, name) = (&principal.object_id, &principal.name);
    match principal.kind {
        PrincipalKind::User => json!({
            "@odata.type": "#microsoft.graph.user",
            "id": id,
            "displayName": name,
            "userPrincipalName": name,
            "mail": null,
            "accountEnabled": principal.enabled,
        }),
        PrincipalKind::Group => json!({
            "@odata.type": "#microsoft.graph.group",
            "id": id,
            "displayName": name,
            "securityEnabled": true,
            "mailEnabled": false,
        }),
        PrincipalKind::ServicePrincipal | PrincipalKind::ManagedIdentity => json!({
            "@odata.type": "#microsoft.graph.servicePrincipal",
            "id": id,
            "displayName": name,
            "appId": principal.app_id,
            "appDisplayName": name,
            "servicePrincipalNames": [principal.app_id],
            "servicePrincipalType": match principal.kind {
                PrincipalKind::ManagedIdentity => "ManagedIdentity",
                _ => "Application",
            },
            "accountEnabled": principal.enabled,
        }),
    }
}

fn missing(id: &str) -> Error {
    let shown: String = id.chars().take(200).collect();
    Error::not_found(
        "Request_ResourceNotFound",
        format!(
            "Resource '{shown}' does not exist or one of its queried reference-property objects are not present."
        ),
    )
}

fn no_route() -> Error {
    Error::not_found(
        "Request_ResourceNotFound",
        "This part of the directory is not served: users, servicePrincipals, groups and directoryObjects/getByIds are.",
    )
}
