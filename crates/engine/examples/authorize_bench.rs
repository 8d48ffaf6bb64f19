//! What authorization costs a request while the catalog holds 10,000 role assignments.
//!
//! `authorize_bench [SECONDS]`: three callers, each asked for as long, on SQLite in a temporary
//! directory with the system's clock, so that reading roles again every second is in the numbers.

use std::time::{Duration, Instant};

use catalog::RoleAssignment;
use engine::identity::{
    Asked, BootstrapOptions, Bootstrapped, Grant, NewPrincipal, NewSubscription, PrincipalKind,
    TokenRequest,
};
use engine::{Caller, Clock, Ctx, Engine, Location, RegionSettings, Settings};

const ASSIGNMENTS: usize = 10_000;
const ACTION: &str = "Microsoft.Compute/galleries/images/versions/read";
const BASE: &str = "https://localhost:8443";

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(5), |text| text.parse())?;
    let limit = Duration::from_secs(seconds);
    let dir = tempfile::tempdir()?;
    let engine = open(dir.path()).await?;
    let first = engine
        .bootstrap(&BootstrapOptions::default())
        .await?
        .ok_or("the directory is not empty")?;
    let few = caller(&engine, &first, "few").await?;
    let many = caller(&engine, &first, "many").await?;
    let member = caller(&engine, &first, "member").await?;
    let group = NewPrincipal {
        kind: PrincipalKind::Group,
        name: "team".to_owned(),
        tenant: None,
        secret: None,
    };
    let group = engine.create_principal(group).await?.principal.object_id;
    engine.add_member(&group, &member.0.object_id).await?;
    for (who, count) in [
        (&few.0.object_id, 10),
        (&many.0.object_id, ASSIGNMENTS),
        (&group, ASSIGNMENTS),
    ] {
        assign(&engine, &first, who, count).await?;
    }
    another_subscription(&engine).await?;
    println!(
        "caller                      what          requests   mean us    p50 us    p99 us    max us"
    );
    for (name, (caller, token)) in [
        ("10 of 20,010 assignments", &few),
        ("10,000 of his own", &many),
        ("10,000 through a group", &member),
    ] {
        let ctx = Ctx {
            caller: caller.clone(),
            auxiliary: Vec::new(),
            api_version: String::new(),
            base_url: BASE.to_owned(),
            client: String::new(),
            correlation_id: uuid::Uuid::nil(),
        };
        let scope = |number: usize| {
            format!(
                "/subscriptions/{}/resourceGroups/group{number}/providers/Microsoft.Compute/galleries/g/images/d/versions/1.0.0",
                first.subscription_id
            )
        };
        let (held, foreign) = (scope(5), scope(ASSIGNMENTS + 5));
        measure(name, "allowed", limit, async || {
            engine.authorize(&ctx, ACTION, &held).await.is_ok()
        })
        .await?;
        measure(name, "refused", limit, async || {
            engine.authorize(&ctx, ACTION, &foreign).await.is_err()
        })
        .await?;
        measure(name, "with token", limit, async || {
            engine.authenticate(token).await.is_ok()
                && engine.authorize(&ctx, ACTION, &held).await.is_ok()
        })
        .await?;
    }
    Ok(())
}

async fn measure(
    name: &str,
    what: &str,
    limit: Duration,
    ask: impl AsyncFn() -> bool,
) -> Outcome<()> {
    let mut times = Vec::new();
    let started = Instant::now();
    while started.elapsed() < limit {
        let at = Instant::now();
        if !ask().await {
            return Err(format!("{name}, {what}: the answer is wrong").into());
        }
        times.push(at.elapsed());
    }
    times.sort_unstable();
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let total: Duration = times.iter().sum();
    let count = u32::try_from(times.len())?;
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!(
        "{name:27} {what:12} {:9} {:9.2} {:9.2} {:9.2} {:9.0}",
        times.len(),
        us(total / count),
        us(at(50)),
        us(at(99)),
        us(at(100)),
    );
    Ok(())
}

/// Makes a subscription more, so that the first is not the only one that is known.
async fn another_subscription(engine: &Engine) -> Outcome<()> {
    let new = NewSubscription {
        name: "other".to_owned(),
        tenant: None,
        owner: None,
        id: None,
    };
    engine.create_subscription(&new).await?;
    Ok(())
}

async fn open(dir: &std::path::Path) -> Outcome<Engine> {
    let settings = Settings {
        data: dir.to_owned(),
        database: format!("sqlite:{}?mode=rwc", dir.join("catalog.db").display()),
        regions: vec![RegionSettings {
            region: domain::region::known("eastus"),
            store: Location::Directory(dir.join("eastus")),
        }],
        machines: engine::MachineSettings {
            driver: engine::DriverChoice::Simulated,
            ..engine::MachineSettings::default()
        },
    };
    Ok(Engine::open(settings, Clock::System).await?)
}

/// Makes a program and signs it in.
async fn caller(engine: &Engine, first: &Bootstrapped, name: &str) -> Outcome<(Caller, String)> {
    let new = NewPrincipal {
        kind: PrincipalKind::ServicePrincipal,
        name: name.to_owned(),
        tenant: None,
        secret: None,
    };
    let made = engine.create_principal(new).await?;
    let issued = engine
        .issue(TokenRequest {
            tenant: first.tenant_id.clone(),
            base_url: BASE.to_owned(),
            client_id: made.principal.app_id,
            asked: Asked::from_scope(&format!("{BASE}/.default")),
            grant: Grant::ClientSecret(made.secret.ok_or("no secret")?.into()),
        })
        .await
        .map_err(|error| format!("{error:?}"))?;
    let caller = engine.authenticate(&issued.access_token).await?;
    Ok((caller, issued.access_token))
}

/// Gives a principal the right to read in `count` groups.
async fn assign(
    engine: &Engine,
    first: &Bootstrapped,
    principal: &str,
    count: usize,
) -> Outcome<()> {
    let role = domain::role::find("Reader").ok_or("no such role")?;
    let mut tx = engine.catalog().write().await?;
    for number in 0..count {
        let scope = format!(
            "/subscriptions/{}/resourceGroups/group{number}",
            first.subscription_id
        );
        let assignment = RoleAssignment {
            id: uuid::Uuid::new_v4().to_string(),
            scope: scope.to_ascii_lowercase(),
            shown_scope: scope,
            role_definition: role.id.clone(),
            principal: principal.to_owned(),
            principal_type: "ServicePrincipal".to_owned(),
            description: None,
            created_by: String::new(),
            created_ms: 0,
        };
        tx.put_role_assignment(&assignment).await?;
    }
    tx.commit().await?;
    Ok(())
}
