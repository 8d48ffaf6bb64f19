//! The comparison: field by field, ids and times by what they stand for.
//!
//! A GUID or a time of a recording stands for one of ours: the first sighting binds, every later
//! one must agree. So ids that were the same in the recording must be the same here, and a date
//! that stayed as it was must stay here.

use std::collections::HashMap;

use serde_json::Value;

/// What is shown where a member is not there.
pub const ABSENT: &str = "absent";
/// A GUID in the names of disks.
const SIMPLE: &str = "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh";
/// The most characters of a value that a difference shows.
const SHOWN_CHARS_MAX: usize = 1500;

/// One place where an answer is not as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `status`, `header NAME`, `body.a.b[0].c`, `poll.a` or `result.a`.
    pub place: String,
    /// What was recorded there.
    pub recorded: String,
    /// What is there now.
    pub ours: String,
}

/// What recorded ids and times stand for; GUIDs without their hyphens.
#[derive(Default)]
pub struct Bindings(HashMap<String, String>);

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    Literal(&'a str),
    Guid(&'a str),
    /// Date and time of day, then the zone.
    Time(&'a str, &'a str),
}

impl Bindings {
    /// Says beforehand what a recorded id stands for.
    pub fn bind(&mut self, recorded: &str, ours: &str) {
        self.0.insert(bare(recorded), bare(ours));
    }

    /// Returns what to send: a recorded text, with our ids in place of those that stand for one of ours.
    pub fn ours(&self, recorded: &str) -> String {
        let piece = |piece: Piece<'_>| match piece {
            Piece::Literal(text) => text.to_owned(),
            Piece::Time(at, zone) => format!("{at}{zone}"),
            Piece::Guid(id) => {
                let known = self.0.get(&bare(id));
                known.map_or_else(|| id.to_owned(), |ours| shaped_as(id, ours))
            }
        };
        pieces(recorded).into_iter().map(piece).collect()
    }

    /// Whether a text says the same, ids and times aside.
    pub fn is_same_text(&mut self, recorded: &str, ours: &str) -> bool {
        let (left, right) = (pieces(recorded), pieces(ours));
        left.len() == right.len()
            && left.iter().zip(&right).all(|pair| match pair {
                (Piece::Literal(a), Piece::Literal(b)) => a == b,
                (Piece::Guid(a), Piece::Guid(b)) => self.agrees(a, b),
                (Piece::Time(a, zone), Piece::Time(b, other)) => zone == other && self.agrees(a, b),
                _ => false,
            })
    }

    /// The recorded name of a gallery was hidden in paths but not in unique names.
    fn is_same_unique_name(&mut self, recorded: &str, ours: &str) -> bool {
        let is_well_formed = match pieces(ours).as_slice() {
            [Piece::Guid(_), Piece::Literal(rest)] => {
                rest.len() > 1 && rest.starts_with('-') && *rest == rest.to_ascii_uppercase()
            }
            _ => false,
        };
        is_well_formed && self.agrees(recorded, ours)
    }

    fn agrees(&mut self, recorded: &str, ours: &str) -> bool {
        let ours = bare(ours);
        let known = self.0.entry(bare(recorded)).or_insert_with(|| ours.clone());
        *known == ours
    }
}

/// Returns an id by which two spellings compare.
fn bare(id: &str) -> String {
    let text = id.to_ascii_lowercase();
    match guid_at(&text, 0) {
        Some((Piece::Guid(whole), _)) if whole.len() == text.len() => text.replace('-', ""),
        _ => text,
    }
}

/// Writes an id of ours with hyphens where the recorded one has some.
fn shaped_as(recorded: &str, ours: &str) -> String {
    if !recorded.contains('-') || ours.len() != SIMPLE.len() {
        return ours.to_owned();
    }
    let ends = [8, 12, 16, 20, 32];
    let starts = [0, 8, 12, 16, 20];
    let parts: Vec<&str> = starts
        .iter()
        .zip(ends)
        .map(|(from, to)| &ours[*from..to])
        .collect();
    parts.join("-")
}

