//! Routes of scale sets and their machines besides those that every kind has.

use axum::http::Method;
use domain::Kind;
use domain::scale_set::SetNotOffered;

use super::{Handler, Routes, item_pattern};
use crate::handlers::{resource, scale_set};

impl Routes {
    pub(super) fn add_scale_sets(&mut self) {
        let (set, t) = (item_pattern(Kind::ScaleSet), Kind::ScaleSet.type_name());
        let verbs: [(&str, Handler); 12] = [
            ("start", |r| Box::pin(scale_set::act(r, "start"))),
            ("powerOff", |r| Box::pin(scale_set::act(r, "powerOff"))),
            ("deallocate", |r| Box::pin(scale_set::act(r, "deallocate"))),
            ("restart", |r| Box::pin(scale_set::act(r, "restart"))),
            ("redeploy", |r| Box::pin(scale_set::act(r, "redeploy"))),
            ("reapply", |r| Box::pin(scale_set::act(r, "reapply"))),
            ("delete", |r| Box::pin(scale_set::act(r, "delete"))),
            ("manualupgrade", |r| {
                Box::pin(scale_set::act(r, "manualupgrade"))
            }),
            ("reimage", |r| Box::pin(scale_set::act(r, "reimage"))),
            ("reimageall", |r| Box::pin(scale_set::act(r, "reimageall"))),
            ("osRollingUpgrade", |r| {
                Box::pin(scale_set::start_os_upgrade(r))
            }),
            ("rollingUpgrades/cancel", |r| {
                Box::pin(scale_set::cancel_upgrade(r))
            }),
        ];
        for (verb, handler) in verbs {
            self.add(Method::POST, &format!("{set}/{verb}"), t, handler);
        }
        let reads: [(&str, Handler); 7] = [
            ("instanceView", |r| Box::pin(scale_set::view_of_set(r))),
            ("skus", |r| Box::pin(scale_set::sizes(r))),
            ("rollingUpgrades/latest", |r| {
                Box::pin(scale_set::latest_upgrade(r))
            }),
            ("osUpgradeHistory", |r| Box::pin(scale_set::os_upgrades(r))),
            ("virtualMachines", |r| Box::pin(scale_set::instances(r))),
            ("networkInterfaces", |r| Box::pin(scale_set::interfaces(r))),
            ("publicIPAddresses", |r| Box::pin(scale_set::addresses(r))),
        ];
        for (tail, handler) in reads {
            // These are asked for with api-versions of networks.
            let type_name = match tail {
                "networkInterfaces" => Kind::ScaleSetInterface.type_name(),
                "publicIPAddresses" => Kind::ScaleSetAddress.type_name(),
                _ => t,
            };
            self.add(Method::GET, &format!("{set}/{tail}"), type_name, handler);
        }
        self.add_instances();
        self.add_refusals();
    }

    /// What is not offered says so, and what to do instead.
    fn add_refusals(&mut self) {
        use SetNotOffered as Asked;
        let of_set: [(Asked, Handler); 5] = [
            (Asked::PerformMaintenance, |r| {
                Box::pin(scale_set::refuse(r, Asked::PerformMaintenance))
            }),
            (Asked::SetOrchestrationServiceState, |r| {
                Box::pin(scale_set::refuse(r, Asked::SetOrchestrationServiceState))
            }),
            (Asked::UpdateDomainWalk, |r| {
                Box::pin(scale_set::refuse(r, Asked::UpdateDomainWalk))
            }),
            (Asked::ExtensionUpgrade, |r| {
                Box::pin(scale_set::refuse(r, Asked::ExtensionUpgrade))
            }),
            (Asked::ApproveUpgrade, |r| {
                Box::pin(scale_set::refuse(r, Asked::ApproveUpgrade))
            }),
        ];
        let of_machine: [(Asked, Handler); 3] = [
            (Asked::PerformMaintenance, |r| {
                Box::pin(scale_set::refuse(r, Asked::PerformMaintenance))
            }),
            (Asked::SimulateEviction, |r| {
                Box::pin(scale_set::refuse(r, Asked::SimulateEviction))
            }),
            (Asked::ApproveUpgrade, |r| {
                Box::pin(scale_set::refuse(r, Asked::ApproveUpgrade))
            }),
        ];
        for (kind, verbs) in [
            (Kind::ScaleSet, of_set.as_slice()),
            (Kind::ScaleSetMachine, of_machine.as_slice()),
        ] {
            let item = item_pattern(kind);
            for (asked, handler) in verbs {
                let path = format!("{item}/{}", asked.verb());
                self.add(Method::POST, &path, kind.type_name(), *handler);
            }
        }
    }

