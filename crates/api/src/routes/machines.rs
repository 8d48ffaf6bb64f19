//! Routes of machines besides those that every kind has.

use std::future::Future;
use std::pin::Pin;

use axum::http::Method;
use domain::virtual_machine::NotOffered;
use domain::{Kind, Result};

use super::{Handler, Routes, item_pattern};
use crate::handlers::{platform_image, virtual_machine};
use crate::reply::Reply;
use crate::request::Request;

impl Routes {
    pub(super) fn add_machines(&mut self) {
        const S: &str = "/subscriptions/{subscription}/providers/Microsoft.Compute";
        let (item, t) = (
            item_pattern(Kind::VirtualMachine),
            Kind::VirtualMachine.type_name(),
        );
        let verbs: [(&str, Handler); 17] = [
            ("start", |r| Box::pin(virtual_machine::start(r))),
            ("powerOff", |r| Box::pin(virtual_machine::power_off(r))),
            ("deallocate", |r| Box::pin(virtual_machine::deallocate(r))),
            ("restart", |r| Box::pin(virtual_machine::restart(r))),
            ("redeploy", |r| Box::pin(virtual_machine::redeploy(r))),
            ("reapply", |r| Box::pin(virtual_machine::reapply(r))),
            ("generalize", |r| Box::pin(virtual_machine::generalize(r))),
            ("reimage", |r| Box::pin(virtual_machine::reimage(r))),
            ("attachDetachDataDisks", |r| {
                Box::pin(virtual_machine::attach_detach(r))
            }),
            ("runCommand", |r| Box::pin(virtual_machine::run_command(r))),
            ("assessPatches", |r| refuse(r, NotOffered::AssessPatches)),
            ("installPatches", |r| refuse(r, NotOffered::InstallPatches)),
            ("simulateEviction", |r| {
                refuse(r, NotOffered::SimulateEviction)
            }),
            ("performMaintenance", |r| {
                refuse(r, NotOffered::PerformMaintenance)
            }),
            ("convertToManagedDisks", |r| {
                refuse(r, NotOffered::ConvertToManagedDisks)
            }),
            ("capture", |r| refuse(r, NotOffered::Capture)),
            ("retrieveBootDiagnosticsData", |r| {
                Box::pin(virtual_machine::boot_diagnostics(r))
            }),
        ];
        for (verb, handler) in verbs {
            self.add(Method::POST, &format!("{item}/{verb}"), t, handler);
        }
        self.add_machine_parts(&item, t);
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
        self.add_run_commands(S, t);
        self.add_platform_images();
        self.add(
            Method::GET,
            &format!("{S}/skus"),
            "Microsoft.Compute/skus",
            |r| Box::pin(virtual_machine::skus(r)),
        );
    }

    /// What is kept of a guest elsewhere: there is nothing of the kind.
    fn add_machine_parts(&mut self, item: &str, t: &'static str) {
        let parts: [(&str, [Handler; 4]); 2] = [
            (
                "extensions",
                [
                    |r| Box::pin(virtual_machine::no_parts(r, "extensions")),
                    |r| Box::pin(virtual_machine::no_part(r, "extensions")),
                    |r| Box::pin(virtual_machine::delete_no_part(r, "extensions")),
                    |r| Box::pin(virtual_machine::refuse_part(r, NotOffered::Extension)),
                ],
            ),
            (
                "runCommands",
                [
                    |r| Box::pin(virtual_machine::no_parts(r, "runCommands")),
                    |r| Box::pin(virtual_machine::no_part(r, "runCommands")),
                    |r| Box::pin(virtual_machine::delete_no_part(r, "runCommands")),
                    |r| {
                        Box::pin(virtual_machine::refuse_part(
                            r,
                            NotOffered::RunCommandResource,
                        ))
                    },
                ],
            ),
        ];
        for (part, [list, get, delete, write]) in parts {
            let all = format!("{item}/{part}");
            let one = format!("{all}/{{part}}");
            self.add(Method::GET, &all, t, list);
            self.add(Method::GET, &one, t, get);
            self.add(Method::DELETE, &one, t, delete);
            self.add(Method::PUT, &one, t, write);
            self.add(Method::PATCH, &one, t, write);
        }
    }

    /// The commands that guests can be told to run.
    fn add_run_commands(&mut self, subscription: &str, t: &'static str) {
        let all = format!("{subscription}/locations/{{location}}/runCommands");
        self.add(Method::GET, &all, t, |r| {
            Box::pin(virtual_machine::run_commands(r))
        });
        self.add(Method::GET, &format!("{all}/{{part}}"), t, |r| {
            Box::pin(virtual_machine::run_command_document(r))
        });
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

fn refuse(
    request: Request,
    asked: NotOffered,
) -> Pin<Box<dyn Future<Output = Result<Reply>> + Send>> {
    Box::pin(virtual_machine::refuse(request, asked))
}
