//! The laws of sign-in: who gets a token, which tokens count, who may do what.

#![expect(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "helpers of tests and tables of cases"
)]

mod identity {
    pub mod access;
    pub mod accounts;
    pub mod assertions;
    pub mod audit;
    pub mod external;
    pub mod grants;
    pub mod tokens;
    pub mod world;
}
