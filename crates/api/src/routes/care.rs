//! Routes of care: what is stored, what is done for it, what is charged, digests.

use axum::http::Method;
use domain::Kind;

use super::{Routes, item_pattern};
use crate::handlers::{care, digest, usage};

impl Routes {
    pub(super) fn add_care(&mut self) {
        self.add(
            Method::GET,
            "/providers/Vitrine.Gallery/schedule",
            "Vitrine.Gallery/schedule",
            |r| Box::pin(care::schedule(r)),
        );
        self.add(
            Method::GET,
            "/subscriptions/{subscription}/providers/Vitrine.Gallery/usage",
            "Vitrine.Gallery/usage",
            |r| Box::pin(usage::report(r)),
        );
        self.add(
            Method::GET,
            "/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/usages",
            "Microsoft.Compute/locations/usages",
            |r| Box::pin(usage::list(r)),
        );
        let version = item_pattern(Kind::ImageVersion);
        self.add(
            Method::POST,
            &format!("{version}/computeDigests"),
            Kind::ImageVersion.type_name(),
            |r| Box::pin(digest::compute(r)),
        );
    }
}
