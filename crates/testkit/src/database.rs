//! Databases of catalogs: a file, or a database of one's own on the PostgreSQL of this run.

#![expect(
    clippy::disallowed_methods,
    reason = "databases are made by psql: sqlx is at home in the catalog"
)]

use std::path::Path;
use std::process::Command;

/// Where the server of this run is found; `cargo xtask test` starts one.
const SERVER: &str = "VITRINE_TEST_POSTGRES";

/// An empty database; on PostgreSQL it is removed with this.
pub struct Database {
    url: String,
    /// The server's own database, on PostgreSQL.
    server: Option<String>,
}

impl Database {
    /// Returns a SQLite file in a directory.
    pub fn sqlite(dir: &Path) -> Self {
        let file = dir.join("catalog.db");
        Self {
            url: format!("sqlite:{}?mode=rwc", file.display()),
            server: None,
        }
    }

    /// Makes a new database that sorts as people do, so that no order comes right by chance.
    ///
    /// # Panics
    ///
    /// Without a server in `VITRINE_TEST_POSTGRES`.
    pub fn postgres() -> Self {
        let server = std::env::var(SERVER)
            .expect("VITRINE_TEST_POSTGRES names no server: cargo xtask test starts one");
        let name = format!("vitrine_{}", uuid::Uuid::new_v4().simple());
        statement(
            &server,
            &format!(
                "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'"
            ),
        );
        let (base, _) = server.rsplit_once('/').expect("a URL has a path");
        Self {
            url: format!("{base}/{name}"),
            server: Some(server),
        }
    }

    /// Returns the URL that a catalog is opened by.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let (Some(server), Some((_, name))) = (&self.server, self.url.rsplit_once('/')) {
            statement(server, &format!("DROP DATABASE {name} WITH (FORCE)"));
        }
    }
}

fn statement(server: &str, sql: &str) {
    let done = Command::new("psql")
        .args([
            "--no-psqlrc",
            "--quiet",
            "--dbname",
            server,
            "--command",
            sql,
        ])
        .output();
    match done {
        Ok(done) if done.status.success() => {}
        // In a drop during a panic a second one would hide the first.
        other if std::thread::panicking() => eprintln!("{sql}: {other:?}"),
        other => panic!("{sql}: {other:?}"),
    }
}
