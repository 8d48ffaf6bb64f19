//! Rate limits: generous, in memory, each node for itself. Source: `API.md` 2.3.
//!
//! On the ARM face a bucket is a principal's. On the blob face a caller (a principal, the keys of an account, one
//! shared access signature, one disk's URL) has a bucket and so has an account, and both have a number of requests
//! that are answered at once; a download counts until its last byte is sent. Where bytes have a pace, bodies wait
//! for it on both ways, and who has far too much waiting is refused.

mod flow;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arm::error::body;
use axum::body::Body;
use axum::http::{Method, StatusCode};
use domain::rate::{Bucket, Level, Pace, Taken};
use domain::{Error, ErrorKind};

use self::flow::FlowLimits;
use crate::reply::Reply;

/// Those whose buckets are remembered; buckets that are full again are forgotten first.
const LEVELS_MAX: usize = 30_000;
/// Who has to wait longer than this for the bytes under way brings no more.
const WAIT_MS_MAX: u64 = 10_000;

/// The paces of all buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of GET and HEAD.
    pub reads: Pace,
    /// Of PUT, PATCH and POST.
    pub writes: Pace,
    /// Of DELETE.
    pub deletes: Pace,
    /// Of the blob face.
    pub blobs: BlobLimits,
}

/// The limits of the blob face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobLimits {
    /// Requests of one caller.
    pub caller: Pace,
    /// Requests to one account, or one disk, whoever sends them.
    pub account: Pace,
    /// MiB of one caller, both ways together.
    pub caller_mib: Pace,
    /// MiB of one account, or one disk, whoever moves them.
    pub account_mib: Pace,
    /// Requests of one caller that are answered at once.
    pub caller_at_once_max: u32,
    /// Requests to one account, or one disk, that are answered at once.
    pub account_at_once_max: u32,
}

impl Default for Limits {
    /// More than any client of people sends, and less than what would starve the others.
    fn default() -> Self {
        let pace = |burst, per_second| Pace { burst, per_second };
        Self {
            reads: pace(60_000, 20_000),
            writes: pace(12_000, 1_000),
            deletes: pace(12_000, 1_000),
            blobs: BlobLimits {
                caller: pace(40_000, 20_000),
                // The service's own target for an account is 20,000 requests a second.
                account: pace(80_000, 40_000),
                // As fast as disks and network are.
                caller_mib: pace(0, 0),
                account_mib: pace(0, 0),
                caller_at_once_max: 1024,
                account_at_once_max: 4096,
            },
        }
    }
}

/// What everybody has left of one kind of bucket.
#[derive(Clone)]
struct Levels {
    pace: Pace,
    levels: Arc<Mutex<HashMap<String, Level>>>,
}

impl Levels {
    fn new(pace: Pace) -> Self {
        Self {
            pace,
            levels: Arc::default(),
        }
    }

    /// Takes a token; `None` where there is no limit.
    fn take(&self, who: &str, now_ms: i64) -> Option<Taken> {
        let pace = self.pace;
        if pace.per_second == 0 {
            return None;
        }
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        if levels.len() >= LEVELS_MAX {
            levels.retain(|_, level| !level.is_full(pace, now_ms));
        }
        let level = levels
            .entry(who.to_owned())
            .or_insert_with(|| Level::full(pace, now_ms));
        Some(level.take(pace, now_ms))
    }
}

/// What everybody has left on the ARM face.
#[derive(Clone)]
pub(crate) struct Limiter {
    reads: Levels,
    writes: Levels,
    deletes: Levels,
}

/// A header that says what is left.
pub(crate) struct Remaining {
    /// Its name.
    pub name: &'static str,
    /// Tokens.
    pub left: u32,
}

impl Limiter {
    pub fn new(limits: Limits) -> Self {
        Self {
            reads: Levels::new(limits.reads),
            writes: Levels::new(limits.writes),
            deletes: Levels::new(limits.deletes),
        }
    }

    /// Takes a token of a principal for a request to a path; without one, returns the answer.
    pub fn take(
        &self,
        principal: &str,
        method: &Method,
        path: &str,
        now_ms: i64,
    ) -> Result<Option<Remaining>, Reply> {
        let bucket = bucket(method);
        let levels = match bucket {
            Bucket::Reads => &self.reads,
            Bucket::Writes => &self.writes,
            Bucket::Deletes => &self.deletes,
        };
        let name = header(bucket, path);
        match levels.take(principal, now_ms) {
            None => Ok(None),
            Some(Taken::Left(left)) => Ok(Some(Remaining { name, left })),
            Some(Taken::WaitSeconds(seconds)) => Err(refusal(bucket, name, seconds)),
        }
    }
}

/// Who is served on the blob face, and what everybody has left there.
#[derive(Clone)]
pub(crate) struct BlobLimiter {
    limits: BlobLimits,
    callers: Levels,
    accounts: Levels,
    flow: FlowLimits,
    /// Requests that are answered now, by caller and by account.
    served: Arc<Mutex<HashMap<String, u32>>>,
}

