//! Errors a user can make, in the service's words.
//!
//! An [`Error`] holds exactly what the wire needs (code, message, target) and a [`ErrorKind`] that
//! callers decide by. `api` maps the kind to a status in one table. Source: `API.md` 2.2.

use std::borrow::Cow;

/// The result of a decision.
pub type Result<T> = std::result::Result<T, Error>;

/// What a caller decides by; `api` maps each to one HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// 400: the request is wrong and will be wrong again.
    Invalid,
    /// 401: no usable token.
    Unauthenticated,
    /// 403: the caller may not do this.
    Forbidden,
    /// 404: not there, or not for this caller to see.
    NotFound,
    /// 405: the route exists, not with this verb.
    MethodNotAllowed,
    /// 409: the state forbids it.
    Conflict,
    /// 409: another request was faster; reading again and repeating helps.
    Overtaken,
    /// 412: a condition header did not hold.
    PreconditionFailed,
    /// 413: more bytes than the limit.
    TooLarge,
    /// 429: come back later.
    TooManyRequests,
    /// 500: our fault; the message is for people, the cause is in the log.
    Internal,
    /// 503: a store or the database does not answer now.
    Unavailable,
}

/// An error in the service's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Error {
    /// What callers decide by.
    pub kind: ErrorKind,
    /// The service's code, e.g. `InvalidParameter`.
    pub code: Cow<'static, str>,
    /// The sentence the user reads.
    pub message: String,
    /// The path of the property at fault, for errors of the resource provider.
    pub target: Option<String>,
    /// What led to it, of errors that have several reasons.
    pub details: Vec<Error>,
}

impl Error {
    /// Returns an error of any kind.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: Cow::Borrowed(code),
            message: message.into(),
            target: None,
            details: Vec::new(),
        }
    }

    /// Names the property at fault.
    #[must_use]
    pub fn at(mut self, target: impl Into<String>) -> Self {
        self.target = Some(target.into());
        self
    }

    /// Says what led to it.
    #[must_use]
    pub fn because(mut self, details: Vec<Self>) -> Self {
        self.details = details;
        self
    }

    /// 400 `InvalidParameter` at a property.
    pub fn invalid_parameter(target: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, "InvalidParameter", message).at(target)
    }

    /// 400 `InvalidParameter`: `Required parameter '…' is missing (null).`
    pub fn required(target: impl Into<String>) -> Self {
        let target = target.into();
        let name = target.rsplit('.').next().unwrap_or(&target).to_owned();
        Self::invalid_parameter(
            target,
            format!("Required parameter '{name}' is missing (null)."),
        )
    }

    /// 400 `BadRequest`.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, "BadRequest", message)
    }

    /// 404 with a code of its own.
    pub fn not_found(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, code, message)
    }

    /// 409 with a code of its own.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, code, message)
    }

    /// 409 `PropertyChangeNotAllowed` at a property such as `galleryImage.properties.osType`.
    pub fn change_not_allowed(target: impl Into<String>) -> Self {
        let target = target.into();
        Self::conflict(
            "PropertyChangeNotAllowed",
            format!("Changing property '{target}' is not allowed."),
        )
        .at(target)
    }

    /// 500: the cause is logged, the user learns only that it was not their fault.
    pub fn internal() -> Self {
        Self::new(
            ErrorKind::Internal,
            "InternalServerError",
            "The server met an unexpected condition. The request changed nothing; \
             try again, and give the x-ms-request-id to your operator if it stays.",
        )
    }
}
