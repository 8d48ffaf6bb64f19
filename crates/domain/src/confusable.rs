//! Names that look like those of well-known or verified publishers.
//!
//! Two names look alike when their skeletons are the same, when one holds the other, or when they differ
//! by one letter. A skeleton is what is left of a name when letters that are easily taken for each other
//! are written as one (in the manner of Unicode TS 39): case, accents of width, Cyrillic and Greek
//! letters, digits for letters, `rn` for `m`.

/// Names that nobody has without being verified, whatever the operator verified.
const RESERVED: [&str; 14] = [
    "microsoft",
    "azure",
    "windows",
    "canonical",
    "ubuntu",
    "redhat",
    "debian",
    "suse",
    "oracle",
    "almalinux",
    "rockylinux",
    "fedora",
    "centos",
    "vitrine",
];
/// Shorter names are only compared whole: they are part of too many words.
const PART_LETTERS_MIN: usize = 5;
/// Shorter names differ by one letter from too many words.
const TYPO_LETTERS_MIN: usize = 7;

/// Letters, and what they are taken for.
const LETTERS: [(&str, char); 24] = [
    ("@аαａ4", 'a'),
    ("8вβｂ", 'b'),
    ("сϲ", 'c'),
    ("ԁ", 'd'),
    ("3еєε", 'e'),
    ("ɡ9", 'g'),
    ("һ", 'h'),
    ("1iіíìïıι|!ӏⅼł", 'l'),
    ("јϳ", 'j'),
    ("кκ", 'k'),
    ("мⅿ", 'm'),
    ("пո", 'n'),
    ("0оοօöø", 'o'),
    ("рρ", 'p'),
    ("ԛ", 'q'),
    ("г", 'r'),
    ("5ѕ$", 's'),
    ("7тτ", 't'),
    ("υսü", 'u'),
    ("νѵ", 'v'),
    ("ѡω", 'w'),
    ("хχ", 'x'),
    ("уγ", 'y'),
    ("2ᴢ", 'z'),
];
/// Pairs of letters, and what they are taken for.
const PAIRS: [(&str, &str); 3] = [("rn", "m"), ("vv", "w"), ("cl", "d")];

/// What a public name is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Worth {
    /// The operator has verified its publisher, under this name.
    Verified(String),
    /// It looks like this name, which is of somebody else.
    LooksLike(String),
    /// Neither.
    Plain,
}

/// Judges the names that a gallery of `owner` goes by; `verified` are the verified subscriptions and their names.
pub fn judge<'a>(
    names: impl IntoIterator<Item = &'a str>,
    owner: &str,
    verified: &[(String, String)],
) -> Worth {
    let own = verified
        .iter()
        .find(|(subscription, _)| subscription.eq_ignore_ascii_case(owner));
    if let Some((_, name)) = own {
        return Worth::Verified(name.clone());
    }
    let known: Vec<&str> = verified
        .iter()
        .map(|(_, name)| name.as_str())
        .chain(RESERVED)
        .collect();
    for name in names {
        if let Some(like) = known.iter().find(|known| looks_like(name, known)) {
            return Worth::LooksLike((*like).to_owned());
        }
    }
    Worth::Plain
}

/// Whether people may take `name` for `known`.
pub fn looks_like(name: &str, known: &str) -> bool {
    let (letters, known_letters) = (letters(name), letters(known));
    if known_letters.is_empty() {
        return false;
    }
    let count = known_letters.chars().count();
    // Typing errors are errors of letters, so they are looked for before pairs are joined.
    if count >= TYPO_LETTERS_MIN && is_one_apart(&letters, &known_letters) {
        return true;
    }
    let (name, known) = (joined(letters), joined(known_letters));
    name == known || (count >= PART_LETTERS_MIN && name.contains(&known))
}

/// Returns a name with all that looks alike written as one, and nothing but letters and digits.
pub fn skeleton(name: &str) -> String {
    joined(letters(name))
}

fn letters(name: &str) -> String {
    name.chars()
        .map(narrow)
        .flat_map(char::to_lowercase)
        .map(plain)
        .filter(|c| c.is_alphanumeric())
        .collect()
}

fn joined(letters: String) -> String {
    PAIRS
        .iter()
        .fold(letters, |name, (pair, one)| name.replace(pair, one))
}

/// Full-width forms of ASCII (U+FF01 to U+FF5E) are ASCII to the eye.
fn narrow(letter: char) -> char {
    match u32::from(letter) {
        code @ 0xFF01..=0xFF5E => char::from_u32(code - 0xFEE0).unwrap_or(letter),
        _ => letter,
    }
}

fn plain(letter: char) -> char {
    LETTERS
        .iter()
        .find(|(alike, _)| alike.contains(letter))
        .map_or(letter, |(_, plain)| *plain)
}

/// Whether one letter more, less, other or exchanged with its neighbour makes one of the other.
fn is_one_apart(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let start = short.iter().zip(&long).take_while(|(a, b)| a == b).count();
    let (short, long) = (&short[start..], &long[start..]);
    match (short, long) {
        ([], []) => false,
        (short, [_, rest @ ..]) if short == rest => true,
        ([_, x @ ..], [_, y @ ..]) if x == y => true,
        ([p, q, x @ ..], [r, s, y @ ..]) => x == y && p == s && q == r,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_look_alike_do_not_hide_a_name() {
        for (name, known) in [
            ("Canonical", "canonical"),
            ("CAN0NICAL", "canonical"),
            ("canonlcal", "canonical"),
            ("cаnоnical", "canonical"),
            ("ｃａｎｏｎｉｃａｌ", "canonical"),
            ("canonical-inc", "canonical"),
            ("realcanonical", "canonical"),
            ("canonicall", "canonical"),
            ("cannonical", "canonical"),
            ("canoncial", "canonical"),
            ("rnicrosoft", "microsoft"),
            ("Micr0s0ft", "microsoft"),
            ("micro\u{200b}soft", "microsoft"),
            ("red-hat", "redhat"),
            ("RedHаt", "redhat"),
            ("debian", "debian"),
            ("acrne", "Acme"),
            ("Αcme", "Acme"),
        ] {
            assert!(looks_like(name, known), "{name} {known} {}", skeleton(name));
        }
    }

    #[test]
    fn other_names_are_left_in_peace() {
        for (name, known) in [
            ("contoso", "microsoft"),
            ("acmeinc", "suse"),
            ("acmehosting", "acme"),
            ("susenet", "suse"),
            ("macrosofa", "microsoft"),
            ("oraclex", "orange"),
            ("prefix", "fedora"),
            ("puburi", "ubuntu"),
            ("", "debian"),
            ("x", ""),
        ] {
            assert!(!looks_like(name, known), "{name} {known}");
        }
    }

    #[test]
    fn a_badge_is_of_its_subscription_alone() {
        let verified = [("S".to_owned(), "Acme".to_owned())];
        let cases = [
            ("acme", "s", Worth::Verified("Acme".to_owned())),
            ("canonical", "s", Worth::Verified("Acme".to_owned())),
            ("acme", "t", Worth::LooksLike("Acme".to_owned())),
            ("acrne", "t", Worth::LooksLike("Acme".to_owned())),
            ("ubuntu", "t", Worth::LooksLike("ubuntu".to_owned())),
            ("contoso", "t", Worth::Plain),
        ];
        for (name, owner, worth) in cases {
            assert_eq!(judge([name], owner, &verified), worth, "{name} {owner}");
        }
        assert_eq!(
            judge(["plain", "debian"], "t", &[]),
            Worth::LooksLike("debian".to_owned())
        );
    }
}
