//! The language inside `"[…]"`: literals, calls, members, items.

use crate::fault::{Fault, Result};
use crate::limits::{EXPRESSION_BYTES_MAX, EXPRESSION_DEPTH_MAX};

/// A parsed expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// `'text'`; a doubled quote stands for one.
    Text(String),
    /// A whole number.
    Number(i64),
    /// `name(…)`, or `namespace.name(…)` of a function that the template defines.
    Call(String, Vec<Expression>),
    /// `.name` or `[index]`; the flag says that what is not there is null (`.?name`, `[?index]`).
    Item(Box<Expression>, Box<Expression>, bool),
}

/// What a text of a template is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// The text itself.
    Literal(String),
    /// An expression.
    Expression(Expression),
}

/// Reads a text of a template: `[…]` is an expression, `[[…` a text that begins with a bracket.
pub fn read(text: &str) -> Result<Text> {
    if let Some(escaped) = text.strip_prefix("[[") {
        return Ok(Text::Literal(format!("[{escaped}")));
    }
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    match inner {
        Some(inner) => parse(inner).map(Text::Expression),
        None => Ok(Text::Literal(text.to_owned())),
    }
}

/// Whether a text of a template has something to evaluate.
pub fn is_expression(text: &str) -> bool {
    text.starts_with('[') && text.ends_with(']') && !text.starts_with("[[")
}

