//! Why a sign-in was refused, in the words that OAuth clients know.
//!
//! Each refusal has an OAuth `error` that programs decide by and an `AADSTS` number that people
//! search for. Source: `WIRE.md` 2.

/// Why the token service said no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// The tenant of the path is not there.
    #[error(
        "Tenant '{0}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."
    )]
    UnknownTenant(String),
    /// No such application in the tenant.
    #[error(
        "Application with identifier '{client}' was not found in the directory '{tenant}'. Check the client id and the tenant."
    )]
    UnknownClient {
        /// As the client sent it.
        client: String,
        /// As the path named it.
        tenant: String,
    },
    /// The application is disabled.
    #[error("Application '{0}' is disabled. Enable it with 'vitrine principal enable'.")]
    DisabledClient(String),
    /// The secret is not the application's.
    #[error(
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value for app '{0}', not the client secret ID."
    )]
    WrongSecret(String),
    /// Neither a secret nor an assertion.
    #[error(
        "'client_assertion', 'client_secret' or 'request' is required for the '{0}' grant type."
    )]
    NoCredential(&'static str),
    /// The assertion is not signed by a key of the application.
    #[error(
        "Client assertion failed signature validation: no registered key of the application '{0}' verifies it."
    )]
    WrongSignature(String),
    /// The assertion is over, not begun, or lives too long.
    #[error(
        "Client assertion is not within its valid time range. Check the 'nbf' and 'exp' claims and the clock of the client."
    )]
    AssertionTime,
    /// The assertion is for somebody else or about somebody else.
    #[error(
        "Client assertion claim '{0}' does not match: 'iss' and 'sub' must be the client id, 'aud' the token endpoint or the issuer of this service."
    )]
    AssertionClaim(&'static str),
    /// The assertion was used before.
    #[error("Client assertion was used before: its 'jti' must be unique.")]
    AssertionReplayed,
    /// The user name or password is wrong.
    #[error("Error validating credentials due to invalid username or password.")]
    WrongPassword,
    /// The account is disabled.
    #[error("The user account is disabled.")]
    DisabledUser,
    /// Too many failures within a minute.
    #[error(
        "The account is locked for a minute, because sign-in failed too many times with a wrong user name, password or secret."
    )]
    Locked,
    /// A field of the form is missing.
    #[error("The request body must contain the following parameter: '{0}'.")]
    Missing(&'static str),
    /// A field of the form cannot be used.
    #[error("The parameter '{0}' is malformed or too long.")]
    Malformed(&'static str),
    /// The grant is not served.
    #[error("The app requested an unsupported grant type '{0}'.")]
    UnsupportedGrant(String),
    /// Nobody here serves the audience.
    #[error(
        "The resource principal named {0} was not found in the tenant. Use the resource manager endpoint of this gallery as the audience."
    )]
    UnknownResource(String),
    /// Nobody has signed in with the code yet.
    #[error("OAuth 2.0 device flow error. Authorization is pending. Continue polling.")]
    Pending,
    /// The client asks too often.
    #[error("OAuth 2.0 device flow error. Polling too often. Wait longer between requests.")]
    SlowDown,
    /// The device code is over.
    #[error("OAuth 2.0 device flow error. The code expired. Start the sign-in again.")]
    DeviceExpired,
    /// The person said no.
    #[error("OAuth 2.0 device flow error. The user declined the sign-in.")]
    Declined,
    /// The device code was never given out, or was used.
    #[error("The provided device code is not valid.")]
    UnknownDeviceCode,
    /// What the person typed is not a code that waits.
    #[error("The code is wrong or expired.")]
    UnknownUserCode,
    /// The refresh token is unknown, over, spent, or of another client.
    #[error(
        "The refresh token is not valid: it expired, was used before, was revoked, or belongs to another client. Sign in again."
    )]
    WrongRefreshToken,
    /// The caller is not on this machine, or has not shown the secret header.
    #[error("The identity endpoint answers only programs on this machine{0}.")]
    NotLocal(&'static str),
    /// No managed identity matches.
    #[error("Identity not found: this machine has no such managed identity.")]
    UnknownIdentity,
    /// The catalog does not answer, or worse; the cause is in the log.
    #[error("The service cannot answer now. Try again in a moment.")]
    Unavailable,
}

/// The result of a sign-in.
pub type SignInResult<T> = std::result::Result<T, SignInError>;

impl SignInError {
    /// Returns the OAuth word.
    pub const fn error(&self) -> &'static str {
        match self {
            Self::UnknownTenant(_)
            | Self::Missing(_)
            | Self::Malformed(_)
            | Self::NotLocal(_)
            | Self::UnknownIdentity => "invalid_request",
            Self::UnknownClient { .. } | Self::DisabledClient(_) => "unauthorized_client",
            Self::WrongSecret(_)
            | Self::NoCredential(_)
            | Self::WrongSignature(_)
            | Self::AssertionTime
            | Self::AssertionClaim(_)
            | Self::AssertionReplayed => "invalid_client",
            Self::WrongPassword
            | Self::DisabledUser
            | Self::UnknownDeviceCode
            | Self::UnknownUserCode
            | Self::WrongRefreshToken => "invalid_grant",
            Self::UnsupportedGrant(_) => "unsupported_grant_type",
            Self::UnknownResource(_) => "invalid_resource",
            Self::Pending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::DeviceExpired => "expired_token",
            Self::Declined => "access_denied",
            Self::Locked | Self::Unavailable => "temporarily_unavailable",
        }
    }

    /// Returns the number behind `AADSTS`.
    pub const fn code(&self) -> u32 {
        match self {
            Self::UnknownTenant(_) => 90002,
            Self::UnknownClient { .. } => 700_016,
            Self::DisabledClient(_) => 7_000_112,
            Self::WrongSecret(_) => 7_000_215,
            Self::NoCredential(_) => 7_000_216,
            Self::WrongSignature(_) => 700_027,
            Self::AssertionTime => 700_024,
            Self::AssertionClaim(_) => 700_023,
            Self::AssertionReplayed => 50013,
            Self::WrongPassword => 50126,
            Self::DisabledUser => 50057,
            Self::Locked => 50053,
            Self::Missing(_) => 900_144,
            Self::Malformed(_) => 90014,
            Self::UnsupportedGrant(_) => 70003,
            Self::UnknownResource(_) => 500_011,
            Self::Pending | Self::SlowDown => 70016,
            Self::DeviceExpired => 70020,
            Self::Declined => 65004,
            Self::UnknownDeviceCode | Self::UnknownUserCode => 70018,
            Self::WrongRefreshToken => 70000,
            Self::NotLocal(_) | Self::UnknownIdentity => 100_040,
            Self::Unavailable => 90033,
        }
    }

    /// Returns `AADSTS7000215: …`, the sentence that people read.
    pub fn description(&self) -> String {
        format!("AADSTS{}: {self}", self.code())
    }
}

impl From<domain::Error> for SignInError {
    /// The cause was logged where it happened.
    fn from(_: domain::Error) -> Self {
        Self::Unavailable
    }
}

/// Turns a catalog failure into a refusal; logged here.
pub(super) fn db(cause: catalog::CatalogError) -> SignInError {
    crate::error::catalog(cause).into()
}
