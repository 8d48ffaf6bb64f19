//! From a template to its resources: loops counted out, children unfolded, names and order known.
//!
//! Bodies are evaluated later, one by one, because they may ask for the state of resources that do
//! not exist yet.

use std::collections::HashMap;

use domain::Result;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::evaluate::{find, member};
use crate::fault::{self, Fault};
use crate::limits::{NESTING_MAX, RESOURCES_MAX};
use crate::model::Template;
use crate::parameters::{is_secure, type_word};
use crate::request::Request;
use crate::scope::{Evaluation, Known, Place, Scope};
use crate::syntax;

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
    template: Template,
    place: Place,
    parameters: Map<String, Value>,
    /// The group in which resources without another one are made.
    group: String,
    /// Loops around a nested template.
    loops: Vec<(String, usize)>,
    /// How deep it is nested.
    depth: usize,
}

/// One resource of a template.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its id, as the template writes its names.
    pub id: String,
    /// Its type, `Microsoft.Compute/galleries/images`.
    pub type_name: String,
    /// Its names, `gallery/image`.
    pub name: String,
    /// The api-version in which its body is written.
    pub api_version: String,
    /// The group that it lies in.
    pub group: String,
    /// Whether its condition holds.
    pub is_wanted: bool,
    /// Whether the template only refers to it.
    pub is_existing: bool,
    /// Resources that must be there before, by their place in the list.
    pub depends_on: Vec<usize>,
    symbolic: Option<String>,
    loops: Vec<(String, usize)>,
    raw: Map<String, Value>,
    wants: Vec<String>,
}

/// All resources of a template.
#[derive(Clone, Debug, Default)]
pub struct Expanded {
    /// The resources, in the order of the template.
    pub resources: Vec<Planned>,
    names: HashMap<String, String>,
    /// Loops that turn no time: what waits for them waits for nothing.
    empty_loops: Vec<String>,
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

