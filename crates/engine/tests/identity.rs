//! The laws of sign-in: who gets a token, which tokens count, who may do what.

mod identity {
    pub mod access;
    pub mod accounts;
    pub mod grants;
    pub mod tokens;
    pub mod world;
}
