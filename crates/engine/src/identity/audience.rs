//! For whom a token is: the audience that a client asks for, and its class.
//!
//! Clients reach the gallery under several names, so the text of an audience is no reason to trust
//! a token. When a token is made, the audience is put into a class, the class goes into the token,
//! and each plane accepts exactly one class.

use serde::{Deserialize, Serialize};

/// The longest scope or resource that is read, in bytes.
pub const SCOPE_BYTES_MAX: usize = 2048;

/// Which plane accepts a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AudienceClass {
    /// The resource manager.
    Arm,
    /// The blob plane.
    Storage,
    /// The directory.
    Graph,
    /// Key vaults, which this gallery has none of: no plane accepts it. Packer signs in for them
    /// before it begins, whether it needs them or not.
    Vault,
}

/// What a client asks a token for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The audience, when the client named one.
    pub resource: Option<String>,
    /// The whole scope as sent.
    pub scope: String,
}

impl Asked {
    /// Reads a v2 `scope`: `https://h:p//.default offline_access openid profile`.
    pub fn from_scope(scope: &str) -> Self {
        let resource = scope
            .split_ascii_whitespace()
            .find(|s| !matches!(*s, "openid" | "profile" | "offline_access" | "email"))
            .map(|s| {
                s.rsplit_once('/')
                    .map_or(s, |(resource, _)| resource)
                    .to_owned()
            });
        Self {
            resource,
            scope: scope.to_owned(),
        }
    }

    /// Reads a v1 `resource`.
    pub fn from_resource(resource: &str) -> Self {
        Self {
            resource: Some(resource.to_owned()),
            scope: String::new(),
        }
    }

    /// Whether a v2 client wants an id token.
    pub fn wants_id_token(&self) -> bool {
        self.scope.split_ascii_whitespace().any(|s| s == "openid")
    }
}

/// Returns the class of an audience, when this gallery serves it.
///
/// `base_url` is how the client reached us: its host is ours, whatever it is called.
pub fn class_of(resource: &str, base_url: &str) -> Option<AudienceClass> {
    let wanted = resource.trim_end_matches('/').to_ascii_lowercase();
    match wanted.as_str() {
        "https://management.azure.com"
        | "https://management.core.windows.net"
        | "797f4846-ba00-4fd7-ba43-dac1f8f63013" => Some(AudienceClass::Arm),
        "https://storage.azure.com" => Some(AudienceClass::Storage),
        "https://vault.azure.net" => Some(AudienceClass::Vault),
        "https://graph.microsoft.com"
        | "https://graph.windows.net"
        | "00000003-0000-0000-c000-000000000000" => Some(AudienceClass::Graph),
        _ => class_of_host(&wanted, &base_url.to_ascii_lowercase()),
    }
}

fn class_of_host(wanted: &str, own: &str) -> Option<AudienceClass> {
    let wanted = wanted.strip_prefix("https://")?;
    let own = own.strip_prefix("https://")?;
    // The directory has the gallery's own host and a path that tells it apart.
    let (wanted, is_graph) = match wanted.strip_suffix("/graph") {
        Some(host) => (host, true),
        None => (wanted, false),
    };
    let ((wanted, wanted_port), (own, own_port)) = (split_port(wanted), split_port(own));
    if wanted_port != own_port {
        return None;
    }
    if wanted == own || (is_loopback(wanted) && is_loopback(own)) {
        return Some(if is_graph {
            AudienceClass::Graph
        } else {
            AudienceClass::Arm
        });
    }
    if is_graph {
        return None;
    }
    let (account, rest) = wanted.split_once('.')?;
    let suffix = rest.strip_prefix("blob.")?;
    let is_ours = suffix == own || (is_loopback(suffix) && is_loopback(own));
    (is_ours && !account.is_empty()).then_some(AudienceClass::Storage)
}

fn split_port(authority: &str) -> (&str, &str) {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (host, port),
        _ => (authority, "443"),
    }
}

/// Whether a host name always means this machine.
pub fn is_loopback(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::AudienceClass::{Arm, Graph, Storage, Vault};
    use super::*;

    #[test]
    fn the_scope_names_the_audience_with_one_or_two_slashes() {
        for (scope, resource) in [
            ("https://h:1//.default", Some("https://h:1/")),
            (
                "https://h:1/.default offline_access openid profile",
                Some("https://h:1"),
            ),
            (
                "openid offline_access https://h:1/user_impersonation",
                Some("https://h:1"),
            ),
            ("openid profile", None),
            ("", None),
        ] {
            assert_eq!(
                Asked::from_scope(scope).resource.as_deref(),
                resource,
                "{scope}"
            );
        }
    }

    #[test]
    fn every_name_of_this_gallery_is_arm_and_strangers_are_nothing() {
        let own = "https://Gallery.test:8443";
        for (resource, class) in [
            ("https://gallery.test:8443", Some(Arm)),
            ("https://gallery.TEST:8443/", Some(Arm)),
            ("https://gallery.test:8443//", Some(Arm)),
            ("https://management.azure.com/", Some(Arm)),
            ("https://management.core.windows.net/", Some(Arm)),
            ("https://storage.azure.com", Some(Storage)),
            ("https://acct.blob.gallery.test:8443", Some(Storage)),
            ("https://graph.microsoft.com", Some(Graph)),
            ("https://vault.azure.net", Some(Vault)),
            ("https://gallery.test:8443/graph/", Some(Graph)),
            ("https://gallery.test:8443/graph//", Some(Graph)),
            ("https://evil.test:8443/graph/", None),
            ("https://acct.blob.gallery.test:8443/graph", None),
            ("https://gallery.test:8443/other/", None),
            ("https://gallery.test", None),
            ("https://gallery.test:8444", None),
            ("http://gallery.test:8443", None),
            ("https://evil.test:8443", None),
            ("https://gallery.test:8443.evil.test", None),
            ("https://gallery.test:8443@evil.test", None),
            ("https://blob.gallery.test:8443", None),
            ("", None),
        ] {
            assert_eq!(class_of(resource, own), class, "{resource}");
        }
        assert_eq!(
            class_of("https://localhost:8443/", "https://127.0.0.1:8443"),
            Some(Arm)
        );
        assert_eq!(
            class_of("https://localhost:8443/", "https://gallery.test:8443"),
            None
        );
        assert_eq!(class_of("https://h", "https://h:443"), Some(Arm));
    }
}
