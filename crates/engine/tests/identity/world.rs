//! A gallery for tests of sign-in: its own catalog, a clock that is turned by hand.

use std::path::Path;

use engine::identity::{
    Asked, BootstrapOptions, Bootstrapped, Grant, Issued, SignInResult, TokenRequest,
};
use engine::{Clock, Engine, RegionSettings, Settings};
use serde_json::Value;

pub const BASE: &str = "https://localhost:8443";
pub const ARM: &str = "https://localhost:8443//.default";
pub const CLI: &str = "04b07795-8ddb-461a-bbee-02f9e1bf7b46";
pub const START_MS: i64 = 1_800_000_000_000;

pub struct World {
    pub dir: tempfile::TempDir,
    pub clock: Clock,
    pub engine: Engine,
    pub first: Bootstrapped,
}

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(START_MS);
        let engine = open(dir.path(), &clock).await;
        let first = engine
            .bootstrap(&BootstrapOptions::default())
            .await
            .unwrap()
            .unwrap();
        Self {
            dir,
            clock,
            engine,
            first,
        }
    }

    /// Another node over the same catalog and clock.
    pub async fn other_node(&self) -> Engine {
        open(self.dir.path(), &self.clock).await
    }

    pub async fn ask(&self, scope: &str, client_id: &str, grant: Grant) -> SignInResult<Issued> {
        self.ask_at(&self.first.tenant_id, scope, client_id, grant)
            .await
    }

    pub async fn ask_at(
        &self,
        tenant: &str,
        scope: &str,
        client_id: &str,
        grant: Grant,
    ) -> SignInResult<Issued> {
        self.engine
            .issue(TokenRequest {
                tenant: tenant.to_owned(),
                base_url: BASE.to_owned(),
                client_id: client_id.to_owned(),
                asked: Asked::from_scope(scope),
                grant,
            })
            .await
    }

    /// The first program's token for an audience.
    pub async fn token_for(&self, scope: &str) -> String {
        let secret = Grant::ClientSecret(self.first.client_secret.clone().into());
        self.ask(scope, &self.first.client_id, secret)
            .await
            .unwrap()
            .access_token
    }

    pub async fn token(&self) -> String {
        self.token_for(ARM).await
    }
}

pub async fn open(dir: &Path, clock: &Clock) -> Engine {
    let settings = Settings {
        data: dir.to_owned(),
        database: format!("sqlite:{}?mode=rwc", dir.join("catalog.db").display()),
        regions: vec![RegionSettings {
            region: domain::region::known("eastus"),
            store: engine::Location::Directory(dir.join("eastus")),
        }],
        machines: engine::MachineSettings {
            driver: engine::DriverChoice::Simulated,
            ..Default::default()
        },
    };
    Engine::open(settings, clock.clone()).await.unwrap()
}

/// What a token says, without looking at its signature.
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

pub fn part(token: &str, index: usize) -> Value {
    use base64::Engine as _;
    let text = token.split('.').nth(index).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}
