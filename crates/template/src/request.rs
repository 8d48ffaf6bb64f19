//! The body of a deployment.

use domain::{Error, ErrorKind, Result};
use serde_json::{Map, Value, json};

use crate::evaluate::{find, member};
use crate::fault::invalid_template;
use crate::jsonc;

/// What happens to resources of the group that the template does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They stay.
    Incremental,
    /// They are deleted.
    Complete,
}

impl Mode {
    /// Returns the word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Incremental => "Incremental",
            Self::Complete => "Complete",
        }
    }

    /// Reads the word, whatever its case.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Incremental, Self::Complete]
            .into_iter()
            .find(|mode| mode.as_str().eq_ignore_ascii_case(word))
    }
}

/// A deployment as it was asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The template.
    pub template: Value,
    /// Given parameters, each `{"value": …}`.
    pub parameters: Map<String, Value>,
    /// What happens to other resources of the group.
    pub mode: Mode,
    /// Where it is kept: of deployments at a subscription.
    pub location: Option<String>,
    /// Tags of the deployment.
    pub tags: Option<Map<String, Value>>,
    /// Of what-if: whether whole resources are wanted, or ids alone.
    pub wants_payloads: bool,
    /// Of nested deployments: whether expressions see the template's own parameters.
    pub is_inner: bool,
}

impl Request {
    /// Reads a body.
    pub fn read(text: &str) -> Result<Self> {
        Self::from_value(&jsonc::read(text)?)
    }

    /// Reads a body that is JSON already.
    pub fn from_value(body: &Value) -> Result<Self> {
        let empty = Map::new();
        let body = body.as_object().unwrap_or(&empty);
        let Some(properties) = member(body, "properties").and_then(Value::as_object) else {
            return Err(invalid_content(
                "The request content is not valid: 'properties' is required.",
            ));
        };
        if member(properties, "templateLink").is_some()
            || member(properties, "parametersLink").is_some()
        {
            return Err(invalid_template(
                "Deployment template validation failed: 'The template is given by a link. This server fetches nothing from \
                 addresses; send the template in the body, as --template-file does.'."
                    .to_owned(),
            ));
        }
        let Some(template) = member(properties, "template") else {
            return Err(invalid_content(
                "The request content is not valid: 'properties.template' is required.",
            ));
        };
        let word = member(properties, "mode")
            .and_then(Value::as_str)
            .unwrap_or("Incremental");
        let mode = Mode::parse(word).ok_or_else(|| {
            invalid_content(&format!(
                "The deployment mode '{word}' is not valid. The allowed values are 'Incremental, Complete'."
            ))
        })?;
        let parameters = match find(properties, "parameters") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(given)) => plain_parameters(given),
            Some(_) => {
                return Err(invalid_content(
                    "The request content is not valid: 'properties.parameters' must be an object.",
                ));
            }
        };
        let says = |path: [&str; 2]| {
            let inner = member(properties, path[0])?.as_object()?;
            member(inner, path[1])?.as_str()
        };
        let payloads = says(["whatIfSettings", "resultFormat"]);
        let inner = says(["expressionEvaluationOptions", "scope"]);
        Ok(Self {
            template: template.clone(),
            parameters,
            mode,
            location: member(body, "location")
                .and_then(Value::as_str)
                .map(str::to_owned),
            tags: member(body, "tags").and_then(Value::as_object).cloned(),
            wants_payloads: !payloads.is_some_and(|f| f.eq_ignore_ascii_case("ResourceIdOnly")),
            is_inner: inner.is_some_and(|scope| scope.eq_ignore_ascii_case("inner")),
        })
    }

    /// Returns what `deployment()` answers.
    pub fn shown(&self, name: &str) -> Value {
        let mut out = Map::from_iter([("name".to_owned(), name.into())]);
        if let Some(location) = &self.location {
            out.insert("location".to_owned(), location.as_str().into());
        }
        let properties = json!({
            "template": self.template, "mode": self.mode.as_str(), "provisioningState": "Accepted",
        });
        out.insert("properties".to_owned(), properties);
        Value::Object(out)
    }
}

/// A whole parameter file may stand where its parameters are wanted.
fn plain_parameters(given: &Map<String, Value>) -> Map<String, Value> {
    let is_file = given.contains_key("$schema") || given.contains_key("contentVersion");
    match given.get("parameters").and_then(Value::as_object) {
        Some(inner) if is_file => inner.clone(),
        _ => given.clone(),
    }
}

fn invalid_content(message: &str) -> Error {
    Error::new(ErrorKind::Invalid, "InvalidRequestContent", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_of_az_is_read_though_it_is_not_json() {
        let body = "{\"properties\": {\"parameters\": {\"a\": {\"value\": 1}}, \"mode\": \"Incremental\", template:{\n // c\n \"resources\": []\n}}}";
        let read = Request::read(body).unwrap();
        assert_eq!(read.mode, Mode::Incremental);
        assert_eq!(read.parameters["a"]["value"], 1);
        assert!(read.template["resources"].is_array());
    }

    #[test]
    fn links_and_unknown_modes_are_refused() {
        for (body, said) in [
            ("{}", "'properties' is required"),
            ("{properties: {}}", "'properties.template' is required"),
            (
                "{properties: {template: {}, mode: 'x'}}",
                "The deployment mode 'x'",
            ),
            (
                "{properties: {templateLink: {uri: 'https://h/x'}}}",
                "given by a link",
            ),
            (
                "{properties: {template: {}, parameters: []}}",
                "must be an object",
            ),
        ] {
            let error = Request::read(body).unwrap_err();
            assert!(error.message.contains(said), "{body}: {}", error.message);
        }
    }
}
