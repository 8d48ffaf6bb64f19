//! Vitrine crate `arm`.
