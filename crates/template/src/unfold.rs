//! Unfolding: loops counted out, children placed in their parents, names and conditions evaluated.

use std::collections::HashMap;

use domain::Result;
use serde_json::{Map, Value};

use crate::evaluate::member;
use crate::expand::Bound;
use crate::fault::{Fault, wrong};
use crate::limits::RESOURCES_MAX;
use crate::order::{DEPLOYMENTS, Expanded, GROUPS, Planned};
use crate::scope::{Evaluation, Known};
use crate::syntax;

impl Bound {
    /// Counts out the resources and finds their order.
    pub fn expand(&self) -> Result<Expanded> {
        let mut expanded = Expanded::default();
        for (symbolic, raw) in &self.template.resources {
            self.add(&mut expanded, symbolic.as_deref(), raw, None)?;
        }
        expanded.name_all()?;
        expanded.resolve()?;
        let known = Known::default();
        for planned in &expanded.resources {
            for value in planned.raw.values().filter(|_| !planned.is_deployment()) {
                syntax::check(value)
                    .map_err(|fault| fault.into_expression_error(&planned.part()))?;
            }
            if planned.is_wanted && !planned.is_existing && !planned.is_deployment() {
                match self.body(&expanded, planned, &known) {
                    Ok(_) | Err(Fault::Needs(_)) => {}
                    Err(fault) => return Err(fault.into_expression_error(&planned.part())),
                }
            }
        }
        for (name, output) in &self.template.outputs {
            syntax::check(output)
                .map_err(|fault| fault.into_expression_error(&format!("output '{name}'")))?;
        }
        Ok(expanded)
    }

    fn add(
        &self,
        expanded: &mut Expanded,
        symbolic: Option<&str>,
        raw: &Map<String, Value>,
        parent: Option<&Planned>,
    ) -> Result<()> {
        let (known, names) = (Known::default(), HashMap::new());
        let outer = parent.map_or(self.loops.as_slice(), |parent| parent.loops.as_slice());
        let Some(copy) = member(raw, "copy").and_then(Value::as_object) else {
            return self.add_one(expanded, symbolic, raw, parent, outer.to_vec());
        };
        let evaluation = Evaluation::new(self.scope(&names), &known, outer);
        let failed = |fault: Fault| fault.into_validation_error();
        let label = evaluation
            .value(member(copy, "name").unwrap_or(&Value::Null))
            .map_err(failed)?;
        let label = label.as_str().unwrap_or_default().to_owned();
        if label.is_empty() {
            return Err(wrong("The copy loop of a resource has no name".to_owned()));
        }
        let count = evaluation.count(copy, &label).map_err(failed)?;
        let is_serial = member(copy, "mode")
            .and_then(Value::as_str)
            .is_some_and(|m| m.eq_ignore_ascii_case("serial"));
        let batch = match member(copy, "batchSize") {
            Some(batch) => evaluation.value(batch).map_err(failed)?.as_u64(),
            None => Some(1),
        };
        let batch = batch
            .and_then(|b| usize::try_from(b).ok())
            .filter(|b| *b > 0);
        let batch = batch.ok_or_else(|| {
            wrong(format!(
                "The batch size of the copy loop '{label}' is not valid"
            ))
        })?;
        if count == 0 {
            expanded.empty_loops.push(label.clone());
        }
        let mut made: Vec<String> = Vec::new();
        for turn in 0..count {
            let mut loops = vec![(label.clone(), turn)];
            loops.extend_from_slice(outer);
            let first = expanded.resources.len();
            self.add_one(expanded, symbolic, raw, parent, loops)?;
            if let Some(added) = expanded.resources.get_mut(first) {
                if is_serial && turn >= batch {
                    let before = (turn / batch) * batch;
                    let group = made.get(before - batch..before).unwrap_or_default();
                    added.wants.extend(group.iter().cloned());
                }
                made.push(added.id.clone());
            }
        }
        Ok(())
    }

