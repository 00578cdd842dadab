//! What `deny.toml` says of crates, held against the lock file without any tool: none that is banned, none from elsewhere,
//! and none in several versions but those that are accepted there. What it says of licences and advisories is not asked here.

use std::{collections::BTreeMap, fs};

use toml::{Table, Value};

use crate::{packages, root};

/// As the lock file calls it.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// A crate of the lock file.
struct Locked<'a> {
    name: &'a str,
    version: &'a str,
    /// Absent for what is in this folder.
    source: Option<&'a str>,
}

fn text<'a>(package: &'a Value, key: &str) -> Option<&'a str> {
    package.get(key)?.as_str()
}

/// All crates of a lock file.
fn locked(lock: &Table) -> Vec<Locked<'_>> {
    let packages = lock.get("package").and_then(Value::as_array).into_iter().flatten();
    packages
        .map(|package| Locked {
            name: text(package, "name").expect("a name"),
            version: text(package, "version").expect("a version"),
            source: text(package, "source"),
        })
        .collect()
}

/// A crate that `deny.toml` means: `name`, `name@1.2.3` for this version, `name:1.2` for those that begin so. It knows more
/// than these three, and nothing of it is used.
struct Meant<'a> {
    name: &'a str,
    version: Version<'a>,
}

enum Version<'a> {
    Any,
    Only(&'a str),
    Begins(&'a str),
}

impl<'a> Meant<'a> {
    fn of(entry: &'a Value) -> Self {
        let text = entry.as_str().or_else(|| entry.get("crate")?.as_str());
        let text = text.expect("a crate, or a table with one");
        let (name, version) = match (text.split_once('@'), text.split_once(':')) {
            (Some((name, version)), _) => (name, Version::Only(version)),
            (None, Some((name, version))) => (name, Version::Begins(version)),
            (None, None) => (text, Version::Any),
        };
        Self { name, version }
    }

    fn is(&self, locked: &Locked<'_>) -> bool {
        let fits = match self.version {
            Version::Any => true,
            Version::Only(version) => locked.version == version,
            Version::Begins(begin) => locked
                .version
                .strip_prefix(begin)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        };
        self.name == locked.name && fits
    }
}

/// Entries of a list of `[bans]`, each with what was written.
fn listed<'a>(deny: &'a Table, list: &str) -> Vec<(Meant<'a>, &'a Value)> {
    let bans = deny.get("bans").and_then(|bans| bans.get(list)?.as_array());
    let entries = bans.into_iter().flatten();
    entries.map(|entry| (Meant::of(entry), entry)).collect()
}

/// What is in the lock file and should not be, and what is accepted and is not there. `ours` are the packages of this
/// workspace.
fn faults(deny: &Table, lock: &Table, ours: &[String]) -> Vec<String> {
    let (banned, accepted) = (listed(deny, "deny"), listed(deny, "skip"));
    let locked = locked(lock);
    let mut faults = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&Locked<'_>>> = BTreeMap::new();
    for package in &locked {
        let Locked { name, version, source } = *package;
        versions.entry(name).or_default().push(package);
        let entries = banned.iter().filter(|(meant, _)| meant.is(package));
        faults.extend(entries.map(|(_, entry)| format!("{name} {version} is banned: {entry}")));
        match source {
            Some(source) if source == CRATES_IO => {}
            None if ours.iter().any(|own| own == name) => {}
            Some(_) | None => faults.push(format!("{name} {version} is not of crates.io: {source:?}")),
        }
    }
    for (name, all) in &versions {
        let left = all
            .iter()
            .filter(|package| !accepted.iter().any(|(meant, _)| meant.is(package)));
        let left: Vec<&str> = left.map(|package| package.version).collect();
        match left.as_slice() {
            [_] => {}
            [] => faults.push(format!(
                "every version of {name} is accepted beside another one: which is that?"
            )),
            _ => faults.push(format!(
                "{name} has several versions ({}): have one, or accept the older ones in deny.toml",
                left.join(", ")
            )),
        }
    }
    let is_needed = |meant: &Meant<'_>| {
        let all = versions.get(meant.name).map(Vec::as_slice).unwrap_or_default();
        all.len() > 1 && all.iter().any(|package| meant.is(package))
    };
    let unneeded = accepted.iter().filter(|(meant, _)| !is_needed(meant));
    faults.extend(unneeded.map(|(_, entry)| format!("{entry} is accepted, and not there: take it out of deny.toml")));
    faults
}

