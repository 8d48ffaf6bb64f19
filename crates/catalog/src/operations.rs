//! Operations and their leases.
//!
//! A claim raises the lease's generation; every later write of the worker names the generation it
//! holds and changes nothing when another worker has claimed since. Operations of one resource run
//! one after another, in the order in which they were accepted; commands in a guest run beside them.

use domain::operation::{Family, Operation, OperationState, Work};
use domain::{Error, ErrorKind, ResourceId};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::error::{CatalogError, Result, exists};
use crate::store::{Read, Tx};

const TABLE: &str = "operations";

impl Read {
    /// Returns an operation.
    pub async fn load_operation(&mut self, id: Uuid) -> Result<Option<Operation>> {
        let row = sqlx::query("SELECT * FROM operations WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// Returns the newest operation of a resource that is not over; a command in its guest is none of them.
    pub async fn open_operation_of(&mut self, resource: &ResourceId) -> Result<Option<Operation>> {
        let row = sqlx::query(
            "SELECT * FROM operations WHERE resource_key = $1 AND state = 'InProgress' AND work <> 'RunCommand' \
             ORDER BY sequence DESC LIMIT 1",
        )
        .bind(resource.key())
        .fetch_optional(self.connection())
        .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// Returns the command in a machine's guest that is not over.
    pub async fn open_command_of(&mut self, machine: &ResourceId) -> Result<Option<Operation>> {
        let row = sqlx::query(
            "SELECT * FROM operations WHERE resource_key = $1 AND state = 'InProgress' AND work = 'RunCommand' \
             ORDER BY sequence DESC LIMIT 1",
        )
        .bind(machine.key())
        .fetch_optional(self.connection())
        .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// Returns how many operations are not over.
    pub async fn count_open_operations(&mut self) -> Result<i64> {
        let row = sqlx::query("SELECT COUNT(*) AS n FROM operations WHERE state = 'InProgress'")
            .fetch_one(self.connection())
            .await?;
        Ok(row.try_get("n")?)
    }
}

impl Tx {
    /// Records an accepted operation.
    pub async fn insert_operation(&mut self, operation: &Operation) -> Result<()> {
        const SQL: &str = "INSERT INTO operations (id, family, work, resource_key, resource, location, state, step, error, \
             output, attempts, run_at_ms, started_ms, ended_ms, lease_owner, lease_generation, lease_until_ms, sequence) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, NULL, NULL, $9, $10, $11, NULL, NULL, 0, 0, \
             (SELECT COALESCE(MAX(sequence), 0) + 1 FROM operations))";
        let id = operation.id.to_string();
        sqlx::query(SQL)
            .bind(id.clone())
            .bind(word(&operation.family)?)
            .bind(word(&operation.work)?)
            .bind(operation.resource.key())
            .bind(operation.resource.to_string())
            .bind(operation.location.clone())
            .bind(word(&operation.state)?)
            .bind(operation.step.to_string())
            .bind(operation.attempts)
            .bind(operation.run_at_ms)
            .bind(operation.started_ms)
            .execute(self.connection())
            .await
            .map_err(exists(TABLE, &id))?;
        Ok(())
    }

    /// Claims the oldest operation that may run now; deployments have [`Tx::claim_deployment`].
    ///
    /// A command in a guest waits for what was accepted before it, and holds up nothing: it may take long.
    pub async fn claim_operation(
        &mut self,
        owner: &str,
        now_ms: i64,
        lease_ms: i64,
    ) -> Result<Option<Operation>> {
        const NEXT: &str = "SELECT id FROM operations AS o WHERE state = 'InProgress' AND run_at_ms <= $1 \
             AND lease_until_ms <= $1 AND work <> 'Deploy' AND NOT EXISTS (SELECT 1 FROM operations AS b WHERE \
             b.resource_key = o.resource_key AND b.state = 'InProgress' AND b.work <> 'RunCommand' AND \
             b.sequence < o.sequence) \
             ORDER BY sequence LIMIT 1";
        self.claim_next(NEXT, owner, now_ms, lease_ms).await
    }

    /// Claims the oldest deployment that may run now: it waits for other operations, so it must not
    /// take a worker away from them.
    pub async fn claim_deployment(
        &mut self,
        owner: &str,
        now_ms: i64,
        lease_ms: i64,
    ) -> Result<Option<Operation>> {
        const NEXT: &str = "SELECT id FROM operations WHERE state = 'InProgress' AND run_at_ms <= $1 \
             AND lease_until_ms <= $1 AND work = 'Deploy' ORDER BY sequence LIMIT 1";
        self.claim_next(NEXT, owner, now_ms, lease_ms).await
    }

    async fn claim_next(
        &mut self,
        next: &'static str,
        owner: &str,
        now_ms: i64,
        lease_ms: i64,
    ) -> Result<Option<Operation>> {
        let Some(row) = sqlx::query(next)
            .bind(now_ms)
            .fetch_optional(self.connection())
            .await?
        else {
            return Ok(None);
        };
        let id: String = row.try_get("id")?;
        let row = sqlx::query(
            "UPDATE operations SET lease_owner = $1, lease_until_ms = $2, lease_generation = lease_generation + 1, \
             attempts = attempts + 1 WHERE id = $3 AND state = 'InProgress' RETURNING *",
        )
        .bind(owner)
        .bind(now_ms + lease_ms)
        .bind(id)
        .fetch_optional(self.connection())
        .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// Keeps the lease until `until_ms`; false when it is lost.
    pub async fn renew_lease(&mut self, operation: &Operation, until_ms: i64) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE operations SET lease_until_ms = $1 WHERE id = $2 AND lease_generation = $3 AND state = 'InProgress'",
        )
        .bind(until_ms)
        .bind(operation.id.to_string())
        .bind(operation.lease_generation)
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Writes the step; false when the lease is lost, and the transaction must not be committed.
    pub async fn checkpoint(&mut self, operation: &Operation) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE operations SET step = $1 WHERE id = $2 AND lease_generation = $3 AND state = 'InProgress'",
        )
        .bind(operation.step.to_string())
        .bind(operation.id.to_string())
        .bind(operation.lease_generation)
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends an operation; false when the lease is lost, and the transaction must not be committed.
    pub async fn finish(
        &mut self,
        operation: &Operation,
        state: OperationState,
        error: Option<&Error>,
        output: Option<Value>,
        now_ms: i64,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE operations SET state = $1, error = $2, output = $3, ended_ms = $4, lease_owner = NULL \
             WHERE id = $5 AND lease_generation = $6 AND state = 'InProgress'",
        )
        .bind(word(&state)?)
        .bind(error.map(error_text))
        .bind(output.map(|value| value.to_string()))
        .bind(now_ms)
        .bind(operation.id.to_string())
        .bind(operation.lease_generation)
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives an operation back to be begun again; false when the lease is lost.
    pub async fn retry_at(
        &mut self,
        operation: &Operation,
        run_at_ms: i64,
        error: Option<&Error>,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE operations SET run_at_ms = $1, error = $2, lease_owner = NULL, lease_until_ms = 0 \
             WHERE id = $3 AND lease_generation = $4 AND state = 'InProgress'",
        )
        .bind(run_at_ms)
        .bind(error.map(error_text))
        .bind(operation.id.to_string())
        .bind(operation.lease_generation)
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives an operation back that waits for others, with its step, as if it had never been begun; false when
    /// the lease is lost.
    pub async fn put_aside(&mut self, operation: &Operation, run_at_ms: i64) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE operations SET run_at_ms = $1, step = $2, attempts = 0, lease_owner = NULL, lease_until_ms = 0 \
             WHERE id = $3 AND lease_generation = $4 AND state = 'InProgress'",
        )
        .bind(run_at_ms)
        .bind(operation.step.to_string())
        .bind(operation.id.to_string())
        .bind(operation.lease_generation)
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives back what the workers of a node hold, named `node/…`; returns how many operations that are.
    ///
    /// To be called when they are dead. Their generation ends, so that nothing they may have left in a session
    /// of the database counts any more; the run that was cut is no failed try.
    pub async fn give_back_leases(&mut self, node: &str) -> Result<u64> {
        let done = sqlx::query(
            "UPDATE operations SET lease_owner = NULL, lease_until_ms = 0, lease_generation = lease_generation + 1, \
             attempts = attempts - 1 WHERE state = 'InProgress' AND SUBSTR(lease_owner, 1, LENGTH($1)) = $1",
        )
        .bind(format!("{node}/"))
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected())
    }

    /// Ends every open operation of a resource as overtaken; their workers lose the lease.
    pub async fn cancel_operations_of(
        &mut self,
        resource: &ResourceId,
        now_ms: i64,
    ) -> Result<u64> {
        let done = sqlx::query(
            "UPDATE operations SET state = 'Canceled', ended_ms = $1, lease_owner = NULL, \
             lease_generation = lease_generation + 1 WHERE resource_key = $2 AND state = 'InProgress'",
        )
        .bind(now_ms)
        .bind(resource.key())
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected())
    }

