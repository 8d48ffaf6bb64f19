//! Freezing layers: one, or several at one moment.
//!
//! The moment is marked with the map locked, which takes as long as copying it; what lies in the layer
//! then is read afterwards, while writers go on.

use std::sync::Arc;

use crate::BLOCK_BYTES;
use crate::error::{BlocksError, Result};
use crate::ingest::{self, Ingested, Span};
use crate::inner::lock;
use crate::layer::frozen::{Frozen, Moment};
use crate::layer::map::Map;
use crate::layer::shared::{Changing, Shared};
use crate::progress::Progress;
use crate::reader::check_range;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Ends a freeze, however it ends.
struct Thaw<'a>(&'a Shared, Arc<Moment>);

/// A freeze whose moment is over: what is left is to read it.
struct Begun<'a> {
    size: u64,
    touched: Vec<Span>,
    thaw: Thaw<'a>,
}

impl Drop for Thaw<'_> {
    fn drop(&mut self) {
        self.0.map_write().moment = None;
        self.1.end();
    }
}

impl Shared {
    pub fn freeze(&self, length: Option<u64>) -> Result<Ingested> {
        let _one = lock(&self.freezing);
        let begun = {
            let mut state = self.map_write();
            self.check_open()?;
            let size = length.unwrap_or(state.map.size);
            check_range(0, size, state.map.size)?;
            self.begin(&mut state, size)
        };
        self.finish(&begun)
    }

    /// Freezes several layers at one moment: while all maps are locked, no writer is between two of them.
    pub fn freeze_together(layers: &[&Self]) -> Result<Vec<Ingested>> {
        let mut order: Vec<(usize, &Self)> = layers.iter().copied().enumerate().collect();
        // Always in the same order: two of these never wait for each other.
        order.sort_by_key(|(_, layer)| layer.id.0);
        if order.windows(2).any(|two| two[0].1.id == two[1].1.id) {
            return Err(BlocksError::Invalid {
                reason: "a layer is frozen twice at one moment".to_owned(),
            });
        }
        let _one: Vec<_> = order.iter().map(|(_, l)| lock(&l.freezing)).collect();
        let begun: Vec<(usize, Begun<'_>)> = {
            let mut states: Vec<_> = order.iter().map(|(_, l)| l.map_write()).collect();
            order.iter().try_for_each(|(_, l)| l.check_open())?;
            let mut begun = Vec::with_capacity(order.len());
            for ((at, layer), state) in order.iter().zip(&mut states) {
                let size = state.map.size;
                begun.push((*at, layer.begin(state, size)));
            }
            begun
        };
        let mut done = Vec::with_capacity(layers.len());
        for (at, begun) in begun {
            done.push((at, layers[at].finish(&begun)?));
        }
        done.sort_by_key(|(at, _)| *at);
        Ok(done.into_iter().map(|(_, ingested)| ingested).collect())
    }

    /// Marks the moment; the map is locked. It ends with what is returned, after the lock.
    fn begin(&self, state: &mut Changing, size: u64) -> Begun<'_> {
        let moment = Arc::new(Moment::new(state.map.clone()));
        state.moment = Some(moment.clone());
        Begun {
            size,
            touched: self.touched(&state.map, size),
            thaw: Thaw(self, moment),
        }
    }

    fn finish(&self, begun: &Begun<'_>) -> Result<Ingested> {
        let frozen = Frozen {
            layer: self,
            moment: &begun.thaw.1,
            size: begun.size,
        };
        let base = self.base.as_ref().map(|base| base.manifest.as_ref());
        let progress = Progress::default();
        ingest::with_base(
            &self.store,
            &frozen,
            begun.size,
            base,
            &begun.touched,
            &progress,
        )
    }

    /// Returns what differs from the base in the first `size` bytes.
    fn touched(&self, map: &Map, size: u64) -> Vec<Span> {
        let mut touched: Vec<Span> = map
            .runs
            .iter()
            .map(|(start, (end, _))| (start * BLOCK, end.saturating_mul(BLOCK).min(size)))
            .filter(|(start, end)| start < end)
            .collect();
        if let Some(base) = &self.base
            && !size.is_multiple_of(BLOCK)
            && size < base.manifest.size_bytes()
        {
            // The cut goes through a block of the base: it is made anew, filled up with zeroes.
            touched.push((size / BLOCK * BLOCK, size));
        }
        touched
    }
}
