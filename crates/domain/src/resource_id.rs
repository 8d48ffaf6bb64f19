//! ARM resource ids.
//!
//! Ids compare case-insensitively and keep the case of their creation. [`ResourceId::key`] is the
//! lower-case form that the catalog stores and compares; [`std::fmt::Display`] shows the id as the
//! user wrote its names, with provider and types in canonical case when the type is known.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Kind, Result};

/// The longest id that is accepted, in bytes.
pub const ID_BYTES_MAX: usize = 2048;

/// What may lie at a subscription, beside groups: it lies in no group.
const AT_SUBSCRIPTION: &str = "Microsoft.Resources/deployments";

/// A parsed `/subscriptions/{s}/resourceGroups/{g}/providers/{ns}/{type}/{name}…`; of a deployment at a
/// subscription `/subscriptions/{s}/providers/Microsoft.Resources/deployments/{name}`, whose group is empty.
#[derive(Clone, Debug, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId {
    subscription: String,
    group: String,
    namespace: String,
    path: Vec<(String, String)>,
}

impl ResourceId {
    /// Returns the id of a resource group.
    pub fn group(subscription: &str, group: &str) -> Self {
        Self {
            subscription: subscription.to_owned(),
            group: group.to_owned(),
            namespace: String::new(),
            path: Vec::new(),
        }
    }

    /// Returns what stands in the place of a group for what lies at a subscription: no row has this id.
    pub fn of_subscription(subscription: &str) -> Self {
        Self::group(subscription, "")
    }

    /// Parses an id; empty segments (double slashes) are collapsed.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > ID_BYTES_MAX || !text.starts_with('/') {
            return Err(invalid(text));
        }
        let segments: Vec<&str> = text.split('/').filter(|s| !s.is_empty()).collect();
        let (mut id, rest) = match segments.as_slice() {
            [s, subscription, g, group, rest @ ..]
                if is_word(s, SUBSCRIPTIONS) && is_word(g, GROUPS) =>
            {
                (Self::group(subscription, group), rest)
            }
            [s, subscription, _, namespace, kind, _]
                if is_word(s, SUBSCRIPTIONS)
                    && is_word(&format!("{namespace}/{kind}"), AT_SUBSCRIPTION) =>
            {
                let rest = segments.get(2..).unwrap_or_default();
                (Self::of_subscription(subscription), rest)
            }
            _ => return Err(invalid(text)),
        };
        if rest.is_empty() {
            return Ok(id);
        }
        let [p, namespace, pairs @ ..] = rest else {
            return Err(invalid(text));
        };
        if !p.eq_ignore_ascii_case("providers")
            || pairs.is_empty()
            || !pairs.len().is_multiple_of(2)
        {
            return Err(invalid(text));
        }
        (*namespace).clone_into(&mut id.namespace);
        id.path = pairs
            .chunks_exact(2)
            .map(|c| (c[0].to_owned(), c[1].to_owned()))
            .collect();
        id.canonicalise();
        Ok(id)
    }

    /// Returns the id of a child.
    #[must_use]
    pub fn child(&self, kind: Kind, name: &str) -> Self {
        let mut id = self.clone();
        let (namespace, types) = split_type(kind);
        namespace.clone_into(&mut id.namespace);
        if let Some(last) = types.last() {
            id.path.push(((*last).to_owned(), name.to_owned()));
        }
        id
    }

    /// Returns the id of the resource that this one lives in; a group has none.
    pub fn parent(&self) -> Option<Self> {
        let mut id = self.clone();
        id.path.pop()?;
        if id.path.is_empty() {
            id.namespace.clear();
        }
        Some(id)
    }

    /// Returns the subscription id as written.
    pub fn subscription(&self) -> &str {
        &self.subscription
    }

    /// Whether it lies at its subscription, in no group.
    pub fn is_at_subscription(&self) -> bool {
        self.group.is_empty()
    }

    /// Returns the resource group's name as written.
    pub fn resource_group(&self) -> &str {
        &self.group
    }

    /// Returns the id of the group that the resource lives in.
    #[must_use]
    pub fn group_id(&self) -> Self {
        Self::group(&self.subscription, &self.group)
    }

    /// Returns the last name: of a version `1.0.0`, of a group the group.
    pub fn name(&self) -> &str {
        self.path
            .last()
            .map_or(self.group.as_str(), |(_, name)| name.as_str())
    }

    /// Returns the names below the group, outermost first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.path.iter().map(|(_, name)| name.as_str())
    }

    /// Returns the ARM type, `Microsoft.Compute/galleries/images`.
    pub fn type_name(&self) -> String {
        if self.path.is_empty() {
            return Kind::ResourceGroup.type_name().to_owned();
        }
        let mut out = self.namespace.clone();
        for (kind, _) in &self.path {
            out.push('/');
            out.push_str(kind);
        }
        out
    }

    /// Returns the kind, when it is one that has a row.
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_type(&self.type_name())
    }

    /// Returns the lower-case form by which ids compare.
    pub fn key(&self) -> String {
        self.to_string().to_ascii_lowercase()
    }

    /// Returns `type/name` pairs as the service's not-found texts show them:
    /// `Microsoft.Compute/galleries/g/images/d`.
    pub fn relative(&self) -> String {
        let mut out = self.namespace.clone();
        for (kind, name) in &self.path {
            out.push('/');
            out.push_str(kind);
            out.push('/');
            out.push_str(name);
        }
        out
    }

    fn canonicalise(&mut self) {
        let Some(kind) = self.kind() else { return };
        let (namespace, types) = split_type(kind);
        namespace.clone_into(&mut self.namespace);
        for ((slot, _), canonical) in self.path.iter_mut().zip(types) {
            canonical.clone_into(slot);
        }
    }
}

