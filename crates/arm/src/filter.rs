//! The `$filter` of lists: comparisons of text joined by `and`, `or` and brackets.
//!
//! ```text
//! filter = both { "or" both } · both = term { "and" term }
//! term   = "(" filter ")" | field ("eq" | "ne") 'text' | startswith(field,'text')
//!        | substringof('text',field) | contains(field,'text') | flag()
//! ```
//! Anything else is refused rather than ignored: a filter that is half understood shows too much.

use domain::{Error, ErrorKind, Resource, Result};

/// The longest filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 2048;
/// How deep brackets may nest.
const DEPTH_MAX: usize = 16;

/// Fields of `GET …/resources` and `GET …/resourcegroups`.
pub const RESOURCE_FIELDS: [&str; 6] = [
    "resourceGroup",
    "resourceType",
    "name",
    "location",
    "tagName",
    "tagValue",
];

/// Parses the filter of a list of resources, over [`RESOURCE_FIELDS`].
pub fn parse(text: &str) -> Result<Filter> {
    let filter = Filter::parse(text, &RESOURCE_FIELDS)?;
    if filter.has_lone_tag_value(false) {
        Err(invalid(text))
    } else {
        Ok(filter)
    }
}

/// A parsed filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All of them hold.
    And(Vec<Filter>),
    /// One of them holds.
    Or(Vec<Filter>),
    /// One comparison.
    Test(Test),
}

/// One comparison of a field with a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// The field in its canonical case; of a flag such as `atScope()` its name with brackets.
    pub field: &'static str,
    /// How it compares.
    pub operator: Operator,
    /// The text compared with, unquoted.
    pub text: String,
}

/// How a field compares with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `field eq 'text'`.
    Equal,
    /// `field ne 'text'`.
    NotEqual,
    /// `startswith(field,'text')`.
    StartsWith,
    /// `substringof('text',field)` or `contains(field,'text')`.
    Contains,
    /// A call without arguments, such as `atScope()`.
    Flag,
}

impl Operator {
    /// Returns whether a value compares so with a text, whatever the case.
    pub fn holds(self, value: &str, text: &str) -> bool {
        let (value, text) = (value.to_lowercase(), text.to_lowercase());
        match self {
            Self::Equal => value == text,
            Self::NotEqual => value != text,
            Self::StartsWith => value.starts_with(&text),
            Self::Contains => value.contains(&text),
            Self::Flag => true,
        }
    }
}

impl Filter {
    /// Parses a filter over the given fields; flags are given with brackets: `atScope()`.
    pub fn parse(text: &str, fields: &[&'static str]) -> Result<Self> {
        let invalid = || invalid(text);
        if text.len() > FILTER_BYTES_MAX {
            return Err(invalid());
        }
        let words = split(text).ok_or_else(invalid)?;
        let mut parser = Parser {
            words: &words,
            fields,
            depth: 0,
        };
        let filter = parser.any().ok_or_else(invalid)?;
        if parser.words.is_empty() {
            Ok(filter)
        } else {
            Err(invalid())
        }
    }

    /// Returns the group that every match lies in, so that a list can begin there.
    pub fn resource_group(&self) -> Option<&str> {
        match self {
            Self::And(all) => all.iter().find_map(Self::resource_group),
            Self::Or(_) => None,
            Self::Test(test) => {
                let names_one = test.field == "resourceGroup" && test.operator == Operator::Equal;
                names_one.then_some(test.text.as_str())
            }
        }
    }

    /// Returns whether the filter holds, given what each comparison says.
    pub fn holds(&self, test: &impl Fn(&Test) -> bool) -> bool {
        match self {
            Self::And(all) => all.iter().all(|filter| filter.holds(test)),
            Self::Or(any) => any.iter().any(|filter| filter.holds(test)),
            Self::Test(one) => test(one),
        }
    }

    /// Returns whether a resource passes; made by [`parse`].
    ///
    /// `tagName eq 'a' and tagValue eq 'b'` asks for one tag that has both.
    pub fn matches(&self, resource: &Resource) -> bool {
        match self {
            Self::And(all) => {
                let value = all.iter().find_map(|filter| filter.as_test("tagValue"));
                all.iter().all(|filter| match filter {
                    Self::Test(test) if test.field == "tagName" => has_tag(resource, test, value),
                    Self::Test(test) if test.field == "tagValue" => true,
                    other => other.matches(resource),
                })
            }
            Self::Or(any) => any.iter().any(|filter| filter.matches(resource)),
            Self::Test(test) => matches_one(resource, test),
        }
    }

    fn as_test(&self, field: &str) -> Option<&Test> {
        match self {
            Self::Test(test) if test.field == field => Some(test),
            _ => None,
        }
    }

    /// A value without the name of its tag means nothing.
    fn has_lone_tag_value(&self, is_beside_name: bool) -> bool {
        match self {
            Self::And(all) => {
                let has_name = all.iter().any(|filter| filter.as_test("tagName").is_some());
                all.iter().any(|filter| filter.has_lone_tag_value(has_name))
            }
            Self::Or(any) => any.iter().any(|filter| filter.has_lone_tag_value(false)),
            Self::Test(test) => test.field == "tagValue" && !is_beside_name,
        }
    }
}

fn matches_one(resource: &Resource, test: &Test) -> bool {
    let holds = |value: &str| test.operator.holds(value, &test.text);
    match test.field {
        "resourceGroup" => holds(resource.id.resource_group()),
        "resourceType" => holds(resource.kind.type_name()),
        "name" => holds(resource.id.name()),
        "location" => {
            let wanted = domain::region::normalise(&test.text);
            test.operator.holds(&resource.location, &wanted)
        }
        "tagName" => has_tag(resource, test, None),
        _ => false,
    }
}

fn has_tag(resource: &Resource, name: &Test, value: Option<&Test>) -> bool {
    resource.tags.iter().flatten().any(|(tag, text)| {
        name.operator.holds(tag, &name.text)
            && value.is_none_or(|value| {
                value
                    .operator
                    .holds(text.as_str().unwrap_or_default(), &value.text)
            })
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Name(String),
    Text(String),
    Open,
    Close,
    Comma,
}

/// Splits a filter; `None` when a quote is left open or a character has no meaning.
fn split(text: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '+' => {}
            '(' => words.push(Word::Open),
            ')' => words.push(Word::Close),
            ',' => words.push(Word::Comma),
            '\'' => {
                let mut quoted = String::new();
                loop {
                    match chars.next()? {
                        // A quote inside is written twice.
                        '\'' if chars.next_if_eq(&'\'').is_some() => quoted.push('\''),
                        '\'' => break,
                        other => quoted.push(other),
                    }
                }
                words.push(Word::Text(quoted));
            }
            c if c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.') => {
                let mut name = String::from(c);
                while let Some(next) =
                    chars.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.'))
                {
                    name.push(next);
                }
                words.push(Word::Name(name));
            }
            _ => return None,
        }
    }
    Some(words)
}

