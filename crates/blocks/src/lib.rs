//! Vitrine crate `blocks`.
