//! A whole session with secrets that are looked for afterwards: in every file, log and answer (18).

#![expect(
    clippy::disallowed_methods,
    reason = "hands a secret to the program as people do"
)]

use std::path::Path;

use serde_json::{Value, json};
use testkit::{DISK_VERSION, GALLERY_VERSION, Gallery, Options, Scene, definition_body};

use crate::{BINARY, files};

const PASSWORD: &str = "CANARY-password-4f1d9a7c";
const WRONG: &str = "CANARY-wrong-81b0c6e2";
const GUEST_PASSWORD: &str = "CANARY-guest-Passw0rd-5e7a";
const CUSTOM_DATA: &str = "Q0FOQVJZLWN1c3RvbS1kYXRhLTkwYzE=";
const SCRIPT: &str = "echo CANARY-script-3ac97d; CANARY_command --token 77b1";
const SAS: &str = "CANARYsasSignature77d1";
/// Everything of ours, down to the last detail.
const LOG: &str = "info,engine=trace,api=trace,vitrine=trace,catalog=trace,blocks=trace,arm=trace,domain=trace,sqlx=trace,axum=trace,tower_http=trace";

/// Where a secret may be, and why.
const ALLOWED: [(&str, &str, &str); 2] = [
    (
        "client secret",
        "credentials.json",
        "the file that hands it over, mode 0600",
    ),
    (
        "account key",
        "catalog.db",
        "signatures of clients cannot be checked without it",
    ),
];

struct Session {
    server: Gallery,
    scene: Scene,
    /// What is looked for: its kind and itself.
    secrets: Vec<(&'static str, String)>,
    /// Everything that was answered to requests that were not to hand out a secret.
    said: Vec<String>,
}

impl Session {
    async fn new() -> Self {
        let server = Gallery::start(Options::new(BINARY).env("VITRINE_LOG", LOG)).await;
        let scene = Scene::new(&server).await;
        let secrets = vec![
            ("client secret", server.credential("clientSecret")),
            ("password", PASSWORD.to_owned()),
            ("wrong password", WRONG.to_owned()),
            ("SAS of a source", SAS.to_owned()),
            ("password of a machine", GUEST_PASSWORD.to_owned()),
            ("custom data of a machine", CUSTOM_DATA.to_owned()),
            ("script for a machine", SCRIPT.to_owned()),
        ];
        Self {
            server,
            scene,
            secrets,
            said: Vec::new(),
        }
    }

