//! CRC-64/NVME, which clients of the blob service send as `x-ms-content-crc64`.

const POLYNOMIAL: u64 = 0x9A6C_9329_AC4B_C9B5;
const TABLE: [u64; 256] = table();

const fn table() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    let mut value = 0_u64;
    while byte < 256 {
        let mut crc = value;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ POLYNOMIAL
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
        value += 1;
    }
    table
}

/// A checksum under way.
#[derive(Clone, Copy)]
pub(super) struct Crc64(u64);

impl Crc64 {
    /// Returns the checksum of nothing.
    pub const fn new() -> Self {
        Self(!0)
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |crc, byte| {
            let [low, ..] = crc.to_le_bytes();
            TABLE[usize::from(low ^ byte)] ^ crc >> 8
        });
    }

    /// Returns the value as it is sent.
    pub const fn value(self) -> [u8; 8] {
        (!self.0).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_the_standard_comes_out() {
        let mut crc = Crc64::new();
        crc.update(b"1234");
        crc.update(b"56789");
        assert_eq!(crc.value(), 0xAE8B_1486_0A79_9888_u64.to_le_bytes());
    }
}
