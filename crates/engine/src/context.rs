//! Who asks, and in which request.

use domain::resource::Document;
use domain::{Error, Result};
use serde_json::{Value, json};
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

impl ExternalGroup {
    fn record(&self) -> Value {
        json!({ "issuer": self.issuer, "name": self.name })
    }

    fn recorded(kept: &Value) -> Option<Self> {
        let text = |name: &str| kept.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            issuer: text("issuer")?,
            name: text("name")?,
        })
    }
}

impl Caller {
    fn record(&self) -> Value {
        let groups: Vec<Value> = self.groups.iter().map(ExternalGroup::record).collect();
        json!({
            "objectId": self.object_id, "tenant": self.tenant, "appId": self.app_id, "name": self.name,
            "groups": groups,
        })
    }

    fn recorded(kept: &Value) -> Result<Self> {
        let text = |name: &str| {
            let found = kept.get(name).and_then(Value::as_str);
            found.map(str::to_owned).ok_or_else(Error::internal)
        };
        // Rows of earlier releases have none.
        let groups = kept.get("groups").and_then(Value::as_array);
        let groups = groups.into_iter().flatten();
        Ok(Self {
            object_id: text("objectId")?,
            tenant: text("tenant")?,
            app_id: text("appId")?,
            name: text("name")?,
            groups: groups.filter_map(ExternalGroup::recorded).collect(),
        })
    }
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

    /// Returns who asked, to be kept with work that goes on after the request: workers have no rights of their own.
    pub(crate) fn record(&self) -> Document {
        let auxiliary: Vec<Value> = self.auxiliary.iter().map(Caller::record).collect();
        let mut out = Document::new();
        out.insert("caller".to_owned(), self.caller.record());
        out.insert("auxiliary".to_owned(), auxiliary.into());
        out.insert("baseUrl".to_owned(), json!(self.base_url));
        out.insert("client".to_owned(), json!(self.client));
        let correlation = self.correlation_id.to_string();
        out.insert("correlationId".to_owned(), json!(correlation));
        out
    }

    /// Reads what [`Ctx::record`] kept; other members beside it are left alone.
    pub(crate) fn recorded(kept: &Value) -> Result<Self> {
        let text = |name: &str| {
            let found = kept.get(name).and_then(Value::as_str);
            found.map(str::to_owned).ok_or_else(Error::internal)
        };
        let auxiliary = kept.get("auxiliary").and_then(Value::as_array);
        let auxiliary = auxiliary.into_iter().flatten().map(Caller::recorded);
        Ok(Self {
            caller: Caller::recorded(kept.get("caller").unwrap_or(&Value::Null))?,
            auxiliary: auxiliary.collect::<Result<_>>()?,
            api_version: String::new(),
            base_url: text("baseUrl")?,
            client: text("client")?,
            correlation_id: text("correlationId")?
                .parse()
                .map_err(|_| Error::internal())?,
        })
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
