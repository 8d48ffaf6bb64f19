//! Which blocks of a layer were written, made zero, or are still those of its base.

use std::collections::BTreeMap;

use crate::BLOCK_BYTES;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// What a run of blocks holds; runs that are not listed are the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Base,
    Data,
    Zero,
}

/// A change of the map, as the journal keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Blocks `start` to `end` hold data.
    Data(u64, u64),
    /// Blocks `start` to `end` are zero.
    Zero(u64, u64),
    /// The disk has so many bytes.
    Size(u64),
}

/// Bytes of a change in a file: `kind:u8 start:u64 end:u64`.
pub(crate) const RECORD_BYTES: usize = 17;

impl Change {
    pub fn encode(self) -> [u8; RECORD_BYTES] {
        let (kind, start, end) = match self {
            Self::Data(start, end) => (1, start, end),
            Self::Zero(start, end) => (2, start, end),
            Self::Size(size) => (3, size, 0),
        };
        let mut out = [kind; RECORD_BYTES];
        out[1..9].copy_from_slice(&start.to_le_bytes());
        out[9..].copy_from_slice(&end.to_le_bytes());
        out
    }

    pub fn decode(record: [u8; RECORD_BYTES]) -> Option<Self> {
        let mut fields = crate::segment::Fields { bytes: &record };
        let [kind] = fields.array()?;
        let start = u64::from_le_bytes(fields.array()?);
        let end = u64::from_le_bytes(fields.array()?);
        match kind {
            1 if start < end => Some(Self::Data(start, end)),
            2 if start < end => Some(Self::Zero(start, end)),
            3 => Some(Self::Size(start)),
            _ => None,
        }
    }
}

pub(crate) type Runs = BTreeMap<u64, (u64, State)>;

/// The map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Map {
    pub size: u64,
    /// Start → (end, state), in blocks, never `Base`.
    pub runs: Runs,
}

impl Map {
    pub fn new(size: u64) -> Self {
        Self {
            size,
            runs: Runs::new(),
        }
    }

    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Data(start, end) => self.set(start, end, State::Data),
            Change::Zero(start, end) => self.set(start, end, State::Zero),
            Change::Size(size) => self.set_size(size),
        }
    }

    /// Returns the changes that make this map from an empty one of its size.
    pub fn changes(&self) -> Vec<Change> {
        let change = |(start, (end, state)): (&u64, &(u64, State))| match state {
            State::Data => Some(Change::Data(*start, *end)),
            State::Zero => Some(Change::Zero(*start, *end)),
            State::Base => None,
        };
        self.runs.iter().filter_map(change).collect()
    }

    fn set_size(&mut self, size: u64) {
        let (old, new) = (self.size.div_ceil(BLOCK), size.div_ceil(BLOCK));
        // What comes back after a cut must not come from the base.
        let (low, high) = (old.min(new), old.max(new));
        if low < high {
            self.set(low, high, State::Zero);
        }
        self.size = size;
    }

    /// Sets a run, cutting and replacing what it covers.
    fn set(&mut self, start: u64, end: u64, state: State) {
        let (mut start, mut end) = (start, end);
        let before = self.runs.range(..start).next_back();
        if let Some((s, (e, st))) = before.map(|(s, run)| (*s, *run))
            && e >= start
        {
            if st == state {
                start = s;
                end = end.max(e);
            } else if e > start {
                self.runs.insert(s, (start, st));
                if e > end {
                    self.runs.insert(end, (e, st));
                }
            }
        }
        while let Some((s, (e, st))) = self.runs.range(start..=end).next().map(|(s, r)| (*s, *r)) {
            if st == state {
                end = end.max(e);
            } else if s == end {
                break;
            } else if e > end {
                self.runs.insert(end, (e, st));
            }
            self.runs.remove(&s);
        }
        self.runs.insert(start, (end, state));
    }

    /// Returns the bytes of all blocks that hold data.
    pub fn data_bytes(&self) -> u64 {
        let data = self
            .runs
            .iter()
            .filter(|(_, (_, state))| *state == State::Data);
        data.map(|(start, (end, _))| (end - start) * BLOCK).sum()
    }

    /// Whether all blocks of a range hold data.
    pub fn is_data(&self, start: u64, end: u64) -> bool {
        let (state, until) = state_at(&self.runs, start);
        state == State::Data && until >= end
    }

    /// Returns the state of a block and where its run ends.
    pub fn at(&self, block: u64) -> (State, u64) {
        state_at(&self.runs, block)
    }
}

/// Returns the state of a block and where its run ends.
pub(crate) fn state_at(runs: &Runs, block: u64) -> (State, u64) {
    if let Some((_, (end, state))) = runs.range(..=block).next_back()
        && *end > block
    {
        return (*state, *end);
    }
    let next = runs.range(block + 1..).next();
    (State::Base, next.map_or(u64::MAX, |(start, _)| *start))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_map_is_what_was_set_last_block_by_block(
            sets in prop::collection::vec((0_u64..40, 1_u64..20, any::<bool>()), 0..40)
        ) {
            let mut map = Map::new(60 * BLOCK);
            let mut plain = [State::Base; 60];
            for (start, length, is_data) in sets {
                let (end, state) = (start + length, if is_data { State::Data } else { State::Zero });
                map.set(start, end, state);
                for block in start..end {
                    plain[usize::try_from(block).unwrap()] = state;
                }
                let mut last: Option<(u64, State)> = None;
                for (start, (end, state)) in &map.runs {
                    prop_assert!(start < end);
                    if let Some((before, kind)) = last {
                        prop_assert!(before < *start || (before == *start && kind != *state));
                    }
                    last = Some((*end, *state));
                }
            }
            for (block, state) in (0..).zip(plain) {
                prop_assert_eq!(map.at(block).0, state);
            }
            let data = plain.iter().filter(|state| **state == State::Data).count();
            prop_assert_eq!(map.data_bytes(), u64::try_from(data).unwrap() * BLOCK);
            let mut again = Map::new(map.size);
            map.changes().into_iter().for_each(|change| again.apply(change));
            prop_assert_eq!(again, map);
        }
    }
}
