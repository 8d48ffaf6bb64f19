//! Evaluating values and expressions.

use serde_json::{Map, Value};

use crate::expression::{self, Expression, Text};
use crate::fault::{Fault, Result};
use crate::functions;
use crate::limits::COPIES_MAX;
use crate::scope::Evaluation;

impl Evaluation<'_> {
    /// Evaluates every text of a value; loops inside objects are counted out.
    pub fn value(&self, value: &Value) -> Result<Value> {
        match value {
            Value::String(text) => self.text(text),
            Value::Array(items) => {
                let items: Result<Vec<Value>> = items.iter().map(|item| self.value(item)).collect();
                Ok(Value::Array(items?))
            }
            Value::Object(members) => self.object(members),
            other => Ok(other.clone()),
        }
    }

    /// Evaluates a text.
    pub fn text(&self, text: &str) -> Result<Value> {
        self.reserve(text.len())?;
        match expression::read(text)? {
            Text::Literal(text) => Ok(Value::String(text)),
            Text::Expression(parsed) => match self.expression(&parsed) {
                Err(Fault::Needs(_)) if self.is_lenient => Ok(Value::String(text.to_owned())),
                other => other,
            },
        }
    }

    fn object(&self, members: &Map<String, Value>) -> Result<Value> {
        let mut out = Map::new();
        for (name, value) in members {
            if name.eq_ignore_ascii_case("copy")
                && let Some(loops) = loops_of(value)
            {
                for one in loops {
                    let (name, items) = self.copy(one)?;
                    out.insert(name, items);
                }
                continue;
            }
            let name = match self.text(name)? {
                Value::String(name) => name,
                _ => return Err(Fault::wrong(format!("The name '{name}' is not a text."))),
            };
            out.insert(name, self.value(value)?);
        }
        Ok(Value::Object(out))
    }

    /// Counts out a loop inside an object: its name, and an item for every turn.
    pub fn copy(&self, one: &Map<String, Value>) -> Result<(String, Value)> {
        let name = self.value(member(one, "name").unwrap_or(&Value::Null))?;
        let Value::String(name) = name else {
            return Err(Fault::wrong("The copy loop has no name."));
        };
        let count = self.count(one, &name)?;
        let input = member(one, "input").unwrap_or(&Value::Null);
        let mut items = Vec::with_capacity(count);
        for turn in 0..count {
            self.call()?;
            self.loops.borrow_mut().push((name.clone(), turn));
            let item = self.value(input);
            self.loops.borrow_mut().pop();
            items.push(self.build(item?)?);
        }
        Ok((name, Value::Array(items)))
    }

    /// Evaluates how often a loop turns.
    pub fn count(&self, one: &Map<String, Value>, name: &str) -> Result<usize> {
        let count = self.value(member(one, "count").unwrap_or(&Value::Null))?;
        let given = count.as_i64().and_then(|count| usize::try_from(count).ok());
        given.filter(|count| *count <= COPIES_MAX).ok_or_else(|| {
            Fault::wrong(format!(
                "The copy count '{count}' of '{name}' is not valid: it must be a whole number from 0 to {COPIES_MAX}. \
                 Please see https://aka.ms/arm-resource-loops for usage details."
            ))
        })
    }

    pub fn expression(&self, expression: &Expression) -> Result<Value> {
        match expression {
            Expression::Text(text) => self.build(Value::String(text.clone())),
            Expression::Number(number) => Ok(Value::from(*number)),
            Expression::Call(name, arguments) => {
                self.call()?;
                functions::call(self, name, arguments)
            }
            Expression::Item(of, at, is_safe) => {
                let (of, at) = (self.expression(of)?, self.expression(at)?);
                match item(&of, &at) {
                    Ok(found) => self.build(found.clone()),
                    Err(_) if *is_safe => Ok(Value::Null),
                    Err(fault) => Err(fault),
                }
            }
        }
    }

    /// Evaluates a variable once.
    pub fn variable(&self, name: &str) -> Result<Value> {
        let key = name.to_ascii_lowercase();
        if let Some(held) = self.variables.borrow().get(&key) {
            return self.build(held.clone());
        }
        if self.open.borrow().contains(&key) {
            return Err(Fault::wrong(format!(
                "Circular reference detected at variable '{name}'. Please see https://aka.ms/arm-template/#variables for usage details."
            )));
        }
        let raw = find(self.scope.variables, name);
        let looped = || {
            let loops = loops_of(find(self.scope.variables, "copy")?)?;
            loops.into_iter().find(|one| {
                let named = member(one, "name").and_then(Value::as_str);
                named.is_some_and(|n| n.eq_ignore_ascii_case(name))
            })
        };
        self.open.borrow_mut().push(key.clone());
        let outer = self.loops.take();
        let value = match (raw, looped()) {
            (_, Some(one)) => self.copy(one).map(|(_, items)| items),
            (Some(raw), None) => self.value(raw),
            (None, None) => Err(Fault::wrong(format!(
                "The template variable '{name}' is not found. Please see https://aka.ms/arm-template/#variables for usage details."
            ))),
        };
        self.loops.replace(outer);
        self.open.borrow_mut().pop();
        let value = self.build(value?)?;
        self.variables.borrow_mut().insert(key, value.clone());
        Ok(value)
    }
}

/// Returns a member of an object or an item of a list.
pub(crate) fn item<'v>(of: &'v Value, at: &Value) -> Result<&'v Value> {
    match (of, at) {
        (Value::Object(members), Value::String(name)) => find(members, name).ok_or_else(|| {
            let known: Vec<&str> = members.keys().take(40).map(String::as_str).collect();
            Fault::wrong(format!(
                "The language expression property '{name}' doesn't exist, available properties are '{}'.",
                known.join(", ")
            ))
        }),
        (Value::Array(items), Value::Number(index)) => {
            let found = index.as_u64().and_then(|i| items.get(usize::try_from(i).ok()?));
            found.ok_or_else(|| {
                Fault::wrong(format!(
                    "The language expression property array index '{index}' is out of bounds."
                ))
            })
        }
        (of, at) => Err(Fault::wrong(format!(
            "The language expression property '{}' can't be evaluated: the value is of type '{}'.",
            functions::show(at),
            functions::type_name(of)
        ))),
    }
}

/// Returns a member whatever its case; one with the very name goes first.
pub(crate) fn find<'v>(members: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    members.get(name).or_else(|| {
        let mut all = members.iter();
        all.find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}

pub(crate) fn member<'v>(members: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    find(members, name).filter(|value| !value.is_null())
}

/// Returns the loops of a member `copy` inside an object; other members may have that name.
fn loops_of(value: &Value) -> Option<Vec<&Map<String, Value>>> {
    let loops: Option<Vec<_>> = value.as_array()?.iter().map(Value::as_object).collect();
    loops.filter(|loops| {
        !loops.is_empty()
            && loops
                .iter()
                .all(|one| member(one, "count").is_some() && find(one, "input").is_some())
    })
}
