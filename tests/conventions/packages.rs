//! Which of our packages may depend on which.

use std::{collections::BTreeMap, fs};

use toml::{Table, Value};

use crate::root;

/// What a package may name of ours.
struct Row {
    /// Its folder.
    folder: &'static str,
    /// What it is made of, on any platform, and what its build script is made of: this is the boundary.
    made_of: &'static [&'static str],
    /// What only its tests are made of beside that.
    tested_with: &'static [&'static str],
}

const PACKAGES: &[Row] = &[
    Row {
        folder: ".",
        made_of: &[],
        // The tests of the whole are its tests: the simulation has both ends in one process.
        tested_with: &["opslink-agent", "opslink-cloud", "opslink-harness"],
    },
    Row {
        folder: "cloud",
        made_of: &["opslink"],
        tested_with: &[],
    },
    Row {
        folder: "agent",
        made_of: &["opslink"],
        tested_with: &["opslink-harness"],
    },
    Row {
        folder: "ctl",
        made_of: &["opslink"],
        tested_with: &[],
    },
    Row {
        folder: "ui-leptos",
        made_of: &["opslink"],
        tested_with: &[],
    },
    Row {
        folder: "xtask",
        made_of: &["opslink-harness"],
        tested_with: &[],
    },
    Row {
        folder: "tests/harness",
        made_of: &[],
        tested_with: &[],
    },
    Row {
        folder: "tests/bench",
        made_of: &["opslink", "opslink-harness"],
        tested_with: &[],
    },
];

/// Where the manifest of a folder is.
fn manifest(folder: &str) -> Table {
    let path = root().join(folder).join("Cargo.toml");
    let text = fs::read_to_string(path).expect("a manifest");
    text.parse().expect("a manifest that cargo reads")
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key)?.as_str().map(str::to_owned)
}

/// Folders of the workspace: the root's own package and its members.
fn members(workspace: &Table) -> Vec<String> {
    let listed = workspace.get("workspace").and_then(|table| table.get("members"));
    let listed = listed.and_then(Value::as_array).into_iter().flatten();
    let own = workspace.contains_key("package").then(|| ".".to_owned());
    own.into_iter()
        .chain(listed.filter_map(Value::as_str).map(str::to_owned))
        .collect()
}

/// Names of our packages.
pub(crate) fn names() -> Vec<String> {
    let folders = members(&manifest("."));
    let name = |folder: &String| text(manifest(folder).get("package")?, "name");
    folders.iter().filter_map(name).collect()
}

/// Packages that a manifest depends on by this kind of table, on whatever platform, by their own names.
fn dependencies(manifest: &Table, workspace: &Table, kind: &str) -> Vec<String> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let platforms = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    let tables = std::iter::once(manifest)
        .chain(platforms)
        .filter_map(|table| table.get(kind)?.as_table());
    let central = workspace
        .get("workspace")
        .and_then(|table| table.get("dependencies")?.as_table());
    tables
        .flatten()
        .map(|(name, value)| {
            // Inherited ones are renamed where they are declared.
            let declared = central.and_then(|table| table.get(name));
            let renamed = text(value, "package").or_else(|| text(declared?, "package"));
            renamed.unwrap_or_else(|| name.clone())
        })
        .collect()
}

/// What a package depends on and may not. `ours` are the names of all our packages.
fn faults(row: &Row, manifest: &Table, workspace: &Table, ours: &[String]) -> Vec<String> {
    let of = |kind| dependencies(manifest, workspace, kind);
    let made = of("dependencies").into_iter().chain(of("build-dependencies"));
    let made = made.filter(|name| !row.made_of.contains(&name.as_str()));
    let tested = of("dev-dependencies").into_iter();
    let tested = tested.filter(|name| ![row.made_of, row.tested_with].concat().contains(&name.as_str()));
    made.chain(tested)
        .filter(|name| ours.contains(name))
        .map(|name| format!("{} must not depend on {name}", row.folder))
        .collect()
}