    fn verb(&mut self, words: &str) -> Value {
        let words: Vec<&str> = words.split(' ').collect();
        let output = self.server.vitrine(&words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        self.said.push(said);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{words:?}: {e}"))
    }

    async fn form(&mut self, path: &str, form: &[(&str, &str)]) -> Value {
        let url = format!("{}{path}", self.server.endpoint());
        let answer = self
            .scene
            .arm
            .http()
            .post(url)
            .form(form)
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        if !status.is_success() {
            self.said.push(text.clone());
        }
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn keep(&mut self, kind: &'static str, value: &Value) -> String {
        let text = value
            .as_str()
            .unwrap_or_else(|| panic!("{kind}: {value}"))
            .to_owned();
        self.secrets.push((kind, text.clone()));
        text
    }

    /// Sends something and keeps the answer.
    async fn ask(
        &mut self,
        method: &str,
        path: &str,
        version: &str,
        body: Option<&Value>,
    ) -> Value {
        let (answer, status) = self.scene.arm.over(method, path, version, body).await;
        self.said
            .push(format!("{:?} {} {status:?}", answer.headers, answer.body));
        answer.body
    }
}

#[tokio::test]
async fn threat_18_no_secret_of_a_session_is_in_a_file_a_log_or_an_answer() {
    let mut session = Session::new().await;
    sign_in(&mut session).await;
    work(&mut session).await;
    mistakes(&mut session).await;
    let log = session.server.log_text();
    assert!(
        log.len() > 10_000,
        "the log says too little to prove anything"
    );
    assert!(session.server.stop());
    let log = format!("{log}{}", session.server.log_text());
    let mut found = Vec::new();
    for (kind, secret) in &session.secrets {
        assert!(secret.len() >= 16, "{kind} is too short to be looked for");
        if log.contains(secret.as_str()) {
            found.push(format!("{kind} in the log"));
        }
        let answers = session
            .said
            .iter()
            .filter(|text| text.contains(secret.as_str()));
        found.extend(answers.map(|text| format!("{kind} in an answer: {text}")));
        for path in files(&session.server.data()) {
            if holds(&path, secret) && !is_allowed(kind, &path) {
                found.push(format!("{kind} in {}", path.display()));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

fn is_allowed(kind: &str, path: &Path) -> bool {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    ALLOWED
        .iter()
        .any(|(known, file, _)| *known == kind && name.starts_with(file))
}

fn holds(path: &Path, text: &str) -> bool {
    let bytes = std::fs::read(path).unwrap_or_default();
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

async fn sign_in(session: &mut Session) {
    let tenant = session.server.credential("tenantId");
    let output = {
        let words = [
            "principal",
            "create-user",
            "ada",
            "--password-env",
            "VITRINE_CANARY",
        ];
        std::process::Command::new(BINARY)
            .args(words)
            .env("VITRINE_DATA", session.server.data())
            .env("VITRINE_CANARY", PASSWORD)
            .output()
            .unwrap()
    };
    assert!(output.status.success(), "{output:?}");
    session
        .said
        .push(String::from_utf8_lossy(&output.stdout).into_owned());
    let made = session.verb("principal create-service-principal program");
    let secret = session.keep("secret of a program", &made["secret"]);
    let scope = format!("{}/.default", session.server.endpoint());
    let client = made["clientId"].as_str().unwrap().to_owned();
    let path = format!("/{tenant}/oauth2/v2.0/token");
    let cli = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";
    let person = [
        ("grant_type", "password"),
        ("client_id", cli),
        ("username", "ada@vitrine.local"),
        ("password", PASSWORD),
        ("scope", &format!("{scope} offline_access openid profile")),
    ];
    let given = session.form(&path, &person).await;
    session.keep("access token", &given["access_token"]);
    let refresh = session.keep("refresh token", &given["refresh_token"]);
    let again = [
        ("grant_type", "refresh_token"),
        ("client_id", cli),
        ("refresh_token", refresh.as_str()),
        ("scope", scope.as_str()),
    ];
    let given = session.form(&path, &again).await;
    session.keep("second access token", &given["access_token"]);
    let program = [
        ("grant_type", "client_credentials"),
        ("client_id", client.as_str()),
        ("client_secret", secret.as_str()),
        ("scope", "https://storage.azure.com/.default"),
    ];
    let given = session.form(&path, &program).await;
    session.keep("storage token", &given["access_token"]);
    let device = [("client_id", cli), ("scope", scope.as_str())];
    let begun = session
        .form(&format!("/{tenant}/oauth2/v2.0/devicecode"), &device)
        .await;
    session.keep("device code", &begun["device_code"]);
    let reset = session.verb("principal reset-secret program");
    session.keep("new secret of a program", &reset["secret"]);
}

async fn work(session: &mut Session) {
    let account = format!(
        "{}/providers/Microsoft.Storage/storageAccounts/canaryacct",
        session.scene.group
    );
    let body =
        json!({ "location": "eastus", "sku": { "name": "Standard_LRS" }, "kind": "StorageV2" });
    session
        .ask("PUT", &account, "2025-08-01", Some(&body))
        .await;
    session.ask("GET", &account, "2025-08-01", None).await;
    let arm = session.scene.arm.clone();
    let keys = arm
        .send("POST", &format!("{account}/listKeys"), "2025-08-01", None)
        .await;
    session.keep("account key", &keys.body["keys"][0]["value"]);
    let disk = session.scene.upload("disk", &[7; 20 << 20]).await;
    let url = session.scene.access(&disk, "Read").await;
    let signature = url.split("sig=").nth(1).unwrap().split('&').next().unwrap();
    session.keep("access URL", &json!(signature));
    for comp in ["", "&comp=pagelist", "&comp=nonsense"] {
        let answer = arm
            .http()
            .get(format!("{url}{comp}"))
            .header("x-ms-range", "bytes=0-511")
            .send()
            .await
            .unwrap();
        let said = format!("{:?}", answer.headers());
        session.said.push(said);
    }
    session.ask("GET", &disk, DISK_VERSION, None).await;
    let version = session.scene.version("1.0.0");
    let body = session.scene.version_body(&disk, &["eastus"]);
    session
        .ask("PUT", &version, GALLERY_VERSION, Some(&body))
        .await;
    session.ask("GET", &version, GALLERY_VERSION, None).await;
    machine(session, &version).await;
}

/// A machine is made with secrets, and written again with them and without.
async fn machine(session: &mut Session, image: &str) {
    const VERSION: &str = "2024-07-01";
    let id = format!(
        "{}/providers/Microsoft.Compute/virtualMachines/canary",
        session.scene.group
    );
    let mut body = json!({
        "location": "eastus",
        "properties": {
            "hardwareProfile": { "vmSize": "Standard_B1s" },
            "storageProfile": { "imageReference": { "id": image }, "osDisk": { "createOption": "FromImage" } },
            "osProfile": { "computerName": "canary", "adminUsername": "me", "adminPassword": GUEST_PASSWORD, "customData": CUSTOM_DATA },
        },
    });
    for _ in 0..2 {
        let made = session.ask("PUT", &id, VERSION, Some(&body)).await;
        assert_eq!(made["name"], "canary", "{made}");
        body["tags"] = json!({ "written": "again" });
    }
    body["properties"]["osProfile"]["adminPassword"] = json!(WRONG);
    let refused = session.ask("PUT", &id, VERSION, Some(&body)).await;
    assert_eq!(
        refused["error"]["code"], "PropertyChangeNotAllowed",
        "{refused}"
    );
    let verb = format!("{id}/runCommand");
    let parameter = json!({ "name": "p", "value": SCRIPT });
    let asked =
        json!({ "commandId": "RunShellScript", "script": [SCRIPT], "parameters": [parameter] });
    let refused = session.ask("POST", &verb, VERSION, Some(&asked)).await;
    assert!(refused["error"].is_object(), "{refused}");
    let shown = format!("{id}?$expand=instanceView");
    for path in [&id, &shown] {
        session.ask("GET", path, VERSION, None).await;
    }
}

/// People put secrets where they do not belong: into URLs, names, bodies and the wrong header.
async fn mistakes(session: &mut Session) {
    let arm = session.scene.arm.clone();
    let tenant = session.server.credential("tenantId");
    let path = format!("/{tenant}/oauth2/v2.0/token");
    let client = session.server.credential("clientId");
    for (name, value) in [
        ("client_secret", WRONG),
        ("password", WRONG),
        ("refresh_token", WRONG),
        ("device_code", WRONG),
        ("client_assertion", WRONG),
    ] {
        for grant in [
            "client_credentials",
            "password",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:device_code",
        ] {
            let form = [
                ("grant_type", grant),
                ("client_id", client.as_str()),
                ("username", "ada@vitrine.local"),
                (name, value),
                ("scope", "https://management.azure.com/.default"),
            ];
            session.form(&path, &form).await;
        }
    }
    let endpoint = session.server.endpoint().to_owned();
    for request in [
        arm.http().get(format!("{endpoint}/subscriptions?api-version=2022-12-01&access_token={WRONG}")),
        arm.http().get(format!("{endpoint}/subscriptions?api-version=2022-12-01")).bearer_auth(WRONG),
        arm.http().get(format!("{endpoint}/subscriptions?api-version=2022-12-01")).basic_auth("x", Some(WRONG)),
        arm.http().get(format!("{endpoint}/blob/canaryacct/images/b?sv=2021-12-02&sr=b&sp=r&se=2030-01-01T00%3A00%3A00Z&sig={SAS}")),
        arm.http().get(format!("{endpoint}/blob/canaryacct/images/b")).header("authorization", format!("SharedKey canaryacct:{WRONG}")),
        arm.http().get(format!("{endpoint}/blob/disk-access/0123456789abcdef0123456789abcdef/disk.vhd?sig={SAS}")),
        arm.http().put(format!("{endpoint}/blob/canaryacct/images/b?sig={SAS}")).header("x-ms-copy-source", format!("https://x.example/?sig={SAS}")),
        arm.http().post(format!("{endpoint}/msi/token?resource=x")).header("secret", WRONG),
    ] {
        let answer = request.send().await.unwrap();
        let headers = format!("{:?}", answer.headers());
        let said = format!("{headers} {}", answer.text().await.unwrap());
        session.said.push(said);
    }
    // Sources whose URL carries a SAS, as the service's clients send them.
    let url = format!("{endpoint}/blob/canaryacct/images/absent.vhd?sv=2021-12-02&sp=r&sig={SAS}");
    let account = format!(
        "{}/providers/Microsoft.Storage/storageAccounts/canaryacct",
        session.scene.group
    );
    let image = session.scene.definition.replace("debian", "other");
    session
        .ask(
            "PUT",
            &image,
            GALLERY_VERSION,
            Some(&definition_body("acme", "other", "1")),
        )
        .await;
    let version = format!("{image}/versions/1.0.0");
    let body = json!({ "location": "eastus", "properties": { "storageProfile": { "osDiskImage": { "source": { "uri": url, "storageAccountId": account } } } } });
    session
        .ask("PUT", &version, GALLERY_VERSION, Some(&body))
        .await;
    session.ask("GET", &version, GALLERY_VERSION, None).await;
    let disk = session.scene.disk("imported");
    let body = json!({ "location": "eastus", "properties": { "creationData": { "createOption": "Import", "sourceUri": url, "storageAccountId": account } } });
    session.ask("PUT", &disk, DISK_VERSION, Some(&body)).await;
    session.ask("GET", &disk, DISK_VERSION, None).await;
}
