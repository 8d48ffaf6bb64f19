//! The parts of a template.

use domain::Result;
use serde_json::{Map, Value};

use crate::evaluate::{find, member};
use crate::fault;
use crate::limits::{OUTPUTS_MAX, PARAMETERS_MAX, RESOURCES_MAX, VARIABLES_MAX};

/// A template: its parts as they were written.
#[derive(Clone, Debug, Default)]
pub struct Template {
    pub(crate) parameters: Map<String, Value>,
    pub(crate) variables: Map<String, Value>,
    pub(crate) functions: Vec<Function>,
    /// Resources; those of a template with symbolic names have one.
    pub(crate) resources: Vec<(Option<String>, Map<String, Value>)>,
    pub(crate) outputs: Map<String, Value>,
}

/// A function that a template defines.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    /// `namespace.name` in lower case.
    pub name: String,
    /// Names of its parameters, in order.
    pub parameters: Vec<String>,
    /// What it returns.
    pub output: Value,
}

impl Template {
    /// Reads a template's parts.
    pub fn read(value: &Value) -> Result<Self> {
        let Some(root) = value.as_object() else {
            return Err(wrong("The template must be an object"));
        };
        for name in ["$schema", "contentVersion"] {
            if member(root, name).and_then(Value::as_str).is_none() {
                return Err(wrong(&format!(
                    "Required property '{name}' not found in JSON. Path ''"
                )));
            }
        }
        check_schema(
            member(root, "$schema")
                .and_then(Value::as_str)
                .unwrap_or_default(),
        )?;
        let template = Self {
            parameters: section(root, "parameters", PARAMETERS_MAX)?,
            variables: section(root, "variables", VARIABLES_MAX)?,
            functions: functions(root)?,
            resources: resources(root)?,
            outputs: section(root, "outputs", OUTPUTS_MAX)?,
        };
        Ok(template)
    }

    /// Returns the names of the outputs with their definitions.
    pub fn outputs(&self) -> &Map<String, Value> {
        &self.outputs
    }
}

/// Templates of groups and of subscriptions are served, each at either scope: the service does not ask which is
/// which. Tenants and management groups have schemas of their own.
fn check_schema(schema: &str) -> Result<()> {
    let lower = schema.to_ascii_lowercase();
    let name = lower
        .trim_end_matches('#')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    if name == "deploymenttemplate.json" || name == "subscriptiondeploymenttemplate.json" {
        return Ok(());
    }
    let shown: String = schema.chars().take(200).collect();
    Err(wrong(&format!(
        "The template schema '{shown}' is not supported. The schema must end in 'deploymentTemplate.json#' or \
         'subscriptionDeploymentTemplate.json#'"
    )))
}

fn section(root: &Map<String, Value>, name: &str, most: usize) -> Result<Map<String, Value>> {
    let found = match find(root, name) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(members)) => members.clone(),
        Some(_) => {
            return Err(wrong(&format!(
                "The template member '{name}' must be an object"
            )));
        }
    };
    if found.len() > most {
        return Err(wrong(&format!(
            "The number of template {name} exceeds the limit of '{most}'. The actual number is '{}'",
            found.len()
        )));
    }
    Ok(found)
}

/// A resource of a template, with its symbolic name where the template has names.
type NamedResource = (Option<String>, Map<String, Value>);

fn resources(root: &Map<String, Value>) -> Result<Vec<NamedResource>> {
    let raw: Vec<(Option<String>, &Value)> = match find(root, "resources") {
        Some(Value::Array(items)) => items.iter().map(|item| (None, item)).collect(),
        Some(Value::Object(named)) => named
            .iter()
            .map(|(name, item)| (Some(name.clone()), item))
            .collect(),
        _ => {
            return Err(wrong(
                "Required property 'resources' not found in JSON. Path ''",
            ));
        }
    };
    if raw.len() > RESOURCES_MAX {
        return Err(wrong(&format!(
            "The number of template resources exceeds the limit of '{RESOURCES_MAX}'. The actual number is '{}'",
            raw.len()
        )));
    }
    raw.into_iter()
        .map(|(name, item)| match item.as_object() {
            Some(members) => Ok((name, members.clone())),
            None => Err(wrong("A resource of the template is not an object")),
        })
        .collect()
}

fn functions(root: &Map<String, Value>) -> Result<Vec<Function>> {
    let mut out = Vec::new();
    let Some(namespaces) = member(root, "functions") else {
        return Ok(out);
    };
    let namespaces = namespaces
        .as_array()
        .ok_or_else(|| wrong("The template member 'functions' must be a list"))?;
    for namespace in namespaces.iter().filter_map(Value::as_object) {
        let space = member(namespace, "namespace").and_then(Value::as_str);
        let members = member(namespace, "members").and_then(Value::as_object);
        let (Some(space), Some(members)) = (space, members) else {
            return Err(wrong(
                "A function namespace needs 'namespace' and 'members'",
            ));
        };
        for (name, function) in members {
            out.push(read_function(space, name, function)?);
        }
    }
    if out.len() > VARIABLES_MAX {
        return Err(wrong("The template defines too many functions"));
    }
    Ok(out)
}

fn read_function(space: &str, name: &str, function: &Value) -> Result<Function> {
    let function = function.as_object();
    let output = function
        .and_then(|f| member(f, "output"))
        .and_then(Value::as_object);
    let Some(output) = output.and_then(|output| find(output, "value")) else {
        return Err(wrong(&format!(
            "The function '{space}.{name}' has no output"
        )));
    };
    let parameters = function
        .and_then(|f| member(f, "parameters"))
        .and_then(Value::as_array);
    let names = parameters.into_iter().flatten().filter_map(|parameter| {
        let name = parameter.get("name").and_then(Value::as_str)?;
        Some(name.to_owned())
    });
    Ok(Function {
        name: format!("{space}.{name}").to_ascii_lowercase(),
        parameters: names.collect(),
        output: output.clone(),
    })
}

fn wrong(sentence: &str) -> domain::Error {
    fault::wrong(sentence.to_owned())
}
