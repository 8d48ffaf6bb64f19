//! Walks the data of a disk for the writers: what is zero is skipped, read or not.

use crate::bytes::{index, is_zero};
use crate::source::{DiskError, ExtentKind, Source};

/// Bytes read at once.
const READ_BYTES: u64 = 1 << 20;

/// Calls `each` with every piece of `unit` bytes that is not all zero, in disk order; the last
/// piece of a disk may be shorter. `unit` divides [`READ_BYTES`].
pub(crate) fn for_each_data(
    source: &dyn Source,
    unit: u64,
    mut each: impl FnMut(u64, &[u8]) -> Result<(), DiskError>,
) -> Result<(), DiskError> {
    let size = source.size_bytes();
    let mut buffer = vec![0; index(READ_BYTES.min(size))];
    let mut at = 0;
    while at < size {
        let extent = source.extent_at(at)?;
        let end = extent.offset.saturating_add(extent.length).min(size);
        if extent.kind == ExtentKind::Zero && (end == size || end - at >= unit) {
            // Up to the unit that holds something else.
            at = if end == size { size } else { end - end % unit };
            continue;
        }
        let wanted = match extent.kind {
            ExtentKind::Zero => unit,
            ExtentKind::Data => (end - at).next_multiple_of(unit).min(READ_BYTES),
        };
        let piece = &mut buffer[..index(wanted.min(size - at))];
        source.read_at(at, piece)?;
        for (number, bytes) in piece.chunks(index(unit)).enumerate() {
            if !is_zero(bytes) {
                each(at + number as u64 * unit, bytes)?;
            }
        }
        at += piece.len() as u64;
    }
    Ok(())
}
