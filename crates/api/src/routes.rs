//! Every ARM route in one table.
//!
//! Segments match without regard to case; `{name}` takes any one segment. Resources of a kind get
//! their five routes from [`Kind`]; the rest stand below by name.

mod access;
mod care;
mod deployments;
mod machines;
mod network;
mod scale_sets;

use std::future::Future;
use std::pin::Pin;

use axum::http::Method;
use domain::{Kind, Result};

use crate::handlers::{
    care as care_handlers, disk_access, disk_encryption_set, gallery, group, operation, provider,
    resource, storage_account, subscription, tags,
};
use crate::reply::Reply;
use crate::request::Request;

/// A handler: an authenticated request in, a reply or the service's error out.
pub(crate) type Handler = fn(Request) -> Pin<Box<dyn Future<Output = Result<Reply>> + Send>>;

/// One route.
pub struct Route {
    /// The verb.
    pub method: Method,
    /// The path with `{name}` parameters.
    pub pattern: String,
    /// The type whose api-versions the route accepts.
    pub type_name: &'static str,
    segments: Vec<Segment>,
    pub(crate) handler: Handler,
}

enum Segment {
    Literal(String),
    Param(&'static str),
}

/// What the table says about a method and path.
pub(crate) enum Found<'a> {
    /// A route and its parameters.
    Route(&'a Route, Vec<(&'static str, String)>),
    /// The path exists with other verbs.
    OtherMethod,
    /// No such path.
    Nothing,
}

/// The table.
pub struct Routes(Vec<Route>);

impl Default for Routes {
    fn default() -> Self {
        Self::new()
    }
}

impl Routes {
    /// Returns the table of all ARM routes.
    pub fn new() -> Self {
        let mut routes = Self(Vec::new());
        routes.add_subscriptions();
        routes.add_groups();
        for kind in [
            Kind::Gallery,
            Kind::Image,
            Kind::ImageVersion,
            Kind::Disk,
            Kind::Snapshot,
            Kind::ManagedImage,
            Kind::DiskEncryptionSet,
            Kind::StorageAccount,
            Kind::VirtualNetwork,
            Kind::NetworkInterface,
            Kind::PublicIpAddress,
            Kind::NetworkSecurityGroup,
            Kind::LoadBalancer,
            Kind::GalleryApplication,
            Kind::GalleryApplicationVersion,
            Kind::GalleryScript,
            Kind::GalleryScriptVersion,
            Kind::AccessProfile,
            Kind::AccessProfileVersion,
            Kind::VirtualMachine,
            Kind::ScaleSet,
        ] {
            routes.add_kind(kind);
        }
        routes.add_verbs();
        routes.add_networks();
        routes.add_operations();
        routes.add_machines();
        routes.add_scale_sets();
        routes.add_access();
        routes.add_shared();
        routes.add_activity();
        routes.add_care();
        routes.add_deployments();
        routes.add_invites();
        routes.add_allowed_images();
        routes.add_moves();
        routes
    }

    /// Returns all routes.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }

