//! The verbs of every resource kind. Statuses and headers per family: `WIRE.md` 3.2.

use axum::http::StatusCode;
use domain::operation::{Family, OperationState};
use domain::{Kind, Resource, ResourceId, Result};
use engine::{Accepted, DeleteOptions, ListFilter, PAGE_ITEMS_MAX};
use serde_json::{Value, json};

use super::digest;
use super::view::view;
use crate::reply::Reply;
use crate::request::Request;

/// GET one.
pub(crate) async fn get(request: Request) -> Result<Reply> {
    let id = request.id()?;
    let row = request.engine.get(&request.ctx, &id).await?;
    let mut shown = view(&row, &request.ctx);
    super::view::expand(&request, &row, &mut shown).await?;
    let reply = Reply::ok(shown);
    if row.kind == Kind::VirtualMachine {
        return Ok(reply.header("etag", domain::virtual_machine::etag(&row)));
    }
    if row.kind != Kind::ImageVersion {
        return Ok(reply);
    }
    Ok(match digest::header(&row)? {
        Some(digests) => reply.header(digest::HEADER, digests),
        None => reply,
    })
}

/// HEAD one: 204 when it is there.
pub(crate) async fn head(request: Request) -> Result<Reply> {
    let id = request.id()?;
    request.engine.get(&request.ctx, &id).await?;
    Ok(Reply::empty(StatusCode::NO_CONTENT))
}

/// PUT one.
pub(crate) async fn put(request: Request) -> Result<Reply> {
    let id = request.id()?;
    let body = request.checked_body(kind_of(&id))?;
    let accepted = request.engine.put(&request.ctx, &id, &body).await?;
    let status = match (accepted.resource.kind, accepted.is_created) {
        _ if is_disk_family(&accepted) => StatusCode::ACCEPTED,
        (Kind::StorageAccount, _) | (_, false) => StatusCode::OK,
        (_, true) => StatusCode::CREATED,
    };
    Ok(accepted_reply(&request, status, &accepted))
}

/// PATCH one.
pub(crate) async fn patch(request: Request) -> Result<Reply> {
    let id = request.id()?;
    let body = request.checked_body(kind_of(&id))?;
    let accepted = request.engine.patch(&request.ctx, &id, &body).await?;
    let status = match is_disk_family(&accepted) {
        true => StatusCode::ACCEPTED,
        false => StatusCode::OK,
    };
    Ok(accepted_reply(&request, status, &accepted))
}

/// DELETE one: 202 with both poll headers, 204 when there is nothing.
pub(crate) async fn delete(request: Request) -> Result<Reply> {
    let id = request.id()?;
    let bypass = request
        .option("bypasssoftdelete")
        .is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let options = DeleteOptions {
        bypass_soft_delete: bypass,
    };
    let Some(accepted) = request.engine.delete(&request.ctx, &id, options).await? else {
        return Ok(Reply::empty(StatusCode::NO_CONTENT));
    };
    if let (Kind::StorageAccount | Kind::GalleryApplication, Some(operation)) =
        (accepted.resource.kind, &accepted.operation)
    {
        // Clients of accounts know no 202, applications are gone at once. Source: `WIRE.md` 4.8, `API.md` 1.
        let ended = request.engine.finished(operation.id).await?;
        return match ended.error {
            Some(error) if ended.state != OperationState::Succeeded => Err(error),
            _ => Ok(Reply::empty(StatusCode::OK)),
        };
    }
    Ok(deleted_reply(&request, &accepted))
}

/// GET a collection: of a group, a subscription or a parent resource.
pub(crate) async fn list(request: Request) -> Result<Reply> {
    let filter = collection(&request)?;
    list_reply(&request, &filter, |row| view(row, &request.ctx)).await
}

/// GET …/resources: every kind, as generic items, with `$filter`.
pub(crate) async fn list_all(request: Request) -> Result<Reply> {
    let mut filter = ListFilter {
        subscription: request.param("subscription").to_owned(),
        group: Some(request.param("group").to_owned()).filter(|g| !g.is_empty()),
        ..ListFilter::default()
    };
    // Clients without a condition send an empty one.
    let wanted = match request.option("filter").filter(|text| !text.is_empty()) {
        Some(text) => Some(arm::filter::parse(text)?),
        None => None,
    };
    if let Some(group) = wanted
        .as_ref()
        .and_then(arm::filter::Filter::resource_group)
    {
        filter.group = Some(group.to_owned());
    }
    let expand = request.option("expand").unwrap_or_default().to_owned();
    let limit = page_limit(&request);
    let after = page_token(&request)?;
    let page = request
        .engine
        .list(&request.ctx, &filter, after.as_deref(), limit)
        .await?;
    let value: Vec<Value> = page
        .items
        .iter()
        .filter(|row| row.kind != Kind::ResourceGroup && !row.kind.is_of_scale_set())
        .filter(|row| wanted.as_ref().is_none_or(|w| w.matches(row)))
        .map(|row| arm::envelope::generic(row, &expand))
        .collect();
    Ok(Reply::ok(with_next(&request, value, page.next.as_deref())))
}