struct Parser<'a> {
    words: &'a [Word],
    fields: &'a [&'static str],
    depth: usize,
}

impl Parser<'_> {
    fn take(&mut self, wanted: &Word) -> Option<()> {
        let (first, rest) = self.words.split_first()?;
        if first != wanted {
            return None;
        }
        self.words = rest;
        Some(())
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        match self.words.split_first() {
            Some((Word::Name(name), rest)) if name.eq_ignore_ascii_case(wanted) => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }

    fn any(&mut self) -> Option<Filter> {
        let mut all = vec![self.both()?];
        while self.take_word("or") {
            all.push(self.both()?);
        }
        if all.len() == 1 {
            all.pop()
        } else {
            Some(Filter::Or(all))
        }
    }

    fn both(&mut self) -> Option<Filter> {
        let mut all = vec![self.term()?];
        while self.take_word("and") {
            all.push(self.term()?);
        }
        if all.len() == 1 {
            all.pop()
        } else {
            Some(Filter::And(all))
        }
    }

    fn term(&mut self) -> Option<Filter> {
        if self.take(&Word::Open).is_some() {
            self.depth += 1;
            if self.depth > DEPTH_MAX {
                return None;
            }
            let filter = self.any()?;
            self.depth -= 1;
            return self.take(&Word::Close).map(|()| filter);
        }
        let name = self.name()?;
        let test = match self.words.first()? {
            Word::Open => self.call(&name)?,
            _ => self.comparison(&name)?,
        };
        Some(Filter::Test(test))
    }

    fn comparison(&mut self, name: &str) -> Option<Test> {
        let operator = if self.take_word("eq") {
            Operator::Equal
        } else if self.take_word("ne") {
            Operator::NotEqual
        } else {
            return None;
        };
        Some(Test {
            field: self.field(name)?,
            operator,
            text: self.text()?,
        })
    }

    fn call(&mut self, name: &str) -> Option<Test> {
        self.take(&Word::Open)?;
        let test = match name.to_ascii_lowercase().as_str() {
            "startswith" => self.field_and_text(Operator::StartsWith)?,
            "contains" => self.field_and_text(Operator::Contains)?,
            "substringof" => {
                let text = self.text()?;
                self.take(&Word::Comma)?;
                let field = self.name()?;
                Test {
                    field: self.field(&field)?,
                    operator: Operator::Contains,
                    text,
                }
            }
            _ => Test {
                field: self.field(&format!("{name}()"))?,
                operator: Operator::Flag,
                text: String::new(),
            },
        };
        self.take(&Word::Close)?;
        // The long form of older clients: `startswith(name,'a') eq true`.
        if test.operator != Operator::Flag && self.take_word("eq") && !self.take_word("true") {
            return None;
        }
        Some(test)
    }

    fn field_and_text(&mut self, operator: Operator) -> Option<Test> {
        let field = self.name()?;
        self.take(&Word::Comma)?;
        Some(Test {
            field: self.field(&field)?,
            operator,
            text: self.text()?,
        })
    }

    fn field(&self, name: &str) -> Option<&'static str> {
        self.fields
            .iter()
            .copied()
            .find(|field| field.eq_ignore_ascii_case(name))
    }

    fn name(&mut self) -> Option<String> {
        let (Word::Name(name), rest) = self.words.split_first()? else {
            return None;
        };
        self.words = rest;
        Some(name.clone())
    }

    fn text(&mut self) -> Option<String> {
        let (Word::Text(text), rest) = self.words.split_first()? else {
            return None;
        };
        self.words = rest;
        Some(text.clone())
    }
}

