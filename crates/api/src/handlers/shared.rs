//! Shared and public galleries, for their consumers. Source: `API.md` 9.

use domain::Result;
use domain::shared_image::Door;
use engine::{Place, SeenGallery};
use serde_json::{Value, json};

use super::resource::{page_token, with_next};
use crate::reply::Reply;
use crate::request::Request;

/// GET …/sharedGalleries[?sharedTo=tenant].
pub(crate) async fn list(request: Request) -> Result<Reply> {
    let to_tenant = request
        .option("sharedto")
        .is_some_and(|to| to.eq_ignore_ascii_case("tenant"));
    let seen = request
        .engine
        .list_shared_galleries(&request.ctx, &place(&request), to_tenant)
        .await?;
    let value: Vec<Value> = seen
        .iter()
        .map(|g| arm::shared_gallery::gallery_item(Door::Shared, &g.name, &g.region))
        .collect();
    Ok(Reply::ok(json!({ "value": value })))
}

/// GET one gallery.
pub(crate) async fn gallery(request: Request) -> Result<Reply> {
    let seen = seen(&request).await?;
    let door = place(&request).door;
    Ok(Reply::ok(arm::shared_gallery::gallery(
        door,
        &seen.row,
        &seen.name,
        &seen.region,
        &seen.worth,
    )))
}

/// GET its definitions.
pub(crate) async fn images(request: Request) -> Result<Reply> {
    let seen = seen(&request).await?;
    let after = page_token(&request)?;
    let page = request
        .engine
        .list_seen(&seen, None, after.as_deref())
        .await?;
    let door = place(&request).door;
    let view = |row| arm::shared_gallery::image(door, row, &seen.name, &seen.region);
    let value = page.items.iter().map(view).collect();
    Ok(Reply::ok(with_next(&request, value, page.next.as_deref())))
}

/// GET one definition.
pub(crate) async fn image(request: Request) -> Result<Reply> {
    let seen = seen(&request).await?;
    let row = request
        .engine
        .seen_image(&seen, request.param("image"))
        .await?;
    let door = place(&request).door;
    Ok(Reply::ok(arm::shared_gallery::image(
        door,
        &row,
        &seen.name,
        &seen.region,
    )))
}

/// GET its versions.
pub(crate) async fn versions(request: Request) -> Result<Reply> {
    let seen = seen(&request).await?;
    let after = page_token(&request)?;
    let page = request
        .engine
        .list_seen(&seen, Some(request.param("image")), after.as_deref())
        .await?;
    let value = page
        .items
        .iter()
        .map(|row| version_view(&request, &seen, row))
        .collect();
    Ok(Reply::ok(with_next(&request, value, page.next.as_deref())))
}

/// GET one version.
pub(crate) async fn version(request: Request) -> Result<Reply> {
    let seen = seen(&request).await?;
    let row = request
        .engine
        .seen_version(&seen, request.param("image"), request.param("version"))
        .await?;
    Ok(Reply::ok(version_view(&request, &seen, &row)))
}

/// POST /providers/Microsoft.ResourceGraph/resources: public galleries alone.
pub(crate) async fn query(request: Request) -> Result<Reply> {
    let query = arm::resource_graph::read(&request.lenient_body())?;
    let all = request
        .engine
        .list_community_galleries(query.location.as_deref(), query.name.as_deref())
        .await?;
    let subscription = request
        .engine
        .subscriptions_of(&request.ctx)
        .await?
        .first()
        .map(|s| s.id.clone())
        .unwrap_or_default();
    let rows: Vec<Value> = all
        .iter()
        .skip(query.skip)
        .take(query.top)
        .map(|g| {
            arm::shared_gallery::community_row(&g.row, &subscription, &g.name, &g.region, &g.worth)
        })
        .collect();
    let next = query.skip + rows.len();
    let mut body = json!({
        "totalRecords": all.len(),
        "count": rows.len(),
        "data": rows,
        "facets": [],
        "resultTruncated": if next < all.len() { "true" } else { "false" },
    });
    if next < all.len() {
        body["$skipToken"] = json!(arm::paging::encode(&next.to_string()));
    }
    Ok(Reply::ok(body))
}

fn version_view(request: &Request, seen: &SeenGallery, row: &domain::Resource) -> Value {
    let is_excluded = request.engine.is_excluded_from_latest(row, &seen.region);
    arm::shared_gallery::version(
        place(request).door,
        row,
        &seen.name,
        &seen.region,
        is_excluded,
    )
}

async fn seen(request: &Request) -> Result<SeenGallery> {
    let place = place(request);
    let name = match place.door {
        Door::Shared => request.param("uniqueName"),
        Door::Community => request.param("publicName"),
    };
    request
        .engine
        .seen_gallery(&request.ctx, &place, name)
        .await
}

fn place(request: &Request) -> Place {
    Place {
        door: match request.param("publicName") {
            "" => Door::Shared,
            _ => Door::Community,
        },
        subscription: request.param("subscription").to_owned(),
        location: request.param("location").to_owned(),
    }
}