/// Parses what stands between the brackets.
pub fn parse(text: &str) -> Result<Expression> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Err(Fault::wrong(format!(
            "The language expression is {} characters long, the maximum is {EXPRESSION_BYTES_MAX}.",
            text.len()
        )));
    }
    let mut parser = Parser { text, at: 0 };
    let parsed = parser.expression(0)?;
    parser.skip();
    match parser.peek() {
        None => Ok(parsed),
        Some(found) => {
            Err(parser.fail(&format!("expected token 'EndOfData' and actual '{found}'")))
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes a character when it is the next one.
    fn take(&mut self, wanted: char) -> bool {
        self.skip();
        let is_there = self.peek() == Some(wanted);
        if is_there {
            self.at += wanted.len_utf8();
        }
        is_there
    }

    fn expression(&mut self, depth: usize) -> Result<Expression> {
        if depth > EXPRESSION_DEPTH_MAX {
            return Err(self.fail(&format!("it nests deeper than {EXPRESSION_DEPTH_MAX}")));
        }
        self.skip();
        let mut found = match self.peek() {
            Some('\'') => Expression::Text(self.quoted()?),
            Some(c) if c == '-' || c == '+' || c.is_ascii_digit() => self.number()?,
            Some(c) if is_word(c) => self.call(depth)?,
            Some(c) => return Err(self.fail(&format!("unexpected token '{c}'"))),
            None => {
                return Err(self.fail("expected token 'LeftParenthesis' and actual 'EndOfData'"));
            }
        };
        // A chain of members nests as deep as a chain of calls.
        for links in 0.. {
            if links + depth > EXPRESSION_DEPTH_MAX {
                return Err(self.fail(&format!("it nests deeper than {EXPRESSION_DEPTH_MAX}")));
            }
            found = if self.take('.') {
                let is_safe = self.take('?');
                self.skip();
                let name = self
                    .word()
                    .ok_or_else(|| self.fail("a name is expected behind '.'"))?;
                Expression::Item(Box::new(found), Box::new(Expression::Text(name)), is_safe)
            } else if self.take('[') {
                let is_safe = self.take('?');
                let index = self.expression(depth + 1)?;
                if !self.take(']') {
                    return Err(self.fail("expected token 'RightSquareBracket'"));
                }
                Expression::Item(Box::new(found), Box::new(index), is_safe)
            } else {
                break;
            };
        }
        Ok(found)
    }

    fn call(&mut self, depth: usize) -> Result<Expression> {
        let mut name = self.word().unwrap_or_default();
        if self.take('.') {
            self.skip();
            let local = self
                .word()
                .ok_or_else(|| self.fail("a name is expected behind '.'"))?;
            name = format!("{name}.{local}");
        }
        if !self.take('(') {
            return Err(self.fail(&format!(
                "expected token 'LeftParenthesis' and actual '{}'",
                self.peek().map_or("EndOfData".to_owned(), String::from)
            )));
        }
        let mut arguments = Vec::new();
        if self.take(')') {
            return Ok(Expression::Call(name, arguments));
        }
        loop {
            arguments.push(self.expression(depth + 1)?);
            if self.take(')') {
                return Ok(Expression::Call(name, arguments));
            }
            if !self.take(',') {
                return Err(self.fail("expected token 'RightParenthesis'"));
            }
        }
    }

    fn word(&mut self) -> Option<String> {
        let rest = self.rest();
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let word = rest
            .get(..end)
            .filter(|w| w.starts_with(|c: char| is_word(c) && !c.is_ascii_digit()))?;
        let word = word.to_owned();
        self.at += end;
        Some(word)
    }

    fn quoted(&mut self) -> Result<String> {
        let mut out = String::new();
        self.at += 1;
        loop {
            let rest = self.rest();
            let Some(end) = rest.find('\'') else {
                return Err(self.fail("a text has no closing quote"));
            };
            out.push_str(rest.get(..end).unwrap_or_default());
            self.at += end + 1;
            if self.peek() != Some('\'') {
                return Ok(out);
            }
            out.push('\'');
            self.at += 1;
        }
    }

    fn number(&mut self) -> Result<Expression> {
        let rest = self.rest();
        let digits = rest.get(1..).unwrap_or_default();
        let end = digits
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(digits.len())
            + 1;
        let text = rest.get(..end).unwrap_or_default();
        match text.parse() {
            Ok(number) => {
                self.at += end;
                Ok(Expression::Number(number))
            }
            Err(_) => Err(self.fail(&format!("'{text}' is not a whole number"))),
        }
    }

    fn fail(&self, why: &str) -> Fault {
        let shown: String = self.text.chars().take(200).collect();
        let position = self
            .text
            .get(..self.at)
            .unwrap_or(self.text)
            .chars()
            .count();
        Fault::wrong(format!(
            "Unable to parse language expression '{shown}': {why} at position {position}."
        ))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, arguments: Vec<Expression>) -> Expression {
        Expression::Call(name.to_owned(), arguments)
    }

    fn text(text: &str) -> Expression {
        Expression::Text(text.to_owned())
    }

    #[test]
    fn texts_calls_members_and_items_are_read() {
        let item = |of, at| Expression::Item(Box::new(of), Box::new(at), false);
        let cases = [
            ("'it''s'", text("it's")),
            ("-7", Expression::Number(-7)),
            (
                " concat ( 'a' , f() ) ",
                call("concat", vec![text("a"), call("f", vec![])]),
            ),
            ("ns.f(1)", call("ns.f", vec![Expression::Number(1)])),
            (
                "f().a['b'][0]",
                item(
                    item(item(call("f", vec![]), text("a")), text("b")),
                    Expression::Number(0),
                ),
            ),
            (
                "f().?a",
                Expression::Item(Box::new(call("f", vec![])), Box::new(text("a")), true),
            ),
            (
                "f()[?'a']",
                Expression::Item(Box::new(call("f", vec![])), Box::new(text("a")), true),
            ),
        ];
        for (given, wanted) in cases {
            assert_eq!(parse(given).unwrap(), wanted, "{given}");
        }
        assert_eq!(read("[[x]").unwrap(), Text::Literal("[x]".to_owned()));
        assert_eq!(read("[x").unwrap(), Text::Literal("[x".to_owned()));
        assert!(is_expression("[f()]") && !is_expression("[[f()]"));
    }

    #[test]
    fn what_is_not_of_the_language_is_refused() {
        for given in [
            "",
            "f",
            "f(",
            "f(1",
            "f(1,)",
            "f)(",
            "'a",
            "1.5",
            "f().",
            "f()[",
            "f() g()",
            "\"a\"",
            "99999999999999999999",
        ] {
            assert!(matches!(parse(given), Err(Fault::Wrong(_))), "{given}");
        }
        let deep = format!("{}1{}", "f(".repeat(100), ")".repeat(100));
        assert!(parse(&deep).unwrap_err().sentence().contains("deeper"));
        let long = format!("f(){}", ".a".repeat(5000));
        assert!(parse(&long).is_err());
    }
}
