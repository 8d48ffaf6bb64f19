//! What expressions can see.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use serde_json::{Map, Value};
use uuid::Uuid;

use crate::fault::{Fault, Need, Result};
use crate::limits::{BUILT_BYTES_MAX, CALLS_MAX};
use crate::model::Function;

/// Where a deployment runs; each member is what the function of its name returns.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// `subscription()`: `id`, `subscriptionId`, `tenantId`, `displayName`.
    pub subscription: Value,
    /// `resourceGroup()`: `id`, `name`, `type`, `location`, `tags`, `properties`; null at a subscription.
    pub group: Value,
    /// `deployment()`: `name`, `properties`, at a subscription `location`.
    pub deployment: Value,
    /// `environment()`.
    pub environment: Value,
    /// `tenant()`: `tenantId`, …
    pub tenant: Value,
    /// `providers(…)` chooses from these: the list of `GET …/providers`.
    pub providers: Vec<Value>,
}

impl Place {
    /// Returns the subscription's id, without a path.
    pub fn subscription_id(&self) -> &str {
        text_member(&self.subscription, "subscriptionId")
    }

    /// Returns the group's name, empty at a subscription.
    pub fn group_name(&self) -> &str {
        text_member(&self.group, "name")
    }
}

fn text_member<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// What the caller has looked up: answers to [`Need`]s.
#[derive(Clone, Debug, Default)]
pub struct Known(HashMap<Need, Value>);

impl Known {
    /// Adds an answer: of `reference` the whole resource, of a `list…` function its result.
    pub fn insert(&mut self, need: Need, answer: Value) {
        self.0.insert(need, answer);
    }

    /// Forgets every answer about a resource.
    pub fn forget(&mut self, id: &str) {
        self.0.retain(|need, _| !need.id.eq_ignore_ascii_case(id));
    }

    fn find(&self, need: &Need) -> Option<&Value> {
        self.0.get(need)
    }
}

/// The moment and the ids that defaults of parameters may use.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    pub now_ms: i64,
    pub fresh: &'a dyn Fn() -> Uuid,
}

/// What expressions of one template can see.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    pub(crate) place: &'a Place,
    pub(crate) parameters: &'a Map<String, Value>,
    pub(crate) variables: &'a Map<String, Value>,
    pub(crate) functions: &'a [Function],
    /// Resources by symbolic name, or by name in lower case, with their ids.
    pub(crate) names: &'a HashMap<String, String>,
}

/// One evaluation: the scope, the loops around it and what it has used up.
pub(crate) struct Evaluation<'a> {
    pub scope: Scope<'a>,
    pub known: &'a Known,
    /// Loops around the value, outermost first; the first may be the resource's own.
    pub loops: RefCell<Vec<(String, usize)>>,
    pub moment: Option<Moment<'a>>,
    /// Leaves texts as they are whose values nobody knows yet.
    pub is_lenient: bool,
    /// The parameters of the template's own function that is being evaluated.
    pub frame: RefCell<Option<Map<String, Value>>>,
    pub variables: RefCell<HashMap<String, Value>>,
    pub open: RefCell<Vec<String>>,
    built: Cell<usize>,
    calls: Cell<usize>,
}

impl<'a> Evaluation<'a> {
    pub fn new(scope: Scope<'a>, known: &'a Known, loops: &[(String, usize)]) -> Self {
        Self {
            scope,
            known,
            loops: RefCell::new(loops.to_vec()),
            moment: None,
            is_lenient: false,
            frame: RefCell::new(None),
            variables: RefCell::default(),
            open: RefCell::default(),
            built: Cell::new(0),
            calls: Cell::new(0),
        }
    }

    /// Counts a call.
    pub fn call(&self) -> Result<()> {
        self.calls.set(self.calls.get() + 1);
        if self.calls.get() > CALLS_MAX {
            return Err(Fault::wrong(format!(
                "The template evaluates more than {CALLS_MAX} functions in one part."
            )));
        }
        Ok(())
    }

    /// Counts what was built.
    pub fn build(&self, value: Value) -> Result<Value> {
        self.reserve(size(&value))?;
        Ok(value)
    }

    /// Counts what is about to be built, in bytes.
    pub fn reserve(&self, bytes: usize) -> Result<()> {
        self.built.set(self.built.get().saturating_add(bytes));
        if self.built.get() > BUILT_BYTES_MAX {
            return Err(Fault::wrong(format!(
                "The template builds more than {BUILT_BYTES_MAX} bytes in one part."
            )));
        }
        Ok(())
    }

    /// Returns what was looked up, or asks for it.
    pub fn know(&self, need: Need) -> Result<Value> {
        match self.known.find(&need) {
            Some(answer) => self.build(answer.clone()),
            None => Err(Fault::Needs(need)),
        }
    }
}

/// About how many bytes a value takes.
pub(crate) fn size(value: &Value) -> usize {
    const NODE: usize = 32;
    NODE + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members.iter().map(|(n, v)| NODE + n.len() + size(v)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
