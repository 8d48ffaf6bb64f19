//! What can go wrong in the catalog.

/// What a caller decides by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A row with this key is already there.
    Exists,
    /// The row was changed by someone else since it was read.
    Stale,
    /// A unique name belongs to another resource.
    Taken,
    /// The database is busy; the same call may work a moment later.
    Busy,
    /// The database does not answer.
    Unavailable,
    /// A row cannot be read back.
    Corrupt,
}

/// An error of the catalog.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A row with this key is already there.
    #[error("{table} {key} is already there")]
    Exists {
        /// Which table.
        table: &'static str,
        /// Which key.
        key: String,
    },
    /// The row was changed by someone else since it was read.
    #[error("{key} was changed since it was read")]
    Stale {
        /// Which resource.
        key: String,
    },
    /// A unique name belongs to another resource.
    #[error("the name is taken by {owner}")]
    Taken {
        /// The resource that has it.
        owner: String,
    },
    /// A row cannot be read back.
    #[error("{table} {key} cannot be read: {reason}")]
    Corrupt {
        /// Which table.
        table: &'static str,
        /// Which key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// The schema could not be brought to this version.
    #[error("the schema cannot be brought up to date")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The database said no.
    #[error("the database refused a statement")]
    Database(#[from] sqlx::Error),
}

impl CatalogError {
    /// Returns what a caller decides by.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Exists { .. } => Kind::Exists,
            Self::Stale { .. } => Kind::Stale,
            Self::Taken { .. } => Kind::Taken,
            Self::Corrupt { .. } => Kind::Corrupt,
            Self::Migrate(_) => Kind::Unavailable,
            Self::Database(sqlx::Error::PoolTimedOut) => Kind::Busy,
            Self::Database(error) if crate::dialect::is_busy(error) => Kind::Busy,
            Self::Database(_) => Kind::Unavailable,
        }
    }
}

/// Turns a unique violation into `Exists`.
pub(crate) fn exists(table: &'static str, key: &str) -> impl FnOnce(sqlx::Error) -> CatalogError {
    let key = key.to_owned();
    move |error| match error.as_database_error() {
        Some(inner) if inner.is_unique_violation() => CatalogError::Exists { table, key },
        _ => CatalogError::Database(error),
    }
}

/// The result of a catalog call.
pub(crate) type Result<T> = std::result::Result<T, CatalogError>;
