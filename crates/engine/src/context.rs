//! Who asks, and in which request.

use uuid::Uuid;

/// The principal behind a request, from a verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The principal's object id.
    pub object_id: String,
    /// The tenant of the token.
    pub tenant: String,
    /// The application id, of a service principal or of the client a user came with.
    pub app_id: String,
    /// The name that error texts show: the user's name or the application id.
    pub name: String,
    /// Groups that another token service says it is in and that stand for groups here.
    pub groups: Vec<ExternalGroup>,
}

/// A group as another token service names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalGroup {
    /// The service.
    pub issuer: String,
    /// The value in the token's claim.
    pub name: String,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Ctx {
    /// Who asks.
    pub caller: Caller,
    /// Who else asks with it, in other tenants: the right to what a body names there is theirs.
    pub auxiliary: Vec<Caller>,
    /// The api-version, as the client sent it.
    pub api_version: String,
    /// `https://host:port` as the client reached us, without a trailing slash.
    pub base_url: String,
    /// The address that the request came from.
    pub client: String,
    /// `x-ms-correlation-request-id`.
    pub correlation_id: Uuid,
}

impl Ctx {
    /// Returns who asks in a tenant; none where no token of that tenant came with the request.
    pub(crate) fn caller_in(&self, tenant: &str) -> Option<&Caller> {
        std::iter::once(&self.caller)
            .chain(&self.auxiliary)
            .find(|caller| caller.tenant == tenant)
    }

    /// Returns the same request, asked by another of its callers alone.
    pub(crate) fn of(&self, caller: &Caller) -> Self {
        Self {
            caller: caller.clone(),
            auxiliary: Vec::new(),
            ..self.clone()
        }
    }
}
