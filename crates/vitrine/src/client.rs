//! A small client of the gallery's own API, for verbs that talk to a running server.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::credentials::Credentials;
use crate::output::NotFound;

/// The api-version that the verbs speak.
pub const API_VERSION: &str = "2026-03-03";
/// The api-version of resource groups.
pub const GROUP_API_VERSION: &str = "2024-11-01";
/// The api-version of disks.
pub const DISK_API_VERSION: &str = "2025-01-02";
/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(120);
/// Pause between polls of an operation.
const POLL_EVERY: Duration = Duration::from_millis(300);

/// A logged-in client.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    credentials: Credentials,
    token: String,
}

impl Client {
    /// Logs in with the credentials of a data directory.
    pub async fn login(data: &Path) -> anyhow::Result<Self> {
        let credentials = Credentials::load(&data.join("credentials.json"))?;
        let ca =
            std::fs::read(data.join("ca.pem")).context("the gallery's ca.pem cannot be read")?;
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&ca)?])
            .timeout(REQUEST_LIMIT)
            .no_proxy()
            .build()?;
        let url = format!(
            "{}/{}/oauth2/v2.0/token",
            credentials.endpoint, credentials.tenant_id
        );
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &credentials.client_id),
            ("client_secret", &credentials.client_secret),
            ("scope", &format!("{}/.default", credentials.endpoint)),
        ];
        let answer = http.post(url).form(&form).send().await.with_context(|| {
            format!(
                "no gallery answers at {}: start it with 'vitrine up'",
                credentials.endpoint
            )
        })?;
        let answer: Value = answer.json().await?;
        let token = answer["access_token"]
            .as_str()
            .with_context(|| {
                format!(
                    "login refused: {}",
                    answer["error_description"]
                        .as_str()
                        .unwrap_or("no reason given")
                )
            })?
            .to_owned();
        Ok(Self {
            http,
            credentials,
            token,
        })
    }

    /// Returns the endpoint, without a trailing slash.
    pub fn endpoint(&self) -> &str {
        &self.credentials.endpoint
    }

    /// Returns the id of the first subscription.
    pub fn subscription(&self) -> &str {
        &self.credentials.subscription_id
    }

    /// Returns the HTTP client that trusts the gallery's CA.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Sends one ARM request; `None` when the resource is not there.
    pub async fn arm(
        &self,
        method: Method,
        path: &str,
        api_version: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Option<Answer>> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let url = format!(
            "{}{path}{separator}api-version={api_version}",
            self.credentials.endpoint
        );
        let mut request = self.http.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status();
        let poll = response
            .headers()
            .get("azure-asyncoperation")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let bytes = response.bytes().await?;
        let body: Value = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)?
        };
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if !status.is_success() {
            anyhow::bail!("{}", error_text(&body));
        }
        Ok(Some(Answer { body, poll }))
    }

    /// GET that must find something.
    pub async fn get(&self, path: &str, api_version: &str) -> anyhow::Result<Value> {
        let found = self.arm(Method::GET, path, api_version, None).await?;
        Ok(found
            .ok_or_else(|| NotFound(format!("{path} was not found")))?
            .body)
    }

    /// PUT, waiting until the operation is over.
    pub async fn put(&self, path: &str, api_version: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = self.arm(Method::PUT, path, api_version, Some(body)).await?;
        let answer =
            answer.ok_or_else(|| NotFound(format!("the parent of {path} was not found")))?;
        if let Some(poll) = &answer.poll {
            self.wait(poll, |_| {}).await?;
        }
        Ok(answer.body)
    }

    /// POST, waiting until the operation is over; returns its output.
    pub async fn post(&self, path: &str, api_version: &str, body: &Value) -> anyhow::Result<Value> {
        let answer = self
            .arm(Method::POST, path, api_version, Some(body))
            .await?;
        let answer = answer.ok_or_else(|| NotFound(format!("{path} was not found")))?;
        match &answer.poll {
            Some(poll) => self.wait(poll, |_| {}).await,
            None => Ok(answer.body),
        }
    }

    /// Polls an operation until it is over, calling `look` between polls; returns its output.
    pub async fn wait(&self, poll: &str, mut look: impl FnMut(&Value)) -> anyhow::Result<Value> {
        loop {
            let status: Value = self
                .http
                .get(poll)
                .bearer_auth(&self.token)
                .send()
                .await?
                .json()
                .await?;
            match status["status"].as_str() {
                Some("Succeeded") => return Ok(status["properties"]["output"].clone()),
                Some("InProgress") => look(&status),
                _ => anyhow::bail!("{}", error_text(&status)),
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
}

/// A successful answer.
pub struct Answer {
    /// The JSON body, null when there was none.
    pub body: Value,
    /// The poll URL of the operation that goes on.
    pub poll: Option<String>,
}

fn error_text(body: &Value) -> String {
    let code = body["error"]["code"].as_str().unwrap_or("Error");
    let message = body["error"]["message"]
        .as_str()
        .unwrap_or("the server gave no reason");
    format!("{code}: {message}")
}
