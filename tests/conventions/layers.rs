//! Who may know whom inside the cloud and the agent: the table, and no arrow more or less than it has.

use std::{collections::BTreeSet, fs};

use crate::{files, is_test_file, root, shown, source};

/// A module, and the modules of the same package that it may name.
type Row = (&'static str, &'static str);

/// Top-down: a module names modules below it. `^` marks an arrow upwards that is known and shall go; a new one is a
/// decision, and so is a new line. An arrow that nobody needs any more goes too.
const CLOUD: &[Row] = &[
    (
        "server",
        "agents authz config crash gateway identity pki retention seats service status store task tls",
    ),
    ("config", "pki task"),
    ("gateway", "status"),
    ("service", "agents authz identity link pki status store task tls"),
    ("tls", "identity pki"),
    (
        "task",
        "agents blocking crash identity link seats signals status store tail work",
    ),
    ("retention", "store work"),
    ("work", "store"),
    ("signals", "link store tail"),
    ("identity", "authz pki status store"),
    ("status", "pki store"),
    ("link", "pki"),
    ("tail", "store"),
    ("agents", "blocking seats store"),
    ("pki", "store"),
    ("authz", "store"),
    ("store", ""),
    ("blocking", ""),
    ("crash", ""),
    ("seats", ""),
];

/// As [`CLOUD`]. An executor sees its action and its context: no link, no journal, no launcher.
const AGENT: &[Row] = &[
    ("simulate", "connections dial executor identity join launch policy run"),
    (
        "run",
        "connections_file dial executor facts identity join journal launch link pause policy policy_file recover tls",
    ),
    ("recover", "dial identity join tls"),
    ("join", "config connections dial facts identity policy tls"),
    ("link", "clock crash launch policy"),
    (
        "launch",
        "clock config connections crash executor journal line ^link policy remains runner",
    ),
    ("runner", "connections crash executor journal line policy remains"),
    ("executor", "connections processes programs remains"),
    ("connections_file", "connections dial"),
    ("config", "connections policy"),
    ("connections", "dial ^executor"),
    ("journal", "crash policy processes remains"),
    ("remains", "^journal processes"),
    ("processes", ""),
    ("policy_file", "dial policy"),
    ("policy", "^executor programs"),
    ("programs", ""),
    ("tls", "dial identity"),
    ("dial", ""),
    ("identity", ""),
    ("facts", ""),
    ("clock", ""),
    ("line", ""),
    ("pause", ""),
    ("crash", ""),
];

/// The module of the same package that a path is in. A macro that is exported stands at the crate's root.
fn module(path: &str) -> Option<&str> {
    match path.strip_prefix("crate::")?.split("::").next()? {
        "crashpoint" => Some("crash"),
        name => Some(name),
    }
}

/// A module that another one names.
#[derive(Debug)]
struct Arrow {
    from: &'static str,
    to: &'static str,
    /// Where, and as what.
    seen: String,
}

/// Names of the modules that a row allows.
fn allowed(row: &Row) -> impl Iterator<Item = &'static str> {
    row.1.split_whitespace().map(|name| name.trim_start_matches('^'))
}

/// Arrows of a source of this module, its tests aside.
fn arrows(rows: &'static [Row], from: &[&str], text: &str) -> Vec<Arrow> {
    let Some(row) = from.first().and_then(|top| rows.iter().find(|(name, _)| name == top)) else {
        return Vec::new();
    };
    let named = source::named(text, from).into_iter().filter(|named| !named.in_test);
    named
        .filter_map(|named| {
            let to = module(&named.path)?;
            let (to, _) = *rows.iter().find(|(name, _)| *name == to && *name != row.0)?;
            Some(Arrow {
                from: row.0,
                to,
                seen: format!("{}: {} → {to} ({})", named.line, row.0, named.path),
            })
        })
        .collect()
}

/// Arrows that the rows do not allow.
fn forbidden<'a>(rows: &'static [Row], arrows: &'a [Arrow]) -> impl Iterator<Item = &'a str> {
    let is_allowed = move |arrow: &Arrow| {
        let mut row = rows.iter().filter(|(name, _)| *name == arrow.from);
        row.any(|row| allowed(row).any(|name| name == arrow.to))
    };
    arrows
        .iter()
        .filter(move |arrow| !is_allowed(arrow))
        .map(|arrow| arrow.seen.as_str())
}

/// Arrows that the rows allow and that nobody needs.
fn unneeded(rows: &'static [Row], arrows: &[Arrow]) -> Vec<String> {
    let drawn: BTreeSet<_> = arrows.iter().map(|arrow| (arrow.from, arrow.to)).collect();
    let pairs = rows.iter().flat_map(|row| allowed(row).map(move |to| (row.0, to)));
    pairs
        .filter(|pair| !drawn.contains(pair))
        .map(|(from, to)| format!("{from} → {to} is allowed, and nobody needs it: take it out of the table"))
        .collect()
}

