//! Routes of access: roles and locks at every scope, galleries of others, the activity log.

use axum::http::Method;
use domain::Kind;

use super::{Handler, Routes, item_pattern};
use crate::handlers::{activity, allowed_images, invite, lock, moving, role, shared};

/// Extensions of every scope.
impl Routes {
    pub(super) fn add_access(&mut self) {
        let mut scopes = vec![String::new(), "/subscriptions/{subscription}".to_owned()];
        scopes.extend(Kind::ALL.into_iter().map(item_pattern));
        for scope in scopes {
            self.add_roles(&scope);
            if !scope.is_empty() {
                self.add_locks(&scope);
            }
        }
    }

    pub(super) fn add_activity(&mut self) {
        const T: &str = "Microsoft.Insights/eventtypes";
        self.add(
            Method::GET,
            "/subscriptions/{subscription}/providers/Microsoft.Insights/eventtypes/management/values",
            T,
            |r| Box::pin(activity::list(r)),
        );
    }

    pub(super) fn add_shared(&mut self) {
        const L: &str =
            "/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}";
        const S: &str = "Microsoft.Compute/locations/sharedGalleries";
        const C: &str = "Microsoft.Compute/locations/communityGalleries";
        const G: &str = "Microsoft.ResourceGraph/resources";
        let all = format!("{L}/sharedGalleries");
        self.add(Method::GET, &all, S, |r| Box::pin(shared::list(r)));
        let doors = [
            (S, format!("{all}/{{uniqueName}}")),
            (C, format!("{L}/communityGalleries/{{publicName}}")),
        ];
        for (type_name, one) in doors {
            let images = format!("{one}/images");
            let image = format!("{images}/{{image}}");
            let versions = format!("{image}/versions");
            let version = format!("{versions}/{{version}}");
            let rows: [(&str, Handler); 5] = [
                (&one, |r| Box::pin(shared::gallery(r))),
                (&images, |r| Box::pin(shared::images(r))),
                (&image, |r| Box::pin(shared::image(r))),
                (&versions, |r| Box::pin(shared::versions(r))),
                (&version, |r| Box::pin(shared::version(r))),
            ];
            for (path, handler) in rows {
                self.add(Method::GET, path, type_name, handler);
            }
        }
        self.add(
            Method::POST,
            "/providers/Microsoft.ResourceGraph/resources",
            G,
            |r| Box::pin(shared::query(r)),
        );
    }

    pub(super) fn add_invites(&mut self) {
        const L: &str =
            "/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}";
        let doors = [
            (
                "Microsoft.Compute/locations/sharedGallerySubscriptions",
                format!("{L}/sharedGallerySubscriptions"),
            ),
            (
                "Microsoft.Compute/locations/tenantLevelSharedGallerySubscriptions",
                "/providers/Microsoft.Compute/locations/{location}/tenantLevelSharedGallerySubscriptions".to_owned(),
            ),
        ];
        for (type_name, path) in doors {
            let one = format!("{path}/{{owner}}/sharedGalleries/{{uniqueName}}");
            self.add(Method::POST, &format!("{one}/accept"), type_name, |r| {
                Box::pin(invite::accept(r))
            });
            self.add(Method::POST, &format!("{one}/reject"), type_name, |r| {
                Box::pin(invite::reject(r))
            });
        }
    }

    pub(super) fn add_allowed_images(&mut self) {
        const T: &str = "Vitrine.Gallery/allowedImages";
        const P: &str =
            "/subscriptions/{subscription}/providers/Vitrine.Gallery/allowedImages/default";
        self.add(Method::GET, P, T, |r| Box::pin(allowed_images::get(r)));
        self.add(Method::PUT, P, T, |r| Box::pin(allowed_images::put(r)));
        self.add(Method::DELETE, P, T, |r| {
            Box::pin(allowed_images::delete(r))
        });
    }

    pub(super) fn add_moves(&mut self) {
        const T: &str = "Microsoft.Resources/resourceGroups";
        let group = item_pattern(Kind::ResourceGroup);
        self.add(Method::POST, &format!("{group}/moveResources"), T, |r| {
            Box::pin(moving::start(r))
        });
        self.add(
            Method::POST,
            &format!("{group}/validateMoveResources"),
            T,
            |r| Box::pin(moving::validate(r)),
        );
    }

    fn add_roles(&mut self, scope: &str) {
        const D: &str = "Microsoft.Authorization/roleDefinitions";
        const A: &str = "Microsoft.Authorization/roleAssignments";
        let all = format!("{scope}/providers/{D}");
        let one = format!("{all}/{{definition}}");
        self.add(Method::GET, &all, D, |r| {
            Box::pin(role::list_definitions(r))
        });
        self.add(Method::GET, &one, D, |r| Box::pin(role::get_definition(r)));
        self.add(Method::PUT, &one, D, |r| Box::pin(role::put_definition(r)));
        self.add(Method::DELETE, &one, D, |r| {
            Box::pin(role::delete_definition(r))
        });
        let all = format!("{scope}/providers/{A}");
        let one = format!("{all}/{{assignment}}");
        self.add(Method::GET, &all, A, |r| {
            Box::pin(role::list_assignments(r))
        });
        self.add(Method::GET, &one, A, |r| Box::pin(role::get_assignment(r)));
        self.add(Method::PUT, &one, A, |r| Box::pin(role::put_assignment(r)));
        self.add(Method::DELETE, &one, A, |r| {
            Box::pin(role::delete_assignment(r))
        });
    }

    fn add_locks(&mut self, scope: &str) {
        const T: &str = "Microsoft.Authorization/locks";
        let all = format!("{scope}/providers/{T}");
        let one = format!("{all}/{{lock}}");
        self.add(Method::GET, &all, T, |r| Box::pin(lock::list(r)));
        self.add(Method::GET, &one, T, |r| Box::pin(lock::get(r)));
        self.add(Method::PUT, &one, T, |r| Box::pin(lock::put(r)));
        self.add(Method::DELETE, &one, T, |r| Box::pin(lock::delete(r)));
    }
}