/// A request that counts as being answered until it is dropped.
pub(crate) struct Served {
    served: Arc<Mutex<HashMap<String, u32>>>,
    flow: FlowLimits,
    keys: [String; 2],
}

impl Served {
    /// Lets a body move no faster than the paces of its caller and account allow.
    pub fn paced(&self, body: Body) -> Body {
        self.flow.paced(&self.keys, body)
    }
}

/// Why a request of the blob face has to wait.
pub(crate) struct Busy {
    /// What is said of it.
    pub message: String,
    /// When it may come again.
    pub seconds: u64,
}

impl BlobLimiter {
    pub fn new(limits: BlobLimits) -> Self {
        Self {
            limits,
            callers: Levels::new(limits.caller),
            accounts: Levels::new(limits.account),
            flow: FlowLimits::new(limits.caller_mib, limits.account_mib),
            served: Arc::default(),
        }
    }

    /// Lets a caller's request to an account, or to a disk, in.
    pub fn admit(&self, caller: &str, account: &str, now_ms: i64) -> Result<Served, Busy> {
        for (levels, who, whose) in [
            (&self.callers, caller, "caller"),
            (&self.accounts, account, "account"),
        ] {
            if let Some(Taken::WaitSeconds(seconds)) = levels.take(who, now_ms) {
                return Err(busy("Operations per second", whose, seconds));
            }
        }
        let keys = [format!("caller {caller}"), format!("account {account}")];
        let wait_ms = self.flow.take([&keys[0], &keys[1]], 0);
        if wait_ms > WAIT_MS_MAX {
            let seconds = wait_ms.div_ceil(1000);
            return Err(busy("Ingress and egress", "account or caller", seconds));
        }
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let most = [
            (self.limits.caller_at_once_max, "caller"),
            (self.limits.account_at_once_max, "account"),
        ];
        for (key, (most, whose)) in keys.iter().zip(most) {
            if served.get(key).copied().unwrap_or(0) >= most {
                return Err(busy("Operations at once", whose, 1));
            }
        }
        for key in &keys {
            *served.entry(key.clone()).or_default() += 1;
        }
        drop(served);
        Ok(Served {
            served: self.served.clone(),
            flow: self.flow.clone(),
            keys,
        })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.keys {
            if let Some(count) = served.get_mut(key) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    served.remove(key);
                }
            }
        }
    }
}

fn busy(what: &str, whose: &str, seconds: u64) -> Busy {
    Busy {
        message: format!(
            "{what} is over the {whose} limit. Please try again after {seconds} second(s); the operator of this gallery \
             sets the limits."
        ),
        seconds,
    }
}

fn bucket(method: &Method) -> Bucket {
    match *method {
        Method::GET | Method::HEAD => Bucket::Reads,
        Method::DELETE => Bucket::Deletes,
        _ => Bucket::Writes,
    }
}

fn header(bucket: Bucket, path: &str) -> &'static str {
    let is_subscription = domain::scope::subscription_in(path).is_some();
    match (bucket, is_subscription) {
        (Bucket::Reads, true) => "x-ms-ratelimit-remaining-subscription-reads",
        (Bucket::Writes, true) => "x-ms-ratelimit-remaining-subscription-writes",
        (Bucket::Deletes, true) => "x-ms-ratelimit-remaining-subscription-deletes",
        (Bucket::Reads, false) => "x-ms-ratelimit-remaining-tenant-reads",
        (Bucket::Writes, false) => "x-ms-ratelimit-remaining-tenant-writes",
        (Bucket::Deletes, false) => "x-ms-ratelimit-remaining-tenant-deletes",
    }
}

