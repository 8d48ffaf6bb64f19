//! `docs/differences-from-azure.md`: the differences that are accepted.
//!
//! The document is for people; this reads one kind of tables in it. A row of
//! `| id | where | recorded | ours | reason |` accepts differences: `where` is the method, the type
//! and the place, and each of the three middle columns may hold `*`.

use std::path::Path;

const DIFFERENCES: &str = "id | where | recorded | ours | reason";

/// An accepted difference.
pub struct Declared {
    /// Its name.
    pub id: String,
    place: String,
    recorded: String,
    ours: String,
}

/// Reads the document of the repository.
pub fn load() -> Vec<Declared> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/differences-from-azure.md");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse(&text)
}

fn parse(text: &str) -> Vec<Declared> {
    let mut out = Vec::new();
    let mut header = String::new();
    for line in text.lines() {
        let Some(cells) = cells(line) else {
            header.clear();
            continue;
        };
        if header.is_empty() {
            header = cells.join(" | ");
            continue;
        }
        if cells
            .iter()
            .all(|cell| cell.chars().all(|c| c == '-' || c == ':'))
        {
            continue;
        }
        if header == DIFFERENCES {
            out.push(difference(&cells));
        }
    }
    let mut ids: Vec<&str> = out.iter().map(|d| d.id.as_str()).collect();
    ids.sort_unstable();
    let twice = ids.windows(2).find(|pair| pair[0] == pair[1]);
    assert!(twice.is_none(), "declared twice: {twice:?}");
    out
}

fn difference(cells: &[String]) -> Declared {
    let [id, place, recorded, ours, reason] = cells else {
        panic!("{cells:?}: five columns");
    };
    assert!(!reason.is_empty(), "{id}: no reason");
    Declared {
        id: id.clone(),
        place: place.clone(),
        recorded: recorded.clone(),
        ours: ours.clone(),
    }
}

/// Returns the cells of a table's line, without the backticks around a whole cell.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let bare = |cell: &str| {
        let cell = cell.trim();
        let code = cell.strip_prefix('`').and_then(|c| c.strip_suffix('`'));
        code.filter(|c| !c.contains('`')).unwrap_or(cell).to_owned()
    };
    Some(inner.split('|').map(bare).collect())
}

impl Declared {
    /// Whether this row accepts a difference.
    pub fn accepts(&self, place: &str, recorded: &str, ours: &str) -> bool {
        matches(&self.place, place)
            && matches(&self.recorded, recorded)
            && matches(&self.ours, ours)
    }
}

/// Whether a text fits a pattern in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(rest) = text.strip_prefix(head) else {
        return false;
    };
    let mut starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    starts.any(|at| matches(tail, &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_characters() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            (
                "* galleries body*.id",
                "GET galleries body.value[0].id",
                true,
            ),
            ("GET *[*].id", "GET galleries body.value.id", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn tables_are_found_by_their_head() {
        let declared = parse(
            "# Title\n\n| id | where | recorded | ours | reason |\n|---|---|---|---|---|\n\
             | a | `PUT disks body.x` | `1` | * | because |\n\n| other | table |\n|---|---|\n| 1 | 2 |\n",
        );
        assert_eq!(declared.len(), 1);
        assert!(declared[0].accepts("PUT disks body.x", "1", "2"));
        assert!(!declared[0].accepts("PUT disks body.x", "3", "2"));
    }

    #[test]
    #[should_panic(expected = "declared twice")]
    fn an_id_is_declared_once() {
        parse(
            "| id | where | recorded | ours | reason |\n|---|---|---|---|---|\n| a | b | c | d | e |\n| a | f | c | d | e |\n",
        );
    }
}
