//! A JSON reader that remembers where every token ended.
//!
//! The service's errors name the path, line and position of the token at fault, so bodies are read
//! into nodes that keep their place in the text. Stricter than the grammar where a lenient answer
//! would hide a mistake: duplicate members and nesting beyond [`DEPTH_MAX`] are refused.

use domain::{Error, ErrorKind, Result};
use serde_json::{Number, Value};

/// How deep a body may nest.
pub const DEPTH_MAX: usize = 64;

/// A value and where its token ended (of a list or object: where it was opened).
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) value: Token,
    pub(crate) end: usize,
}

/// What a value is.
#[derive(Debug)]
pub(crate) enum Token {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Object(Vec<Field>),
}

/// A member of an object; `end` is the place behind the colon.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) end: usize,
    pub(crate) node: Node,
}

/// One step of a path: a member's name or a list's index.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Name(String),
    Index(usize),
}

/// How much of a client's own words an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 200;

/// Keeps what a client sent from filling the answer.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

/// Returns `properties.targetRegions[0].name`; names with other characters as `['a b']`.
pub(crate) fn show_path(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        match step {
            Step::Index(index) => out.push_str(&format!("[{index}]")),
            Step::Name(name)
                if name
                    .chars()
                    .all(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | '-')) =>
            {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(&shorten(name));
            }
            Step::Name(name) => out.push_str(&format!("['{}']", shorten(name))),
        }
    }
    out
}

/// Returns `Path '…', line 1, position N.` as the service ends its sentences.
pub(crate) fn show_place(text: &str, path: &[Step], end: usize) -> String {
    let before = text.get(..end).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let position = before
        .get(start..)
        .unwrap_or_default()
        .encode_utf16()
        .count();
    format!(
        "Path '{}', line {line}, position {position}.",
        show_path(path)
    )
}

/// Returns 400 `InvalidRequestContent` around a reader's sentence.
pub(crate) fn invalid_content(sentence: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "InvalidRequestContent",
        format!("The request content was invalid and could not be deserialized: '{sentence}'."),
    )
}