    fn scope<'a>(&'a self, names: &'a HashMap<String, String>) -> Scope<'a> {
        Scope {
            place: &self.place,
            parameters: &self.parameters,
            variables: &self.template.variables,
            functions: &self.template.functions,
            names,
        }
    }

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
        let shown = member(raw, "name")
            .map(Value::to_string)
            .unwrap_or_default();
        let failed = |fault: Fault| fault.into_expression_error(&format!("resource {shown}"));
        let text = |member_name: &str| match member(raw, member_name) {
            None => Ok(String::new()),
            Some(value) => match evaluation.value(value).map_err(failed)? {
                Value::String(text) => Ok(text),
                Value::Null => Ok(String::new()),
                other => Err(wrong(format!(
                    "The template resource member '{member_name}' must be a text, it is '{other}'"
                ))),
            },
        };
        let (mut type_name, mut name) = (text("type")?, text("name")?);
        if let Some(parent) = parent {
            let is_full = type_name
                .to_ascii_lowercase()
                .starts_with(&format!("{}/", parent.type_name.to_ascii_lowercase()));
            if !is_full {
                type_name = format!("{}/{type_name}", parent.type_name);
                name = format!("{}/{name}", parent.name);
            }
        }
        let api_version = text("apiVersion")?;
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
        let is_wanted = match member(raw, "condition").map(|c| evaluation.value(c).map_err(failed))
        {
            None => true,
            Some(value) => match value? {
                Value::Bool(truth) => truth,
                other => {
                    return Err(wrong(format!(
                        "The condition of the template resource '{name}' must be a boolean, it is '{other}'"
                    )));
                }
            },
        };
        let mut wants = Vec::new();
        for item in member(raw, "dependsOn")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            match evaluation.value(item).map_err(failed)? {
                Value::String(wanted) => wants.push(wanted),
                Value::Array(more) => {
                    wants.extend(more.iter().filter_map(Value::as_str).map(str::to_owned))
                }
                _ => {
                    return Err(wrong(format!(
                        "'dependsOn' of the template resource '{name}' must be a list of texts"
                    )));
                }
            }
        }
        let subscription = text("subscriptionId")?;
        if !subscription.is_empty()
            && !subscription.eq_ignore_ascii_case(self.place.subscription_id())
        {
            return Err(wrong(format!(
                "The template resource '{name}' lies in another subscription; deploy it there"
            )));
        }
        let group = Some(text("resourceGroup")?).filter(|g| !g.is_empty());
        let group = group
            .or_else(|| parent.map(|p| p.group.clone()))
            .unwrap_or_else(|| self.group.clone());
        let id = self.id(&type_name, &name, &group, &text("scope")?)?;
        Ok(Planned {
            id,
            type_name,
            name,
            api_version,
            group,
            is_wanted: is_wanted && parent.is_none_or(|parent| parent.is_wanted),
            is_existing: member(raw, "existing")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            depends_on: Vec::new(),
            symbolic: symbolic.map(str::to_owned),
            loops,
            raw: raw.clone(),
            wants,
        })
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
        let home = format!(
            "/subscriptions/{}/resourceGroups/{group}",
            self.place.subscription_id()
        );
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

    /// Evaluates the outputs: `{name: {type, value}}`; secrets have no value.
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
            out.insert(name.clone(), Value::Object(shown));
        }
        Ok(Value::Object(out))
    }

    /// Returns a nested deployment, bound; `group` is what `resourceGroup()` shows of its group.
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
        let request = Request::from_value(&serde_json::json!({ "properties": read }))?;
        let mut template = Template::read(&request.template)?;
        let mut place = self.place.clone();
        let mut loops = planned.loops.clone();
        let parameters = if request.is_inner {
            place.group = group;
            place.deployment = serde_json::json!({
                "name": planned.name,
                "properties": { "template": request.template, "mode": request.mode.as_str(), "provisioningState": "Accepted" },
            });
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

impl Planned {
    /// Whether it is a nested deployment.
    pub fn is_deployment(&self) -> bool {
        self.type_name
            .eq_ignore_ascii_case("Microsoft.Resources/deployments")
    }

    /// Returns how sentences name it: `resource '…'`.
    pub fn part(&self) -> String {
        format!("resource '{}'", self.id)
    }

    fn is_named(&self, wanted: &str) -> bool {
        let same = |known: &str| known.eq_ignore_ascii_case(wanted);
        let relative = || {
            self.id
                .rsplit("/providers/")
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let looped = || self.loops.first().is_some_and(|(label, _)| same(label));
        same(&self.id)
            || same(&self.name)
            || self.symbolic.as_deref().is_some_and(same)
            || same(&relative())
            || looped()
    }
}

impl Expanded {
    /// Makes the resources findable by name; two with one id are refused.
    fn name_all(&mut self) -> Result<()> {
        let mut seen: HashMap<String, usize> = HashMap::new();
        for (at, planned) in self.resources.iter().enumerate() {
            let key = planned.id.to_ascii_lowercase();
            let before = seen.insert(key, at).and_then(|at| self.resources.get(at));
            if before.is_some_and(|before| before.is_wanted && planned.is_wanted) {
                return Err(wrong(format!(
                    "The resource '{}' is defined multiple times in a template. Please see \
                     https://aka.ms/arm-template/#resources for usage details",
                    planned.id.rsplit("/providers/").next().unwrap_or_default()
                )));
            }
            if let Some(symbolic) = &planned.symbolic {
                self.names.insert(symbolic.clone(), planned.id.clone());
            }
            self.names
                .entry(planned.name.to_ascii_lowercase())
                .or_insert_with(|| planned.id.clone());
        }
        Ok(())
    }

    /// Finds what each resource must wait for; a circle is refused.
    fn resolve(&mut self) -> Result<()> {
        let keys: Vec<String> = self
            .resources
            .iter()
            .map(|p| p.id.to_ascii_lowercase())
            .collect();
        let mut all = Vec::with_capacity(self.resources.len());
        for (at, planned) in self.resources.iter().enumerate() {
            let mut needed = Vec::new();
            for wanted in &planned.wants {
                let wanted = wanted.trim_end_matches('/');
                let matches: Vec<usize> = (0..self.resources.len())
                    .filter(|other| *other != at)
                    .filter(|other| {
                        self.resources
                            .get(*other)
                            .is_some_and(|p| p.is_named(wanted))
                    })
                    .collect();
                if matches.is_empty() && !planned.is_named(wanted) && !self.is_empty_loop(wanted) {
                    return Err(wrong(format!(
                        "The resource '{wanted}' is not defined in the template. Please see https://aka.ms/arm-syntax for usage details."
                    )));
                }
                if matches.is_empty() && planned.is_named(wanted) {
                    return Err(circular(&planned.id));
                }
                needed.extend(matches);
            }
            // What lies in another resource of the template waits for it, said or not.
            let own = keys.get(at).map(String::as_str).unwrap_or_default();
            needed.extend((0..keys.len()).filter(|other| {
                keys.get(*other)
                    .is_some_and(|key| *other != at && own.starts_with(&format!("{key}/")))
            }));
            needed.sort_unstable();
            needed.dedup();
            all.push(needed);
        }
        for (planned, needed) in self.resources.iter_mut().zip(all) {
            planned.depends_on = needed;
        }
        self.check_circles()
    }

    fn is_empty_loop(&self, wanted: &str) -> bool {
        self.empty_loops
            .iter()
            .any(|label| label.eq_ignore_ascii_case(wanted))
    }

    fn check_circles(&self) -> Result<()> {
        let mut left: Vec<usize> = self.resources.iter().map(|p| p.depends_on.len()).collect();
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); left.len()];
        for (at, planned) in self.resources.iter().enumerate() {
            for needed in &planned.depends_on {
                if let Some(users) = users.get_mut(*needed) {
                    users.push(at);
                }
            }
        }
        let mut ready: Vec<usize> = (0..left.len())
            .filter(|at| left.get(*at) == Some(&0))
            .collect();
        let mut done = 0;
        while let Some(at) = ready.pop() {
            done += 1;
            for user in users.get(at).into_iter().flatten() {
                if let Some(count) = left.get_mut(*user) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push(*user);
                    }
                }
            }
        }
        if done == left.len() {
            return Ok(());
        }
        let stuck = left.iter().position(|count| *count > 0);
        let id = stuck
            .and_then(|at| self.resources.get(at))
            .map(|p| p.id.as_str());
        Err(circular(id.unwrap_or_default()))
    }

    /// Returns the place of a resource in the list, by its id.
    pub fn find(&self, id: &str) -> Option<usize> {
        self.resources
            .iter()
            .position(|planned| planned.id.eq_ignore_ascii_case(id))
    }
}

fn circular(id: &str) -> domain::Error {
    wrong(format!(
        "Circular dependency detected on resource: '{id}'. Please see https://aka.ms/arm-template/#resources for usage details."
    ))
}

fn wrong(sentence: String) -> domain::Error {
    Fault::wrong(sentence.trim_end_matches('.')).into_validation_error()
}
