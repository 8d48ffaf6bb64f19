//! Empty databases.

use catalog::Catalog;
use sqlx::{AnyConnection, Connection as _, Executor as _};
use uuid::Uuid;

/// An empty database for one law.
pub struct Database {
    url: String,
    /// The server's own database, on PostgreSQL.
    server: Option<String>,
    _dir: Option<tempfile::TempDir>,
}

impl Database {
    /// Returns a new SQLite file.
    pub fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("catalog.db");
        Self {
            url: format!("sqlite:{}?mode=rwc", file.display()),
            server: None,
            _dir: Some(dir),
        }
    }

    /// Makes a new database on the server of `VITRINE_TEST_POSTGRES`.
    pub async fn postgres() -> Self {
        let server = std::env::var("VITRINE_TEST_POSTGRES")
            .expect("VITRINE_TEST_POSTGRES names no server: cargo xtask test starts one");
        let name = format!("vitrine_{}", Uuid::new_v4().simple());
        statement(
            &server,
            &format!(
                "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
            ),
        )
        .await;
        let (base, _) = server.rsplit_once('/').unwrap();
        Self {
            url: format!("{base}/{name}"),
            server: Some(server),
            _dir: None,
        }
    }

    /// Opens the catalog.
    pub async fn open(&self) -> Catalog {
        Catalog::open(&self.url).await.unwrap()
    }

    /// Returns a bare connection, for what no catalog would write.
    pub async fn connect(&self) -> AnyConnection {
        connect(&self.url).await
    }

    /// Removes what would otherwise stay on the server.
    pub async fn remove(self) {
        if let Some(server) = &self.server {
            let (_, name) = self.url.rsplit_once('/').unwrap();
            statement(server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
        }
    }
}

async fn connect(url: &str) -> AnyConnection {
    sqlx::any::install_default_drivers();
    AnyConnection::connect(url).await.unwrap()
}

async fn statement(url: &str, sql: &str) {
    let mut connection = connect(url).await;
    // The text is ours: a name made of a UUID.
    connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    connection.close().await.unwrap();
}
