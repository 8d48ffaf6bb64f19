//! Routes of machines besides those that every kind has.

use axum::http::Method;
use domain::Kind;

use super::{Handler, Routes, item_pattern};
use crate::handlers::{platform_image, virtual_machine};

impl Routes {
    pub(super) fn add_machines(&mut self) {
        const S: &str = "/subscriptions/{subscription}/providers/Microsoft.Compute";
        let (item, t) = (
            item_pattern(Kind::VirtualMachine),
            Kind::VirtualMachine.type_name(),
        );
        let verbs: [(&str, Handler); 9] = [
            ("start", |r| Box::pin(virtual_machine::start(r))),
            ("powerOff", |r| Box::pin(virtual_machine::power_off(r))),
            ("deallocate", |r| Box::pin(virtual_machine::deallocate(r))),
            ("restart", |r| Box::pin(virtual_machine::restart(r))),
            ("redeploy", |r| Box::pin(virtual_machine::redeploy(r))),
            ("reapply", |r| Box::pin(virtual_machine::reapply(r))),
            ("generalize", |r| Box::pin(virtual_machine::generalize(r))),
            ("runCommand", |r| Box::pin(virtual_machine::run_command(r))),
            ("retrieveBootDiagnosticsData", |r| {
                Box::pin(virtual_machine::boot_diagnostics(r))
            }),
        ];
        for (verb, handler) in verbs {
            self.add(Method::POST, &format!("{item}/{verb}"), t, handler);
        }
        self.add(Method::GET, &format!("{item}/instanceView"), t, |r| {
            Box::pin(virtual_machine::instance_view(r))
        });
        self.add(Method::GET, &format!("{item}/vmSizes"), t, |r| {
            Box::pin(virtual_machine::machine_sizes(r))
        });
        self.add(
            Method::GET,
            &format!("{S}/locations/{{location}}/vmSizes"),
            t,
            |r| Box::pin(virtual_machine::sizes(r)),
        );
        self.add_platform_images();
        self.add(
            Method::GET,
            &format!("{S}/skus"),
            "Microsoft.Compute/skus",
            |r| Box::pin(virtual_machine::skus(r)),
        );
    }

    /// The marketplace, from the outside in.
    fn add_platform_images(&mut self) {
        const PUBLISHERS: &str = "/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/publishers";
        let offers = format!("{PUBLISHERS}/{{publisher}}/artifacttypes/vmimage/offers");
        let skus = format!("{offers}/{{offer}}/skus");
        let versions = format!("{skus}/{{sku}}/versions");
        let version = format!("{versions}/{{version}}");
        let all: [(&str, Handler); 5] = [
            (PUBLISHERS, |r| Box::pin(platform_image::names(r))),
            (&offers, |r| Box::pin(platform_image::names(r))),
            (&skus, |r| Box::pin(platform_image::names(r))),
            (&versions, |r| Box::pin(platform_image::versions(r))),
            (&version, |r| Box::pin(platform_image::version(r))),
        ];
        for (pattern, handler) in all {
            let t = "Microsoft.Compute/locations/publishers";
            self.add(Method::GET, pattern, t, handler);
        }
    }
}
