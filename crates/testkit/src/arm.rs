//! A plain ARM client: what it sends is what the test says.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::{Certificate, Client, Method, StatusCode};
use serde_json::Value;

use crate::{Gallery, until};

/// How long an operation may take.
const OPERATION_LIMIT: Duration = Duration::from_secs(180);

/// A signed-in client.
#[derive(Clone)]
pub struct Arm {
    http: Client,
    endpoint: String,
    token: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, null when empty.
    pub body: Value,
}

impl Arm {
    /// Signs in as the first service principal of a gallery.
    pub async fn login(gallery: &Gallery) -> anyhow::Result<Self> {
        let http = http_client(gallery)?;
        let (endpoint, tenant) = (
            gallery.endpoint().to_owned(),
            gallery.credential("tenantId"),
        );
        let form = [
            ("grant_type", "client_credentials".to_owned()),
            ("client_id", gallery.credential("clientId")),
            ("client_secret", gallery.credential("clientSecret")),
            ("scope", format!("{endpoint}/.default")),
        ];
        let answer = http
            .post(format!("{endpoint}/{tenant}/oauth2/v2.0/token"))
            .form(&form)
            .send()
            .await?;
        let body: Value = answer.json().await?;
        let token = body["access_token"]
            .as_str()
            .with_context(|| body.to_string())?
            .to_owned();
        Ok(Self {
            http,
            endpoint,
            token,
        })
    }

    /// Returns a client with another token, or none when it is empty.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..self.clone()
        }
    }

    /// Returns the token that it shows.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Returns the HTTP client that trusts the gallery.
    pub fn http(&self) -> &Client {
        &self.http
    }

    /// Sends a request; `path` may hold a query.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        api_version: &str,
        body: Option<&Value>,
    ) -> Answer {
        let mark = if path.contains('?') { '&' } else { '?' };
        let version = if api_version.is_empty() {
            String::new()
        } else {
            format!("{mark}api-version={api_version}")
        };
        self.send_url(method, &format!("{}{path}{version}", self.endpoint), body)
            .await
    }

    /// Sends a request to an absolute URL.
    pub async fn send_url(&self, method: &str, url: &str, body: Option<&Value>) -> Answer {
        let method: Method = method.parse().expect("a method");
        let mut request = self.http.request(method, url);
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        self.answer(request, url).await
    }

    /// Sends a body that is not quite JSON, as `az deployment group create` does.
    pub async fn send_text(
        &self,
        method: &str,
        path: &str,
        api_version: &str,
        text: String,
    ) -> Answer {
        let method: Method = method.parse().expect("a method");
        let url = format!("{}{path}?api-version={api_version}", self.endpoint);
        let request = self.http.request(method, &url).bearer_auth(&self.token);
        let request = request
            .header("content-type", "application/json")
            .body(text);
        self.answer(request, &url).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder, url: &str) -> Answer {
        let response = request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    value.to_str().unwrap_or_default().to_owned(),
                )
            })
            .collect();
        let text = response
            .text()
            .await
            .unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        };
        Answer {
            status,
            headers,
            body,
        }
    }

    /// Sends a request and waits for its operation; panics unless both end well. Returns the resource or result.
    pub async fn done(
        &self,
        method: &str,
        path: &str,
        api_version: &str,
        body: Option<&Value>,
    ) -> Value {
        let (answer, status) = self.over(method, path, api_version, body).await;
        assert!(
            answer.status < 300,
            "{method} {path}: {} {}",
            answer.status,
            answer.body
        );
        if let Some(status) = &status {
            assert_eq!(status["status"], "Succeeded", "{method} {path}: {status}");
            if let Some(output) = status.pointer("/properties/output") {
                return output.clone();
            }
        }
        if method == "DELETE" || method == "POST" {
            return answer.body;
        }
        let got = self.send("GET", path, api_version, None).await;
        assert_eq!(got.status, 200, "GET {path}: {}", got.body);
        got.body
    }

    /// Sends a request and waits for its operation, however both end.
    pub async fn over(
        &self,
        method: &str,
        path: &str,
        api_version: &str,
        body: Option<&Value>,
    ) -> (Answer, Option<Value>) {
        let answer = self.send(method, path, api_version, body).await;
        if answer.status >= 400 {
            return (answer, None);
        }
        let status = match (
            answer.header("azure-asyncoperation"),
            answer.header("location"),
        ) {
            (Some(url), _) => Some(self.poll(url).await),
            (None, Some(url)) => {
                self.monitor(url).await;
                None
            }
            (None, None) => None,
        };
        (answer, status)
    }

    /// Polls an operation until it is over; returns its last status.
    pub async fn poll(&self, url: &str) -> Value {
        until(url, OPERATION_LIMIT, || async {
            let answer = self.send_url("GET", url, None).await;
            assert_eq!(answer.status, 200, "{url}: {}", answer.body);
            let status = answer.body["status"].as_str().unwrap_or_default();
            let is_over = !["InProgress", "Running"].contains(&status);
            is_over.then_some(answer.body)
        })
        .await
    }

    /// Polls a `Location` until it is over.
    pub async fn monitor(&self, url: &str) -> Answer {
        until(url, OPERATION_LIMIT, || async {
            let answer = self.send_url("GET", url, None).await;
            (answer.status != StatusCode::ACCEPTED.as_u16()).then_some(answer)
        })
        .await
    }
}

impl Answer {
    /// Returns a header by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns the code of an error body.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    /// Returns the message of an error body.
    pub fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }
}

fn http_client(gallery: &Gallery) -> anyhow::Result<Client> {
    let ca = std::fs::read(gallery.ca()).context("ca.pem")?;
    let client = Client::builder()
        .tls_certs_only([Certificate::from_pem(&ca)?])
        .no_proxy()
        .timeout(Duration::from_secs(120))
        .build()?;
    Ok(client)
}