    /// Forgets operations that ended before `before_ms`, at most `limit`.
    pub async fn prune_operations(&mut self, before_ms: i64, limit: usize) -> Result<u64> {
        let done = sqlx::query(
            "DELETE FROM operations WHERE id IN (SELECT id FROM operations WHERE ended_ms IS NOT NULL AND ended_ms < $1 \
             ORDER BY ended_ms LIMIT $2)",
        )
        .bind(before_ms)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected())
    }
}

/// Returns the word of an enum without fields, as serde names it.
fn word<T: serde::Serialize>(value: &T) -> Result<String> {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => Ok(word),
        other => Err(corrupt("-", format!("not a word: {other:?}"))),
    }
}

fn from_word<T: DeserializeOwned>(id: &str, word: String) -> Result<T> {
    serde_json::from_value(Value::String(word)).map_err(|error| corrupt(id, error.to_string()))
}

fn error_text(error: &Error) -> String {
    error_value(error).to_string()
}

fn error_value(error: &Error) -> Value {
    let kind = format!("{:?}", error.kind);
    let details: Vec<Value> = error.details.iter().map(error_value).collect();
    json!({
        "kind": kind, "code": error.code, "message": error.message, "target": error.target, "details": details,
    })
}

fn error_from(id: &str, text: &str) -> Result<Error> {
    Ok(error_of(&json_from(id, text)?))
}

