//! Paces of bytes: bodies wait for them on both ways.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use domain::rate::{Flow, Pace};
use futures::StreamExt as _;

use super::LEVELS_MAX;

/// What everybody may still move, of callers or of accounts.
#[derive(Clone)]
struct Flows {
    pace: Pace,
    flows: Arc<Mutex<HashMap<String, Flow>>>,
}

impl Flows {
    fn new(pace: Pace) -> Self {
        Self {
            pace,
            flows: Arc::default(),
        }
    }

    /// Takes bytes; returns after how many milliseconds the next ones may move.
    fn take(&self, who: &str, bytes: u64, now_ms: i64) -> u64 {
        let pace = self.pace;
        if pace.per_second == 0 {
            return 0;
        }
        let mut flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        if flows.len() >= LEVELS_MAX {
            flows.retain(|_, flow| !flow.is_full(pace, now_ms));
        }
        flows
            .entry(who.to_owned())
            .or_insert_with(|| Flow::full(pace, now_ms))
            .take(pace, bytes, now_ms)
    }
}

/// The paces of bytes of callers and accounts; a clock that jumps does not matter to them.
#[derive(Clone)]
pub(super) struct FlowLimits {
    callers: Flows,
    accounts: Flows,
    since: Instant,
}

impl FlowLimits {
    /// Returns full buckets; paces are in MiB.
    pub fn new(caller_mib: Pace, account_mib: Pace) -> Self {
        Self {
            callers: Flows::new(caller_mib),
            accounts: Flows::new(account_mib),
            since: Instant::now(),
        }
    }

    /// Takes bytes of both; returns after how many milliseconds the next ones may move.
    pub fn take(&self, [caller, account]: [&str; 2], bytes: u64) -> u64 {
        let now_ms = i64::try_from(self.since.elapsed().as_millis()).unwrap_or(i64::MAX);
        let wait_ms = self.callers.take(caller, bytes, now_ms);
        wait_ms.max(self.accounts.take(account, bytes, now_ms))
    }

    /// Lets a body move no faster than the paces of a caller and an account allow.
    pub fn paced(&self, keys: &[String; 2], body: Body) -> Body {
        if self.callers.pace.per_second == 0 && self.accounts.pace.per_second == 0 {
            return body;
        }
        let (flow, keys) = (self.clone(), Arc::new(keys.clone()));
        let pieces = body.into_data_stream().then(move |piece| {
            let (flow, keys) = (flow.clone(), keys.clone());
            async move {
                if let Ok(bytes) = &piece {
                    let wait_ms = flow.take([&keys[0], &keys[1]], bytes.len() as u64);
                    if wait_ms > 0 {
                        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                    }
                }
                piece
            }
        });
        Body::from_stream(pieces)
    }
}
