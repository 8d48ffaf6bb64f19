//! A template bound to where it runs: bodies, outputs and nested deployments are evaluated here, one
//! by one, because they may ask for the state of resources that do not exist yet.

use std::collections::HashMap;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::evaluate::{find, member};
use crate::fault::{self, Fault, wrong};
use crate::limits::NESTING_MAX;
use crate::model::Template;
use crate::order::{Expanded, Planned};
use crate::parameters::{is_secure, type_word};
use crate::request::Request;
use crate::scope::{Evaluation, Known, Place, Scope};

/// Members of a resource that speak to the deployment and not to the provider.
const OWN: [&str; 12] = [
    "type",
    "name",
    "apiVersion",
    "dependsOn",
    "condition",
    "copy",
    "comments",
    "resources",
    "scope",
    "existing",
    "resourceGroup",
    "subscriptionId",
];

/// A template with everything its expressions can see.
#[derive(Clone, Debug)]
pub struct Bound {
    pub(crate) template: Template,
    pub(crate) place: Place,
    parameters: Map<String, Value>,
    /// The group in which resources without another one are made; empty at a subscription.
    pub(crate) group: String,
    /// Loops around a nested template.
    pub(crate) loops: Vec<(String, usize)>,
    /// How deep it is nested.
    depth: usize,
}

impl Bound {
    /// Binds a template to where it runs and the values of its parameters.
    pub fn new(template: Template, place: Place, parameters: Map<String, Value>) -> Self {
        let group = place.group_name().to_owned();
        Self {
            template,
            place,
            parameters,
            group,
            loops: Vec::new(),
            depth: 0,
        }
    }

    /// Returns the template.
    pub fn template(&self) -> &Template {
        &self.template
    }

    /// Returns the values of the parameters.
    pub fn parameters(&self) -> &Map<String, Value> {
        &self.parameters
    }

    pub(crate) fn scope<'a>(&'a self, names: &'a HashMap<String, String>) -> Scope<'a> {
        Scope {
            place: &self.place,
            parameters: &self.parameters,
            variables: &self.template.variables,
            functions: &self.template.functions,
            names,
        }
    }

    /// Evaluates what is sent to the provider: `location`, `tags`, `properties`, …
    pub fn body(
        &self,
        expanded: &Expanded,
        planned: &Planned,
        known: &Known,
    ) -> fault::Result<Value> {
        let evaluation = Evaluation::new(self.scope(&expanded.names), known, &planned.loops);
        let mut out = Map::new();
        for (name, value) in &planned.raw {
            if !OWN.iter().any(|own| own.eq_ignore_ascii_case(name)) {
                out.insert(name.clone(), evaluation.value(value)?);
            }
        }
        Ok(Value::Object(out))
    }

    /// Evaluates a body as [`Bound::body`]; what nobody knows yet stays as it is written.
    pub fn body_so_far(
        &self,
        expanded: &Expanded,
        planned: &Planned,
        known: &Known,
    ) -> fault::Result<Value> {
        let mut evaluation = Evaluation::new(self.scope(&expanded.names), known, &planned.loops);
        evaluation.is_lenient = true;
        let mut out = Map::new();
        for (name, value) in &planned.raw {
            if !OWN.iter().any(|own| own.eq_ignore_ascii_case(name)) {
                out.insert(name.clone(), evaluation.value(value)?);
            }
        }
        Ok(Value::Object(out))
    }

    /// Returns where a resource is to be, as far as that is known before anything is made.
    pub fn location(&self, expanded: &Expanded, planned: &Planned) -> Option<String> {
        let known = Known::default();
        let evaluation = Evaluation::new(self.scope(&expanded.names), &known, &planned.loops);
        let location = evaluation.value(find(&planned.raw, "location")?).ok()?;
        location.as_str().map(str::to_owned)
    }