/// Answers an accepted write: the row, and where to poll it.
pub(crate) fn accepted_reply(request: &Request, status: StatusCode, accepted: &Accepted) -> Reply {
    let ctx = &request.ctx;
    let reply = Reply::json(status, view(&accepted.resource, ctx));
    let Some(operation) = &accepted.operation else {
        return reply;
    };
    let reply = reply.polled(&ctx.base_url, &ctx.api_version, operation);
    if is_disk_family(accepted) {
        return reply.located(&ctx.base_url, &ctx.api_version, operation);
    }
    reply
}

/// Answers an accepted delete or action: no body, both headers.
pub(crate) fn deleted_reply(request: &Request, accepted: &Accepted) -> Reply {
    let reply = Reply::empty(StatusCode::ACCEPTED);
    match &accepted.operation {
        Some(operation) => reply
            .polled(&request.ctx.base_url, &request.ctx.api_version, operation)
            .located(&request.ctx.base_url, &request.ctx.api_version, operation),
        None => Reply::empty(StatusCode::OK),
    }
}

/// Whether the write is polled as disks are: 202, and a `Location` that ends in the resource.
fn is_disk_family(accepted: &Accepted) -> bool {
    let operation = accepted.operation.as_ref();
    operation.is_some_and(|operation| operation.family == Family::Disk)
}

/// Lists by `filter`, page by page.
pub(crate) async fn list_reply(
    request: &Request,
    filter: &ListFilter,
    show: impl Fn(&Resource) -> Value,
) -> Result<Reply> {
    let after = page_token(request)?;
    let page = request
        .engine
        .list(&request.ctx, filter, after.as_deref(), page_limit(request))
        .await?;
    let value = page.items.iter().map(show).collect();
    Ok(Reply::ok(with_next(request, value, page.next.as_deref())))
}

fn page_limit(request: &Request) -> usize {
    request
        .option("top")
        .and_then(|top| top.parse().ok())
        .filter(|top| *top > 0)
        .unwrap_or(PAGE_ITEMS_MAX)
}

pub(crate) fn page_token(request: &Request) -> Result<Option<String>> {
    request
        .option("skiptoken")
        .map(arm::paging::decode)
        .transpose()
}

pub(crate) fn with_next(request: &Request, value: Vec<Value>, next: Option<&str>) -> Value {
    let Some(next) = next else {
        return json!({ "value": value });
    };
    let kept: Vec<&str> = request
        .raw_query
        .split('&')
        .filter(|pair| {
            let name = pair
                .split('=')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase();
            !name
                .trim_start_matches("%24")
                .trim_start_matches('$')
                .eq_ignore_ascii_case("skiptoken")
        })
        .collect();
    let link = format!(
        "{}{}?{}&%24skiptoken={}",
        request.ctx.base_url,
        request.path,
        kept.join("&"),
        arm::paging::encode(next)
    );
    json!({ "value": value, "nextLink": link })
}

fn collection(request: &Request) -> Result<ListFilter> {
    let kind = collection_kind(request)?;
    let group = Some(request.param("group").to_owned()).filter(|g| !g.is_empty());
    let parent = match kind.parent() {
        Some(Kind::ResourceGroup) | None => None,
        Some(_) => {
            let cut = request.path.rfind('/').unwrap_or(0);
            Some(ResourceId::parse(&request.path[..cut])?)
        }
    };
    Ok(ListFilter {
        subscription: request.param("subscription").to_owned(),
        group,
        parent,
        kind: Some(kind),
        ..ListFilter::default()
    })
}

/// The kind that a collection's path ends in.
fn collection_kind(request: &Request) -> Result<Kind> {
    let tail = request.path.to_ascii_lowercase();
    let tail = tail.rsplit("/providers/").next().unwrap_or_default();
    let (namespace, pairs) = tail.split_once('/').unwrap_or_default();
    let types: Vec<&str> = pairs.split('/').step_by(2).collect();
    let kind = Kind::from_type(&format!("{namespace}/{}", types.join("/")));
    kind.ok_or_else(domain::Error::internal)
}

fn kind_of(id: &ResourceId) -> Kind {
    // The route table has a route for this path only because it names a kind.
    id.kind().unwrap_or(Kind::ResourceGroup)
}