    /// Finds the route of a request; `path` has single slashes.
    pub(crate) fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
        let mut other = false;
        for route in &self.0 {
            let Some(params) = route.matches(&segments) else {
                continue;
            };
            if route.method == *method {
                return Found::Route(route, params);
            }
            other = true;
        }
        if other {
            Found::OtherMethod
        } else {
            Found::Nothing
        }
    }

    fn add(&mut self, method: Method, pattern: &str, type_name: &'static str, handler: Handler) {
        let segments = pattern
            .split('/')
            .filter(|s| !s.is_empty())
            .map(Segment::parse)
            .collect();
        self.0.push(Route {
            method,
            pattern: pattern.to_owned(),
            type_name,
            segments,
            handler,
        });
    }

    fn add_subscriptions(&mut self) {
        const S: &str = "Microsoft.Resources/subscriptions";
        self.add(Method::GET, "/tenants", S, |r| {
            Box::pin(subscription::tenants(r))
        });
        self.add(Method::GET, "/subscriptions", S, |r| {
            Box::pin(subscription::list(r))
        });
        self.add(Method::GET, "/subscriptions/{subscription}", S, |r| {
            Box::pin(subscription::get(r))
        });
        self.add(
            Method::GET,
            "/subscriptions/{subscription}/locations",
            S,
            |r| Box::pin(subscription::locations(r)),
        );
        self.add(
            Method::GET,
            "/providers/Vitrine.Gallery/stat",
            "Vitrine.Gallery/stat",
            |r| Box::pin(care_handlers::stat(r)),
        );
        self.add(Method::GET, "/providers", S, |r| {
            Box::pin(provider::list(r))
        });
        self.add(Method::GET, "/providers/{namespace}", S, |r| {
            Box::pin(provider::get(r))
        });
        self.add(
            Method::GET,
            "/subscriptions/{subscription}/providers",
            S,
            |r| Box::pin(provider::list(r)),
        );
        self.add(
            Method::GET,
            "/subscriptions/{subscription}/providers/{namespace}",
            S,
            |r| Box::pin(provider::get(r)),
        );
        self.add(
            Method::POST,
            "/subscriptions/{subscription}/providers/{namespace}/register",
            S,
            |r| Box::pin(provider::get(r)),
        );
        self.add(
            Method::GET,
            "/subscriptions/{subscription}/resources",
            S,
            |r| Box::pin(resource::list_all(r)),
        );
        self.add(
            Method::GET,
            "/subscriptions/{subscription}/tagNames",
            S,
            |r| Box::pin(tags::names(r)),
        );
    }

    fn add_groups(&mut self) {
        const T: &str = "Microsoft.Resources/resourceGroups";
        const ITEM: &str = "/subscriptions/{subscription}/resourceGroups/{group}";
        self.add(
            Method::GET,
            "/subscriptions/{subscription}/resourceGroups",
            T,
            |r| Box::pin(group::list(r)),
        );
        self.add(Method::GET, ITEM, T, |r| Box::pin(group::get(r)));
        self.add(Method::HEAD, ITEM, T, |r| Box::pin(group::head(r)));
        self.add(Method::PUT, ITEM, T, |r| Box::pin(group::put(r)));
        self.add(Method::PATCH, ITEM, T, |r| Box::pin(group::patch(r)));
        self.add(Method::DELETE, ITEM, T, |r| Box::pin(group::delete(r)));
        self.add(Method::GET, &format!("{ITEM}/resources"), T, |r| {
            Box::pin(resource::list_all(r))
        });
        self.add_tags(&format!(
            "{ITEM}/providers/Microsoft.Resources/tags/default"
        ));
    }

    fn add_kind(&mut self, kind: Kind) {
        let item = item_pattern(kind);
        let collection = item
            .rsplit_once('/')
            .map_or(item.as_str(), |(head, _)| head)
            .to_owned();
        let type_name = kind.type_name();
        self.add(Method::GET, &collection, type_name, |r| {
            Box::pin(resource::list(r))
        });
        if kind.parent() == Some(Kind::ResourceGroup) {
            let all = format!("/subscriptions/{{subscription}}/providers/{type_name}");
            self.add(Method::GET, &all, type_name, |r| {
                Box::pin(resource::list(r))
            });
        }
        self.add(Method::GET, &item, type_name, |r| {
            Box::pin(resource::get(r))
        });
        self.add(Method::HEAD, &item, type_name, |r| {
            Box::pin(resource::head(r))
        });
        self.add(Method::PUT, &item, type_name, |r| {
            Box::pin(resource::put(r))
        });
        self.add(Method::PATCH, &item, type_name, |r| {
            Box::pin(resource::patch(r))
        });
        self.add(Method::DELETE, &item, type_name, |r| {
            Box::pin(resource::delete(r))
        });
        self.add_tags(&format!(
            "{item}/providers/Microsoft.Resources/tags/default"
        ));
    }

    fn add_tags(&mut self, pattern: &str) {
        const T: &str = "Microsoft.Resources/tags";
        self.add(Method::GET, pattern, T, |r| Box::pin(tags::get(r)));
        self.add(Method::PUT, pattern, T, |r| Box::pin(tags::put(r)));
        self.add(Method::PATCH, pattern, T, |r| Box::pin(tags::patch(r)));
        self.add(Method::DELETE, pattern, T, |r| Box::pin(tags::delete(r)));
    }

    fn add_verbs(&mut self) {
        let accounts = item_pattern(Kind::StorageAccount);
        let galleries = item_pattern(Kind::Gallery);
        let (s, g) = (Kind::StorageAccount.type_name(), Kind::Gallery.type_name());
        for kind in [Kind::Disk, Kind::Snapshot] {
            let (item, t) = (item_pattern(kind), kind.type_name());
            self.add(Method::POST, &format!("{item}/beginGetAccess"), t, |r| {
                Box::pin(disk_access::begin(r))
            });
            self.add(Method::POST, &format!("{item}/endGetAccess"), t, |r| {
                Box::pin(disk_access::end(r))
            });
        }
        let sets = item_pattern(Kind::DiskEncryptionSet);
        self.add(
            Method::GET,
            &format!("{sets}/associatedResources"),
            Kind::DiskEncryptionSet.type_name(),
            |r| Box::pin(disk_encryption_set::associated_resources(r)),
        );
        self.add(Method::POST, &format!("{accounts}/listKeys"), s, |r| {
            Box::pin(storage_account::list_keys(r))
        });
        self.add(Method::POST, &format!("{accounts}/regenerateKey"), s, |r| {
            Box::pin(storage_account::regenerate_key(r))
        });
        self.add(
            Method::POST,
            "/subscriptions/{subscription}/providers/Microsoft.Storage/checkNameAvailability",
            s,
            |r| Box::pin(storage_account::check_name(r)),
        );
        self.add(Method::POST, &format!("{galleries}/share"), g, |r| {
            Box::pin(gallery::share(r))
        });
        let deleted = format!(
            "{galleries}/softDeletedArtifactTypes/{{artifactType}}/artifacts/{{artifact}}/versions"
        );
        self.add(Method::GET, &deleted, g, |r| {
            Box::pin(gallery::soft_deleted(r))
        });
    }

    fn add_operations(&mut self) {
        const L: &str =
            "/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}";
        const T: &str = "Microsoft.Compute/locations/operations";
        for family in ["capsOperations", "DiskOperations", "operations"] {
            self.add(
                Method::GET,
                &format!("{L}/{family}/{{operation}}"),
                T,
                |r| Box::pin(operation::poll(r)),
            );
        }
        self.add(
            Method::GET,
            "/subscriptions/{subscription}/operationresults/{operation}",
            T,
            |r| Box::pin(operation::poll(r)),
        );
    }
}

