//! JSON as template files have it.
//!
//! Beyond the grammar it takes what the service's reader takes and clients send: comments, a byte
//! order mark, names without quotes, texts in single quotes, line ends inside texts, a comma after
//! the last item. `az deployment group create` pastes the raw file behind an unquoted `template`.

use domain::{Error, ErrorKind, Result};
use serde_json::{Map, Number, Value};

use crate::limits::{BODY_BYTES_MAX, DEPTH_MAX, VALUES_MAX};

/// Reads a text; what is wrong is said with line and position.
pub fn read(text: &str) -> Result<Value> {
    if text.len() > BODY_BYTES_MAX {
        return Err(invalid(&format!(
            "The content is longer than {BODY_BYTES_MAX} bytes"
        )));
    }
    let mut reader = Reader {
        text,
        at: text.len() - text.trim_start_matches('\u{feff}').len(),
        values: 0,
    };
    let value = reader.value(0)?;
    reader.skip()?;
    match reader.peek() {
        None => Ok(value),
        Some(found) => Err(reader.fail(&format!(
            "Additional text encountered after finished reading JSON content: {found}."
        ))),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    values: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let found = self.peek()?;
        self.at += found.len_utf8();
        Some(found)
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Skips white space and comments.
    fn skip(&mut self) -> Result<()> {
        loop {
            let rest = self.rest();
            let blank = [' ', '\t', '\r', '\n', '\u{a0}', '\u{feff}'];
            let blanks = rest.len() - rest.trim_start_matches(blank).len();
            self.at += blanks;
            let rest = self.rest();
            let length = if rest.starts_with("//") {
                rest.find(['\n', '\r']).unwrap_or(rest.len())
            } else if rest.starts_with("/*") {
                match rest.get(2..).and_then(|body| body.find("*/")) {
                    Some(end) => end + 4,
                    None => {
                        return Err(self.fail("Unexpected end while parsing comment."));
                    }
                }
            } else {
                return Ok(());
            };
            self.at += length;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        if depth > DEPTH_MAX {
            return Err(self.fail(&format!(
                "The reader's MaxDepth of {DEPTH_MAX} has been exceeded."
            )));
        }
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(self.fail(&format!("The content has more than {VALUES_MAX} values.")));
        }
        self.skip()?;
        match self.peek() {
            Some('{') => self.object(depth),
            Some('[') => self.list(depth),
            Some('"' | '\'') => self.quoted().map(Value::String),
            Some(c) if c == '-' || c.is_ascii_digit() => self.number(),
            Some(c) if c.is_ascii_alphabetic() => self.word(),
            Some(c) => Err(self.unexpected(c)),
            None => Err(self.ended()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value> {
        let mut members = Map::new();
        self.next();
        loop {
            self.skip()?;
            if self.peek() == Some('}') {
                self.next();
                return Ok(Value::Object(members));
            }
            let name = self.name()?;
            self.skip()?;
            match self.next() {
                Some(':') => {}
                Some(c) => {
                    return Err(self.fail(&format!(
                        "Invalid character after parsing property name. Expected ':' but got: {c}."
                    )));
                }
                None => return Err(self.ended()),
            }
            let value = self.value(depth + 1)?;
            members.insert(name, value);
            self.separator('}')?;
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value> {
        let mut items = Vec::new();
        self.next();
        loop {
            self.skip()?;
            if self.peek() == Some(']') {
                self.next();
                return Ok(Value::Array(items));
            }
            items.push(self.value(depth + 1)?);
            self.separator(']')?;
        }
    }

    /// Takes a comma, or stands before what closes.
    fn separator(&mut self, close: char) -> Result<()> {
        self.skip()?;
        match self.peek() {
            Some(',') => {
                self.next();
                Ok(())
            }
            Some(c) if c == close => Ok(()),
            Some(c) => Err(self.fail(&format!(
                "After parsing a value an unexpected character was encountered: {c}."
            ))),
            None => Err(self.ended()),
        }
    }

    fn name(&mut self) -> Result<String> {
        match self.peek() {
            Some('"' | '\'') => self.quoted(),
            Some(c) if is_name(c) => {
                let rest = self.rest();
                let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                let name = rest.get(..end).unwrap_or_default().to_owned();
                self.at += end;
                Ok(name)
            }
            Some(c) => Err(self.fail(&format!("Invalid property identifier character: {c}."))),
            None => Err(self.ended()),
        }
    }

    fn quoted(&mut self) -> Result<String> {
        let quote = self.next();
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let Some(end) = rest.find(['"', '\'', '\\']) else {
                return Err(self.fail("Unterminated string. Expected delimiter."));
            };
            out.push_str(rest.get(..end).unwrap_or_default());
            self.at += end;
            match self.next() {
                found if found == quote => return Ok(out),
                Some('\\') => self.escape(&mut out)?,
                Some(other) => out.push(other),
                None => return Err(self.ended()),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<()> {
        let simple = match self.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some(c @ ('"' | '\'' | '\\' | '/')) => c,
            Some('u') => {
                let first = self.unit()?;
                let code = if (0xd800..0xdc00).contains(&first) {
                    self.low_half(first)?
                } else {
                    first
                };
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                return Ok(());
            }
            Some(c) => return Err(self.fail(&format!("Bad JSON escape sequence: \\{c}."))),
            None => return Err(self.ended()),
        };
        out.push(simple);
        Ok(())
    }

    /// The second half of a character beyond the basic plane; a lone half becomes U+FFFD.
    fn low_half(&mut self, high: u32) -> Result<u32> {
        if !self.rest().starts_with("\\u") {
            return Ok(high);
        }
        let before = self.at;
        self.at += 2;
        let low = self.unit()?;
        if (0xdc00..0xe000).contains(&low) {
            return Ok(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00));
        }
        self.at = before;
        Ok(high)
    }

    fn unit(&mut self) -> Result<u32> {
        let digits = self
            .rest()
            .get(..4)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(unit) = digits.and_then(|d| u32::from_str_radix(d, 16).ok()) else {
            return Err(self.fail("Unexpected end while parsing Unicode escape sequence."));
        };
        self.at += 4;
        Ok(unit)
    }

    fn number(&mut self) -> Result<Value> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)))
            .unwrap_or(rest.len());
        let text = rest.get(..end).unwrap_or_default();
        let whole = text.parse::<i64>().ok().map(Number::from);
        let whole = whole.or_else(|| text.parse::<u64>().ok().map(Number::from));
        let is_plain = !text.contains(|c: char| c.is_ascii_alphabetic() && c != 'e' && c != 'E');
        let real = || text.parse::<f64>().ok().and_then(Number::from_f64);
        let Some(number) = whole.or_else(|| real().filter(|_| is_plain)) else {
            let shown: String = text.chars().take(40).collect();
            return Err(self.fail(&format!("Input string '{shown}' is not a valid number.")));
        };
        self.at += end;
        Ok(Value::Number(number))
    }

    fn word(&mut self) -> Result<Value> {
        for (word, value) in [
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("null", Value::Null),
        ] {
            let follows = self.rest().strip_prefix(word);
            if follows.is_some_and(|rest| !rest.starts_with(is_name)) {
                self.at += word.len();
                return Ok(value);
            }
        }
        match self.peek() {
            Some(c) => Err(self.unexpected(c)),
            None => Err(self.ended()),
        }
    }

    fn unexpected(&self, found: char) -> Error {
        self.fail(&format!(
            "Unexpected character encountered while parsing value: {found}."
        ))
    }

    fn ended(&self) -> Error {
        self.fail("Unexpected end when reading JSON.")
    }

    fn fail(&self, sentence: &str) -> Error {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let position = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count();
        invalid(&format!("{sentence} Line {line}, position {position}."))
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn invalid(sentence: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        "InvalidRequestContent",
        format!(
            "The request content was invalid and could not be deserialized: '{}'.",
            sentence.trim_end_matches('.')
        ),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_service_takes_beyond_json_is_taken() {
        let cases = [
            ("\u{feff}{}", json!({})),
            (
                "{a: 1, 'b': 'x', \"c\": [1, 2,],} // end",
                json!({"a": 1, "b": "x", "c": [1, 2]}),
            ),
            ("/* a */ [ /* b */ true, // c\n null ]", json!([true, null])),
            (
                "\"two\nlines \\u00e9 \\ud83d\\ude00 \\ud83d\"",
                json!("two\nlines é 😀 \u{fffd}"),
            ),
            ("-5", json!(-5)),
            ("1.5e3", json!(1500.0)),
            ("18446744073709551615", json!(u64::MAX)),
            ("'it \\'is\\' \"so\"'", json!("it 'is' \"so\"")),
            (
                "{\"properties\": {\"mode\": \"Incremental\", template:{ \"a//b\": 1 /* x */ }\n}}",
                json!({"properties": {"mode": "Incremental", "template": {"a//b": 1}}}),
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(read(text).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        for (text, said) in [
            ("", "Unexpected end when reading JSON. Line 1, position 0"),
            ("{\n\"a\" 1}", "Expected ':' but got: 1. Line 2, position 5"),
            ("[1 2]", "an unexpected character was encountered: 2"),
            ("{} x", "Additional text encountered"),
            ("'a", "Unterminated string"),
            ("'\\u12'", "Unicode escape"),
            ("'\\x'", "Bad JSON escape sequence"),
            ("/* a", "comment"),
            (
                "nul",
                "Unexpected character encountered while parsing value: n",
            ),
            ("NaN", "Unexpected character"),
            ("-Infinity", "not a valid number"),
            ("1e999", "not a valid number"),
            ("{1: 2}", ""),
        ] {
            match read(text) {
                Err(error) => {
                    assert_eq!(error.code, "InvalidRequestContent");
                    assert!(error.message.contains(said), "{text}: {}", error.message);
                }
                Ok(value) => assert_eq!(value, json!({"1": 2}), "{text}"),
            }
        }
        let deep = "[".repeat(DEPTH_MAX + 2);
        assert!(read(&deep).unwrap_err().message.contains("MaxDepth"));
    }
}
