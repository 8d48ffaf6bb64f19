//! Reads of a layer in pieces: what is in memory at once, without waiting for anybody.

use std::sync::TryLockError;

use bytes::Bytes;
use disk::nbd::Piece;

use crate::BLOCK_BYTES;
use crate::error::Result;
use crate::inner::Inner;
use crate::layer::map::{Map, State};
use crate::layer::shared::Shared;
use crate::parts;
use crate::reader::{self, check_range};

const BLOCK: u64 = BLOCK_BYTES as u64;
/// Bytes of its own that a layer reads at once where nothing may block.
const AT_HAND_BYTES_MAX: u64 = 256 << 10;

/// How much a read may wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Never,
    ForStorage,
}

impl Shared {
    /// Returns a range if it is in memory and no writer is in the way.
    pub fn pieces_at_hand(&self, offset: u64, length: u32) -> Result<Option<Vec<Piece>>> {
        let length = u64::from(length);
        let state = match self.state.try_read() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        let pieces = self.pieces(&state.map, offset, length, Wait::Never)?;
        self.check_open()?;
        Ok(pieces)
    }

    /// Returns a range.
    pub fn pieces_now(&self, offset: u64, length: u32) -> Result<Vec<Piece>> {
        let length = u64::from(length);
        self.bring(offset, length);
        let state = self.map_read();
        let pieces = self.pieces(&state.map, offset, length, Wait::ForStorage)?;
        // What was read while the layer was being removed may be anything.
        self.check_open()?;
        Ok(pieces.unwrap_or_default())
    }

    /// Brings frames of the base into memory, where the layer reads through to it.
    pub fn bring(&self, offset: u64, length: u64) {
        let Some((store, manifest)) = self.below() else {
            return;
        };
        let end = (offset + length).min(manifest.size_bytes());
        if offset < end {
            store.bring(&parts::frames(manifest, offset, end - offset));
        }
    }

    fn pieces(
        &self,
        map: &Map,
        offset: u64,
        length: u64,
        wait: Wait,
    ) -> Result<Option<Vec<Piece>>> {
        check_range(offset, length, map.size)?;
        let (mut out, mut at, end) = (Vec::new(), offset, offset + length);
        while at < end {
            let (state, until) = map.at(at / BLOCK);
            let next = until.saturating_mul(BLOCK).min(end);
            let is_there = match state {
                State::Data => self.data_piece(at, next - at, wait, &mut out)?,
                State::Zero => {
                    out.push(Piece::Zero(next - at));
                    true
                }
                State::Base => self.base_pieces(at, next - at, wait, &mut out)?,
            };
            if !is_there {
                return Ok(None);
            }
            at = next;
        }
        Ok(Some(out))
    }

    fn data_piece(&self, at: u64, length: u64, wait: Wait, out: &mut Vec<Piece>) -> Result<bool> {
        if wait == Wait::Never && length > AT_HAND_BYTES_MAX {
            return Ok(false);
        }
        let mut bytes = vec![0_u8; usize::try_from(length).unwrap_or(0)];
        match wait {
            Wait::Never if !self.data.read_at_hand(at, &mut bytes)? => return Ok(false),
            Wait::Never => {}
            Wait::ForStorage => self.data.read_at(at, &mut bytes)?,
        }
        out.push(Piece::Data(Bytes::from(bytes)));
        Ok(true)
    }

    fn base_pieces(&self, at: u64, length: u64, wait: Wait, out: &mut Vec<Piece>) -> Result<bool> {
        let inside = match self.below() {
            Some((_, manifest)) => manifest.size_bytes().saturating_sub(at).min(length),
            None => 0,
        };
        if inside > 0 && !self.read_below(at, inside, wait, out)? {
            return Ok(false);
        }
        if inside < length {
            out.push(Piece::Zero(length - inside));
        }
        Ok(true)
    }

    fn read_below(&self, at: u64, length: u64, wait: Wait, out: &mut Vec<Piece>) -> Result<bool> {
        let Some((store, manifest)) = self.below() else {
            return Ok(true);
        };
        let store: &Inner = store;
        reader::pieces(manifest, at, length, out, |id| match wait {
            Wait::Never => Ok(store.cache.peek(id)),
            Wait::ForStorage => store.frame(id).map(Some),
        })
    }
}
