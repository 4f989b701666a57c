//! Who may import whom, read from the workspace's own metadata.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "tests state claims; a panic is the failure"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use layering::{DEV_EDGES, EDGES, root};
use serde_json::Value;

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    metadata["packages"]
        .as_array()
        .expect("a list of packages")
        .clone()
}

fn allowed(table: &[(&str, &[&str])], from: &str, to: &str) -> bool {
    table
        .iter()
        .any(|(name, targets)| *name == from && targets.contains(&to))
}

#[test]
fn no_crate_imports_one_that_the_design_keeps_from_it() {
    let packages = packages();
    let own: Vec<&str> = packages
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    let mut refused = Vec::new();
    for package in &packages {
        let from = package["name"].as_str().unwrap();
        assert!(
            EDGES.iter().any(|(name, _)| *name == from),
            "`{from}` is not in the table"
        );
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = dependency["name"].as_str().unwrap();
            if !own.contains(&to) {
                continue;
            }
            let dev = dependency["kind"].as_str() == Some("dev");
            let good = allowed(EDGES, from, to) || dev && allowed(DEV_EDGES, from, to);
            if !good {
                refused.push(format!("{from} -> {to} ({:?})", dependency["kind"]));
            }
        }
    }
    assert!(refused.is_empty(), "forbidden edges: {refused:#?}");
}

#[test]
fn nothing_outside_of_tests_is_built_with_a_crate_of_tests() {
    // Simulated TEEs, GPUs and chains, and research anchors: none of them is a way into a program
    // that is shipped, by whatever table of edges.
    let packages = packages();
    let in_tests = |package: &Value| {
        let path = Path::new(package["manifest_path"].as_str().unwrap());
        path.starts_with(root().canonicalize().unwrap().join("tests"))
    };
    let names = |inside: bool| -> Vec<&str> {
        let found = packages.iter().filter(|p| in_tests(p) == inside);
        found.map(|p| p["name"].as_str().unwrap()).collect()
    };
    let (of_tests, others) = (names(true), names(false));
    assert!(of_tests.contains(&"cuda-lab") && others.contains(&"engine-cuda"));
    let mut refused = Vec::new();
    for package in packages.iter().filter(|p| !in_tests(p)) {
        for dependency in package["dependencies"].as_array().unwrap() {
            let (to, kind) = (&dependency["name"], dependency["kind"].as_str());
            if kind != Some("dev") && of_tests.contains(&to.as_str().unwrap()) {
                refused.push(format!("{} -> {to}", package["name"]));
            }
        }
    }
    assert!(refused.is_empty(), "forbidden edges: {refused:#?}");
}

#[test]
fn no_crate_of_the_workspace_has_a_cargo_feature() {
    // Features unify across a workspace: a feature that selects trust could be switched on from
    // afar. So there are none at all.
    let with: BTreeMap<_, _> = packages()
        .iter()
        .filter(|p| {
            p["features"]
                .as_object()
                .is_some_and(|features| !features.is_empty())
        })
        .map(|p| (p["name"].to_string(), p["features"].to_string()))
        .collect();
    assert!(with.is_empty(), "crates with features: {with:#?}");
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for (path, text) in manifests() {
        assert!(
            text.contains("[lints]\nworkspace = true"),
            "{path} does not"
        );
    }
}

#[test]
fn every_room_of_the_top_level_says_what_it_is() {
    for entry in std::fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_room = path.is_dir() && !name.starts_with('.') && name != "target" && name != "out";
        assert!(
            !is_room || path.join("README.md").is_file(),
            "{name}/ has no README.md"
        );
    }
}

fn manifests() -> Vec<(String, String)> {
    let paths = packages();
    let paths = paths
        .iter()
        .map(|p| p["manifest_path"].as_str().unwrap().to_owned());
    paths
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect()
}
