//! The member tables: which member of which resource is known to which api-version.
//!
//! Read once from the files of `data/` (see `data/README.md`). A table is a tree of members; every
//! member knows the first api-version that had it and, when it is gone, the last.

use std::sync::LazyLock;

/// The value of a member.
#[derive(Debug)]
pub(crate) enum Type {
    Text,
    Int,
    Long,
    Float,
    Bool,
    Date,
    Any,
    Object(Object),
    List(Box<Type>),
    Map(Box<Type>),
}

/// An object's name in errors, and its members.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) members: Vec<Member>,
    /// Whether members that are not listed are allowed.
    pub(crate) is_open: bool,
}

/// A member and the api-versions that know it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) since: String,
    pub(crate) until: Option<String>,
    pub(crate) is_write_only: bool,
    pub(crate) value: Type,
}

/// One resource or body.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) root: Object,
    /// Ascending.
    pub(crate) versions: Vec<&'static str>,
}

const FILES: &[&str] = &[
    include_str!("../../data/gallery.tsv"),
    include_str!("../../data/disk.tsv"),
    include_str!("../../data/managed-image.tsv"),
    include_str!("../../data/virtual-machine.tsv"),
    include_str!("../../data/scale-set.tsv"),
    include_str!("../../data/additions.tsv"),
    include_str!("../../data/arm.tsv"),
    include_str!("../../data/network.tsv"),
    include_str!("../../data/gallery-artifacts.tsv"),
];

/// Tables that take members they do not list.
const OPEN: [&str; 3] = ["ResourceGroup", "StorageAccount", "Network"];

static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| {
    let mut tables = Vec::new();
    for file in FILES {
        read_file(file, &mut tables);
    }
    tables
});

/// Returns the table of a name.
pub(crate) fn table(name: &str) -> &'static Table {
    let found = TABLES.iter().find(|table| table.root.name == name);
    found.expect("every name comes from Shape, and a test looks each of them up")
}

impl Table {
    /// Returns the newest known api-version that is not newer than the one asked for.
    ///
    /// Later dates than all known mean the newest, earlier dates the oldest: whether a version is
    /// accepted at all is decided in [`crate::versions`].
    pub(crate) fn resolve(&self, asked: &str) -> &'static str {
        let date = |version: &str| version.get(..10).unwrap_or(version).to_owned();
        let asked = date(asked);
        let known = self
            .versions
            .iter()
            .rev()
            .find(|known| date(known) <= asked);
        known.or(self.versions.first()).copied().unwrap_or_default()
    }
}

impl Member {
    /// Returns whether a known api-version has the member.
    pub(crate) fn is_known(&self, version: &str) -> bool {
        self.since.as_str() <= version && self.until.as_deref().is_none_or(|until| version <= until)
    }
}

impl Object {
    fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            members: Vec::new(),
            is_open: false,
        }
    }

    /// Returns the member of a name, whatever its case.
    pub(crate) fn find(&self, name: &str) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.name.eq_ignore_ascii_case(name))
    }

    /// Returns the object below `segment`, making the member when no row names it.
    fn below(&mut self, segment: &str) -> Option<&mut Object> {
        let name = segment.trim_end_matches("[]").trim_end_matches("{}");
        if !self.members.iter().any(|member| member.name == name) {
            let title = if name == "properties" {
                format!("{}Properties", self.name)
            } else {
                capital(name)
            };
            self.members.push(Member {
                name: name.to_owned(),
                since: String::new(),
                until: None,
                is_write_only: false,
                value: Type::Object(Object::new(title)),
            });
        }
        let member = self.members.iter_mut().find(|member| member.name == name)?;
        match &mut member.value {
            Type::Object(object) => Some(object),
            Type::List(item) | Type::Map(item) => match item.as_mut() {
                Type::Object(object) => Some(object),
                _ => None,
            },
            _ => None,
        }
    }
}

