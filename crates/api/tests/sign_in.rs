//! What clients meet before and while they sign in, over HTTP.

#![expect(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "helpers of tests and tables of cases"
)]

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, Response, StatusCode};
use engine::identity::{BootstrapOptions, Bootstrapped, NewPrincipal, PrincipalKind};
use engine::{Clock, Engine, RegionSettings, Settings};
use serde_json::{Value, json};
use tower::ServiceExt as _;

const HOST: &str = "localhost:8443";
const CLI: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";

struct World {
    _dir: tempfile::TempDir,
    engine: Engine,
    app: axum::Router,
    first: Bootstrapped,
}

struct Answer {
    status: StatusCode,
    headers: axum::http::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            data: dir.path().to_owned(),
            database: format!(
                "sqlite:{}?mode=rwc",
                dir.path().join("catalog.db").display()
            ),
            regions: vec![RegionSettings {
                region: domain::region::known("eastus"),
                store: engine::Location::Directory(dir.path().join("eastus")),
            }],
            machines: engine::MachineSettings {
                driver: engine::DriverChoice::Simulated,
                ..Default::default()
            },
        };
        let engine = Engine::open(settings, Clock::System).await.unwrap();
        let first = engine
            .bootstrap(&BootstrapOptions::default())
            .await
            .unwrap()
            .unwrap();
        let app = api::router(api::ApiState::new(engine.clone()));
        Self {
            _dir: dir,
            engine,
            app,
            first,
        }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response: Response<Body> = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request(Method::GET, path, headers, "", "127.0.0.1:5"))
            .await
    }

    async fn post(&self, path: &str, form: &str) -> Answer {
        self.send(request(Method::POST, path, &[], form, "127.0.0.1:5"))
            .await
    }

    fn client_form(&self, more: &str) -> String {
        format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&{more}",
            self.first.client_id, self.first.client_secret
        )
    }

    async fn user(&self) {
        let new = NewPrincipal {
            kind: PrincipalKind::User,
            name: "ada".to_owned(),
            tenant: None,
            secret: Some("correct horse".to_owned().into()),
        };
        let made = self.engine.create_principal(new).await.unwrap().principal;
        self.engine
            .grant_role(&made.object_id, "Reader", "/")
            .await
            .unwrap();
    }
}

fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
    peer: &str,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", HOST);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let peer: SocketAddr = peer.parse().unwrap();
    request
        .extension(ConnectInfo(peer))
        .body(Body::from(body.to_owned()))
        .unwrap()
}

#[tokio::test]
async fn a_token_of_each_endpoint_opens_the_resource_manager() {
    let world = World::new().await;
    let tenant = &world.first.tenant_id;
    let scope = "scope=https%3A%2F%2Flocalhost%3A8443%2F%2F.default&client_info=1";
    for (path, form) in [
        (
            format!("/{tenant}/oauth2/v2.0/token?client-request-id=x"),
            world.client_form(scope),
        ),
        (
            "/organizations/oauth2/v2.0/token".to_owned(),
            world.client_form(scope),
        ),
        (
            format!("/{tenant}/oauth2/token"),
            world.client_form("resource=https://localhost:8443/"),
        ),
        ("/adfs/oauth2/token".to_owned(), world.client_form(scope)),
        (
            "/adfs/oauth2/token".to_owned(),
            world.client_form("resource=https://management.azure.com/"),
        ),
    ] {
        let given = world.post(&path, &form).await;
        assert_eq!(given.status, StatusCode::OK, "{path} {}", given.text);
        assert!(
            given.headers["cache-control"]
                .to_str()
                .unwrap()
                .contains("no-store")
        );
        let given = given.json();
        assert_eq!(given["token_type"], json!("Bearer"));
        let is_text = path.ends_with("/oauth2/token") && !path.starts_with("/adfs");
        assert_eq!(
            given["expires_in"],
            if is_text { json!("3599") } else { json!(3599) },
            "{path}"
        );
        let bearer = format!("Bearer {}", given["access_token"].as_str().unwrap());
        let seen = world
            .get(
                "/subscriptions?api-version=2022-12-01",
                &[("authorization", &bearer)],
            )
            .await;
        assert_eq!(seen.status, StatusCode::OK, "{}", seen.text);
        assert_eq!(
            seen.json()["value"][0]["subscriptionId"],
            json!(world.first.subscription_id)
        );
    }
}

