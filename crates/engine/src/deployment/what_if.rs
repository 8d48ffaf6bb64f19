//! What a deployment would change, said without changing anything.
//!
//! The bodies are evaluated as far as they can be and compared with what is there. Members that the
//! template does not send keep their values, so they are no change.

use std::sync::Arc;

use domain::operation::{Operation, OperationState};
use domain::{Error, ErrorKind, ResourceId, Result};
use serde_json::{Map, Value, json};
use template::{Fault, Known, Mode, Planned};

use super::lookup::{Door, shown};
use super::preflight::{Bounds, ids_of};
use super::prepare::{Prepared, blocking, wanted};
use super::{check_name, new_operation};
use crate::error::catalog as db;
use crate::resources::{Verb, action};
use crate::{Ctx, Engine, rules};

/// States that one body may ask for.
const NEEDS_MAX: usize = 400;
/// Members that the server answers and a template does not send.
const READ_ONLY: [&str; 5] = ["id", "name", "type", "apiVersion", "systemData"];

impl Engine {
    /// Says what a deployment would change; the answer is the output of an operation that is over.
    pub async fn what_if(&self, ctx: &Ctx, id: &ResourceId, body: &[u8]) -> Result<Operation> {
        self.authorize(ctx, &action(id, "whatIf/action"), &id.to_string())
            .await?;
        check_name(id.name())?;
        let prepared = self.prepare(ctx, id, body).await?;
        let levels = self.preflight(ctx, &prepared).await?;
        let changes = self.changes(ctx, &prepared, &levels).await?;
        let now_ms = self.now_ms();
        let mut operation = new_operation(id, &prepared.location, now_ms);
        operation.family = domain::operation::Family::Group;
        let output = json!({
            "status": "Succeeded",
            "properties": { "correlationId": ctx.correlation_id.to_string(), "changes": changes },
        });
        let mut tx = self.catalog().write().await.map_err(db)?;
        tx.insert_operation(&operation).await.map_err(db)?;
        let state = OperationState::Succeeded;
        if !tx
            .finish(&operation, state, None, Some(output), now_ms)
            .await
            .map_err(db)?
        {
            return Err(Error::internal());
        }
        tx.commit().await.map_err(db)?;
        operation.state = state;
        Ok(operation)
    }

    async fn changes(
        &self,
        ctx: &Ctx,
        prepared: &Prepared,
        levels: &[Bounds],
    ) -> Result<Vec<Value>> {
        let mut out = Vec::new();
        for level in levels {
            for planned in wanted(&level.1) {
                out.push(self.change(ctx, prepared, level, planned).await?);
            }
        }
        let named = ids_of(levels);
        let verb = match prepared.request.mode {
            Mode::Complete => "Delete",
            Mode::Incremental => "Ignore",
        };
        for row in self.unnamed_rows(&prepared.id, &named).await? {
            // Who may ask what would change sees no more than who may read.
            let (right, scope) = (action(&row.id, "read"), row.id.to_string());
            match self.authorize(ctx, &right, &scope).await {
                Ok(()) => {}
                Err(error) if error.kind == ErrorKind::Forbidden => continue,
                Err(error) => return Err(error),
            }
            let newest = arm::versions::supported(row.kind)
                .last()
                .copied()
                .unwrap_or_default();
            let before = shown(&row, newest, &ctx.base_url);
            out.push(entry(
                prepared,
                &row.id.to_string(),
                verb,
                Some(before),
                None,
                Vec::new(),
            ));
        }
        Ok(out)
    }

    async fn change(
        &self,
        ctx: &Ctx,
        prepared: &Prepared,
        level: &Bounds,
        planned: &Planned,
    ) -> Result<Value> {
        let (body, is_whole) = self.wanted_body(ctx, level, planned).await?;
        let before = match Door::of(planned)? {
            Door::Resource(id, _) => self.state_of(ctx, &id, &planned.api_version).await?,
            // Nothing is known of what has no row: it is deployed, whatever is there.
            _ => {
                return Ok(entry(
                    prepared,
                    &planned.id,
                    "Deploy",
                    None,
                    None,
                    Vec::new(),
                ));
            }
        };
        let mut after = json!({
            "apiVersion": planned.api_version, "id": planned.id, "name": planned.id.rsplit('/').next(), "type": planned.type_name,
        });
        if let (Some(members), Value::Object(body)) = (after.as_object_mut(), &body) {
            members.extend(body.clone());
        }
        let Some(before) = before else {
            return Ok(entry(
                prepared,
                &planned.id,
                "Create",
                None,
                Some(after),
                Vec::new(),
            ));
        };
        let later = self.planned_view(ctx, planned, &body).await?;
        let sent = later
            .as_ref()
            .map_or_else(|| body.clone(), |later| restrict(&body, later));
        let delta = delta(&before, &sent);
        let verb = match (delta.is_empty(), is_whole) {
            (true, true) => "NoChange",
            (true, false) => "Deploy",
            (false, _) => "Modify",
        };
        let mut later = before.clone();
        merge(&mut later, &sent);
        Ok(entry(
            prepared,
            &planned.id,
            verb,
            Some(before),
            Some(later),
            delta,
        ))
    }

