//! What is looked for in the directory.

/// A question about principals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Everything.
    All,
    /// By object id.
    Id(String),
    /// By the name of a user, whatever its case.
    UserName(String),
    /// By display name, whatever its case.
    DisplayName(String),
    /// By the start of a display name, whatever its case.
    StartsWith(String),
    /// By application id.
    ServiceName(String),
}