#[tokio::test]
async fn refusals_have_the_form_and_the_numbers_that_clients_know() {
    let world = World::new().await;
    let tenant = world.first.tenant_id.clone();
    let id = world.first.client_id.clone();
    let path = format!("/{tenant}/oauth2/v2.0/token");
    let scope = "scope=https://localhost:8443/.default";
    for (path, form, status, error, code) in [
        (
            path.as_str(),
            format!("grant_type=client_credentials&client_id={id}&client_secret=no&{scope}"),
            401,
            "invalid_client",
            7_000_215,
        ),
        (
            &path,
            format!("grant_type=client_credentials&client_id={id}&{scope}"),
            401,
            "invalid_client",
            7_000_216,
        ),
        (
            &path,
            format!("client_id={id}&{scope}"),
            400,
            "invalid_request",
            900_144,
        ),
        (
            &path,
            format!("grant_type=password&client_id={CLI}&username=a&password=b&{scope}"),
            400,
            "invalid_grant",
            50126,
        ),
        (
            &path,
            format!("grant_type=magic&client_id={id}"),
            400,
            "unsupported_grant_type",
            70003,
        ),
        (
            &path,
            format!("client_id={id}&client_id=other"),
            400,
            "invalid_request",
            90014,
        ),
        (
            &path,
            world.client_form("scope=https://evil.test/.default"),
            400,
            "invalid_resource",
            500_011,
        ),
        (
            "/nowhere/oauth2/v2.0/token",
            world.client_form(scope),
            400,
            "invalid_request",
            90002,
        ),
    ] {
        let refused = world.post(path, &form).await;
        assert_eq!(refused.status.as_u16(), status, "{form}");
        let body = refused.json();
        assert_eq!(
            (&body["error"], &body["error_codes"]),
            (&json!(error), &json!([code])),
            "{form}"
        );
        assert!(
            body["error_description"]
                .as_str()
                .unwrap()
                .starts_with(&format!("AADSTS{code}: "))
        );
        for member in ["timestamp", "trace_id", "correlation_id"] {
            assert!(body[member].is_string(), "{member}");
        }
        assert!(
            !refused.text.contains("client_secret=")
                && !refused.text.contains(&world.first.client_secret)
        );
    }
}

#[tokio::test]
async fn http_basic_carries_a_client_secret() {
    use base64::Engine as _;
    let world = World::new().await;
    let pair = format!("{}:{}", world.first.client_id, world.first.client_secret);
    let basic = format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    );
    let form = "grant_type=client_credentials&scope=https://localhost:8443/.default";
    let headers = [("authorization", basic.as_str())];
    let path = format!("/{}/oauth2/v2.0/token", world.first.tenant_id);
    let given = world
        .send(request(Method::POST, &path, &headers, form, "127.0.0.1:5"))
        .await;
    assert_eq!(given.status, StatusCode::OK, "{}", given.text);
}

#[tokio::test]
async fn metadata_has_the_shape_of_each_api_version_and_the_host_of_the_client() {
    let world = World::new().await;
    let at = |version: &str| format!("/metadata/endpoints?api-version={version}");
    let host = [("host", "Gallery.test:9443")];
    let one = world.get(&at("2022-09-01"), &host).await.json();
    assert_eq!(one["resourceManager"], json!("https://Gallery.test:9443/"));
    assert_eq!(
        one["authentication"]["audiences"][0],
        json!("https://Gallery.test:9443/")
    );
    assert_eq!(one["authentication"]["identityProvider"], json!("AAD"));
    assert_eq!(one["suffixes"]["storage"], json!("Gallery.test:9443"));
    for member in ["name", "microsoftGraphResourceId"] {
        assert!(one[member].is_string(), "{member}");
    }
    for version in ["2019-05-01", "2020-06-01"] {
        assert_eq!(
            world.get(&at(version), &host).await.json(),
            json!([one]),
            "{version}"
        );
    }
    for version in ["1.0", "2015-01-01"] {
        let small = world.get(&at(version), &host).await.json();
        assert_eq!(
            small["galleryEndpoint"],
            json!("https://Gallery.test:9443/"),
            "{version}"
        );
        assert_eq!(
            small["authentication"]["loginEndpoint"],
            json!("https://Gallery.test:9443/")
        );
    }
    assert_eq!(world.get(&at("2030-01-01"), &host).await.json(), one);
}

