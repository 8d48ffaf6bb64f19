//! CRC-32C (Castagnoli), which VHDX sums its structures with.

const TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut number = 0_u32;
    while number < 256 {
        let (mut crc, mut bit) = (number, 0);
        while bit < 8 {
            crc = match crc & 1 {
                0 => crc >> 1,
                _ => crc >> 1 ^ 0x82F6_3B78,
            };
            bit += 1;
        }
        table[number as usize] = crc;
        number += 1;
    }
    table
}

/// Returns the sum of the pieces in order.
pub(crate) fn crc32c<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let mut crc = u32::MAX;
    for byte in pieces.into_iter().flatten() {
        let [low, ..] = crc.to_le_bytes();
        crc = crc >> 8 ^ TABLE[usize::from(low ^ byte)];
    }
    !crc
}

/// Returns the sum of a structure whose own sum, four bytes at `own_at`, counts as zero.
pub(crate) fn without_own(bytes: &[u8], own_at: usize) -> u32 {
    crc32c([&bytes[..own_at], &[0; 4], &bytes[own_at + 4..]])
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_sum_of_the_nine_digits_is_the_published_one() {
        assert_eq!(super::crc32c([&b"1234"[..], b"56789"]), 0xE306_9283);
        assert_eq!(
            super::without_own(b"12xxxx6789", 2),
            super::crc32c([&b"12\0\0\0\x006789"[..]])
        );
    }
}
