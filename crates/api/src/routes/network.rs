//! Routes of networks: parts by their own paths, and where their work is polled.

use axum::http::Method;
use domain::Kind;
use domain::network::nested::LISTS;

use super::{Routes, item_pattern};
use crate::handlers::{network, operation};

/// Returns the parameter that stands for the name of a kind.
pub(super) const fn parameter(kind: Kind) -> &'static str {
    match kind {
        Kind::VirtualNetwork => "virtualNetwork",
        Kind::PublicIpAddress => "publicIpAddress",
        Kind::NetworkSecurityGroup => "networkSecurityGroup",
        Kind::LoadBalancer => "loadBalancer",
        _ => "networkInterface",
    }
}

impl Routes {
    pub(super) fn add_networks(&mut self) {
        for list in &LISTS {
            let type_name = list.kind.type_name();
            let all = format!("{}/{}", item_pattern(list.kind), list.name);
            let one = format!("{all}/{{part}}");
            self.add(Method::GET, &all, type_name, |r| Box::pin(network::list(r)));
            self.add(Method::GET, &one, type_name, |r| Box::pin(network::get(r)));
            if list.is_writable {
                self.add(Method::PUT, &one, type_name, |r| Box::pin(network::put(r)));
                self.add(Method::DELETE, &one, type_name, |r| {
                    Box::pin(network::delete(r))
                });
            }
        }
        self.add(
            Method::GET,
            "/subscriptions/{subscription}/providers/Microsoft.Network/locations/{location}/operations/{operation}",
            "Microsoft.Network/locations/operations",
            |r| Box::pin(operation::poll(r)),
        );
    }
}
