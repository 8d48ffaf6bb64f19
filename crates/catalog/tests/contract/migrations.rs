//! The schema goes forward over a database that is in use.

use sqlx::migrate::Migrator;
use sqlx::{AnyConnection, Connection as _, Row as _};

use uuid::Uuid;

use crate::database::Database;
use crate::sample::{gallery, operation};

static MIGRATOR: Migrator = sqlx::migrate!();

/// What the first release wrote, for every table that a later migration changes.
const DATA: [&str; 11] = [
    "INSERT INTO operations VALUES ('00000000-0000-0000-0000-000000000001', 'Caps', 'Put', $1, $2, 'eastus', 'InProgress', \
     'null', NULL, NULL, 0, 0, 20, NULL, NULL, 0, 0, 7)",
    "INSERT INTO operations VALUES ('00000000-0000-0000-0000-000000000002', 'Caps', 'Put', $1, $2, 'eastus', 'InProgress', \
     'null', NULL, NULL, 0, 0, 10, NULL, NULL, 0, 0, 7)",
    "INSERT INTO operations VALUES ('00000000-0000-0000-0000-000000000003', 'Disk', 'BeginAccess', $1, $2, 'eastus', \
     'Succeeded', 'null', NULL, '{\"accessSAS\":\"secret\"}', 1, 0, 30, 40, NULL, 1, 0, 9)",
    "INSERT INTO refresh_tokens (hash, principal, tenant, expires_ms) VALUES ('h', $1, $2, 5)",
    "INSERT INTO device_codes (device_hash, user_code, tenant, principal, expires_ms) VALUES ('h', 'ABCD', $1, $2, 5)",
    "INSERT INTO role_assignments VALUES ('r', $1, $2, 'p', 'User', 1)",
    "INSERT INTO settings (key, value) VALUES ($1, $2)",
    "INSERT INTO resources VALUES ($1, $2, 'k', 's', 'g', '', 'eastus', 'a', NULL, '{}', '{}', '{}', 'Succeeded', 1, 1, NULL, 1)",
    "INSERT INTO blobs VALUES ($1, $2, 'b', 'PageBlob', 512, 'e', 1, 1, '{}', '{}', '00000000-0000-0000-0000-000000000001', 'eastus', 0)",
    "INSERT INTO blobs VALUES ($1, $2, 'c', 'BlockBlob', 20, 'e', 1, 1, '{}', '{}', '00000000-0000-0000-0000-000000000002', 'eastus', 0)",
    "INSERT INTO staged_blocks VALUES ($1, $2, 'c', 'QQ==', '00000000-0000-0000-0000-000000000003', 0, 3, 1)",
];

async fn fill(connection: &mut AnyConnection) {
    let row = gallery("a");
    for sql in DATA {
        sqlx::query(sql)
            .bind(row.id.key())
            .bind(row.id.to_string())
            .execute(&mut *connection)
            .await
            .unwrap();
    }
}

pub async fn a_database_with_data_is_brought_up_to_date(database: &Database) {
    let mut connection = database.connect().await;
    MIGRATOR.run_to(1, &mut connection).await.unwrap();
    fill(&mut connection).await;
    connection.close().await.unwrap();

    let catalog = database.open().await;
    let row = gallery("a");
    let mut tx = catalog.write().await.unwrap();
    assert_eq!(
        tx.setting(&row.id.key()).await.unwrap(),
        Some(row.id.to_string())
    );
    assert!(tx.load_refresh_token("h").await.unwrap().is_some());
    // Its scope is shown as it was kept.
    let role = tx.load_role_assignment("r").await.unwrap().unwrap();
    assert_eq!((role.shown_scope, role.description), (role.scope, None));
    assert!(tx.load_device_code("h").await.unwrap().is_some());
    // What was stored before it counted counts.
    assert_eq!(tx.held_bytes("s").await.unwrap(), 512 + 20 + 3);
    assert_eq!(tx.bytes_of(&row.id.key()).await.unwrap(), 512 + 20 + 3);
    // The result was a secret; nothing keeps it any more.
    let opened = Uuid::from_u128(3);
    let opened = tx.load_operation(opened).await.unwrap().unwrap();
    assert_eq!(opened.output, None);
    // Two had the same number: now the one that was accepted first goes first, and new ones go last.
    tx.insert_operation(&operation(&row)).await.unwrap();
    tx.commit().await.unwrap();
    let mut connection = database.connect().await;
    let rows = sqlx::query("SELECT sequence, started_ms FROM operations ORDER BY sequence")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let order: Vec<(i64, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(order, [(1, 10), (2, 20), (3, 30), (4, 0)]);
}