/// Compares two bodies; `place` is where the value stands.
pub fn compare(
    bindings: &mut Bindings,
    place: &str,
    recorded: &Value,
    ours: &Value,
    out: &mut Vec<Difference>,
) {
    match (recorded, ours) {
        (Value::Object(left), Value::Object(right)) => {
            for (name, value) in left {
                let inner = format!("{place}.{name}");
                match right.get(name) {
                    Some(other) => compare(bindings, &inner, value, other, out),
                    None => out.push(difference(inner, show(value), ABSENT.to_owned())),
                }
            }
            for (name, value) in right.iter().filter(|(name, _)| !left.contains_key(*name)) {
                out.push(difference(
                    format!("{place}.{name}"),
                    ABSENT.to_owned(),
                    show(value),
                ));
            }
            let order = |a: &serde_json::Map<String, Value>, b: &serde_json::Map<String, Value>| {
                let common: Vec<&str> = a
                    .keys()
                    .map(String::as_str)
                    .filter(|n| b.contains_key(*n))
                    .collect();
                common.join(",")
            };
            let (was, is) = (order(left, right), order(right, left));
            if was != is {
                out.push(difference(format!("{place} order"), was, is));
            }
        }
        (Value::Array(left), Value::Array(right)) => {
            if left.len() != right.len() {
                let count = |items: &[Value]| format!("{} items", items.len());
                out.push(difference(
                    format!("{place} length"),
                    count(left),
                    count(right),
                ));
            }
            for (at, (value, other)) in left.iter().zip(right).enumerate() {
                compare(bindings, &format!("{place}[{at}]"), value, other, out);
            }
        }
        (Value::String(left), Value::String(right)) => {
            let is_same = match place.ends_with("identifier.uniqueName") {
                true => bindings.is_same_unique_name(left, right),
                false => bindings.is_same_text(left, right),
            };
            if !is_same {
                out.push(difference(place.to_owned(), show(recorded), show(ours)));
            }
        }
        _ if recorded == ours => {}
        _ => out.push(difference(place.to_owned(), show(recorded), show(ours))),
    }
}

