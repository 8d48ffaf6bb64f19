//! The server: TLS listener, workers, maintenance, orderly shutdown.

#![expect(
    clippy::disallowed_methods,
    reason = "every task is waited for before the server ends"
)]

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use engine::Engine;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::connections::{ConnectionLimits, Door};
use crate::data_dir::DataDir;
use crate::tls;

/// Workers of one node: long copies must not hold up short writes.
const WORKERS: usize = 8;
/// How long a start waits for stores to open.
const OPENING: Duration = Duration::from_secs(10);
/// How long open requests may take to finish when the server stops.
const DRAIN: Duration = Duration::from_secs(10);

/// What a server takes from its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerLimits {
    /// Requests of each principal.
    pub rates: api::Limits,
    /// Connections.
    pub connections: ConnectionLimits,
}

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
    limits: ServerLimits,
    ready: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // An object store that does not answer is asked again by who needs it; nobody waits for it here.
    let opening = tokio::task::spawn({
        let engine = engine.clone();
        async move { engine.open_stores().await }
    });
    let mut opening = AbortOnDrop(opening);
    let opened = tokio::time::timeout(OPENING, &mut opening.0).await;
    if opened.is_err() {
        tracing::warn!("not every store is open yet; the server begins without");
    }
    let tls = RustlsConfig::from_config(tls::server_config(data.path())?);
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
    let app = api::router(api::ApiState::with_limits(engine, limits.rates));
    let connections = limits.connections;
    let acceptor = RustlsAcceptor::new(tls)
        .handshake_timeout(connections.header_limit)
        .acceptor(Door::new(connections));
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(acceptor)
        .first_request_timeout(connections.header_limit)
        .handle(handle);
    let builder = server.http_builder();
    builder
        .http1()
        .header_read_timeout(connections.header_limit)
        .max_buf_size(connections.header_bytes_max);
    builder
        .http2()
        .max_header_list_size(u32::try_from(connections.header_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(connections.streams_max)
        .keep_alive_interval(connections.header_limit);
    let server = server.serve(app.into_make_service_with_connect_info::<SocketAddr>());
    ready()?;
    server.await?;
    stop.cancel();
    stopping.abort();
    workers.await?;
    maintenance.await?;
    care.await?;
    Ok(())
}

/// A task that ends with its holder.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
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