/// What a row allows and its package does not use.
fn unneeded(row: &Row, manifest: &Table, workspace: &Table) -> Vec<String> {
    let of = |kind| dependencies(manifest, workspace, kind);
    let made = [of("dependencies"), of("build-dependencies")].concat();
    let tested = of("dev-dependencies");
    let made_of = row.made_of.iter().filter(|name| !made.iter().any(|made| made == *name));
    let tested_with = row
        .tested_with
        .iter()
        .filter(|name| !tested.iter().any(|tested| tested == *name));
    made_of
        .chain(tested_with)
        .map(|name| {
            format!(
                "{} does not depend on {name} any more: take it out of its row",
                row.folder
            )
        })
        .collect()
}

#[test]
fn packages_know_only_whom_they_may() {
    let workspace = manifest(".");
    let manifests: BTreeMap<String, Table> = members(&workspace)
        .into_iter()
        .map(|folder| {
            let manifest = manifest(&folder);
            (folder, manifest)
        })
        .collect();
    let names = manifests
        .values()
        .filter_map(|manifest| text(manifest.get("package")?, "name"));
    let ours: Vec<String> = names.collect();
    assert_eq!(ours.len(), manifests.len(), "a package without a name");
    let mut found = Vec::new();
    for (folder, manifest) in &manifests {
        match PACKAGES.iter().find(|row| row.folder == folder) {
            Some(row) => {
                found.extend(faults(row, manifest, &workspace, &ours));
                found.extend(unneeded(row, manifest, &workspace));
            }
            None => found.push(format!("{folder}: no row says whom it may know")),
        }
    }
    let gone = PACKAGES.iter().filter(|row| !manifests.contains_key(row.folder));
    found.extend(gone.map(|row| format!("{}: there is no such package", row.folder)));
    assert!(found.is_empty(), "packages:\n{}", found.join("\n"));
}

#[test]
fn a_forbidden_dependency_is_found_in_every_table_and_under_every_name() {
    let row = Row {
        folder: "agent",
        made_of: &["opslink"],
        tested_with: &["opslink-harness"],
    };
    let ours = ["opslink", "opslink-cloud", "opslink-harness"].map(str::to_owned);
    let workspace: Table = "[package]\nname = 'opslink'\n[workspace]\nmembers = ['agent', 'new']
        [workspace.dependencies]\nopslink-cloud = { path = 'cloud' }
        brain = { path = 'cloud', package = 'opslink-cloud' }"
        .parse()
        .unwrap();
    assert_eq!(members(&workspace), [".", "agent", "new"]);
    let faults = |text: &str| faults(&row, &text.parse::<Table>().unwrap(), &workspace, &ours).len();
    for text in [
        "[dependencies]\nopslink-cloud.workspace = true",
        "[build-dependencies]\nopslink-cloud = { path = '../cloud' }",
        "[dev-dependencies]\nopslink-cloud.workspace = true",
        "[dependencies]\nother = { path = '../cloud', package = 'opslink-cloud' }",
        "[dependencies]\nbrain.workspace = true",
        "[target.'cfg(unix)'.dependencies]\nopslink-cloud.workspace = true",
        "[target.'cfg(unix)'.dev-dependencies]\nbrain = { workspace = true }",
        "[dependencies]\nopslink-harness.workspace = true",
    ] {
        assert_eq!(faults(text), 1, "{text}");
    }
    let innocent =
        "[dependencies]\nopslink.workspace = true\nserde = '1'\n[dev-dependencies]\nopslink-harness.workspace = true";
    assert_eq!(faults(innocent), 0);
    let unneeded = |text: &str| unneeded(&row, &text.parse::<Table>().unwrap(), &workspace).len();
    assert_eq!((unneeded(innocent), unneeded("[dependencies]\nserde = '1'")), (0, 2));
}