const SUBSCRIPTIONS: &str = "subscriptions";
const GROUPS: &str = "resourceGroups";

fn is_word(segment: &str, word: &str) -> bool {
    segment.eq_ignore_ascii_case(word)
}

fn split_type(kind: Kind) -> (&'static str, Vec<&'static str>) {
    let mut parts = kind.type_name().split('/');
    let namespace = parts.next().unwrap_or_default();
    (namespace, parts.collect())
}

fn invalid(text: &str) -> Error {
    let shown: String = text.chars().take(200).collect();
    Error::new(
        ErrorKind::Invalid,
        "LinkedInvalidPropertyId",
        format!(
            "Property id '{shown}' is invalid. Expect fully qualified resource Id that start with \
             '/subscriptions/{{subscriptionId}}' or '/providers/{{resourceProviderNamespace}}/'."
        ),
    )
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/subscriptions/{}", self.subscription)?;
        if !self.is_at_subscription() {
            write!(f, "/resourceGroups/{}", self.group)?;
        }
        if !self.path.is_empty() {
            write!(f, "/providers/{}", self.relative())?;
        }
        Ok(())
    }
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl std::hash::Hash for ResourceId {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl TryFrom<String> for ResourceId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<ResourceId> for String {
    fn from(id: ResourceId) -> Self {
        id.to_string()
    }
}

impl std::str::FromStr for ResourceId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = "/subscriptions/S/resourcegroups/Rg/providers/microsoft.compute//Galleries/G/IMAGES/d/versions/1.0.0";

    #[test]
    fn ids_compare_without_case_and_keep_the_case_of_names() {
        let id = ResourceId::parse(VERSION).unwrap();
        assert_eq!(
            id.to_string(),
            "/subscriptions/S/resourceGroups/Rg/providers/Microsoft.Compute/galleries/G/images/d/versions/1.0.0"
        );
        assert_eq!(id, ResourceId::parse(&VERSION.to_uppercase()).unwrap());
        assert_eq!(id.kind(), Some(Kind::ImageVersion));
        assert_eq!(id.parent().unwrap().kind(), Some(Kind::Image));
        assert_eq!(id.parent().unwrap().child(Kind::ImageVersion, "1.0.0"), id);
        assert_eq!(id.group_id().kind(), Some(Kind::ResourceGroup));
    }

    #[test]
    fn deployments_alone_lie_at_a_subscription() {
        let text = "/subscriptions/S/providers/Microsoft.Resources/deployments/D";
        let id = ResourceId::parse(text).unwrap();
        assert_eq!(
            (id.to_string().as_str(), id.name(), id.kind()),
            (text, "D", None)
        );
        assert!(id.is_at_subscription());
        assert_eq!(id.group_id().to_string(), "/subscriptions/S");
        assert_eq!(id, ResourceId::parse(&text.to_uppercase()).unwrap());
        for bad in [
            "/subscriptions/S/providers/Microsoft.Compute/galleries/g",
            "/subscriptions/S/providers/Microsoft.Resources/deployments/d/operations/o",
            "/subscriptions/S/resourceGroups/Microsoft.Resources/deployments",
        ] {
            assert!(ResourceId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_with_missing_parts_are_refused() {
        for bad in [
            "",
            "/",
            "x",
            "/subscriptions/s",
            "/subscriptions/s/resourceGroups/g/providers",
            "/subscriptions/s/resourceGroups/g/providers/n/t",
            "/a/s/resourceGroups/g",
        ] {
            assert!(ResourceId::parse(bad).is_err(), "{bad}");
        }
    }
}
