//! Vitrine crate `testkit`.
