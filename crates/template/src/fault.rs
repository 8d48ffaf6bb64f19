//! Why an evaluation stopped.

use domain::{Error, ErrorKind};

/// Why an evaluation stopped: a mistake in the template, or something that only the caller knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The template is wrong; the sentence says how.
    Wrong(String),
    /// The state of a resource is needed: add it to [`crate::Known`] and evaluate again.
    Needs(Need),
}

/// The state of a resource that an expression asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Need {
    /// The id of the resource, as the expression has it.
    pub id: String,
    /// The api-version, when the expression names one.
    pub api_version: Option<String>,
    /// What is asked: `reference`, or the name of a `list…` function.
    pub verb: String,
}

/// The result of an evaluation.
pub type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    /// Returns a mistake.
    pub fn wrong(sentence: impl Into<String>) -> Self {
        Self::Wrong(sentence.into())
    }

    /// Returns the sentence of a mistake; what is only known while deploying is said so.
    pub fn sentence(&self) -> String {
        match self {
            Self::Wrong(sentence) => sentence.clone(),
            Self::Needs(need) => format!(
                "The template function '{}' is not expected at this location. Please see https://aka.ms/arm-functions for usage details.",
                need.verb
            ),
        }
    }

    /// 400 `InvalidTemplate`, `Deployment template validation failed: '…'.`
    pub fn into_validation_error(self) -> Error {
        invalid_template(format!(
            "Deployment template validation failed: '{}'.",
            self.sentence()
        ))
    }

    /// 400 `InvalidTemplate`, `Unable to process template language expressions for … '…'. '…'`
    pub fn into_expression_error(self, part: &str) -> Error {
        invalid_template(format!(
            "Unable to process template language expressions for {part}. '{}'",
            self.sentence()
        ))
    }
}

/// 400 `InvalidTemplate` with a whole message.
pub fn invalid_template(message: String) -> Error {
    Error::new(ErrorKind::Invalid, "InvalidTemplate", message)
}

/// 400 `InvalidTemplate` for a template that is not right.
pub(crate) fn wrong(sentence: String) -> Error {
    Fault::wrong(sentence.trim_end_matches('.')).into_validation_error()
}
