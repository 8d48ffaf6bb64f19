//! Images of the marketplace, for consumers: publishers, offers, SKUs and versions.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::platform_image::deprecation;
use domain::{Error, Result};
use engine::{Listing, SeenSku, SeenVersion, Shelf};
use serde_json::Value;

use crate::reply::Reply;
use crate::request::Request;
use crate::state::ApiState;

/// GET …/publishers, …/offers or …/skus: a bare list.
pub(crate) async fn names(request: Request) -> Result<Reply> {
    let shelf = shelf(&request);
    let seen = request.engine.platform_names(&request.ctx, &shelf).await?;
    let items = seen.names.iter().map(|name| {
        let path = seen.path.iter().chain([name]);
        let path: Vec<&str> = path.map(String::as_str).collect();
        arm::platform_image::name(&shelf.subscription, &seen.region, &path)
    });
    Ok(Reply::ok(items.collect()))
}

/// GET …/versions, with `$top`, `$orderby` and `$expand`: a bare list.
pub(crate) async fn versions(request: Request) -> Result<Reply> {
    let shelf = shelf(&request);
    let listing = listing(&request)?;
    let is_expanded = is_expanded(&request)?;
    let seen = request
        .engine
        .platform_versions(&request.ctx, &shelf, listing)
        .await?;
    let items: Result<Vec<Value>> = seen
        .versions
        .iter()
        .map(|version| view(&request, &seen, version, is_expanded))
        .collect();
    Ok(Reply::ok(Value::Array(items?)))
}

/// GET one version.
pub(crate) async fn version(request: Request) -> Result<Reply> {
    let number = request.param("version");
    let seen = request
        .engine
        .platform_version(&request.ctx, &shelf(&request), number)
        .await?;
    let version = seen.versions.first().ok_or_else(Error::internal)?;
    Ok(Reply::ok(view(&request, &seen, version, true)?))
}

/// GET /metadata/imageAliases: no token, `az` asks before anybody signs in.
pub(crate) async fn aliases(State(state): State<ApiState>) -> Response {
    match state.engine.image_aliases().await {
        Ok(all) => {
            let all = all.iter().map(|image| {
                let (os_type, architecture) = (&image.os_type, &image.architecture);
                (
                    image.alias.as_str(),
                    &image.sku,
                    os_type.as_str(),
                    architecture.as_str(),
                )
            });
            Json(arm::platform_image::aliases(all)).into_response()
        }
        Err(error) => crate::error::status(error.kind).into_response(),
    }
}

fn shelf(request: &Request) -> Shelf {
    let names = ["publisher", "offer", "sku"].map(|name| request.param(name));
    let names = names.into_iter().filter(|name| !name.is_empty());
    Shelf {
        subscription: request.param("subscription").to_owned(),
        location: request.param("location").to_owned(),
        names: names.map(str::to_owned).collect(),
    }
}

fn view(
    request: &Request,
    seen: &SeenSku,
    version: &SeenVersion,
    is_expanded: bool,
) -> Result<Value> {
    let now_ms = request.engine.now_ms();
    let shown = arm::platform_image::Shown {
        definition: &seen.definition,
        number: version.row.id.name(),
        os_bytes: version.os_bytes,
        luns: &version.luns,
        deprecation: deprecation(&seen.definition, &version.row, now_ms)?,
    };
    let subscription = request.param("subscription");
    Ok(arm::platform_image::item(
        subscription,
        &seen.region,
        &seen.sku,
        &shown,
        is_expanded,
    ))
}

fn listing(request: &Request) -> Result<Listing> {
    let order = request.option("orderby").unwrap_or_default();
    let words: Vec<String> = order
        .split_whitespace()
        .map(str::to_ascii_lowercase)
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let is_descending = match words.as_slice() {
        [] | ["name"] | ["name", "asc"] => false,
        ["name", "desc"] => true,
        _ => return Err(invalid("$orderby", order, "'name asc' or 'name desc'")),
    };
    let top = match request.option("top") {
        None | Some("") => None,
        Some(text) => match text.parse() {
            Ok(top) if top > 0 => Some(top),
            _ => return Err(invalid("$top", text, "a positive number")),
        },
    };
    Ok(Listing { is_descending, top })
}

/// Whatever member is asked for, all are shown. Source: the answers that `az vm image list --all` reads.
fn is_expanded(request: &Request) -> Result<bool> {
    let Some(asked) = request.option("expand").filter(|asked| !asked.is_empty()) else {
        return Ok(false);
    };
    let first = asked.split('/').next().unwrap_or_default();
    match first.eq_ignore_ascii_case("properties") {
        true => Ok(true),
        false => Err(invalid("$expand", asked, "'properties'")),
    }
}

fn invalid(option: &str, value: &str, expected: &str) -> Error {
    let shown: String = value.chars().take(100).collect();
    Error::invalid_parameter(
        option,
        format!(
            "The value '{shown}' of the query option {option} is invalid: it must be {expected}."
        ),
    )
}