/// Returns a value in one line, texts without quotes.
pub fn show(value: &Value) -> String {
    let text = match value {
        Value::Null => ABSENT.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn difference(place: String, recorded: String, ours: String) -> Difference {
    Difference {
        place,
        recorded,
        ours,
    }
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut out = Vec::new();
    let (mut literal, mut at) = (0, 0);
    while at < text.len() {
        let found = guid_at(text, at).or_else(|| time_at(text, at));
        let Some((piece, length)) = found else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
            continue;
        };
        if literal < at {
            out.push(Piece::Literal(&text[literal..at]));
        }
        out.push(piece);
        at += length;
        literal = at;
    }
    if literal < text.len() {
        out.push(Piece::Literal(&text[literal..]));
    }
    out
}

/// Returns how many bytes of `text` fit `pattern`: `h` is a hex digit, `d` a digit, the rest itself.
fn fits(text: &str, pattern: &str) -> bool {
    text.len() >= pattern.len()
        && text
            .bytes()
            .zip(pattern.bytes())
            .all(|(byte, wanted)| match wanted {
                b'h' => byte.is_ascii_hexdigit(),
                b'd' => byte.is_ascii_digit(),
                other => byte == other,
            })
}

fn guid_at(text: &str, at: usize) -> Option<(Piece<'_>, usize)> {
    const GUID: &str = "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh";
    /// The number of a deployment's operation counts down from the end of time.
    const OPERATION: &str = "0858dddddddddddddddd";
    let rest = &text[at..];
    let found = [GUID, SIMPLE, OPERATION];
    let found = found.into_iter().find(|pattern| fits(rest, pattern))?;
    Some((Piece::Guid(&rest[..found.len()]), found.len()))
}

fn time_at(text: &str, at: usize) -> Option<(Piece<'_>, usize)> {
    const TIME: &str = "dddd-dd-ddTdd:dd:dd";
    let rest = &text[at..];
    if !fits(rest, TIME) {
        return None;
    }
    let mut end = TIME.len();
    if rest[end..].starts_with('.') {
        end += 1 + rest[end + 1..]
            .bytes()
            .take_while(u8::is_ascii_digit)
            .count();
    }
    let zone = match &rest[end..] {
        zone if zone.starts_with('Z') => 1,
        zone if fits(zone, "+dd:dd") => 6,
        _ => 0,
    };
    let piece = Piece::Time(&rest[..end], &rest[end..end + zone]);
    Some((piece, end + zone))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const A: &str = "423eb543-ec4a-4bd3-85e1-25ca23fa1f8e";
    const B: &str = "be4e2224-2fb6-4fe0-8cfa-c8427f33d43a";

    fn differences(recorded: &Value, ours: &Value) -> Vec<String> {
        let mut out = Vec::new();
        compare(&mut Bindings::default(), "body", recorded, ours, &mut out);
        out.iter()
            .map(|d| format!("{}: {} -> {}", d.place, d.recorded, d.ours))
            .collect()
    }

    #[test]
    fn every_kind_of_difference_is_found_with_its_place() {
        let recorded = json!({ "a": 1, "b": { "c": [1, 2] }, "d": "x", "e": true });
        let ours = json!({ "e": true, "a": 2, "b": { "c": [1] }, "f": {} });
        assert_eq!(
            differences(&recorded, &ours),
            [
                "body.a: 1 -> 2",
                "body.b.c length: 2 items -> 1 items",
                "body.d: x -> absent",
                "body.f: absent -> {}",
                "body order: a,b,e -> e,a,b",
            ]
        );
        assert!(differences(&recorded, &recorded).is_empty());
        assert_eq!(
            differences(&Value::Null, &json!({})),
            ["body: absent -> {}"]
        );
    }

    #[test]
    fn an_id_stands_for_one_id() {
        assert!(differences(&json!([A, A, B]), &json!([B, B, A])).is_empty());
        assert_eq!(
            differences(&json!([A, A]), &json!([A, B])),
            [format!("body[1]: {A} -> {B}")]
        );
        assert_eq!(
            differences(&json!([format!("/x/{A}/y")]), &json!([format!("/x/{B}/z")])).len(),
            1
        );
    }

    #[test]
    fn an_id_in_the_name_of_a_disk_is_the_id_of_the_disk() {
        let name = |id: &str| format!("vm1_OsDisk_1_{}", id.replace('-', ""));
        assert!(differences(&json!([name(A), A]), &json!([name(B), B])).is_empty());
        assert_eq!(
            differences(&json!([name(A), A]), &json!([name(B), A])).len(),
            1
        );
        let mut bindings = Bindings::default();
        assert!(bindings.is_same_text(&name(A), &name(B)));
        let sent = bindings.ours(&format!("/disks/{}?of={A}&at={B}", name(A)));
        assert_eq!(sent, format!("/disks/{}?of={B}&at={B}", name(B)));
    }

    #[test]
    fn a_time_stands_for_one_time_in_the_same_zone() {
        let recorded = json!([
            "2023-12-06T08:35:23.494328+00:00",
            "2023-12-06T08:35:23.494328+00:00"
        ]);
        let (first, later) = (
            "2026-01-01T00:00:00.0000000+00:00",
            "2026-01-01T00:00:00.0010000+00:00",
        );
        assert!(differences(&recorded, &json!([first, first])).is_empty());
        assert_eq!(differences(&recorded, &json!([first, later])).len(), 1);
        assert_eq!(
            differences(&recorded, &json!(["2026-01-01T00:00:00Z", first])).len(),
            1
        );
        assert_eq!(
            differences(&json!("2023-12-06T08:35:23+00:00"), &json!("soon")).len(),
            1
        );
    }

    #[test]
    fn unique_names_are_compared_by_their_form() {
        let name = |text: String| json!({ "identifier": { "uniqueName": text } });
        let recorded = name(format!("{A}-SIG_NVJ5OH"));
        assert!(differences(&recorded, &name(format!("{B}-SIG_000002"))).is_empty());
        assert_eq!(
            differences(&recorded, &name(format!("{B}-sig_000002"))).len(),
            1
        );
        assert_eq!(differences(&recorded, &name("SIG".to_owned())).len(), 1);
    }
}
