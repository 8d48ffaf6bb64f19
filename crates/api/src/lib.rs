//! Vitrine crate `api`.
