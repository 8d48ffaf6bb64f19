//! Vitrine crate `catalog`.