fn refusal(bucket: Bucket, name: &'static str, seconds: u64) -> Reply {
    let error = Error::new(
        ErrorKind::TooManyRequests,
        "TooManyRequests",
        format!(
            "The number of {} of this principal is over its limit. Please try again after {seconds} second(s); the operator of \
             this gallery sets the limits.",
            bucket.as_str()
        ),
    );
    Reply::json(StatusCode::TOO_MANY_REQUESTS, body(&error))
        .header("retry-after", seconds.to_string())
        .header(name, "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_bucket_of_each_kind() {
        let pace = |burst| Pace {
            burst,
            per_second: 1,
        };
        let limiter = Limiter::new(Limits {
            reads: pace(2),
            writes: pace(1),
            deletes: Pace {
                burst: 0,
                per_second: 0,
            },
            ..Limits::default()
        });
        let (sub, tenants) = ("/subscriptions/s/resourceGroups", "/tenants");
        let ask = |who: &str, method: Method, path: &str, now_ms| match limiter
            .take(who, &method, path, now_ms)
        {
            Ok(Some(remaining)) => (remaining.name, Some(remaining.left)),
            Ok(None) => ("", None),
            Err(reply) => {
                assert_eq!(reply.status, StatusCode::TOO_MANY_REQUESTS);
                assert_eq!(reply.headers[0], ("retry-after", "1".to_owned()));
                assert_eq!(reply.headers[1].1, "0");
                (reply.headers[1].0, None)
            }
        };
        const READS: &str = "x-ms-ratelimit-remaining-subscription-reads";
        for (who, method, path, now_ms, expected) in [
            ("a", Method::GET, sub, 0, (READS, Some(1))),
            (
                "a",
                Method::HEAD,
                tenants,
                0,
                ("x-ms-ratelimit-remaining-tenant-reads", Some(0)),
            ),
            ("a", Method::GET, sub, 0, (READS, None)),
            ("b", Method::GET, sub, 0, (READS, Some(1))),
            (
                "a",
                Method::PUT,
                sub,
                0,
                ("x-ms-ratelimit-remaining-subscription-writes", Some(0)),
            ),
            (
                "a",
                Method::POST,
                sub,
                0,
                ("x-ms-ratelimit-remaining-subscription-writes", None),
            ),
            ("a", Method::GET, sub, 1000, (READS, Some(0))),
            // No pace, no limit.
            ("a", Method::DELETE, sub, 0, ("", None)),
        ] {
            assert_eq!(
                ask(who, method.clone(), path, now_ms),
                expected,
                "{who} {method} {now_ms}"
            );
        }
    }

    #[test]
    fn callers_and_accounts_have_buckets_and_places_that_come_back() {
        let none = Pace {
            burst: 0,
            per_second: 0,
        };
        let pace = |burst| Pace {
            burst,
            per_second: 1,
        };
        let limits = BlobLimits {
            caller: pace(2),
            account: pace(3),
            caller_mib: none,
            account_mib: none,
            caller_at_once_max: 9,
            account_at_once_max: 9,
        };
        let limiter = BlobLimiter::new(limits);
        let ask = |caller: &str, account: &str, now_ms| match limiter.admit(caller, account, now_ms)
        {
            Ok(_) => String::new(),
            Err(busy) => {
                assert_eq!(busy.seconds, 1);
                busy.message
            }
        };
        for (caller, account, now_ms, refusal) in [
            ("a", "x", 0, ""),
            ("a", "y", 0, ""),
            (
                "a",
                "z",
                0,
                "Operations per second is over the caller limit.",
            ),
            ("b", "x", 0, ""),
            ("b", "x", 0, ""),
            (
                "c",
                "x",
                0,
                "Operations per second is over the account limit.",
            ),
            ("a", "x", 1000, ""),
        ] {
            let said = ask(caller, account, now_ms);
            assert!(said.starts_with(refusal), "{caller} {account} {said}");
            assert_eq!(
                said.is_empty(),
                refusal.is_empty(),
                "{caller} {account} {said}"
            );
        }
        let limiter = BlobLimiter::new(BlobLimits {
            caller: none,
            account: none,
            caller_mib: none,
            account_mib: none,
            caller_at_once_max: 1,
            account_at_once_max: 2,
        });
        let first = limiter.admit("a", "x", 0).ok().unwrap();
        assert!(
            limiter.admit("a", "y", 0).is_err(),
            "the caller's place is taken"
        );
        let _second = limiter.admit("b", "x", 0).ok().unwrap();
        assert!(
            limiter.admit("c", "x", 0).is_err(),
            "the account's places are taken"
        );
        drop(first);
        assert!(limiter.admit("c", "x", 0).is_ok());
        assert_eq!(
            limiter.served.lock().unwrap().len(),
            2,
            "who left is forgotten"
        );
    }

    #[test]
    fn who_has_far_too_much_under_way_brings_no_more() {
        let none = Pace {
            burst: 0,
            per_second: 0,
        };
        let pace = |per_second| Pace {
            burst: 1,
            per_second,
        };
        let limiter = BlobLimiter::new(BlobLimits {
            caller: none,
            account: none,
            caller_mib: pace(1),
            account_mib: pace(2),
            caller_at_once_max: 9,
            account_at_once_max: 9,
        });
        let admit = |caller: &str, account: &str| {
            let admitted = limiter.admit(caller, account, 0);
            admitted.err().map_or(0, |busy| busy.seconds)
        };
        let move_mib = |caller: &str, account: &str, mib: u64| {
            let keys = [format!("caller {caller}"), format!("account {account}")];
            limiter.flow.take([&keys[0], &keys[1]], mib << 20)
        };
        move_mib("a", "x", 8);
        assert_eq!(admit("a", "x"), 0, "it waits for seven seconds");
        move_mib("a", "x", 8);
        assert!((14..=15).contains(&admit("a", "x")));
        assert!((14..=15).contains(&admit("a", "y")), "wherever it goes");
        assert_eq!(admit("b", "x"), 0, "the account is not far behind");
        move_mib("b", "x", 9);
        assert!((11..=12).contains(&admit("c", "x")));
        assert_eq!(admit("c", "y"), 0);
    }
}
