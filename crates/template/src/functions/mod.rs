//! The functions of the language, by the kind of thing they work on.

mod list;
mod number;
mod resource;
mod text;

use serde_json::{Map, Value};

use crate::evaluate::find;
use crate::expression::Expression;
use crate::fault::{Fault, Result};
use crate::scope::Evaluation;

/// How many arguments a call has, and what they are.
pub(crate) struct Call<'a> {
    /// The name as it was written.
    pub name: &'a str,
    /// The evaluated arguments.
    pub arguments: Vec<Value>,
}

type Known = (&'static str, usize, usize);
const MANY: usize = usize::MAX;

/// Every function with the fewest and the most arguments it takes.
const FUNCTIONS: [Known; 95] = [
    ("add", 2, 2),
    ("and", 1, MANY),
    ("array", 1, 1),
    ("base64", 1, 1),
    ("base64tojson", 1, 1),
    ("base64tostring", 1, 1),
    ("bool", 1, 1),
    ("coalesce", 1, MANY),
    ("concat", 1, MANY),
    ("contains", 2, 2),
    ("copyindex", 0, 2),
    ("createarray", 0, MANY),
    ("createobject", 0, MANY),
    ("datauri", 1, 1),
    ("datauritostring", 1, 1),
    ("datetimeadd", 2, 3),
    ("datetimefromepoch", 1, 1),
    ("datetimetoepoch", 1, 1),
    ("deployment", 0, 0),
    ("div", 2, 2),
    ("empty", 1, 1),
    ("endswith", 2, 2),
    ("environment", 0, 0),
    ("equals", 2, 2),
    ("extensionresourceid", 3, MANY),
    ("false", 0, 0),
    ("first", 1, 1),
    ("flatten", 1, 1),
    ("float", 1, 1),
    ("format", 1, MANY),
    ("greater", 2, 2),
    ("greaterorequals", 2, 2),
    ("guid", 1, MANY),
    ("if", 3, 3),
    ("indexfromend", 2, 2),
    ("indexof", 2, 2),
    ("int", 1, 1),
    ("intersection", 2, MANY),
    ("items", 1, 1),
    ("join", 2, 2),
    ("json", 1, 1),
    ("last", 1, 1),
    ("lastindexof", 2, 2),
    ("length", 1, 1),
    ("less", 2, 2),
    ("lessorequals", 2, 2),
    ("listkeys", 2, 3),
    ("max", 1, MANY),
    ("min", 1, MANY),
    ("mod", 2, 2),
    ("mul", 2, 2),
    ("newguid", 0, 0),
    ("not", 1, 1),
    ("null", 0, 0),
    ("objectkeys", 1, 1),
    ("or", 1, MANY),
    ("padleft", 2, 3),
    ("parameters", 1, 1),
    ("parsecidr", 1, 1),
    ("providers", 1, 2),
    ("range", 2, 2),
    ("reference", 1, 3),
    ("replace", 3, 3),
    ("resourcegroup", 0, 0),
    ("resourceid", 2, MANY),
    ("shallowmerge", 1, 1),
    ("skip", 2, 2),
    ("split", 2, 2),
    ("startswith", 2, 2),
    ("string", 1, 1),
    ("sub", 2, 2),
    ("subscription", 0, 0),
    ("subscriptionresourceid", 2, MANY),
    ("substring", 2, 3),
    ("take", 2, 2),
    ("tenant", 0, 0),
    ("tenantresourceid", 2, MANY),
    ("tolower", 1, 1),
    ("toupper", 1, 1),
    ("trim", 1, 1),
    ("true", 0, 0),
    ("tryget", 2, MANY),
    ("tryindexfromend", 2, 2),
    ("union", 2, MANY),
    ("uniquestring", 1, MANY),
    ("uri", 2, 2),
    ("uricomponent", 1, 1),
    ("uricomponenttostring", 1, 1),
    ("utcnow", 0, 1),
    ("variables", 1, 1),
    ("fail", 1, 1),
    ("listaccountsas", 3, 3),
    ("managementgroup", 0, 0),
    ("pickzones", 3, 5),
    ("cidrhost", 2, 2),
];

/// Functions whose names are known and whose answers this server does not have.
const REFUSED: [&str; 5] = [
    "listaccountsas",
    "managementgroup",
    "pickzones",
    "cidrhost",
    "parsecidr",
];

/// Whether a name is a function of the language.
pub(crate) fn is_known(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    FUNCTIONS.iter().any(|(known, _, _)| *known == lower) && !REFUSED.contains(&lower.as_str())
}

/// Calls a function.
pub(crate) fn call(on: &Evaluation<'_>, name: &str, given: &[Expression]) -> Result<Value> {
    let lower = name.to_ascii_lowercase();
    if lower.contains('.') {
        return own(on, name, &lower, given);
    }
    let known = FUNCTIONS.iter().find(|(known, _, _)| *known == lower);
    let (_, fewest, most) = known
        .filter(|_| is_known(name))
        .ok_or_else(|| unknown(name))?;
    if given.len() < *fewest || given.len() > *most {
        return Err(wrong_count(name, *fewest, *most, given.len()));
    }
    if let Some(answer) = lazy(on, &lower, given) {
        return answer;
    }
    let arguments: Result<Vec<Value>> = given.iter().map(|one| on.expression(one)).collect();
    let call = Call {
        name,
        arguments: arguments?,
    };
    let answer = text::call(on, &lower, &call)
        .or_else(|| number::call(&lower, &call))
        .or_else(|| list::call(on, &lower, &call))
        .or_else(|| resource::call(on, &lower, &call))
        .unwrap_or_else(|| Err(unknown(name)));
    on.build(answer?)
}

/// Functions that evaluate only the arguments they need.
fn lazy(on: &Evaluation<'_>, lower: &str, given: &[Expression]) -> Option<Result<Value>> {
    let truth = |one: &Expression| match on.expression(one)? {
        Value::Bool(truth) => Ok(truth),
        other => Err(wrong_type(lower, "bool", &other)),
    };
    let any = |wanted: bool| {
        for one in given {
            if truth(one)? == wanted {
                return Ok(Value::Bool(wanted));
            }
        }
        Ok(Value::Bool(!wanted))
    };
    Some(match (lower, given) {
        ("if", [condition, yes, no]) => {
            truth(condition).and_then(|is_true| on.expression(if is_true { yes } else { no }))
        }
        ("and", _) => any(false),
        ("or", _) => any(true),
        ("not", [one]) => truth(one).map(|is_true| Value::Bool(!is_true)),
        ("coalesce", _) => {
            for one in given {
                match on.expression(one) {
                    Ok(Value::Null) => {}
                    other => return Some(other),
                }
            }
            Ok(Value::Null)
        }
        ("true", _) => Ok(Value::Bool(true)),
        ("false", _) => Ok(Value::Bool(false)),
        ("null", _) => Ok(Value::Null),
        _ => return None,
    })
}

/// Calls a function that the template defines: it sees its own parameters alone.
fn own(on: &Evaluation<'_>, name: &str, lower: &str, given: &[Expression]) -> Result<Value> {
    if on.frame.borrow().is_some() {
        return Err(Fault::wrong(format!(
            "The template function '{name}' is not expected here: functions of a template can't call each other."
        )));
    }
    let function = on.scope.functions.iter().find(|f| f.name == lower);
    let function = function.ok_or_else(|| unknown(name))?;
    let most = function.parameters.len();
    if given.len() != most {
        return Err(wrong_count(name, most, most, given.len()));
    }
    let mut frame = Map::new();
    for (parameter, one) in function.parameters.iter().zip(given) {
        frame.insert(parameter.clone(), on.expression(one)?);
    }
    on.frame.replace(Some(frame));
    let answer = on.value(&function.output);
    on.frame.replace(None);
    answer
}

impl Call<'_> {
    /// Returns an argument; null when it was not given.
    pub fn at(&self, index: usize) -> &Value {
        self.arguments.get(index).unwrap_or(&Value::Null)
    }

    pub fn count(&self) -> usize {
        self.arguments.len()
    }

    pub fn text(&self, index: usize) -> Result<&str> {
        match self.at(index) {
            Value::String(text) => Ok(text),
            other => Err(wrong_type(self.name, "string", other)),
        }
    }

    pub fn whole(&self, index: usize) -> Result<i64> {
        self.at(index)
            .as_i64()
            .ok_or_else(|| wrong_type(self.name, "integer", self.at(index)))
    }

    pub fn list(&self, index: usize) -> Result<&Vec<Value>> {
        self.at(index)
            .as_array()
            .ok_or_else(|| wrong_type(self.name, "array", self.at(index)))
    }

    pub fn object(&self, index: usize) -> Result<&Map<String, Value>> {
        self.at(index)
            .as_object()
            .ok_or_else(|| wrong_type(self.name, "object", self.at(index)))
    }

    pub fn fail(&self, why: &str) -> Fault {
        Fault::wrong(format!(
            "Unable to evaluate template language function '{}': {why} Please see https://aka.ms/arm-functions#{} for usage details.",
            self.name,
            self.name.to_ascii_lowercase()
        ))
    }
}

