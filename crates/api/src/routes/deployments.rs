//! Routes of template deployments: of groups, and of subscriptions' own.

use axum::http::Method;

use super::{Handler, Routes};
use crate::handlers::{deployment, operation};

impl Routes {
    pub(super) fn add_deployments(&mut self) {
        const GROUP: &str = "/subscriptions/{subscription}/resourceGroups/{group}";
        const SUBSCRIPTION: &str = "/subscriptions/{subscription}";
        for home in [GROUP, SUBSCRIPTION] {
            self.add_deployments_of(home);
        }
    }

    fn add_deployments_of(&mut self, home: &str) {
        const T: &str = "Microsoft.Resources/deployments";
        let all = format!("{home}/providers/Microsoft.Resources/deployments");
        let old = format!("{home}/deployments/{{deployment}}");
        let one = format!("{all}/{{deployment}}");
        self.add(Method::GET, &all, T, |r| Box::pin(deployment::list(r)));
        self.add(Method::GET, &one, T, |r| Box::pin(deployment::get(r)));
        self.add(Method::HEAD, &one, T, |r| Box::pin(deployment::head(r)));
        self.add(Method::PUT, &one, T, |r| Box::pin(deployment::put(r)));
        self.add(Method::DELETE, &one, T, |r| Box::pin(deployment::delete(r)));
        let verbs: [(&str, Handler); 4] = [
            ("validate", |r| Box::pin(deployment::validate(r))),
            ("whatIf", |r| Box::pin(deployment::what_if(r))),
            ("cancel", |r| Box::pin(deployment::cancel(r))),
            ("exportTemplate", |r| Box::pin(deployment::export(r))),
        ];
        for (verb, handler) in verbs {
            self.add(Method::POST, &format!("{one}/{verb}"), T, handler);
        }
        // `az deployment operation group list` leaves the provider's name out.
        for door in [&one, &old] {
            let steps = format!("{door}/operations");
            self.add(Method::GET, &steps, T, |r| {
                Box::pin(deployment::operations(r))
            });
            self.add(Method::GET, &format!("{steps}/{{operation}}"), T, |r| {
                Box::pin(deployment::operation(r))
            });
        }
        self.add(
            Method::GET,
            &format!("{one}/operationStatuses/{{operation}}"),
            T,
            |r| Box::pin(operation::poll(r)),
        );
    }
}
