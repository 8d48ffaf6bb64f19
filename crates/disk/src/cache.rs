//! A few pieces of a file that were read last: tables and decompressed clusters.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::source::DiskError;

/// Keeps at most `pieces_max` pieces, oldest out first; shared by threads.
pub(crate) struct PieceCache {
    pieces: Mutex<VecDeque<(u64, Arc<[u8]>)>>,
    pieces_max: usize,
}

impl PieceCache {
    /// Makes a cache for pieces of `piece_bytes` that holds at most `bytes_max`, but at least two.
    pub(crate) fn new(piece_bytes: usize, bytes_max: usize) -> Self {
        Self {
            pieces: Mutex::new(VecDeque::new()),
            pieces_max: (bytes_max / piece_bytes.max(1)).clamp(2, 64),
        }
    }

    /// Returns the piece named `key`, loading it when it is not here. Two threads may load at once.
    pub(crate) fn get(
        &self,
        key: u64,
        load: impl FnOnce() -> Result<Vec<u8>, DiskError>,
    ) -> Result<Arc<[u8]>, DiskError> {
        if let Some(found) = self.find(key) {
            return Ok(found);
        }
        let piece: Arc<[u8]> = load()?.into();
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if pieces.len() >= self.pieces_max {
            pieces.pop_front();
        }
        pieces.push_back((key, piece.clone()));
        Ok(piece)
    }

    fn find(&self, key: u64) -> Option<Arc<[u8]>> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let at = pieces.iter().position(|(known, _)| *known == key)?;
        // Newest at the back: what is used stays.
        if at + 1 < pieces.len() {
            let piece = pieces.remove(at)?;
            pieces.push_back(piece);
        }
        pieces.back().map(|(_, piece)| piece.clone())
    }
}
