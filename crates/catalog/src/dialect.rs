//! Every difference between SQLite and PostgreSQL.

use sqlx::Executor as _;
use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, AnyPool};
use std::time::Duration;

use crate::error::Result;

/// How long a call waits for a connection.
const ACQUIRE_LIMIT: Duration = Duration::from_secs(30);

/// Which database is behind the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// Returns the dialect of a URL.
    pub fn of(url: &str) -> Self {
        if url.starts_with("sqlite:") {
            Self::Sqlite
        } else {
            Self::Postgres
        }
    }

    /// Returns the statement that starts a write.
    pub const fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Returns the statement that finds the next runnable operation.
    ///
    /// PostgreSQL skips rows that another worker has just locked; SQLite has one writer at a time.
    pub const fn next_operation(self) -> &'static str {
        const NEXT: &str = "SELECT id FROM operations AS o WHERE state = 'InProgress' AND run_at_ms <= $1 \
             AND lease_until_ms <= $1 AND NOT EXISTS (SELECT 1 FROM operations AS b WHERE \
             b.resource_key = o.resource_key AND b.state = 'InProgress' AND b.sequence < o.sequence) \
             ORDER BY sequence LIMIT 1";
        match self {
            Self::Sqlite => NEXT,
            Self::Postgres => {
                "SELECT id FROM operations AS o WHERE state = 'InProgress' AND run_at_ms <= $1 \
                 AND lease_until_ms <= $1 AND NOT EXISTS (SELECT 1 FROM operations AS b WHERE \
                 b.resource_key = o.resource_key AND b.state = 'InProgress' AND b.sequence < o.sequence) \
                 ORDER BY sequence LIMIT 1 FOR UPDATE SKIP LOCKED"
            }
        }
    }

    /// Returns a statement whose `{name}` compares and sorts by bytes, as SQLite always does.
    pub fn in_byte_order(self, sql: &str) -> String {
        match self {
            Self::Sqlite => sql.replace("{name}", "name"),
            Self::Postgres => sql.replace("{name}", "name COLLATE \"C\""),
        }
    }

    /// Opens the pool of writers: one connection on SQLite, so that waiting is fair.
    pub async fn writers(self, url: &str) -> Result<AnyPool> {
        let connections = match self {
            Self::Sqlite => 1,
            Self::Postgres => 8,
        };
        self.pool(url, connections).await
    }

    /// Opens the pool of readers.
    pub async fn readers(self, url: &str) -> Result<AnyPool> {
        let connections = match self {
            Self::Sqlite => 4,
            Self::Postgres => 16,
        };
        self.pool(url, connections).await
    }

    async fn pool(self, url: &str, connections: u32) -> Result<AnyPool> {
        let options = AnyPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_LIMIT)
            .test_before_acquire(self == Self::Postgres)
            .after_connect(move |connection, _| Box::pin(self.prepare(connection)));
        Ok(options.connect(url).await?)
    }

    async fn prepare(self, connection: &mut AnyConnection) -> std::result::Result<(), sqlx::Error> {
        if self == Self::Sqlite {
            for pragma in [
                "PRAGMA busy_timeout = 10000",
                "PRAGMA journal_mode = WAL",
                "PRAGMA synchronous = FULL",
                "PRAGMA foreign_keys = ON",
                "PRAGMA cache_size = -8000",
            ] {
                connection.execute(pragma).await?;
            }
        }
        Ok(())
    }
}

/// Whether the database only asks to try again.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    // SQLite: BUSY (5) and its extended forms, LOCKED (6). PostgreSQL: serialization, deadlock.
    error
        .as_database_error()
        .and_then(|inner| inner.code())
        .is_some_and(|code| {
            matches!(
                code.as_ref(),
                "5" | "6" | "261" | "517" | "40001" | "40P01" | "55P03"
            )
        })
}
