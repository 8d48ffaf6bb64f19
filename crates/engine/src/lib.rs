//! Vitrine crate `engine`.