#[tokio::test]
async fn discovery_names_endpoints_of_the_same_host_and_keys_that_verify() {
    let world = World::new().await;
    let tenant = world.first.tenant_id.clone();
    for (path, token) in [
        (
            format!("/{tenant}/v2.0"),
            format!("/{tenant}/oauth2/v2.0/token"),
        ),
        (
            "/organizations/v2.0".to_owned(),
            "/organizations/oauth2/v2.0/token".to_owned(),
        ),
        (
            "/vitrine.local/v2.0".to_owned(),
            format!("/{tenant}/oauth2/v2.0/token"),
        ),
        (format!("/{tenant}"), format!("/{tenant}/oauth2/token")),
        ("/adfs".to_owned(), "/adfs/oauth2/token".to_owned()),
    ] {
        let found = world
            .get(&format!("{path}/.well-known/openid-configuration"), &[])
            .await
            .json();
        assert_eq!(
            found["token_endpoint"],
            json!(format!("https://{HOST}{token}")),
            "{path}"
        );
        let keys = found["jwks_uri"]
            .as_str()
            .unwrap()
            .strip_prefix(&format!("https://{HOST}"))
            .unwrap()
            .to_owned();
        let keys = world.get(&keys, &[]).await.json();
        assert_eq!(keys["keys"][0]["alg"], json!("ES256"));
        assert!(keys["keys"][0].get("d").is_none());
    }
    let unknown = world
        .get("/nowhere.test/v2.0/.well-known/openid-configuration", &[])
        .await;
    assert_eq!(
        (unknown.status, &unknown.json()["error"]),
        (StatusCode::BAD_REQUEST, &json!("invalid_tenant"))
    );
    let realm = world
        .get("/common/userrealm/ada@vitrine.local?api-version=1.0", &[])
        .await
        .json();
    assert_eq!(realm["account_type"], json!("Managed"));
    let instance = world
        .get("/common/discovery/instance?api-version=1.1", &[])
        .await
        .json();
    assert_eq!(instance["metadata"][0]["preferred_network"], json!(HOST));
}

#[tokio::test]
async fn a_person_signs_in_on_the_page_for_a_program_that_polls() {
    let world = World::new().await;
    world.user().await;
    let scope = "scope=https://localhost:8443//.default+offline_access+openid+profile";
    let started = world
        .post(
            "/organizations/oauth2/v2.0/devicecode",
            &format!("client_id={CLI}&{scope}"),
        )
        .await
        .json();
    let (user_code, device_code) = (
        started["user_code"].as_str().unwrap(),
        started["device_code"].as_str().unwrap(),
    );
    assert!(started["message"].as_str().unwrap().contains(user_code));
    assert_eq!(
        started["verification_uri"],
        json!(format!("https://{HOST}/devicelogin"))
    );
    let poll = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:device_code&client_id={CLI}&device_code={device_code}"
    );
    let waiting = world.post("/organizations/oauth2/v2.0/token", &poll).await;
    assert_eq!(
        (waiting.status, &waiting.json()["error"]),
        (StatusCode::BAD_REQUEST, &json!("authorization_pending"))
    );
    let page = world.get("/devicelogin", &[]).await;
    assert!(
        page.headers["content-security-policy"]
            .to_str()
            .unwrap()
            .starts_with("default-src 'none'")
    );
    let wrong = world
        .post(
            "/devicelogin",
            "code=%3Cscript%3E&username=%22%3E%3Cb%3E&password=x",
        )
        .await;
    assert!(wrong.text.contains("role=\"alert\""));
    assert!(
        !wrong.text.contains("<script>") && !wrong.text.contains("<b>"),
        "{}",
        wrong.text
    );
    let form = format!(
        "code={user_code}&username=ada%40vitrine.local&password=correct+horse&answer=sign-in"
    );
    let done = world.post("/devicelogin", &form).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    let given = world
        .post("/organizations/oauth2/v2.0/token", &poll)
        .await
        .json();
    for member in [
        "access_token",
        "refresh_token",
        "id_token",
        "client_info",
        "scope",
    ] {
        assert!(given[member].is_string(), "{member}: {given}");
    }
    let refresh = format!(
        "grant_type=refresh_token&client_id={CLI}&refresh_token={}&{scope}",
        given["refresh_token"].as_str().unwrap()
    );
    let again = world
        .post(
            &format!("/{}/oauth2/v2.0/token", world.first.tenant_id),
            &refresh,
        )
        .await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.text);
    assert_ne!(again.json()["refresh_token"], given["refresh_token"]);
}

