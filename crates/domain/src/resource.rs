//! The envelope that every resource shares.
//!
//! The words of `properties` are the API's own (camelCase, newest api-version, enum spellings
//! canonical), so one document serves storage, decisions and responses; `arm` hides what an older
//! api-version does not know. What the user must never see lives in `internal`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Kind, ResourceId};

/// A JSON object that keeps the order of its members.
pub type Document = Map<String, Value>;

/// Where a resource is in its life. Source: `API.md` 2.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProvisioningState {
    /// The first write is under way.
    Creating,
    /// A later write is under way.
    Updating,
    /// All that was asked is true.
    Succeeded,
    /// The last write did not finish; the operation says why.
    Failed,
    /// It will be gone.
    Deleting,
}

impl ProvisioningState {
    /// Returns the word on the wire and in the catalog.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "Creating",
            Self::Updating => "Updating",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Deleting => "Deleting",
        }
    }

    /// Returns the state of a word, exact case.
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::Creating,
            Self::Updating,
            Self::Succeeded,
            Self::Failed,
            Self::Deleting,
        ]
        .into_iter()
        .find(|state| state.as_str() == word)
    }
}

/// A resource as the catalog keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// The id, in the case of creation.
    pub id: ResourceId,
    /// What it is.
    pub kind: Kind,
    /// The region's short name.
    pub location: String,
    /// Tags; `None` when never sent, empty when sent empty (both are echoed as sent).
    pub tags: Option<Document>,
    /// Further members beside `properties`: `sku`, `identity`, `zones`, `kind`, `managedBy` …
    pub top: Document,
    /// The properties, without `provisioningState`.
    pub properties: Document,
    /// What the server keeps for itself: content ids, pins, keys' ids.
    pub internal: Document,
    /// Where it is in its life.
    pub state: ProvisioningState,
    /// Milliseconds since the epoch, UTC.
    pub created_ms: i64,
    /// Milliseconds since the epoch, UTC, of the last acknowledged write.
    pub changed_ms: i64,
    /// Milliseconds since the epoch when it was soft-deleted; such a resource is found by no read but the list of the deleted.
    pub deleted_ms: Option<i64>,
    /// Counts writes; an update names the revision it read and is refused when that is not the newest.
    pub revision: i64,
}

impl Resource {
    /// Returns a new resource that no one has stored yet.
    pub fn new(id: ResourceId, kind: Kind, location: &str, now_ms: i64) -> Self {
        Self {
            id,
            kind,
            location: location.to_owned(),
            tags: None,
            top: Document::new(),
            properties: Document::new(),
            internal: Document::new(),
            state: ProvisioningState::Creating,
            created_ms: now_ms,
            changed_ms: now_ms,
            deleted_ms: None,
            revision: 0,
        }
    }
}
