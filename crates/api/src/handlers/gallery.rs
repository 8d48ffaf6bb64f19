//! What only galleries have.

use domain::{Kind, ResourceId, Result};
use engine::ListFilter;

use super::resource::{deleted_reply, list_reply};
use crate::reply::Reply;
use crate::request::Request;

/// POST …/share: 202 with both poll headers and no body.
pub(crate) async fn share(request: Request) -> Result<Reply> {
    let id = request.id_before_verb()?;
    let body = arm::schema::check_request_bytes(
        arm::schema::Shape::SharingUpdate,
        &request.ctx.api_version,
        &request.body,
    )?;
    let accepted = request
        .engine
        .share_gallery(&request.ctx, &id, &body)
        .await?;
    Ok(deleted_reply(&request, &accepted))
}

/// GET …/softDeletedArtifactTypes/{type}/artifacts/{name}/versions. Source: `API.md` 8.
pub(crate) async fn soft_deleted(request: Request) -> Result<Reply> {
    let artifact_type = request.param("artifactType").to_owned();
    if !artifact_type.eq_ignore_ascii_case("Images") {
        return Err(domain::Error::invalid_parameter(
            "artifactType",
            format!(
                "The value '{artifact_type}' of parameter artifactType is invalid. The allowed value is 'Images'."
            ),
        ));
    }
    let gallery = ResourceId::group(request.param("subscription"), request.param("group"))
        .child(Kind::Gallery, request.param("gallery"));
    let parent = gallery.child(Kind::Image, request.param("artifact"));
    let holder = request.engine.get(&request.ctx, &gallery).await?;
    let filter = ListFilter {
        subscription: request.param("subscription").to_owned(),
        group: Some(request.param("group").to_owned()),
        parent: Some(parent),
        kind: Some(Kind::ImageVersion),
        deleted: true,
        ..ListFilter::default()
    };
    list_reply(&request, &filter, |row| {
        arm::envelope::soft_deleted(row, &holder, &request.ctx.api_version)
    })
    .await
}