/// What is wrong with a table itself: an arrow upwards that is not marked, or a mark on one that is none.
fn circles(rows: &[Row]) -> Vec<String> {
    let place = |name: &str| rows.iter().position(|(row, _)| *row == name);
    let mut faults = Vec::new();
    for (at, (from, to)) in rows.iter().enumerate() {
        for name in to.split_whitespace() {
            match (name.strip_prefix('^'), place(name.trim_start_matches('^'))) {
                (_, None) => faults.push(format!("{from} → {name}: there is no such row")),
                (Some(_), Some(below)) if below > at => faults.push(format!("{from} → {name} is no arrow upwards")),
                (None, Some(above)) if above <= at => faults.push(format!("{from} → {name} points upwards")),
                (Some(_) | None, Some(_)) => {}
            }
        }
    }
    faults
}

#[test]
fn arrows_inside_cloud_and_agent_are_those_of_the_table() {
    let mut faults = Vec::new();
    for (package, rows) in [("cloud", CLOUD), ("agent", AGENT)] {
        faults.extend(circles(rows));
        let mut drawn = Vec::new();
        let src = root().join(package).join("src");
        for source in files(&src, ".rs").iter().filter(|source| !is_test_file(source)) {
            let below = source.strip_prefix(&src).unwrap().to_string_lossy().into_owned();
            let from = source::module_of(&below);
            let text = fs::read_to_string(source).unwrap();
            let has_row = from.first().is_none_or(|top| rows.iter().any(|(name, _)| name == top));
            if !has_row {
                faults.push(format!("{}: no row says where it belongs", shown(source)));
            }
            let found = arrows(rows, &from, &text);
            faults.extend(forbidden(rows, &found).map(|fault| format!("{}:{fault}", shown(source))));
            drawn.extend(found);
        }
        faults.extend(unneeded(rows, &drawn).iter().map(|fault| format!("{package}: {fault}")));
    }
    assert!(
        faults.is_empty(),
        "arrows that are not those of the table:\n{}",
        faults.join("\n")
    );
}

#[test]
fn a_forbidden_arrow_is_found_however_it_is_written() {
    const ROWS: &[Row] = &[("top", "low"), ("link", ""), ("low", "")];
    let from = ["link", "session"];
    for text in [
        "use crate::{low::{self, Thing}};",
        "use super::super::low as other;",
        "fn f() { crate::low::call(); }",
        "fn f() { log!(\"{}\", crate::low::X); }",
    ] {
        assert!(forbidden(ROWS, &arrows(ROWS, &from, text)).next().is_some(), "{text}");
    }
    let innocent = "use super::outbox; pub(in crate::low) fn f() {} #[cfg(test)] mod tests { use crate::low; }";
    assert!(arrows(ROWS, &from, innocent).is_empty());
    let allowed = arrows(ROWS, &["top"], "use crate::low;");
    assert_eq!((allowed.len(), forbidden(ROWS, &allowed).count()), (1, 0));
    assert_eq!(circles(&[("a", "b"), ("b", "a")]).len(), 1);
    assert_eq!(circles(&[("a", "^b"), ("b", "^a c")]).len(), 2);
}

#[test]
fn an_arrow_that_nobody_needs_any_more_is_found() {
    const ROWS: &[Row] = &[("top", "low crash"), ("low", "^top"), ("crash", "")];
    let mut drawn = arrows(
        ROWS,
        &["top"],
        "use crate::crashpoint; fn f() { crashpoint!(\"low.done\"); }",
    );
    assert_eq!(unneeded(ROWS, &drawn).len(), 2, "{drawn:?}");
    drawn.extend(arrows(ROWS, &["top", "part"], "use crate::low::Thing;"));
    drawn.extend(arrows(ROWS, &["low"], "#[cfg(test)] mod tests { use crate::top; }"));
    let left = unneeded(ROWS, &drawn);
    assert!(left.len() == 1 && left[0].starts_with("low → top"), "{left:?}");
    drawn.extend(arrows(ROWS, &["low"], "use crate::top;"));
    assert!(unneeded(ROWS, &drawn).is_empty());
}

#[test]
fn the_store_keeps_its_database_to_itself() {
    for source in files(&root().join("cloud/src"), ".rs") {
        if source.starts_with(root().join("cloud/src/store")) {
            continue;
        }
        let text = fs::read_to_string(&source).unwrap();
        // An import cannot be made without the word.
        if !text.contains("sea_orm") && !text.contains("sqlx") {
            continue;
        }
        let named = source::named(&text, &["here"]);
        let found = named.iter().find(|named| named.is_in("sea_orm") || named.is_in("sqlx"));
        assert!(found.is_none(), "{} knows the database: {found:?}", shown(&source));
    }
}
