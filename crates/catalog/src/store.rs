//! The catalog itself: pools, transactions, read sessions.

use std::ops::{Deref, DerefMut};
use std::path::Path;

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Executor as _, Transaction};

use crate::dialect::Dialect;
use crate::error::Result;

/// The metadata store; clones share its pools.
#[derive(Clone)]
pub struct Catalog {
    writers: AnyPool,
    readers: AnyPool,
    dialect: Dialect,
}

/// A session that reads; every read method hangs on it.
pub struct Read {
    inner: Inner,
    pub(crate) dialect: Dialect,
}

enum Inner {
    Pooled(PoolConnection<Any>),
    Transaction(Transaction<'static, Any>),
}

/// One transaction: reads of [`Read`], and writes that count from [`Tx::commit`] on.
pub struct Tx(Read);

impl Catalog {
    /// Opens a database, `sqlite:/path?mode=rwc` or `postgres://…`, and brings its schema up to date.
    pub async fn open(url: &str) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let dialect = Dialect::of(url);
        let writers = dialect.writers(url).await?;
        sqlx::migrate!().run(&writers).await?;
        dialect.sort_by_bytes(&writers).await?;
        let readers = dialect.readers(url).await?;
        Ok(Self {
            writers,
            readers,
            dialect,
        })
    }

    /// Starts a transaction that may write; there is one at a time.
    pub async fn write(&self) -> Result<Tx> {
        let mut inner = self.writers.begin_with(self.dialect.begin_write()).await?;
        if let Some(wait) = self.dialect.one_writer() {
            inner.execute(wait).await?;
        }
        Ok(Tx(Read {
            inner: Inner::Transaction(inner),
            dialect: self.dialect,
        }))
    }

    /// Writes what is committed into a new file, while others go on reading and writing.
    ///
    /// False, and nothing written, where the database is a server: its own tools copy it.
    pub async fn copy_to(&self, file: &Path) -> Result<bool> {
        if self.dialect == Dialect::Postgres {
            return Ok(false);
        }
        let mut reader = self.readers.acquire().await?;
        sqlx::query("VACUUM INTO $1")
            .bind(file.display().to_string())
            .execute(&mut *reader)
            .await?;
        Ok(true)
    }

    /// Starts a session that reads what is committed.
    pub async fn read(&self) -> Result<Read> {
        let inner = self.readers.acquire().await?;
        Ok(Read {
            inner: Inner::Pooled(inner),
            dialect: self.dialect,
        })
    }
}

impl Read {
    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        match &mut self.inner {
            Inner::Pooled(connection) => connection,
            Inner::Transaction(transaction) => transaction,
        }
    }
}

impl Tx {
    /// Makes everything that was written durable and visible.
    pub async fn commit(self) -> Result<()> {
        if let Inner::Transaction(transaction) = self.0.inner {
            transaction.commit().await?;
        }
        Ok(())
    }
}

impl Deref for Tx {
    type Target = Read;

    fn deref(&self) -> &Read {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Read {
        &mut self.0
    }
}