fn error_of(value: &Value) -> Error {
    let member = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let details = value.get("details").and_then(Value::as_array);
    Error {
        kind: member("kind")
            .as_deref()
            .map_or(ErrorKind::Internal, kind_from),
        code: member("code").unwrap_or_default().into(),
        message: member("message").unwrap_or_default(),
        target: member("target"),
        details: details.into_iter().flatten().map(error_of).collect(),
    }
}

fn kind_from(word: &str) -> ErrorKind {
    const ALL: [ErrorKind; 12] = [
        ErrorKind::Invalid,
        ErrorKind::Unauthenticated,
        ErrorKind::Forbidden,
        ErrorKind::NotFound,
        ErrorKind::MethodNotAllowed,
        ErrorKind::Conflict,
        ErrorKind::Overtaken,
        ErrorKind::PreconditionFailed,
        ErrorKind::TooLarge,
        ErrorKind::TooManyRequests,
        ErrorKind::Internal,
        ErrorKind::Unavailable,
    ];
    ALL.into_iter()
        .find(|kind| format!("{kind:?}") == word)
        .unwrap_or(ErrorKind::Internal)
}

fn json_from(id: &str, text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| corrupt(id, error.to_string()))
}

fn from_row(row: &AnyRow) -> Result<Operation> {
    let id: String = row.try_get("id")?;
    let resource: String = row.try_get("resource")?;
    let step: String = row.try_get("step")?;
    let error: Option<String> = row.try_get("error")?;
    let output: Option<String> = row.try_get("output")?;
    Ok(Operation {
        id: Uuid::parse_str(&id).map_err(|e| corrupt(&id, e.to_string()))?,
        family: from_word::<Family>(&id, row.try_get("family")?)?,
        work: from_word::<Work>(&id, row.try_get("work")?)?,
        resource: ResourceId::parse(&resource).map_err(|e| corrupt(&id, e.to_string()))?,
        location: row.try_get("location")?,
        state: from_word::<OperationState>(&id, row.try_get("state")?)?,
        step: json_from(&id, &step)?,
        error: error.map(|text| error_from(&id, &text)).transpose()?,
        output: output.map(|text| json_from(&id, &text)).transpose()?,
        attempts: row.try_get("attempts")?,
        run_at_ms: row.try_get("run_at_ms")?,
        started_ms: row.try_get("started_ms")?,
        ended_ms: row.try_get("ended_ms")?,
        lease_generation: row.try_get("lease_generation")?,
    })
}

fn corrupt(key: &str, reason: String) -> CatalogError {
    CatalogError::Corrupt {
        table: TABLE,
        key: key.to_owned(),
        reason,
    }
}