/// Returns a parameter of the template, or of its function that is being evaluated.
pub(crate) fn parameter(on: &Evaluation<'_>, name: &str) -> Result<Value> {
    let frame = on.frame.borrow();
    let members = frame.as_ref().unwrap_or(on.scope.parameters);
    match find(members, name) {
        Some(value) => on.build(value.clone()),
        None => Err(Fault::wrong(format!(
            "The template parameter '{name}' is not found. Please see https://aka.ms/arm-template/#parameters for usage details."
        ))),
    }
}

fn unknown(name: &str) -> Fault {
    Fault::wrong(format!(
        "The template function '{name}' is not valid. Please see https://aka.ms/arm-functions for usage details."
    ))
}

fn wrong_count(name: &str, fewest: usize, most: usize, given: usize) -> Fault {
    let wanted = match most {
        MANY => format!("at least '{fewest}'"),
        _ if fewest == most => format!("'{most}'"),
        _ => format!("'{fewest}' to '{most}'"),
    };
    Fault::wrong(format!(
        "Unable to evaluate template language function '{name}': function requires {wanted} argument(s) while '{given}' were \
         provided. Please see https://aka.ms/arm-functions#{} for usage details.",
        name.to_ascii_lowercase()
    ))
}

fn wrong_type(name: &str, wanted: &str, found: &Value) -> Fault {
    Fault::wrong(format!(
        "The template language function '{name}' expects its parameter to be of type '{wanted}'. The provided value is of type \
         '{}'. Please see https://aka.ms/arm-functions#{} for usage details.",
        type_name(found),
        name.to_ascii_lowercase()
    ))
}

/// Returns the service's name of a value's type.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "Null",
        Value::Bool(_) => "Boolean",
        Value::Number(number) if number.is_f64() => "Float",
        Value::Number(_) => "Integer",
        Value::String(_) => "String",
        Value::Array(_) => "Array",
        Value::Object(_) => "Object",
    }
}

/// Returns a value as a text: texts as they are, words of truth with a capital, others as JSON.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