#[tokio::test]
async fn local_programs_get_tokens_and_nobody_else_does() {
    let world = World::new().await;
    let secret = world.first.identity_secret.clone();
    let secret = secret.as_str();
    let imds =
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https://localhost:8443/";
    let msi = "/msi/token?api-version=2019-08-01&resource=https://localhost:8443/";
    let (here, away) = ("127.0.0.1:5", "192.0.2.7:5");
    let marked = ("metadata", "true");
    for (path, headers, peer, status) in [
        (imds, vec![marked], here, 200),
        (imds, vec![marked], "[::1]:5", 200),
        (imds, vec![marked], "[::ffff:127.0.0.1]:5", 200),
        (imds, vec![marked, ("host", "127.0.0.1:8443")], here, 200),
        (imds, vec![], here, 400),
        (imds, vec![marked], away, 403),
        (
            imds,
            vec![marked, ("x-forwarded-for", "127.0.0.1")],
            here,
            403,
        ),
        (
            imds,
            vec![marked, ("forwarded", "for=127.0.0.1")],
            here,
            403,
        ),
        (imds, vec![marked, ("host", "evil.test")], here, 403),
        (msi, vec![("x-identity-header", secret)], here, 200),
        (msi, vec![("secret", secret)], here, 200),
        (msi, vec![("secret", "guess")], here, 403),
        (msi, vec![], here, 403),
        (msi, vec![("secret", secret)], away, 403),
        (
            msi,
            vec![("secret", secret), ("x-forwarded-for", "127.0.0.1")],
            here,
            403,
        ),
        (
            "/metadata/identity/oauth2/token?resource=https://evil.test/",
            vec![marked],
            here,
            400,
        ),
        ("/metadata/identity/oauth2/token", vec![marked], here, 400),
    ] {
        let answer = world
            .send(request(Method::GET, path, &headers, "", peer))
            .await;
        assert_eq!(
            answer.status.as_u16(),
            status,
            "{path} {headers:?} {peer}: {}",
            answer.text
        );
        if status == 200 {
            let given = answer.json();
            assert!(given["expires_on"].as_str().unwrap().parse::<i64>().is_ok());
            let caller = world
                .engine
                .authenticate(given["access_token"].as_str().unwrap())
                .await
                .unwrap();
            assert_eq!(json!(caller.app_id), given["client_id"]);
        } else {
            assert!(!answer.text.contains("access_token"));
        }
    }
    let without_peer = Request::get(imds)
        .header("host", HOST)
        .header("metadata", "true")
        .body(Body::empty())
        .unwrap();
    assert_eq!(world.send(without_peer).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn requests_without_a_usable_token_are_refused_in_arms_words() {
    let world = World::new().await;
    let path = "/subscriptions?api-version=2022-12-01";
    for (headers, code) in [
        (vec![], "AuthenticationFailed"),
        (
            vec![("authorization", "Basic eDp5")],
            "AuthenticationFailed",
        ),
        (
            vec![("authorization", "Bearer x.y.z")],
            "InvalidAuthenticationToken",
        ),
    ] {
        let refused = world.get(path, &headers).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        assert_eq!(refused.json()["error"]["code"], json!(code));
        assert!(refused.headers.contains_key("www-authenticate"));
    }
}

#[tokio::test]
async fn who_knows_a_subscription_alone_is_told_where_to_sign_in() {
    let world = World::new().await;
    let of = async |subscription: &str| {
        let path = format!("/subscriptions/{subscription}?api-version=2022-12-01");
        let refused = world.get(&path, &[]).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
        let challenge = refused.headers.get("www-authenticate").unwrap();
        challenge.to_str().unwrap().to_owned()
    };
    let (tenant, rest) = (
        &world.first.tenant_id,
        "error=\"invalid_token\", error_description=\"AuthenticationFailed\"",
    );
    let subscription = world.first.subscription_id.to_ascii_uppercase();
    assert_eq!(
        of(&subscription).await,
        format!("Bearer authorization_uri=\"https://{HOST}/{tenant}\", {rest}")
    );
    let unknown = "00000000-0000-0000-0000-00000000000f";
    assert_eq!(of(unknown).await, format!("Bearer {rest}"));
}