    fn add_instances(&mut self) {
        let (item, t) = (
            item_pattern(Kind::ScaleSetMachine),
            Kind::ScaleSetMachine.type_name(),
        );
        let verbs: [(&str, Handler); 10] = [
            ("start", |r| Box::pin(scale_set::act_on_one(r, "start"))),
            ("powerOff", |r| {
                Box::pin(scale_set::act_on_one(r, "powerOff"))
            }),
            ("deallocate", |r| {
                Box::pin(scale_set::act_on_one(r, "deallocate"))
            }),
            ("restart", |r| Box::pin(scale_set::act_on_one(r, "restart"))),
            ("redeploy", |r| {
                Box::pin(scale_set::act_on_one(r, "redeploy"))
            }),
            ("reimage", |r| Box::pin(scale_set::act_on_one(r, "reimage"))),
            ("reimageall", |r| {
                Box::pin(scale_set::act_on_one(r, "reimageall"))
            }),
            ("runCommand", |r| Box::pin(scale_set::run_command(r))),
            ("attachDetachDataDisks", |r| {
                Box::pin(scale_set::attach_detach(r))
            }),
            ("retrieveBootDiagnosticsData", |r| {
                Box::pin(scale_set::boot_diagnostics(r))
            }),
        ];
        for (verb, handler) in verbs {
            self.add(Method::POST, &format!("{item}/{verb}"), t, handler);
        }
        self.add(Method::GET, &item, t, |r| Box::pin(scale_set::instance(r)));
        self.add(Method::PUT, &item, t, |r| {
            Box::pin(scale_set::put_instance(r))
        });
        self.add(Method::DELETE, &item, t, |r| {
            Box::pin(scale_set::delete_one(r))
        });
        self.add(Method::GET, &format!("{item}/instanceView"), t, |r| {
            Box::pin(scale_set::instance_view(r))
        });
        let cards = Kind::ScaleSetInterface.type_name();
        self.add(
            Method::GET,
            &format!("{item}/networkInterfaces"),
            cards,
            |r| Box::pin(scale_set::interfaces(r)),
        );
        let card = item_pattern(Kind::ScaleSetInterface);
        self.add(Method::GET, &card, cards, |r| Box::pin(resource::get(r)));
        let (address, t) = (
            item_pattern(Kind::ScaleSetAddress),
            Kind::ScaleSetAddress.type_name(),
        );
        self.add(Method::GET, &address, t, |r| Box::pin(resource::get(r)));
        let all = address.rsplit_once('/').map_or("", |(all, _)| all);
        self.add(Method::GET, all, t, |r| Box::pin(scale_set::addresses(r)));
    }
}

/// Returns the path of a set, of one of its machines, and of what belongs to that.
pub(super) fn pattern(kind: Kind) -> String {
    match kind {
        Kind::ScaleSetMachine => format!(
            "{}/virtualMachines/{{instance}}",
            item_pattern(Kind::ScaleSet)
        ),
        Kind::ScaleSetInterface => format!(
            "{}/networkInterfaces/{{networkInterface}}",
            item_pattern(Kind::ScaleSetMachine)
        ),
        Kind::ScaleSetAddress => format!(
            "{}/ipConfigurations/{{ipConfiguration}}/publicIPAddresses/{{publicIpAddress}}",
            item_pattern(Kind::ScaleSetInterface)
        ),
        _ => format!(
            "{}/providers/Microsoft.Compute/virtualMachineScaleSets/{{scaleSet}}",
            item_pattern(Kind::ResourceGroup)
        ),
    }
}
