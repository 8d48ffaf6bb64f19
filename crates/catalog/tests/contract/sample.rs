//! Rows to try things with.

use domain::operation::{Family, Operation, OperationState, Work};
use domain::resource::Document;
use domain::{Kind, Resource, ResourceId};
use serde_json::{Value, json};
use uuid::Uuid;

/// The subscription of every sample.
pub const SUBSCRIPTION: &str = "11111111-1111-1111-1111-111111111111";

/// Returns a row of the sample group.
pub fn row(kind: Kind, path: &str) -> Resource {
    let id = format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/Rg/providers/Microsoft.Compute/{path}"
    );
    Resource::new(ResourceId::parse(&id).unwrap(), kind, "eastus", 7)
}

/// Returns a gallery.
pub fn gallery(name: &str) -> Resource {
    row(Kind::Gallery, &format!("galleries/{name}"))
}

/// Returns an image definition of the gallery `g`.
pub fn image(name: &str) -> Resource {
    row(Kind::Image, &format!("galleries/g/images/{name}"))
}

/// Returns a version of the image definition `i` of the gallery `g`.
pub fn version(name: &str) -> Resource {
    row(
        Kind::ImageVersion,
        &format!("galleries/g/images/i/versions/{name}"),
    )
}

/// Returns an operation that has just been accepted.
pub fn operation(on: &Resource) -> Operation {
    Operation {
        id: Uuid::new_v4(),
        family: Family::Caps,
        work: Work::Put,
        resource: on.id.clone(),
        location: on.location.clone(),
        state: OperationState::InProgress,
        step: Value::Null,
        error: None,
        output: None,
        attempts: 0,
        run_at_ms: 0,
        started_ms: 0,
        ended_ms: None,
        lease_generation: 0,
    }
}

/// Returns a document with one member.
pub fn document(name: &str, value: &str) -> Document {
    let mut document = Document::new();
    document.insert(name.to_owned(), json!(value));
    document
}