fn read(file: &str) -> Table {
    let text = fs::read_to_string(root().join(file)).expect("a file");
    text.parse().expect("TOML")
}

#[test]
fn the_lock_file_holds_only_crates_that_may_be_there_and_one_version_of_each() {
    let (deny, lock) = (read("deny.toml"), read("Cargo.lock"));
    assert!(
        listed(&deny, "deny").len() >= 6 && locked(&lock).len() > 100,
        "the rule sees both files"
    );
    let faults = faults(&deny, &lock, &packages::names());
    assert!(faults.is_empty(), "crates:\n{}", faults.join("\n"));
}

#[test]
fn a_crate_that_may_not_be_there_is_found() {
    let deny: Table = "[bans]
        deny = ['gone', { crate = 'openssl', reason = 'one TLS stack' }, { crate = 'bad@1.0.0' }]
        skip = [{ crate = 'syn:2', reason = 'most macros' }, 'rand:0.8', 'rand:0.9']"
        .parse()
        .unwrap();
    let ours = ["opslink".to_owned()];
    let found = |packages: &[(&str, &str, Option<&str>)]| {
        let mut lock = String::new();
        // What is accepted is there, too.
        let mut all = vec![
            ("syn", "2.0.119", Some(CRATES_IO)),
            ("syn", "3.0.1", Some(CRATES_IO)),
            ("rand", "0.8.8", Some(CRATES_IO)),
            ("rand", "0.9.5", Some(CRATES_IO)),
            ("rand", "0.10.4", Some(CRATES_IO)),
            ("opslink", "0.1.0", None),
        ];
        all.extend(packages);
        for (name, version, source) in all {
            lock += &format!("[[package]]\nname = '{name}'\nversion = '{version}'\n");
            lock += &source
                .map(|source| format!("source = '{source}'\n"))
                .unwrap_or_default();
        }
        faults(&deny, &lock.parse::<Table>().unwrap(), &ours)
    };
    assert_eq!(found(&[]), Vec::<String>::new());
    assert_eq!(found(&[("bad", "1.0.1", Some(CRATES_IO))]), Vec::<String>::new());
    for package in [
        ("openssl", "0.10.1", Some(CRATES_IO)),
        ("bad", "1.0.0", Some(CRATES_IO)),
        ("fine", "1.0.0", Some("git+https://example.org/fine#1")),
        ("fine", "1.0.0", None),
        // One more version of what has several: also of those that an accepted one could be taken for.
        ("syn", "4.0.0", Some(CRATES_IO)),
        ("syn", "20.0.0", Some(CRATES_IO)),
        ("rand", "0.7.0", Some(CRATES_IO)),
    ] {
        assert_eq!(found(&[package]).len(), 1, "{package:?}");
    }
    let two = [("fine", "1.0.0", Some(CRATES_IO)), ("fine", "2.0.0", Some(CRATES_IO))];
    assert_eq!(found(&two).len(), 1);
}

#[test]
fn what_is_accepted_and_not_there_is_found() {
    let lock: Table = format!("[[package]]\nname = 'syn'\nversion = '2.0.1'\nsource = '{CRATES_IO}'")
        .parse()
        .unwrap();
    let found = |skip: &str| {
        let deny: Table = format!("[bans]\ndeny = []\nskip = [{skip}]").parse().unwrap();
        faults(&deny, &lock, &[]).len()
    };
    assert_eq!(found(""), 0);
    assert_eq!(found("'syn:1'"), 1);
    // It is the only one: nothing is left, and nothing is beside it.
    assert_eq!(found("'syn:2'"), 2);
}