    /// Decides the write and forgets the decision: what would be stored, in the server's own words.
    async fn planned_view(
        &self,
        ctx: &Ctx,
        planned: &Planned,
        body: &Value,
    ) -> Result<Option<Value>> {
        let Door::Resource(id, kind) = Door::of(planned)? else {
            return Ok(None);
        };
        let ctx = Ctx {
            api_version: planned.api_version.clone(),
            ..ctx.clone()
        };
        let Ok(body) = arm::schema::check_request(kind, &ctx.api_version, body) else {
            return Ok(None);
        };
        let mut tx = self.catalog().write().await.map_err(db)?;
        let stored = tx.load(&id).await.map_err(db)?;
        let wanted = rules::Wanted {
            id: &id,
            body: &body,
            stored: stored.as_ref(),
            verb: Verb::Put,
            now_ms: self.now_ms(),
        };
        // A write that will be refused changes nothing either: deploying says why.
        let decided = rules::plan(self, &mut tx, &ctx, &wanted).await.ok();
        Ok(decided.map(|decided| shown(&decided.resource, &ctx.api_version, &ctx.base_url)))
    }

    async fn state_of(
        &self,
        ctx: &Ctx,
        id: &ResourceId,
        api_version: &str,
    ) -> Result<Option<Value>> {
        let ctx = Ctx {
            api_version: api_version.to_owned(),
            ..ctx.clone()
        };
        match self.get(&ctx, id).await {
            Ok(row) => Ok(Some(shown(&row, api_version, &ctx.base_url))),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Evaluates a body; what is asked of resources that are not there stays as it is written.
    async fn wanted_body(
        &self,
        ctx: &Ctx,
        (bound, expanded): &Bounds,
        planned: &Planned,
    ) -> Result<(Value, bool)> {
        if planned.is_deployment() {
            return Ok((Value::Null, false));
        }
        let mut known = Known::default();
        for _ in 0..NEEDS_MAX {
            let (bound, expanded) = (Arc::clone(bound), Arc::clone(expanded));
            let (one, seen) = (planned.clone(), known.clone());
            let evaluated = blocking(move || Ok(bound.body(&expanded, &one, &seen))).await?;
            let need = match evaluated {
                Ok(body) => return Ok((body, true)),
                Err(Fault::Needs(need)) => need,
                Err(fault) => return Err(fault.into_expression_error(&planned.part())),
            };
            match self
                .look_up_state(ctx, &need, Some(&planned.api_version))
                .await
            {
                Ok(answer) => known.insert(need, answer),
                Err(error) if error.kind == ErrorKind::Internal => return Err(error),
                Err(_) => break,
            }
        }
        let (bound, expanded, one) = (Arc::clone(bound), Arc::clone(expanded), planned.clone());
        let body = blocking(move || {
            let body = bound.body_so_far(&expanded, &one, &known);
            body.map_err(|fault| fault.into_expression_error(&one.part()))
        });
        Ok((body.await?, false))
    }
}

fn entry(
    prepared: &Prepared,
    id: &str,
    verb: &str,
    before: Option<Value>,
    after: Option<Value>,
    delta: Vec<Value>,
) -> Value {
    let mut out = Map::new();
    out.insert("resourceId".to_owned(), id.into());
    out.insert("changeType".to_owned(), verb.into());
    if prepared.request.wants_payloads {
        let payloads = [("before", before), ("after", after)];
        for (name, payload) in payloads {
            if let Some(payload) = payload {
                out.insert(name.to_owned(), payload);
            }
        }
        if verb == "Modify" {
            out.insert("delta".to_owned(), delta.into());
        }
    }
    Value::Object(out)
}

/// Returns what would be stored, cut down to the members that are sent.
fn restrict(sent: &Value, later: &Value) -> Value {
    match (sent, later) {
        (Value::Object(members), Value::Object(_)) => {
            let kept = members.iter().map(|(name, value)| {
                let value = member(later, name)
                    .map_or_else(|| value.clone(), |later| restrict(value, later));
                (name.clone(), value)
            });
            Value::Object(kept.collect())
        }
        _ => later.clone(),
    }
}

/// Returns the property changes between what is there and what is sent.
fn delta(before: &Value, sent: &Value) -> Vec<Value> {
    let mut out = Vec::new();
    for (name, value) in sent.as_object().into_iter().flatten() {
        if READ_ONLY.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            continue;
        }
        let there = member(before, name);
        if name.eq_ignore_ascii_case("location") {
            continue;
        }
        compare(name, there, value, &mut out);
        if name.eq_ignore_ascii_case("tags") {
            removed_tags(there, value, &mut out);
        }
    }
    out
}

/// Tags are replaced as a whole: those that are not sent go.
fn removed_tags(there: Option<&Value>, sent: &Value, out: &mut Vec<Value>) {
    for (tag, value) in there.and_then(Value::as_object).into_iter().flatten() {
        if member(sent, tag).is_none() {
            out.push(json!({ "path": format!("tags.{tag}"), "propertyChangeType": "Delete", "before": value }));
        }
    }
}

fn compare(path: &str, before: Option<&Value>, after: &Value, out: &mut Vec<Value>) {
    if same(before, after) {
        return;
    }
    match (before, after) {
        (Some(Value::Object(there)), Value::Object(sent)) => {
            let there = Value::Object(there.clone());
            for (name, value) in sent {
                compare(&format!("{path}.{name}"), member(&there, name), value, out);
            }
        }
        (Some(Value::Array(there)), Value::Array(sent)) => {
            out.push(json!({
                "path": path, "propertyChangeType": "Array", "children": items(there, sent), "before": null, "after": null,
            }));
        }
        (None, after) => {
            out.push(json!({ "path": path, "propertyChangeType": "Create", "after": after }))
        }
        (Some(before), after) => {
            out.push(json!({ "path": path, "propertyChangeType": "Modify", "before": before, "after": after }));
        }
    }
}

fn items(there: &[Value], sent: &[Value]) -> Vec<Value> {
    let mut out = Vec::new();
    for at in 0..there.len().max(sent.len()) {
        let path = at.to_string();
        match (there.get(at), sent.get(at)) {
            (Some(before), None) => {
                out.push(json!({ "path": path, "propertyChangeType": "Delete", "before": before }));
            }
            (Some(before @ Value::Object(_)), Some(after @ Value::Object(_))) => {
                let mut children = Vec::new();
                for (name, value) in after.as_object().into_iter().flatten() {
                    compare(name, member(before, name), value, &mut children);
                }
                if !children.is_empty() {
                    out.push(json!({ "path": path, "propertyChangeType": "Modify", "children": children }));
                }
            }
            (before, Some(after)) => compare(&path, before, after, &mut out),
            (None, None) => {}
        }
    }
    out
}

/// Whether what is sent is there already: words compare without case, what says nothing is no change.
fn same(before: Option<&Value>, sent: &Value) -> bool {
    match (before, sent) {
        (_, Value::Null) => true,
        (Some(Value::String(a)), Value::String(b)) => a.eq_ignore_ascii_case(b),
        (Some(Value::Array(a)), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(a), b))
        }
        (Some(there @ Value::Object(_)), Value::Object(b)) => b
            .iter()
            .all(|(name, value)| same(member(there, name), value)),
        (Some(before), sent) => before == sent,
        (None, Value::Object(members)) => members.values().all(|value| same(None, value)),
        (None, Value::Array(items)) => items.is_empty(),
        (None, Value::String(text)) => text.is_empty(),
        (None, Value::Bool(_) | Value::Number(_)) => false,
    }
}

