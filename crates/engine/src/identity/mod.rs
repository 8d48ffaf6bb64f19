//! Who signs in: tenants, principals, secrets, tokens.
//!
//! A client proves who it is ([`grants`]), gets a token that this installation signed ([`tokens`]),
//! and shows it with every request ([`authenticate`]). What a token says about rights is nothing:
//! a change of the principal's row or role assignments counts at most [`PRINCIPAL_FRESH_MS`] later.

mod accounts;
mod assertion;
mod audience;
mod authenticate;
mod bootstrap;
mod certificate;
mod client;
mod device;
mod error;
mod external;
mod grants;
mod groups;
mod held_roles;
mod keys;
mod local;
mod operator;
mod principals;
mod refresh;
mod secrets;
mod throttle;
mod tokens;
mod user;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OnceCell, Semaphore};

pub(crate) use accounts::no_subscription;
pub use accounts::{NewSubscription, NewTenant};
pub use audience::{Asked, AudienceClass, SCOPE_BYTES_MAX, is_loopback};
pub use bootstrap::{BootstrapOptions, Bootstrapped};
pub use catalog::{
    ExternalSubject, Principal, PrincipalKind, RoleAssignment, Subscription, Tenant,
};
pub use device::DeviceFlow;
pub use error::{SignInError, SignInResult};
pub use external::{Fetch, Fetched, KEYS_FRESH_MS, KEYS_KEPT_MS, Provider, REFETCH_MS};
pub use grants::{Grant, Issued, TokenRequest};
pub use local::{LocalIdentity, LocalRequest};
pub(crate) use operator::Change;
pub use principals::{Created, NewPrincipal};
pub use secrecy::SecretString;

use authenticate::Standing;
pub(crate) use authenticate::with_groups;

/// How long a node acts on what it has read about a principal or a subscription.
pub(crate) const PRINCIPAL_FRESH_MS: i64 = 1000;
/// Entries of each cache.
const CACHE_ITEMS_MAX: usize = 10_000;

/// What a node remembers about sign-in; all of it can be lost.
pub(crate) struct State {
    keyring: Mutex<Option<Arc<keys::Keyring>>>,
    reread_ms: Mutex<i64>,
    tokens: Mutex<HashMap<[u8; 32], Arc<tokens::Claims>>>,
    standings: Mutex<HashMap<String, Arc<Standing>>>,
    /// When the catalog's number of everybody's rights was read, and what it was.
    rights: Mutex<Option<(i64, i64)>>,
    subscriptions: Mutex<HashMap<String, (i64, catalog::Subscription)>>,
    /// Counts what was forgotten about principals.
    generation: AtomicU64,
    failures: Mutex<HashMap<String, throttle::Failures>>,
    hashing: Semaphore,
    issuer: OnceCell<String>,
    external: external::State,
}

impl Default for State {
    fn default() -> Self {
        Self {
            keyring: Mutex::default(),
            reread_ms: Mutex::new(i64::MIN),
            tokens: Mutex::default(),
            standings: Mutex::default(),
            rights: Mutex::default(),
            subscriptions: Mutex::default(),
            generation: AtomicU64::new(0),
            failures: Mutex::default(),
            hashing: Semaphore::new(secrets::HASHES_AT_ONCE),
            issuer: OnceCell::new(),
            external: external::State::default(),
        }
    }
}

/// Locks a cache; a panic elsewhere left it whole, because entries are put in one step.
fn lock<T>(cache: &Mutex<T>) -> MutexGuard<'_, T> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether something read at `read_ms` may still be used; a clock that went back makes it stale.
fn is_fresh(read_ms: i64, now_ms: i64, fresh_ms: i64) -> bool {
    (0..fresh_ms).contains(&now_ms.saturating_sub(read_ms))
}

/// Puts an entry into a cache and keeps the cache within its limit.
fn remember<K: Eq + std::hash::Hash, V>(cache: &Mutex<HashMap<K, V>>, key: K, value: V) {
    let mut cache = lock(cache);
    if cache.len() >= CACHE_ITEMS_MAX {
        cache.clear();
    }
    cache.insert(key, value);
}