impl Route {
    fn matches(&self, path: &[&str]) -> Option<Vec<(&'static str, String)>> {
        if path.len() != self.segments.len() {
            return None;
        }
        let mut params = Vec::new();
        for (segment, text) in self.segments.iter().zip(path) {
            match segment {
                Segment::Literal(literal) if literal.eq_ignore_ascii_case(text) => {}
                Segment::Literal(_) => return None,
                Segment::Param(name) => params.push((*name, (*text).to_owned())),
            }
        }
        Some(params)
    }
}

impl Segment {
    fn parse(text: &str) -> Self {
        const NAMES: &[&str] = &[
            "publisher",
            "offer",
            "sku",
            "deployment",
            "owner",
            "uniqueName",
            "publicName",
            "assignment",
            "definition",
            "lock",
            "subscription",
            "group",
            "namespace",
            "gallery",
            "image",
            "version",
            "disk",
            "snapshot",
            "managedImage",
            "encryptionSet",
            "account",
            "virtualNetwork",
            "networkInterface",
            "publicIpAddress",
            "ipConfiguration",
            "networkSecurityGroup",
            "loadBalancer",
            "part",
            "application",
            "script",
            "profile",
            "operation",
            "location",
            "artifactType",
            "artifact",
            "machine",
            "scaleSet",
            "instance",
        ];
        let name = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
        match name.and_then(|name| NAMES.iter().copied().find(|known| *known == name)) {
            Some(known) => Self::Param(known),
            None => Self::Literal(text.to_owned()),
        }
    }
}