fn member<'v>(of: &'v Value, name: &str) -> Option<&'v Value> {
    let members = of.as_object()?;
    members.get(name).or_else(|| {
        let mut all = members.iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}

fn merge(into: &mut Value, from: &Value) {
    let (Some(members), Some(sent)) = (into.as_object_mut(), from.as_object()) else {
        return;
    };
    for (name, value) in sent {
        match members.get_mut(name) {
            Some(inner @ Value::Object(_)) if value.is_object() && name != "tags" => {
                merge(inner, value)
            }
            _ if value.is_null() => {}
            _ => {
                members.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_sent_and_differs_is_a_change() {
        let before = json!({
            "location": "eastus", "tags": { "a": "1", "b": "2" },
            "properties": { "osType": "Linux", "list": [{ "name": "x", "count": 1 }, { "name": "y" }], "kept": true },
        });
        let sent = json!({
            "location": "East US", "tags": { "a": "1", "c": "3" },
            "properties": { "osType": "linux", "new": 1, "none": null, "empty": {}, "list": [{ "name": "X", "count": 2 }] },
        });
        let found = delta(&before, &sent);
        let said: Vec<String> = found
            .iter()
            .map(|change| {
                format!(
                    "{} {}",
                    change["propertyChangeType"].as_str().unwrap(),
                    change["path"].as_str().unwrap()
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                "Create tags.c",
                "Delete tags.b",
                "Create properties.new",
                "Array properties.list"
            ]
        );
        let children = &found[3]["children"];
        assert_eq!(
            children[0]["children"][0],
            json!({ "path": "count", "propertyChangeType": "Modify", "before": 1, "after": 2 })
        );
        assert_eq!(children[1]["propertyChangeType"], "Delete");
        assert!(delta(&before, &before).is_empty());
    }
}
