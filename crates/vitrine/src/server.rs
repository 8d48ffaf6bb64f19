//! The server: TLS listener, workers, maintenance, orderly shutdown.

#![expect(
    clippy::disallowed_methods,
    reason = "every task is waited for before the server ends"
)]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use engine::Engine;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::data_dir::DataDir;
use crate::tls;

/// Workers of one node: long copies must not hold up short writes.
const WORKERS: usize = 8;
/// How long open requests may take to finish when the server stops.
const DRAIN: Duration = Duration::from_secs(10);

/// Binds the port first, so that its number can go into the credentials.
pub async fn bind(listen: &str) -> anyhow::Result<(std::net::TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}: is another gallery running?"))?;
    let address = listener.local_addr()?;
    Ok((listener.into_std()?, address))
}

/// Serves until SIGINT or SIGTERM; calls `ready` when requests are answered.
pub async fn serve(
    data: &DataDir,
    engine: Engine,
    listener: std::net::TcpListener,
    ready: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    engine.open_stores().await;
    let config = tls::server_config(data.path())?;
    let stop = CancellationToken::new();
    let signals = StopSignals::catch()?;
    let workers = tokio::task::spawn({
        let (engine, stop) = (engine.clone(), stop.clone());
        async move {
            engine.adopt_machines().await;
            engine.run_workers(WORKERS, stop).await;
        }
    });
    let maintenance = tokio::task::spawn({
        let (engine, stop) = (engine.clone(), stop.clone());
        async move { engine.run_maintenance(stop).await }
    });
    let care = tokio::task::spawn({
        let (engine, stop) = (engine.clone(), stop.clone());
        async move { engine.run_care(stop).await }
    });
    let handle = Handle::new();
    let stopping = tokio::task::spawn({
        let (handle, stop) = (handle.clone(), stop.clone());
        async move {
            signals.received().await;
            tracing::info!("stopping: finishing what is open");
            stop.cancel();
            handle.graceful_shutdown(Some(DRAIN));
        }
    });
    let app = api::router(api::ApiState::new(engine));
    let server = axum_server::from_tcp_rustls(listener, RustlsConfig::from_config(config))?
        .handle(handle)
        .serve(app.into_make_service_with_connect_info::<SocketAddr>());
    ready()?;
    server.await?;
    stop.cancel();
    stopping.abort();
    workers.await?;
    maintenance.await?;
    care.await?;
    Ok(())
}

/// The signals that stop the server; caught from here on, so that none comes too early.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn catch() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn received(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