fn invalid(text: &str) -> Error {
    let shown: String = text.chars().take(200).collect();
    Error::new(
        ErrorKind::Invalid,
        "InvalidFilterInQueryString",
        format!("Invalid $filter '{shown}' specified in the query string."),
    )
}

#[cfg(test)]
mod tests {
    use domain::{Kind, ResourceId};
    use serde_json::json;

    use super::*;

    fn gallery(group: &str, name: &str, tags: serde_json::Value) -> Resource {
        let id = format!(
            "/subscriptions/s/resourceGroups/{group}/providers/Microsoft.Compute/galleries/{name}"
        );
        let mut out = Resource::new(ResourceId::parse(&id).unwrap(), Kind::Gallery, "eastus2", 0);
        out.tags = tags.as_object().cloned();
        out
    }

    fn holds(filter: &str) -> bool {
        parse(filter)
            .unwrap()
            .matches(&gallery("Rg", "Gal", json!({"Env": "prod", "team": "o'b"})))
    }

    #[test]
    fn comparisons_ignore_case_and_join_as_written() {
        for filter in [
            "resourceGroup eq 'rg'",
            "ResourceType EQ 'microsoft.compute/Galleries'",
            "name eq 'gal' and location eq 'East US 2'",
            "name eq 'x' or location eq 'eastus2'",
            "name eq 'x' and name eq 'y' or name eq 'gal'",
            "(name eq 'x' or name eq 'gal') and resourceGroup ne 'other'",
            "startswith(name,'ga') and substringof('al', name) eq true",
            "tagName eq 'env'",
            "tagName eq 'env' and tagValue eq 'prod'",
            "tagName eq 'team' and tagValue eq 'o''b' and name eq 'gal'",
        ] {
            assert!(holds(filter), "{filter}");
        }
        for filter in [
            "resourceGroup eq 'r'",
            "name eq 'x' and (name eq 'y' or name eq 'gal')",
            "tagName eq 'env' and tagValue eq 'o''b'",
            "resourceType ne 'Microsoft.Compute/galleries'",
        ] {
            assert!(!holds(filter), "{filter}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let deep = "(".repeat(40) + "name eq 'x'" + &")".repeat(40);
        for filter in [
            "",
            "name",
            "name eq",
            "name eq x",
            "name eq 'x",
            "name gt 'x'",
            "name eq 'x' and",
            "(name eq 'x'",
            "name eq 'x')",
            "colour eq 'red'",
            "tagValue eq 'x'",
            "tagName eq 'x' or tagValue eq 'y'",
            "atScope()",
            "not name eq 'x'",
            "name eq 'x' ; drop",
            &deep,
        ] {
            let error = parse(filter).unwrap_err();
            assert_eq!(error.code, "InvalidFilterInQueryString", "{filter}");
        }
    }

    #[test]
    fn only_a_group_that_must_match_narrows_the_list() {
        let group = |text: &str| parse(text).unwrap().resource_group().map(str::to_owned);
        assert_eq!(
            group("name eq 'x' and resourceGroup eq 'G'").as_deref(),
            Some("G")
        );
        assert_eq!(group("name eq 'x' or resourceGroup eq 'G'"), None);
        assert_eq!(group("resourceGroup ne 'G'"), None);
    }

    #[test]
    fn other_lists_bring_their_own_fields() {
        let filter = Filter::parse(
            "atScope() and principalId eq 'P'",
            &["atScope()", "principalId"],
        )
        .unwrap();
        assert!(filter.holds(&|test| match test.field {
            "atScope()" => test.operator == Operator::Flag,
            _ => test.operator.holds("p", &test.text),
        }));
    }
}
