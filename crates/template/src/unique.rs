//! `uniqueString`: thirteen letters that follow from the texts given.
//!
//! The service hashes the texts joined by `-` with a 64-bit Murmur hash of two 32-bit lanes and
//! writes it in base 32; the constants are known from its published packages.

const ONE: u32 = 0xab0e_9789;
const TWO: u32 = 0x239b_961b;
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Returns the text that the service's `uniqueString` returns for these texts.
pub fn unique_string<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let joined = texts.into_iter().collect::<Vec<_>>().join("-");
    let mut hash = murmur(joined.as_bytes());
    let mut out = String::with_capacity(13);
    for _ in 0..13 {
        let letter = usize::try_from(hash >> 59).unwrap_or_default();
        out.push(char::from(LETTERS.get(letter).copied().unwrap_or(b'a')));
        hash <<= 5;
    }
    out
}

fn murmur(bytes: &[u8]) -> u64 {
    let (mut first, mut second) = (0_u32, 0_u32);
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let (low, high) = chunk.split_at(4);
        first ^= mix_first(word(low));
        first = first.rotate_left(19).wrapping_add(second);
        first = first.wrapping_mul(5).wrapping_add(0x561c_cd1b);
        second ^= mix_second(word(high));
        second = second.rotate_left(13).wrapping_add(first);
        second = second.wrapping_mul(5).wrapping_add(0x0bca_a747);
    }
    let tail = chunks.remainder();
    let (low, high) = tail.split_at(tail.len().min(4));
    if !low.is_empty() {
        first ^= mix_first(word(low));
    }
    if !high.is_empty() {
        second ^= mix_second(word(high));
    }
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    second ^= length;
    first = (first ^ length).wrapping_add(second);
    second = second.wrapping_add(first);
    first = finish(first);
    second = finish(second);
    first = first.wrapping_add(second);
    second = second.wrapping_add(first);
    (u64::from(second) << 32) | u64::from(first)
}

/// Up to four bytes, the first lowest.
fn word(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |word, byte| (word << 8) | u32::from(*byte))
}

fn mix_first(word: u32) -> u32 {
    word.wrapping_mul(TWO).rotate_left(15).wrapping_mul(ONE)
}

fn mix_second(word: u32) -> u32 {
    word.wrapping_mul(ONE).rotate_left(17).wrapping_mul(TWO)
}

fn finish(mut lane: u32) -> u32 {
    lane = (lane ^ (lane >> 16)).wrapping_mul(0x85eb_ca6b);
    lane = (lane ^ (lane >> 13)).wrapping_mul(0xc2b2_ae35);
    lane ^ (lane >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_gives_the_same() {
        let group = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/my-rg";
        let cases: [(&[&str], &str); 5] = [
            (&["test"], "rbgf3xv4ufgzg"),
            (&["hello", "world"], "a7wkljktk6wne"),
            (&["abc"], "cgtzqvhu4i23s"),
            (&[group], "bmg7c6xu4tw46"),
            (&["foo", "bar", "baz"], "xzi4ioaxtmth4"),
        ];
        for (texts, wanted) in cases {
            assert_eq!(unique_string(texts.iter().copied()), wanted, "{texts:?}");
        }
    }
}
