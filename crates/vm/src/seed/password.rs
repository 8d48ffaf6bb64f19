//! SHA-512 crypt (`$6$`), the password hash that every Linux knows
//! (Drepper, "Unix crypt using SHA-256 and SHA-512", 2008).

use sha2::{Digest as _, Sha512};

/// The rounds of a hash that names none.
const ROUNDS: usize = 5000;
/// Longest salt that counts.
const SALT_BYTES_MAX: usize = 16;
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Returns the hash of a password as `/etc/shadow` has it. Takes some milliseconds.
///
/// `random` becomes the salt, new for each password.
pub fn hash(password: &str, random: [u8; SALT_BYTES_MAX]) -> String {
    let salt = random.map(|byte| DIGITS[usize::from(byte & 63)]);
    crypt(password.as_bytes(), &salt)
}

fn crypt(password: &[u8], salt: &[u8]) -> String {
    // Steps 4-8.
    let other = Sha512::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize();
    // Steps 1-3, 9-12.
    let mut first = Sha512::new().chain_update(password).chain_update(salt);
    first.update(stretched(&other, password.len()));
    let mut bits = password.len();
    while bits > 0 {
        if bits & 1 == 1 {
            first.update(other);
        } else {
            first.update(password);
        }
        bits >>= 1;
    }
    let mut digest = first.finalize();
    // Steps 13-16: the password, as long as it is.
    let mut all = Sha512::new();
    for _ in 0..password.len() {
        all.update(password);
    }
    let long_password = stretched(&all.finalize(), password.len());
    // Steps 17-20: the salt.
    let mut all = Sha512::new();
    for _ in 0..16 + usize::from(digest[0]) {
        all.update(salt);
    }
    let long_salt = stretched(&all.finalize(), salt.len());
    // Step 21.
    for round in 0..ROUNDS {
        let mut next = Sha512::new();
        let is_odd = round % 2 == 1;
        if is_odd {
            next.update(&long_password);
        } else {
            next.update(digest);
        }
        if round % 3 != 0 {
            next.update(&long_salt);
        }
        if round % 7 != 0 {
            next.update(&long_password);
        }
        if is_odd {
            next.update(digest);
        } else {
            next.update(&long_password);
        }
        digest = next.finalize();
    }
    format!("$6${}${}", String::from_utf8_lossy(salt), encoded(&digest))
}

/// Returns `length` bytes of a digest that repeats.
fn stretched(digest: &[u8], length: usize) -> Vec<u8> {
    digest.iter().copied().cycle().take(length).collect()
}

/// Step 22: three bytes are four digits, least first; the bytes are taken in an order of their own.
fn encoded(digest: &[u8]) -> String {
    let mut text = String::new();
    let mut push = |group: u32, digits: u32| {
        for digit in 0..digits {
            let at = usize::try_from(group >> (6 * digit) & 63).unwrap_or_default();
            text.push(char::from(DIGITS[at]));
        }
    };
    let (mut a, mut b, mut c) = (0, 21, 42);
    for _ in 0..21 {
        let byte = |at: usize| u32::from(digest[at]);
        push(byte(a) << 16 | byte(b) << 8 | byte(c), 4);
        (a, b, c) = (b + 1, c + 1, a + 1);
    }
    push(u32::from(digest[63]), 2);
    text
}

#[cfg(test)]
mod tests {
    use super::{crypt, hash};

    /// Made with `openssl passwd -6 -salt SALT PASSWORD` and glibc's `crypt`; the first is of the specification.
    #[test]
    fn hashes_are_those_of_the_system() {
        for (password, salt, hash) in VECTORS {
            assert_eq!(
                crypt(password.as_bytes(), salt.as_bytes()),
                hash,
                "{password}"
            );
        }
    }

    #[test]
    fn a_salt_is_made_of_its_digits() {
        let made = hash("secret", [255; 16]);
        assert!(made.starts_with("$6$zzzzzzzzzzzzzzzz$"), "{made}");
        assert_eq!(made.len(), 3 + 16 + 1 + 86);
    }

    const VECTORS: [(&str, &str, &str); 4] = [
        (
            "Hello world!",
            "saltstring",
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        ),
        (
            "",
            "abcdefghijklmnop",
            "$6$abcdefghijklmnop$6.vC8ffobuN7AxcHvesxeeksF2DXFfpYyFt3PFU8pYpEQPhWFSN7hwaUQRfHg/LkfB3jIPEitUcU7ZTqjaQUp1",
        ),
        (
            "a",
            "x",
            "$6$x$6Zqbz8j5rMHIeJ1ujjjFXuZXSa/VORj.fVUEQcJc.rjR9.wCKlhZuymRQLtIEzcxNmqwX/fRNvM45BbvFayY51",
        ),
        (
            "grüße grüße grüße grüße grüße grüße grüße grüße grüße grüße grüße grüße grüße grüße grüße grüße grüße grüße grüße grüße ",
            "0123456789ABCDEF",
            "$6$0123456789ABCDEF$7nqkP91v7VS08WhDKRBgG/GjBroxpvbhnrnCFNqNumeDzN9mA6Bqdv6oUvezaj64KHtIiVhYoa68fosAvGGSK.",
        ),
    ];
}
