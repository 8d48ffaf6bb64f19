//! Every difference between SQLite and PostgreSQL.

use sqlx::any::AnyPoolOptions;
use sqlx::{AnyConnection, AnyPool};
use sqlx::{Connection as _, Executor as _};
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

    /// Returns the statement that waits until no other write is under way; none where beginning does.
    ///
    /// A write reads before it decides: how many disks count against a quota, whether a gallery still
    /// has images, who holds a name, which number the next operation gets. Under PostgreSQL's default
    /// isolation two such transactions pass each other and both come true; under `SERIALIZABLE` one
    /// of them fails and every caller would have to begin again. So there is one writer at a time on
    /// both databases. The lock ends with its transaction, whatever becomes of its client.
    pub const fn one_writer(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => {
                Some("SELECT 1 FROM (SELECT pg_advisory_xact_lock(6217001)) AS locked")
            }
        }
    }

    /// Brings every text column to byte order, whatever the collation of the database.
    ///
    /// Keys are compared as ranges and pages go on after a name: that holds only when the order is the
    /// one of bytes, as it is in SQLite. A later migration's columns are found by the same statement.
    pub async fn sort_by_bytes(self, pool: &AnyPool) -> Result<()> {
        const SQL: &str = r#"
            DO $$ DECLARE found record; BEGIN
                FOR found IN
                    SELECT table_name, column_name FROM information_schema.columns
                    WHERE table_schema = current_schema() AND data_type = 'text'
                    AND collation_name IS DISTINCT FROM 'C' AND table_name <> '_sqlx_migrations'
                LOOP
                    EXECUTE format('ALTER TABLE %I ALTER COLUMN %I TYPE TEXT COLLATE "C"',
                        found.table_name, found.column_name);
                END LOOP;
            END $$"#;
        if self == Self::Postgres {
            pool.execute(SQL).await?;
        }
        Ok(())
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
            // SQLite ends a transaction itself when its disk is full; the driver does not notice and
            // would refuse every later transaction of the connection.
            .before_acquire(|connection, _| {
                let is_idle = !connection.is_in_transaction();
                Box::pin(async move { Ok(is_idle) })
            })
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
        if self == Self::Postgres {
            // One writer waits for the other: neither for ever, and not for one that has gone quiet.
            for setting in [
                "SET lock_timeout = '20s'",
                "SET idle_in_transaction_session_timeout = '20s'",
            ] {
                connection.execute(setting).await?;
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
