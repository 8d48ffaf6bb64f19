//! Compares a body with its table, member by member.
//!
//! The sentences are those of the JSON reader that the service uses, because clients and people
//! search for them; each ends with the path, line and position of the token at fault.

use domain::{Error, Result};
use serde_json::{Map, Number, Value};

use super::reader::{self, Field, Node, Step, Token, shorten};
use super::table::{Member, Object, Table, Type};

/// Members of the envelope that every resource may send though its table lacks them.
const ENVELOPE_READ_ONLY: [&str; 7] = [
    "id",
    "name",
    "type",
    "kind",
    "managedBy",
    "systemData",
    "etag",
];
/// Members of the envelope that are dropped when they ask for nothing (`identity: {type: None}`).
const ENVELOPE: [&str; 5] = ["identity", "sku", "plan", "zones", "extendedLocation"];

/// Returns the checked body.
pub(crate) fn check(table: &Table, version: &str, text: &str, node: Node) -> Result<Value> {
    let mut check = Check {
        text,
        version,
        path: Vec::new(),
    };
    match node.value {
        Token::Object(fields) => check.object(&table.root, fields),
        _ => Err(check.wrong_object(&table.root, &node)),
    }
}

struct Check<'a> {
    text: &'a str,
    version: &'a str,
    path: Vec<Step>,
}

impl Check<'_> {
    fn object(&mut self, object: &Object, fields: Vec<Field>) -> Result<Value> {
        let mut out = Map::new();
        for field in fields {
            let end = field.end;
            self.path.push(Step::Name(field.name.clone()));
            if let Some((name, value)) = self.field(object, field)?
                && out.insert(name.clone(), value).is_some()
            {
                return Err(reader::invalid_content(&format!(
                    "{} {}",
                    reader::duplicate(&name),
                    self.place(end)
                )));
            }
            self.path.pop();
        }
        Ok(Value::Object(out))
    }

    /// Returns the member's canonical name and value; `None` for null and what is dropped.
    fn field(&mut self, object: &Object, field: Field) -> Result<Option<(String, Value)>> {
        if let Some(member) = object
            .find(&field.name)
            .filter(|member| member.is_known(self.version))
        {
            return Ok(self
                .value(&member.value, field.node)?
                .map(|value| (member.name.clone(), value)));
        }
        if object.is_open {
            return Ok(field.node.into_value().map(|value| (field.name, value)));
        }
        let is_root = self.path.len() == 1;
        if is_root && is_droppable(&field) {
            return Ok(None);
        }
        Err(self.fail(
            &format!(
                "Could not find member '{}' on object of type '{}'.",
                shorten(&field.name),
                object.name
            ),
            field.end,
        ))
    }

    fn value(&mut self, kind: &Type, node: Node) -> Result<Option<Value>> {
        if matches!(node.value, Token::Null) {
            return Ok(None);
        }
        match kind {
            Type::Any => Ok(node.into_value()),
            Type::Object(object) => match node.value {
                Token::Object(fields) => self.object(object, fields).map(Some),
                _ => Err(self.wrong_object(object, &node)),
            },
            Type::List(item) => match node.value {
                Token::List(nodes) => self.list(item, nodes).map(Some),
                _ => Err(self.wrong_list(&node)),
            },
            Type::Map(item) => match node.value {
                Token::Object(fields) => self.map(item, fields).map(Some),
                _ => Err(self.wrong_map(&node)),
            },
            _ => self.scalar(kind, node).map(Some),
        }
    }

    fn list(&mut self, item: &Type, nodes: Vec<Node>) -> Result<Value> {
        let mut out = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.into_iter().enumerate() {
            self.path.push(Step::Index(index));
            out.extend(self.value(item, node)?);
            self.path.pop();
        }
        Ok(Value::Array(out))
    }

    fn map(&mut self, item: &Type, fields: Vec<Field>) -> Result<Value> {
        let mut out = Map::new();
        for field in fields {
            self.path.push(Step::Name(field.name.clone()));
            if let Some(value) = self.value(item, field.node)? {
                out.insert(field.name, value);
            }
            self.path.pop();
        }
        Ok(Value::Object(out))
    }

    fn scalar(&self, kind: &Type, node: Node) -> Result<Value> {
        match (kind, node.value) {
            (Type::Text, Token::Text(text)) => Ok(Value::String(text)),
            (Type::Bool, Token::Bool(value)) => Ok(Value::Bool(value)),
            (Type::Float, Token::Number(value)) => Ok(Value::Number(value)),
            (Type::Int | Type::Long, Token::Number(value)) => self.integer(kind, value, node.end),
            (Type::Date, Token::Text(text)) => match crate::time::parse(&text) {
                Some(ms) => Ok(Value::String(crate::time::format_given(ms))),
                None => Err(self.fail(
                    &format!(
                        "Could not convert string to DateTimeOffset: {}.",
                        shorten(&text)
                    ),
                    node.end,
                )),
            },
            (kind, value) => Err(self.wrong_scalar(
                kind,
                &Node {
                    value,
                    end: node.end,
                },
            )),
        }
    }

    fn integer(&self, kind: &Type, value: Number, end: usize) -> Result<Value> {
        let (fits, name) = match kind {
            Type::Int => (
                value.as_i64().is_some_and(|v| i32::try_from(v).is_ok()),
                "Int32",
            ),
            _ => (value.is_i64(), "Int64"),
        };
        if fits {
            return Ok(Value::Number(value));
        }
        let sentence = if value.is_f64() {
            format!("Input string '{value}' is not a valid integer.")
        } else {
            format!("JSON integer {value} is too large or small for an {name}.")
        };
        Err(self.fail(&sentence, end))
    }

    fn wrong_scalar(&self, kind: &Type, node: &Node) -> Error {
        let wanted = match kind {
            Type::Text => "string",
            Type::Bool => "boolean",
            Type::Float => "double",
            Type::Date => "date",
            _ => "integer",
        };
        let sentence = match &node.value {
            Token::Object(_) => {
                "Unexpected character encountered while parsing value: {.".to_owned()
            }
            Token::List(_) => "Unexpected character encountered while parsing value: [.".to_owned(),
            Token::Text(text) => {
                format!("Could not convert string to {wanted}: {}.", shorten(text))
            }
            other => format!(
                "Error reading {wanted}. Unexpected token: {}.",
                token_name(other)
            ),
        };
        self.fail(&sentence, node.end)
    }

    fn wrong_object(&self, object: &Object, node: &Node) -> Error {
        let sentence = match &node.value {
            Token::List(_) => format!(
                "Cannot deserialize the current JSON array (e.g. [1,2,3]) into type '{}' because the type requires a JSON object (e.g. {{\"name\":\"value\"}}) to deserialize correctly.",
                object.name
            ),
            other => format!(
                "Error converting value {} to type '{}'.",
                show(other),
                object.name
            ),
        };
        self.fail(&sentence, node.end)
    }

    fn wrong_map(&self, node: &Node) -> Error {
        let sentence = format!(
            "Cannot deserialize the current JSON value ({}) into a dictionary because the type requires a JSON object (e.g. {{\"name\":\"value\"}}) to deserialize correctly.",
            token_name(&node.value)
        );
        self.fail(&sentence, node.end)
    }

    fn wrong_list(&self, node: &Node) -> Error {
        let sentence = match &node.value {
            Token::Object(_) => "Cannot deserialize the current JSON object (e.g. {\"name\":\"value\"}) into a list because the type requires a JSON array (e.g. [1,2,3]) to deserialize correctly.".to_owned(),
            other => format!("Error converting value {} to a list.", show(other)),
        };
        self.fail(&sentence, node.end)
    }

    fn place(&self, end: usize) -> String {
        reader::show_place(self.text, &self.path, end)
    }

    fn fail(&self, sentence: &str, end: usize) -> Error {
        Error::bad_request(format!("{sentence} {}", self.place(end)))
    }
}