/// Returns the text of a body, without a byte order mark.
pub(crate) fn text_of(raw: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(raw).map_err(|error| {
        invalid_content(&format!(
            "The body is not UTF-8 at byte {}.",
            error.valid_up_to()
        ))
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Reads a whole body.
pub(crate) fn read(text: &str) -> Result<Node> {
    let mut reader = Reader {
        text,
        at: 0,
        path: Vec::new(),
    };
    let node = reader.value()?;
    reader.skip_space();
    match reader.peek() {
        None => Ok(node),
        Some(other) => {
            reader.at += other.len_utf8();
            Err(reader.fail(&format!(
                "Additional text encountered after finished reading JSON content: {other}."
            )))
        }
    }
}

impl Node {
    /// Returns the plain value without nulls: absent and null mean the same to the service.
    pub(crate) fn into_value(self) -> Option<Value> {
        Some(match self.value {
            Token::Null => return None,
            Token::Bool(value) => Value::Bool(value),
            Token::Number(value) => Value::Number(value),
            Token::Text(value) => Value::String(value),
            Token::List(nodes) => nodes.into_iter().filter_map(Self::into_value).collect(),
            Token::Object(fields) => {
                let members = fields
                    .into_iter()
                    .filter_map(|f| Some((f.name, f.node.into_value()?)));
                Value::Object(members.collect())
            }
        })
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    path: Vec<Step>,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        let kept = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.at += rest.len() - kept.len();
    }

    fn fail(&self, sentence: &str) -> Error {
        invalid_content(&format!(
            "{sentence} {}",
            show_place(self.text, &self.path, self.at)
        ))
    }

    /// Fails at the next character, or at the end of the text.
    fn unexpected(&self, sentence: &str) -> Error {
        match self.peek() {
            Some(found) => self.fail(&format!("{sentence}: {found}.")),
            None => self.fail("Unexpected end when reading JSON."),
        }
    }

    fn value(&mut self) -> Result<Node> {
        self.skip_space();
        match self.peek() {
            Some('{') => self.object(),
            Some('[') => self.list(),
            Some('"') => {
                let text = self.string()?;
                Ok(Node {
                    value: Token::Text(text),
                    end: self.at,
                })
            }
            Some('-' | '0'..='9') => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Node> {
        for (word, value) in [
            ("null", Token::Null),
            ("true", Token::Bool(true)),
            ("false", Token::Bool(false)),
        ] {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(Node {
                    value,
                    end: self.at,
                });
            }
        }
        Err(self.unexpected("Unexpected character encountered while parsing value"))
    }

    fn number(&mut self) -> Result<Node> {
        let rest = self.rest();
        let is_part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let digits = rest.get(..length).unwrap_or_default();
        let Ok(value) = serde_json::from_str::<Number>(digits) else {
            return Err(self.fail(&format!(
                "Input string '{}' is not a valid number.",
                shorten(digits)
            )));
        };
        self.at += length;
        Ok(Node {
            value: Token::Number(value),
            end: self.at,
        })
    }

    fn string(&mut self) -> Result<String> {
        let rest = self.rest();
        let mut escaped = false;
        let closing = rest.char_indices().skip(1).find(|&(_, c)| {
            let closes = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        let Some((closing, _)) = closing else {
            return Err(self.fail("Unterminated string. Expected delimiter: \"."));
        };
        let literal = rest.get(..=closing).unwrap_or_default();
        let Ok(text) = serde_json::from_str::<String>(literal) else {
            return Err(self.fail("Bad JSON escape sequence or control character in a string."));
        };
        self.at += literal.len();
        Ok(text)
    }

    fn enter(&mut self) -> Result<usize> {
        self.at += 1;
        if self.path.len() >= DEPTH_MAX {
            return Err(self.fail(&format!(
                "The reader's MaxDepth of {DEPTH_MAX} has been exceeded."
            )));
        }
        Ok(self.at)
    }

    fn list(&mut self) -> Result<Node> {
        let end = self.enter()?;
        let mut nodes = Vec::new();
        self.skip_space();
        if self.take(']') {
            return Ok(Node {
                value: Token::List(nodes),
                end,
            });
        }
        loop {
            self.path.push(Step::Index(nodes.len()));
            nodes.push(self.value()?);
            self.path.pop();
            self.skip_space();
            if self.take(']') {
                return Ok(Node {
                    value: Token::List(nodes),
                    end,
                });
            }
            if !self.take(',') {
                return Err(self
                    .unexpected("After parsing a value an unexpected character was encountered"));
            }
        }
    }

    fn object(&mut self) -> Result<Node> {
        let end = self.enter()?;
        let mut fields: Vec<Field> = Vec::new();
        self.skip_space();
        if self.take('}') {
            return Ok(Node {
                value: Token::Object(fields),
                end,
            });
        }
        let mut names = std::collections::HashSet::new();
        loop {
            let field = self.field(&mut names)?;
            fields.push(field);
            self.skip_space();
            if self.take('}') {
                return Ok(Node {
                    value: Token::Object(fields),
                    end,
                });
            }
            if !self.take(',') {
                return Err(self
                    .unexpected("After parsing a value an unexpected character was encountered"));
            }
        }
    }

    fn field(&mut self, names: &mut std::collections::HashSet<String>) -> Result<Field> {
        self.skip_space();
        if self.peek() != Some('"') {
            return Err(self.unexpected("Invalid property identifier character"));
        }
        let name = self.string()?;
        self.skip_space();
        if !self.take(':') {
            return Err(self.unexpected(
                "Invalid character after parsing property name. Expected ':' but got",
            ));
        }
        let end = self.at;
        self.path.push(Step::Name(name.clone()));
        if !names.insert(name.clone()) {
            return Err(self.fail(&duplicate(&name)));
        }
        let node = self.value()?;
        self.path.pop();
        Ok(Field { name, end, node })
    }
}

/// Returns the sentence about a member that is there twice.
pub(crate) fn duplicate(name: &str) -> String {
    format!(
        "Can not add property {} to the object. Property with the same name already exists on object.",
        shorten(name)
    )
}