    fn add_one(
        &self,
        expanded: &mut Expanded,
        symbolic: Option<&str>,
        raw: &Map<String, Value>,
        parent: Option<&Planned>,
        loops: Vec<(String, usize)>,
    ) -> Result<()> {
        if expanded.resources.len() >= RESOURCES_MAX {
            return Err(wrong(format!(
                "The number of template resources exceeds the limit of '{RESOURCES_MAX}'. Please see \
                 https://aka.ms/arm-template/#resources for usage details"
            )));
        }
        let planned = self.plan(symbolic, raw, parent, loops)?;
        expanded.resources.push(planned.clone());
        match member(raw, "resources") {
            Some(Value::Array(children)) => {
                for child in children.iter().filter_map(Value::as_object) {
                    self.add(expanded, None, child, Some(&planned))?;
                }
                Ok(())
            }
            Some(Value::Object(children)) => {
                for (name, child) in children {
                    if let Some(child) = child.as_object() {
                        self.add(expanded, Some(name), child, Some(&planned))?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn plan(
        &self,
        symbolic: Option<&str>,
        raw: &Map<String, Value>,
        parent: Option<&Planned>,
        loops: Vec<(String, usize)>,
    ) -> Result<Planned> {
        let (known, names) = (Known::default(), HashMap::new());
        let evaluation = Evaluation::new(self.scope(&names), &known, &loops);
        let head = Head {
            evaluation: &evaluation,
            raw,
        };
        let (mut type_name, mut name) = (head.text("type")?, head.text("name")?);
        if let Some(parent) = parent {
            let outer = format!("{}/", parent.type_name.to_ascii_lowercase());
            if !type_name.to_ascii_lowercase().starts_with(&outer) {
                type_name = format!("{}/{type_name}", parent.type_name);
                name = format!("{}/{name}", parent.name);
            }
        }
        let api_version = head.text("apiVersion")?;
        for (what, value) in [
            ("type", &type_name),
            ("name", &name),
            ("apiVersion", &api_version),
        ] {
            if value.is_empty() {
                return Err(wrong(format!(
                    "The template resource '{name}' of type '{type_name}' has no '{what}'. Please see \
                     https://aka.ms/arm-template/#resources for usage details"
                )));
            }
        }
        let subscription = head.text("subscriptionId")?;
        let own = self.place.subscription_id();
        if !subscription.is_empty() && !subscription.eq_ignore_ascii_case(own) {
            return Err(wrong(format!(
                "The template resource '{name}' lies in another subscription; deploy it there"
            )));
        }
        let is_deployment = type_name.eq_ignore_ascii_case(DEPLOYMENTS);
        let (scope, group) = (head.text("scope")?, head.text("resourceGroup")?);
        let group = match is_deployment && !scope.is_empty() {
            true => self.group_of_scope(&scope, &name)?,
            false if !group.is_empty() => group,
            // What names its subscription and no group is meant to lie at the subscription.
            false if is_deployment && !subscription.is_empty() => String::new(),
            false => parent.map_or(&self.group, |parent| &parent.group).clone(),
        };
        let scope = Some(scope).filter(|_| !is_deployment).unwrap_or_default();
        let id = self.id(&type_name, &name, &group, &scope)?;
        let is_wanted = head.condition(&name)? && parent.is_none_or(|parent| parent.is_wanted);
        let wants = head.wants(&name)?;
        let is_existing = member(raw, "existing").and_then(Value::as_bool);
        Ok(Planned {
            id,
            type_name,
            name,
            api_version,
            group,
            is_wanted,
            is_existing: is_existing.unwrap_or(false),
            depends_on: Vec::new(),
            symbolic: symbolic.map(str::to_owned),
            loops,
            raw: raw.clone(),
            wants,
        })
    }

    /// Returns the group of a deployment's scope, empty when that is the subscription.
    fn group_of_scope(&self, scope: &str, name: &str) -> Result<String> {
        let segments: Vec<&str> = scope.split('/').filter(|s| !s.is_empty()).collect();
        let is_own = |s: &str, id: &str| {
            s.eq_ignore_ascii_case("subscriptions")
                && id.eq_ignore_ascii_case(self.place.subscription_id())
        };
        match segments.as_slice() {
            [s, id] if is_own(s, id) => Ok(String::new()),
            [s, id, g, group] if is_own(s, id) && g.eq_ignore_ascii_case("resourceGroups") => {
                Ok((*group).to_owned())
            }
            _ => Err(wrong(format!(
                "The nested deployment '{name}' has the scope '{scope}'; it can have the id of this subscription or of a group in it"
            ))),
        }
    }

    fn id(&self, type_name: &str, name: &str, group: &str, scope: &str) -> Result<String> {
        let (namespace, types) = type_name.split_once('/').unwrap_or((type_name, ""));
        let types: Vec<&str> = types.split('/').filter(|t| !t.is_empty()).collect();
        let names: Vec<&str> = name.split('/').collect();
        if types.len() != names.len() || names.iter().any(|n| n.is_empty()) {
            return Err(wrong(format!(
                "The template resource '{name}' for type '{type_name}' has incorrect segment lengths. A nested resource type must \
                 have identical number of segments as its resource name. A root resource type must have segment length one greater \
                 than its resource name. Please see https://aka.ms/arm-template/#resources for usage details"
            )));
        }
        let mut home = format!("/subscriptions/{}", self.place.subscription_id());
        if type_name.eq_ignore_ascii_case(GROUPS) && group.is_empty() && scope.is_empty() {
            return Ok(format!("{home}/resourceGroups/{name}"));
        }
        if !group.is_empty() {
            home.push_str("/resourceGroups/");
            home.push_str(group);
        }
        let mut id = match scope {
            "" => home,
            absolute if absolute.starts_with('/') => absolute.trim_end_matches('/').to_owned(),
            relative => format!("{home}/providers/{relative}"),
        };
        id.push_str("/providers/");
        id.push_str(namespace);
        for (kind, name) in types.iter().zip(names) {
            id.push('/');
            id.push_str(kind);
            id.push('/');
            id.push_str(name);
        }
        Ok(id)
    }
}

/// The members of a resource that must be known before anything is made.
struct Head<'a> {
    evaluation: &'a Evaluation<'a>,
    raw: &'a Map<String, Value>,
}

impl Head<'_> {
    fn value(&self, value: &Value) -> Result<Value> {
        let name = member(self.raw, "name").map(Value::to_string);
        let part = format!("resource {}", name.unwrap_or_default());
        let evaluated = self.evaluation.value(value);
        evaluated.map_err(|fault| fault.into_expression_error(&part))
    }

    /// Returns a text member, empty when it is not there.
    fn text(&self, name: &str) -> Result<String> {
        let Some(value) = member(self.raw, name) else {
            return Ok(String::new());
        };
        match self.value(value)? {
            Value::String(text) => Ok(text),
            Value::Null => Ok(String::new()),
            other => Err(wrong(format!(
                "The template resource member '{name}' must be a text, it is '{other}'"
            ))),
        }
    }

    fn condition(&self, resource: &str) -> Result<bool> {
        let Some(value) = member(self.raw, "condition") else {
            return Ok(true);
        };
        match self.value(value)? {
            Value::Bool(truth) => Ok(truth),
            other => Err(wrong(format!(
                "The condition of the template resource '{resource}' must be a boolean, it is '{other}'"
            ))),
        }
    }

    fn wants(&self, resource: &str) -> Result<Vec<String>> {
        let mut wants = Vec::new();
        let items = member(self.raw, "dependsOn").and_then(Value::as_array);
        for item in items.into_iter().flatten() {
            match self.value(item)? {
                Value::String(wanted) => wants.push(wanted),
                Value::Array(more) => {
                    wants.extend(more.iter().filter_map(Value::as_str).map(str::to_owned));
                }
                _ => {
                    return Err(wrong(format!(
                        "'dependsOn' of the template resource '{resource}' must be a list of texts"
                    )));
                }
            }
        }
        Ok(wants)
    }
}