/// Returns whether a member of the envelope asks for nothing that would be lost with it.
fn is_droppable(field: &Field) -> bool {
    let is_one_of = |names: &[&str]| {
        names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(&field.name))
    };
    is_one_of(&ENVELOPE_READ_ONLY) || (is_one_of(&ENVELOPE) && says_nothing(&field.node))
}

fn says_nothing(node: &Node) -> bool {
    match &node.value {
        Token::Null => true,
        Token::Text(text) => text.is_empty(),
        Token::List(nodes) => nodes.is_empty(),
        Token::Object(fields) => fields.iter().all(|field| match &field.node.value {
            Token::Text(text) => {
                field.name.eq_ignore_ascii_case("type") && text.eq_ignore_ascii_case("none")
            }
            _ => says_nothing(&field.node),
        }),
        Token::Bool(_) | Token::Number(_) => false,
    }
}

fn token_name(token: &Token) -> &'static str {
    match token {
        Token::Null => "Null",
        Token::Bool(_) => "Boolean",
        Token::Number(number) if number.is_f64() => "Float",
        Token::Number(_) => "Integer",
        Token::Text(_) => "String",
        Token::List(_) => "StartArray",
        Token::Object(_) => "StartObject",
    }
}

fn show(token: &Token) -> String {
    match token {
        Token::Bool(value) => value.to_string(),
        Token::Number(number) => number.to_string(),
        Token::Text(text) => format!("\"{}\"", shorten(text)),
        other => token_name(other).to_owned(),
    }
}

/// Returns the known member of a name at a version; for projection.
pub(crate) fn visible<'a>(object: &'a Object, name: &str, version: &str) -> Option<&'a Member> {
    object
        .find(name)
        .filter(|member| member.is_known(version) && !member.is_write_only)
}