    /// Evaluates the outputs: `{name: {type, value}}`; secrets have no value. Their names are in camel case,
    /// however the template spells them.
    pub fn outputs(&self, expanded: &Expanded, known: &Known) -> fault::Result<Value> {
        let mut out = Map::new();
        for (name, definition) in &self.template.outputs {
            let evaluation = Evaluation::new(self.scope(&expanded.names), known, &self.loops);
            let word = type_word(definition).unwrap_or("String");
            let members = definition.as_object();
            let condition = members.and_then(|m| member(m, "condition"));
            if let Some(condition) = condition
                && evaluation.value(condition)? == Value::Bool(false)
            {
                continue;
            }
            let mut shown = Map::new();
            shown.insert("type".to_owned(), word.into());
            if !is_secure(definition) {
                let value = match members
                    .and_then(|m| member(m, "copy"))
                    .and_then(Value::as_object)
                {
                    Some(copy) => {
                        let mut copy = copy.clone();
                        copy.insert("name".to_owned(), name.as_str().into());
                        evaluation.copy(&copy)?.1
                    }
                    None => evaluation.value(
                        members
                            .and_then(|m| find(m, "value"))
                            .unwrap_or(&Value::Null),
                    )?,
                };
                shown.insert("value".to_owned(), value);
            }
            out.insert(output_name(name), Value::Object(shown));
        }
        Ok(Value::Object(out))
    }

    /// Returns a nested deployment, bound; `group` is what `resourceGroup()` shows of its group, null when it
    /// lies at the subscription.
    ///
    /// Its own fresh ids follow from `seed` and its id, so that a second run makes the same.
    pub fn nested(
        &self,
        expanded: &Expanded,
        planned: &Planned,
        known: &Known,
        (group, now_ms, seed): (Value, i64, Uuid),
    ) -> std::result::Result<(Self, Request), NestedFault> {
        if self.depth >= NESTING_MAX {
            return Err(wrong(format!("Deployments nest deeper than {NESTING_MAX}")).into());
        }
        let properties = member(&planned.raw, "properties").and_then(Value::as_object);
        let evaluation = Evaluation::new(self.scope(&expanded.names), known, &planned.loops);
        let mut read = Map::new();
        for (name, value) in properties.into_iter().flatten() {
            let is_raw = name.eq_ignore_ascii_case("template");
            read.insert(
                name.clone(),
                if is_raw {
                    value.clone()
                } else {
                    evaluation.value(value)?
                },
            );
        }
        let mut body = Map::from_iter([("properties".to_owned(), Value::Object(read))]);
        if let Some(location) = find(&planned.raw, "location") {
            body.insert("location".to_owned(), evaluation.value(location)?);
        }
        let request = Request::from_value(&Value::Object(body))?;
        let mut template = Template::read(&request.template)?;
        let mut place = self.place.clone();
        let mut loops = planned.loops.clone();
        let parameters = if request.is_inner {
            place.group = group;
            place.deployment = request.shown(&planned.name);
            loops.clear();
            let mut count = 0_u32;
            let mut fresh = || {
                count += 1;
                Uuid::new_v5(
                    &seed,
                    format!("{}#{count}", planned.id.to_ascii_lowercase()).as_bytes(),
                )
            };
            template.bind(&place, &request.parameters, now_ms, &mut fresh)?
        } else {
            if !request.parameters.is_empty() {
                return Err(wrong(format!(
                    "The nested deployment '{}' is evaluated in the outer scope and can't be given parameters; set \
                     'expressionEvaluationOptions.scope' to 'inner'", planned.name
                )).into());
            }
            template.parameters = self.template.parameters.clone();
            template.variables = self.template.variables.clone();
            template.functions = self.template.functions.clone();
            self.parameters.clone()
        };
        let bound = Self {
            template,
            place,
            parameters,
            group: planned.group.clone(),
            loops,
            depth: self.depth + 1,
        };
        Ok((bound, request))
    }
}

/// Why a nested deployment could not be read.
#[derive(Debug)]
pub enum NestedFault {
    /// Its parameters need something first, or are wrong.
    Fault(Fault),
    /// It is wrong, in the service's words.
    Error(domain::Error),
}

impl From<Fault> for NestedFault {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<domain::Error> for NestedFault {
    fn from(error: domain::Error) -> Self {
        Self::Error(error)
    }
}

/// Returns an output's name in camel case: capitals at its begin become small, but for the last of several before
/// something else. Source: recorded `VMSS` is answered as `vmss`, `TRANS_Test` is seen as `tranS_Test`.
fn output_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut left = name.chars().peekable();
    let mut has_ended = false;
    while let Some(c) = left.next() {
        let is_last_capital = left.peek().is_some_and(|next| !next.is_uppercase());
        has_ended |= !c.is_uppercase() || (!out.is_empty() && is_last_capital);
        out.push(if has_ended { c } else { c.to_ascii_lowercase() });
    }
    out
}