/// Returns the path of one resource of a kind.
fn item_pattern(kind: Kind) -> String {
    const GROUP: &str = "/subscriptions/{subscription}/resourceGroups/{group}";
    match kind {
        Kind::ResourceGroup => GROUP.to_owned(),
        Kind::Gallery => format!("{GROUP}/providers/Microsoft.Compute/galleries/{{gallery}}"),
        Kind::Image => format!("{}/images/{{image}}", item_pattern(Kind::Gallery)),
        Kind::ImageVersion => format!("{}/versions/{{version}}", item_pattern(Kind::Image)),
        Kind::Disk => format!("{GROUP}/providers/Microsoft.Compute/disks/{{disk}}"),
        Kind::Snapshot => format!("{GROUP}/providers/Microsoft.Compute/snapshots/{{snapshot}}"),
        Kind::ManagedImage => {
            format!("{GROUP}/providers/Microsoft.Compute/images/{{managedImage}}")
        }
        Kind::DiskEncryptionSet => {
            format!("{GROUP}/providers/Microsoft.Compute/diskEncryptionSets/{{encryptionSet}}")
        }
        Kind::StorageAccount => {
            format!("{GROUP}/providers/Microsoft.Storage/storageAccounts/{{account}}")
        }
        Kind::GalleryApplication => {
            format!(
                "{}/applications/{{application}}",
                item_pattern(Kind::Gallery)
            )
        }
        Kind::GalleryScript => format!("{}/scripts/{{script}}", item_pattern(Kind::Gallery)),
        Kind::AccessProfile => format!(
            "{}/inVMAccessControlProfiles/{{profile}}",
            item_pattern(Kind::Gallery)
        ),
        Kind::GalleryApplicationVersion => format!(
            "{}/versions/{{version}}",
            item_pattern(Kind::GalleryApplication)
        ),
        Kind::GalleryScriptVersion => {
            format!("{}/versions/{{version}}", item_pattern(Kind::GalleryScript))
        }
        Kind::AccessProfileVersion => {
            format!("{}/versions/{{version}}", item_pattern(Kind::AccessProfile))
        }
        Kind::VirtualNetwork
        | Kind::NetworkInterface
        | Kind::PublicIpAddress
        | Kind::NetworkSecurityGroup
        | Kind::LoadBalancer => {
            let name = network::parameter(kind);
            format!("{GROUP}/providers/{}/{{{name}}}", kind.type_name())
        }
        Kind::VirtualMachine => {
            format!("{GROUP}/providers/Microsoft.Compute/virtualMachines/{{machine}}")
        }
        Kind::ScaleSet
        | Kind::ScaleSetMachine
        | Kind::ScaleSetInterface
        | Kind::ScaleSetAddress => scale_sets::pattern(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_match_without_case_and_tell_a_wrong_verb_from_a_wrong_path() {
        let routes = Routes::new();
        let path = "/SUBSCRIPTIONS/s/resourcegroups/g/providers/microsoft.COMPUTE/Galleries/x/images/d/VERSIONS/1.0.0";
        match routes.find(&Method::GET, path) {
            Found::Route(route, params) => {
                assert_eq!(route.type_name, Kind::ImageVersion.type_name());
                assert!(params.contains(&("version", "1.0.0".to_owned())));
            }
            _ => panic!("no route"),
        }
        assert!(matches!(
            routes.find(&Method::POST, path),
            Found::OtherMethod
        ));
        assert!(matches!(
            routes.find(&Method::GET, "/subscriptions/s/nothing/here"),
            Found::Nothing
        ));
    }
}
