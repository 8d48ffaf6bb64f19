//! A gallery with its owner, and people who come and go.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Answer, Arm, GALLERY_VERSION, GROUP_VERSION, Gallery, Options};

const BINARY: &str = env!("CARGO_BIN_EXE_vitrine");
/// The api-version of roles and locks.
pub const ACCESS_VERSION: &str = "2022-04-01";

/// How long what another process has written may take to count.
pub const SOON: Duration = Duration::from_secs(10);

/// A server and its first owner.
pub struct World {
    pub server: Gallery,
    pub owner: Arm,
}

/// Somebody who can sign in.
pub struct Person {
    pub arm: Arm,
    pub object_id: String,
    pub client_id: String,
}

impl World {
    pub async fn new() -> Self {
        let server = Gallery::start(Options::new(BINARY)).await;
        let owner = server.arm().await;
        Self { server, owner }
    }

    /// Runs a verb, its words separated by spaces, that prints JSON.
    pub fn verb(&self, words: &str) -> Value {
        let words: Vec<&str> = words.split(' ').collect();
        let output = self.server.vitrine(&words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{words:?}: {e}"))
    }

    /// Makes a service principal without roles; `options` may name a tenant.
    pub async fn person(&self, name_and_options: &str) -> Person {
        let made = self.verb(&format!(
            "principal create-service-principal {name_and_options}"
        ));
        let text = |name: &str| {
            made[name]
                .as_str()
                .unwrap_or_else(|| panic!("{name}: {made}"))
        };
        let endpoint = self.server.endpoint();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", text("clientId")),
            ("client_secret", text("secret")),
            ("scope", &format!("{endpoint}/.default")),
        ];
        let url = format!("{endpoint}/{}/oauth2/v2.0/token", text("tenantId"));
        let answer = self
            .owner
            .http()
            .post(url)
            .form(&form)
            .send()
            .await
            .unwrap();
        let body: Value = answer.json().await.unwrap();
        let token = body["access_token"]
            .as_str()
            .unwrap_or_else(|| panic!("{body}"));
        Person {
            arm: self.owner.with_token(token),
            object_id: text("objectId").to_owned(),
            client_id: text("clientId").to_owned(),
        }
    }

    /// Makes another tenant with a subscription; returns its owner and the subscription's path.
    pub async fn stranger(&self) -> (Person, String) {
        self.verb("tenant create --name Other --domain other.example");
        let person = self.person("stranger --tenant other.example").await;
        let own = format!(
            "subscription create --name Other --tenant other.example --owner {}",
            person.client_id
        );
        let own = self.verb(&own);
        let id = own["subscriptionId"].as_str().unwrap();
        (person, format!("/subscriptions/{id}"))
    }

    /// Makes a group with a gallery in it; returns the ids of both.
    pub async fn gallery(&self, group: &str) -> (String, String) {
        let group = format!("{}/resourceGroups/{group}", self.server.subscription());
        let gallery = format!("{group}/providers/Microsoft.Compute/galleries/Sig");
        let here = json!({ "location": "eastus" });
        self.owner
            .done("PUT", &group, GROUP_VERSION, Some(&here))
            .await;
        self.owner
            .done("PUT", &gallery, GALLERY_VERSION, Some(&here))
            .await;
        (group, gallery)
    }

    /// Asks for something of Microsoft.Authorization below a scope.
    pub async fn access(
        &self,
        who: &Arm,
        method: &str,
        scope: &str,
        local: &str,
        body: Option<&Value>,
    ) -> Answer {
        let scope = scope.trim_end_matches('/');
        let path = format!("{scope}/providers/Microsoft.Authorization/{local}");
        who.send(method, &path, ACCESS_VERSION, body).await
    }

    /// Gives a principal a built-in role; returns the answer.
    pub async fn assign(
        &self,
        who: &Arm,
        scope: &str,
        name: &str,
        role: &str,
        principal: &str,
    ) -> Answer {
        let body = json!({ "properties": { "roleDefinitionId": role_id(role), "principalId": principal } });
        let local = format!("roleAssignments/{name}");
        self.access(who, "PUT", scope, &local, Some(&body)).await
    }
}

/// Returns the id of a built-in role by name, or of any role by GUID.
pub fn role_id(role: &str) -> String {
    let id = domain::role::find(role).map_or(role, |found| found.id.as_str());
    format!("/providers/Microsoft.Authorization/roleDefinitions/{id}")
}

/// Returns a GUID that differs by its number.
pub fn guid(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// Checks the status and the code of an answer.
pub fn check(answer: &Answer, status: u16, code: &str) {
    let found = if answer.status < 400 {
        ""
    } else {
        answer.code()
    };
    assert_eq!((answer.status, found), (status, code), "{}", answer.body);
}
