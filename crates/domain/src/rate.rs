//! Rate limits: a bucket of tokens for each principal and kind of request.
//!
//! A request takes one token; tokens come back at a steady pace up to the size of the bucket. Pure: the
//! time comes in as an argument.

/// What a request does; each kind has a bucket of its own. Source: `API.md` 2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bucket {
    /// GET and HEAD.
    Reads,
    /// PUT, PATCH and POST.
    Writes,
    /// DELETE.
    Deletes,
}

/// The size and pace of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Tokens of a full bucket.
    pub burst: u32,
    /// Tokens that come back in a second; none means that there is no limit.
    pub per_second: u32,
}

/// What is left for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// In thousandths of a token.
    millitokens: u64,
    at_ms: i64,
}

/// What a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It may go on; so many tokens are left.
    Left(u32),
    /// It may not; there is a token again after so many seconds.
    WaitSeconds(u64),
}

impl Bucket {
    /// Returns the word in headers and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
            Self::Deletes => "deletes",
        }
    }
}

impl Level {
    /// Returns a full bucket.
    pub fn full(pace: Pace, now_ms: i64) -> Self {
        Self {
            millitokens: u64::from(pace.burst) * 1000,
            at_ms: now_ms,
        }
    }

    /// Whether the bucket has filled up since it was last used, so that it need not be remembered.
    pub fn is_full(self, pace: Pace, now_ms: i64) -> bool {
        self.filled(pace, now_ms) >= u64::from(pace.burst) * 1000
    }

    /// Takes a token.
    pub fn take(&mut self, pace: Pace, now_ms: i64) -> Taken {
        self.millitokens = self.filled(pace, now_ms);
        self.at_ms = now_ms;
        match self.millitokens.checked_sub(1000) {
            Some(rest) => {
                self.millitokens = rest;
                Taken::Left(u32::try_from(rest / 1000).unwrap_or(u32::MAX))
            }
            None => {
                let missing = 1000 - self.millitokens;
                // A millitoken comes back in 1/per_second milliseconds.
                let wait_ms = missing.div_ceil(u64::from(pace.per_second.max(1)));
                Taken::WaitSeconds(wait_ms.div_ceil(1000).max(1))
            }
        }
    }

    /// Returns the tokens at a time; a clock that went back brings none.
    fn filled(self, pace: Pace, now_ms: i64) -> u64 {
        let passed_ms = u64::try_from(now_ms.saturating_sub(self.at_ms)).unwrap_or(0);
        let back = passed_ms.saturating_mul(u64::from(pace.per_second));
        self.millitokens
            .saturating_add(back)
            .min(u64::from(pace.burst) * 1000)
    }
}

/// Bytes that somebody may move: a bucket of MiB that may be overdrawn, because bytes are counted when they are at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Below zero: what was moved too early.
    left_bytes: i64,
    at_ms: i64,
}

const MIB: i64 = 1 << 20;

impl Flow {
    /// Returns a full bucket; `pace` is in MiB.
    pub fn full(pace: Pace, now_ms: i64) -> Self {
        Self {
            left_bytes: i64::from(pace.burst) * MIB,
            at_ms: now_ms,
        }
    }

    /// Whether the bucket has filled up since it was last used, so that it need not be remembered.
    pub fn is_full(self, pace: Pace, now_ms: i64) -> bool {
        self.filled(pace, now_ms) >= i64::from(pace.burst) * MIB
    }

    /// Takes bytes; returns after how many milliseconds the next ones may move.
    pub fn take(&mut self, pace: Pace, bytes: u64, now_ms: i64) -> u64 {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.left_bytes = self.filled(pace, now_ms).saturating_sub(bytes);
        self.at_ms = now_ms;
        self.wait_ms(pace, now_ms)
    }

    /// Returns after how many milliseconds bytes may move again.
    pub fn wait_ms(self, pace: Pace, now_ms: i64) -> u64 {
        let missing = self.filled(pace, now_ms).saturating_neg();
        let missing = u64::try_from(missing).unwrap_or(0);
        let a_second = u64::from(pace.per_second.max(1)) * MIB.unsigned_abs();
        missing.saturating_mul(1000).div_ceil(a_second)
    }

    fn filled(self, pace: Pace, now_ms: i64) -> i64 {
        let passed_ms = now_ms.saturating_sub(self.at_ms).max(0);
        let back = passed_ms.saturating_mul(i64::from(pace.per_second) * MIB) / 1000;
        self.left_bytes
            .saturating_add(back)
            .min(i64::from(pace.burst) * MIB)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        burst: 3,
        per_second: 2,
    };

    #[test]
    fn tokens_go_at_once_and_come_back_at_a_pace() {
        let mut level = Level::full(PACE, 0);
        for (now_ms, taken) in [
            (0, Taken::Left(2)),
            (0, Taken::Left(1)),
            (0, Taken::Left(0)),
            (0, Taken::WaitSeconds(1)),
            (499, Taken::WaitSeconds(1)),
            (500, Taken::Left(0)),
            (501, Taken::WaitSeconds(1)),
            // Long after: full, and no fuller.
            (1_000_000, Taken::Left(2)),
            // The clock went back.
            (0, Taken::Left(1)),
            (0, Taken::Left(0)),
            (0, Taken::WaitSeconds(1)),
        ] {
            assert_eq!(level.take(PACE, now_ms), taken, "{now_ms}");
        }
    }

    #[test]
    fn bytes_are_overdrawn_and_paid_back_at_the_pace() {
        const MIB: u64 = 1 << 20;
        let mut flow = Flow::full(PACE, 0);
        for (now_ms, bytes, wait_ms) in [
            (0, 2 * MIB, 0),
            (0, MIB, 0),
            (0, 1, 1),
            (0, 4 * MIB, 2001),
            (1000, 0, 1001),
            (2001, MIB / 2, 250),
            // Long after: full, and no fuller.
            (1_000_000, 3 * MIB, 0),
            (1_000_000, MIB, 500),
            // The clock went back: nothing is lost, nothing comes back.
            (0, 0, 500),
        ] {
            assert_eq!(flow.take(PACE, bytes, now_ms), wait_ms, "{now_ms} {bytes}");
        }
        assert!(!flow.is_full(PACE, 1999) && flow.is_full(PACE, 2000));
        // Small pieces are not rounded up: a tenth of the pace takes ten times as long.
        let fast = Pace {
            burst: 0,
            per_second: 1024,
        };
        let mut flow = Flow::full(fast, 0);
        let waits = (0..16 * 1024).map(|_| flow.take(fast, 64 << 10, 0));
        assert_eq!(waits.last(), Some(1000), "a GiB in pieces of 64 KiB");
    }

    #[test]
    fn no_more_than_burst_and_pace_pass_whatever_the_order_of_requests() {
        let mut level = Level::full(PACE, 0);
        let passed = (0..20_000)
            .filter(|n| matches!(level.take(PACE, n / 2), Taken::Left(_)))
            .count();
        // 10 seconds.
        assert_eq!(passed, 3 + 20 - 1);
        assert!(!level.is_full(PACE, 10_000));
        assert!(level.is_full(PACE, 20_000));
    }
}
