//! Rate limits per principal: generous, in memory, each node for itself. Source: `API.md` 2.3.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arm::error::body;
use axum::http::{Method, StatusCode};
use domain::rate::{Bucket, Level, Pace, Taken};
use domain::{Error, ErrorKind};

use crate::reply::Reply;

/// Principals whose buckets are remembered; buckets that are full again are forgotten first.
const LEVELS_MAX: usize = 30_000;

/// The paces of all buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of GET and HEAD.
    pub reads: Pace,
    /// Of PUT, PATCH and POST.
    pub writes: Pace,
    /// Of DELETE.
    pub deletes: Pace,
}

impl Default for Limits {
    /// More than any client of people sends, and less than what would starve the others.
    fn default() -> Self {
        let pace = |burst, per_second| Pace { burst, per_second };
        Self {
            reads: pace(60_000, 20_000),
            writes: pace(12_000, 1_000),
            deletes: pace(12_000, 1_000),
        }
    }
}

/// What everybody has left.
#[derive(Clone)]
pub(crate) struct Limiter {
    limits: Limits,
    levels: Arc<Mutex<HashMap<(String, Bucket), Level>>>,
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
            limits,
            levels: Arc::default(),
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
        let pace = self.pace(bucket);
        if pace.per_second == 0 {
            return Ok(None);
        }
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        if levels.len() >= LEVELS_MAX {
            levels.retain(|(_, bucket), level| !level.is_full(self.pace(*bucket), now_ms));
        }
        let level = levels
            .entry((principal.to_owned(), bucket))
            .or_insert_with(|| Level::full(pace, now_ms));
        let name = header(bucket, path);
        match level.take(pace, now_ms) {
            Taken::Left(left) => Ok(Some(Remaining { name, left })),
            Taken::WaitSeconds(seconds) => Err(refusal(bucket, name, seconds)),
        }
    }

    fn pace(&self, bucket: Bucket) -> Pace {
        match bucket {
            Bucket::Reads => self.limits.reads,
            Bucket::Writes => self.limits.writes,
            Bucket::Deletes => self.limits.deletes,
        }
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
}
