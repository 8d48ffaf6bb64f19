//! The architecture as a check: who may use whom (DESIGN, "The house").

use std::path::Path;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::command::{capture, cargo};
use crate::sizes;

/// Which crates of the workspace a crate may use.
const EDGES: [(&str, &[&str]); 11] = [
    ("domain", &[]),
    ("arm", &["domain"]),
    ("template", &["domain"]),
    ("disk", &[]),
    ("blocks", &["disk"]),
    ("catalog", &["domain"]),
    ("vm", &["disk"]),
    (
        "engine",
        &[
            "domain", "arm", "catalog", "blocks", "vm", "disk", "template",
        ],
    ),
    ("api", &["engine", "arm", "domain"]),
    ("vitrine", &["api", "engine", "arm", "domain", "disk"]),
    ("xtask", &[]),
];

/// What the tests of a crate may use beyond that.
const TEST_EDGES: [(&str, &[&str]); 1] = [
    // Its tests of the blob face open an engine over real region stores.
    ("api", &["blocks", "disk"]),
];

/// The crate with the world for tests: it may use everything, and everybody's tests may use it.
const TESTKIT: &str = "testkit";

/// Which crates of the workspace a dependency is at home in.
const HOMES: [(&str, &[&str]); 5] = [
    ("sqlx", &["catalog"]),
    ("axum", &["api"]),
    ("axum-server", &["vitrine"]),
    ("object_store", &["blocks"]),
    ("clap", &["vitrine", "xtask"]),
];

/// Checks edges, homes and sizes, and prints everything that is wrong.
pub fn check(root: &Path) -> anyhow::Result<()> {
    let metadata =
        capture(cargo().args(["metadata", "--no-deps", "--format-version=1", "--offline"]))?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let mut faults = edge_faults(packages);
    faults.extend(run_fault(&metadata, packages));
    faults.extend(sizes::faults(root)?);
    for fault in &faults {
        eprintln!("{fault}");
    }
    ensure!(
        faults.is_empty(),
        "{} faults of architecture (rules: xtask/src/arch.rs, xtask/src/sizes.rs)",
        faults.len()
    );
    Ok(())
}

/// The README's first command is a bare `cargo run`: it must mean the product and nothing else.
fn run_fault(metadata: &Value, packages: &[Value]) -> Option<String> {
    let members = metadata["workspace_default_members"].as_array()?;
    let binaries: Vec<&str> = packages
        .iter()
        .filter(|package| members.contains(&package["id"]))
        .flat_map(|package| package["targets"].as_array().into_iter().flatten())
        .filter(|target| target["kind"] == serde_json::json!(["bin"]))
        .filter_map(|target| target["name"].as_str())
        .collect();
    (binaries != ["vitrine"])
        .then(|| format!("'cargo run' must mean vitrine alone, not {binaries:?} (default-members)"))
}

fn edge_faults(packages: &[Value]) -> Vec<String> {
    let names: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut faults = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let allowed = EDGES.iter().find(|(known, _)| *known == name);
        if allowed.is_none() && name != TESTKIT {
            faults.push(format!("{name}: no line in EDGES of xtask/src/arch.rs"));
        }
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            let is_dev = dependency["kind"].as_str() == Some("dev");
            let is_ours = names.contains(&used);
            let is_fine = if is_ours {
                name == TESTKIT
                    || (is_dev && (used == TESTKIT || is_test_edge(name, used)))
                    || allowed.is_some_and(|(_, edges)| edges.contains(&used))
            } else {
                HOMES
                    .iter()
                    .find(|(known, _)| *known == used)
                    .is_none_or(|(_, homes)| homes.contains(&name))
            };
            if !is_fine {
                faults.push(format!("{name}: must not use {used}"));
            }
        }
    }
    faults
}

fn is_test_edge(from: &str, to: &str) -> bool {
    TEST_EDGES
        .iter()
        .any(|(name, edges)| *name == from && edges.contains(&to))
}

#[cfg(test)]
mod tests {
    use super::edge_faults;
    use serde_json::{Value, json};

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
        let dependencies: Vec<Value> = dependencies
            .iter()
            .map(|(name, kind)| json!({ "name": name, "kind": kind }))
            .collect();
        json!({ "name": name, "dependencies": dependencies })
    }

    #[test]
    fn only_the_edges_of_the_design_are_allowed() {
        let tree = |from: &str, to: &str, kind: Option<&str>| {
            edge_faults(&[package(from, &[(to, kind)]), package(to, &[])])
        };
        for (from, to, kind, is_fine) in [
            ("api", "engine", None, true),
            ("engine", "api", None, false),
            ("blocks", "catalog", None, false),
            ("domain", "testkit", Some("dev"), true),
            ("domain", "testkit", None, false),
            ("testkit", "api", None, true),
            ("api", "blocks", Some("dev"), true),
            ("api", "blocks", None, false),
        ] {
            assert_eq!(tree(from, to, kind).is_empty(), is_fine, "{from} -> {to}");
        }
    }

    #[test]
    fn a_dependency_stays_in_its_home_even_in_tests() {
        for (crate_name, dependency, is_fine) in [
            ("catalog", "sqlx", true),
            ("engine", "sqlx", false),
            ("vitrine", "axum-server", true),
            ("vitrine", "axum", false),
            ("xtask", "clap", true),
            ("api", "serde", true),
        ] {
            let faults = edge_faults(&[package(crate_name, &[(dependency, Some("dev"))])]);
            assert_eq!(faults.is_empty(), is_fine, "{crate_name} -> {dependency}");
        }
    }

    #[test]
    fn a_crate_without_a_line_is_a_fault() {
        assert_eq!(edge_faults(&[package("newcomer", &[])]).len(), 1);
    }
}