fn capital(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

fn read_file(file: &'static str, tables: &mut Vec<Table>) {
    let mut current = None;
    for line in file.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            current = read_heading(heading, tables);
        } else if let Some(row) = current.and_then(|index: usize| tables.get_mut(index)) {
            read_row(line, &mut row.root);
        }
    }
}

fn read_heading(heading: &'static str, tables: &mut Vec<Table>) -> Option<usize> {
    let (name, versions) = heading.split_once("  versions: ")?;
    let index = tables
        .iter()
        .position(|table| table.root.name == name)
        .unwrap_or_else(|| {
            let mut root = Object::new(name);
            root.is_open = OPEN.contains(&name);
            tables.push(Table {
                root,
                versions: Vec::new(),
            });
            tables.len() - 1
        });
    let table = tables.get_mut(index)?;
    table.versions.extend(versions.split(", "));
    Some(index)
}

fn read_row(line: &str, root: &mut Object) {
    let columns: Vec<&str> = line.split('\t').collect();
    let [path, kind, access, life, ..] = columns.as_slice() else {
        return;
    };
    let mut segments: Vec<&str> = path.split('.').collect();
    let Some(name) = segments.pop() else { return };
    let mut object = root;
    for segment in segments {
        let Some(below) = object.below(segment) else {
            return;
        };
        object = below;
    }
    let (since, until) = match life.split_once(" until ") {
        Some((since, until)) => (since, Some(until.to_owned())),
        None => (*life, None),
    };
    object.members.push(Member {
        name: name.to_owned(),
        since: since.trim_start_matches("since ").to_owned(),
        until,
        is_write_only: *access == "w",
        value: read_type(kind),
    });
}

fn read_type(word: &str) -> Type {
    if let Some(item) = word.strip_prefix('[').and_then(|w| w.strip_suffix(']')) {
        return Type::List(Box::new(read_type(item)));
    }
    if let Some(item) = word.strip_prefix('{').and_then(|w| w.strip_suffix('}')) {
        return Type::Map(Box::new(read_type(item)));
    }
    match word {
        "str" => Type::Text,
        "int" => Type::Int,
        "long" => Type::Long,
        "float" => Type::Float,
        "bool" => Type::Bool,
        "iso-8601" => Type::Date,
        "any" => Type::Any,
        "open" => Type::Object(Object {
            name: "Object".to_owned(),
            members: Vec::new(),
            is_open: true,
        }),
        name => Type::Object(Object::new(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(object: &Object) -> usize {
        object
            .members
            .iter()
            .map(|member| 1 + count_type(&member.value))
            .sum()
    }

    fn count_type(value: &Type) -> usize {
        match value {
            Type::Object(object) => count(object),
            Type::List(item) | Type::Map(item) => count_type(item),
            _ => 0,
        }
    }

    #[test]
    fn every_row_of_the_files_is_in_a_table() {
        let rows: usize = FILES
            .iter()
            .map(|f| f.lines().filter(|l| l.contains("\tsince ")).count())
            .sum();
        let members: usize = TABLES.iter().map(|table| count(&table.root)).sum();
        let implicit = members - rows;
        // `properties`, `properties.output` and the readers' `identifier` have no row of their own.
        assert!((1..=40).contains(&implicit), "{implicit}");
    }

    #[test]
    fn versions_ascend_and_resolve_to_the_newest_not_newer() {
        for table in TABLES.iter() {
            assert!(
                table.versions.is_sorted_by(|a, b| a[..10] <= b[..10]),
                "{}",
                table.root.name
            );
        }
        let gallery = table("Gallery");
        assert_eq!(gallery.resolve("2025-04-01"), "2025-03-03");
        assert_eq!(gallery.resolve("2030-01-01"), "2026-03-03");
        assert_eq!(gallery.resolve("2010-01-01"), "2018-06-01");
        assert_eq!(gallery.resolve("2023-07-03"), "2023-07-03");
    }
}
