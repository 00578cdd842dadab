//! What people are told: every reason of the catalogue is somebody's, every code that is named exists and has its
//! sentences, and every option that a sentence advises can be given.

use std::{collections::BTreeSet, fs};

use opslink::reason::Reason;
use syn::{Item, Meta};

use crate::{files, is_test_file, root, shown, source};

/// In the catalogue since 0.1.0, and given by nobody now. A code is never removed and never means anything else; one
/// that is given again leaves this list.
const RETIRED: &[Reason] = &[Reason::AgentBusy, Reason::DataTooNew, Reason::WaitTimedOut];

/// Reasons that the code of a source gives, its tests aside: those that it makes, not those that it only compares with.
fn made_reasons(text: &str) -> BTreeSet<String> {
    if !text.contains("Reason") {
        return BTreeSet::new();
    }
    let named = source::named(text, &["here"])
        .into_iter()
        .filter(|named| !named.in_test && !named.asked);
    named
        .filter_map(|named| {
            let (before, variant) = named.path.rsplit_once("::")?;
            (before.rsplit("::").next() == Some("Reason")).then(|| variant.to_owned())
        })
        .collect()
}

/// Sources that are shipped.
fn shipped() -> Vec<std::path::PathBuf> {
    let folders = ["proto", "cloud/src", "agent/src", "ctl/src", "ui-leptos/src"];
    let all = folders.iter().flat_map(|folder| files(&root().join(folder), ".rs"));
    all.filter(|path| !is_test_file(path)).collect()
}

#[test]
fn every_reason_of_the_catalogue_is_given_by_somebody() {
    let mut made = BTreeSet::new();
    let mut texts = BTreeSet::new();
    for source in shipped() {
        let place = shown(&source);
        if place == "proto/reason.rs" {
            continue;
        }
        let text = fs::read_to_string(&source).unwrap();
        made.extend(made_reasons(&text));
        // A client gives its own by their codes.
        if place.starts_with("ctl/") || place.starts_with("ui-leptos/") {
            texts.extend(source::texts(&text));
        }
    }
    let unused: Vec<_> = Reason::ALL
        .iter()
        .filter(|reason| !RETIRED.contains(reason))
        .filter(|reason| !made.contains(&format!("{reason:?}")) && !texts.contains(reason.code()))
        .map(|reason| reason.code())
        .collect();
    assert!(unused.is_empty(), "reasons that nobody gives: {unused:?}");
    let back = RETIRED.iter().find(|reason| made.contains(&format!("{reason:?}")));
    assert!(back.is_none(), "{back:?} is given again and is no longer retired");
}

/// Codes of the messages of a file that have the three sentences of a failure.
fn failures(ftl: &str) -> BTreeSet<String> {
    let codes = ftl.lines().filter_map(|line| line.strip_suffix(" ="));
    let is_code = |code: &&str| code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    codes.filter(is_code).map(str::to_owned).collect()
}

/// Codes that a source of cloudctl gives: the first text of `Failure::usage`, the second argument of `Failure::local`.
fn given(text: &str) -> Vec<String> {
    let mut codes = Vec::new();
    for call in ["Failure::usage(", "Failure::local(", "Self::local("] {
        for (at, _) in text.match_indices(call) {
            let rest = &text[at + call.len()..];
            let code = rest.split('"').nth(1).unwrap_or_default();
            let is_near = rest.split('"').next().is_some_and(|before| !before.contains(')'));
            let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            if is_near && is_code {
                codes.push(code.to_owned());
            }
        }
    }
    codes
}

#[test]
fn every_code_that_cloudctl_gives_has_its_sentences_and_its_place_in_the_page_of_errors() {
    let own = failures(&fs::read_to_string(root().join("ctl/locales/en/cli.ftl")).unwrap());
    let page = fs::read_to_string(root().join("docs/errors.md")).unwrap();
    for source in files(&root().join("ctl/src"), ".rs") {
        for code in given(&fs::read_to_string(&source).unwrap()) {
            let known = own.contains(&code) || Reason::from_code(&code).is_some();
            assert!(known, "{} gives {code}, which has no sentences", shown(&source));
        }
    }
    for code in &own {
        assert!(
            page.contains(&format!("\n## {code}\n")),
            "docs/errors.md does not have {code}"
        );
        assert!(Reason::from_code(code).is_none(), "{code} has sentences twice");
    }
}

#[test]
fn a_code_without_sentences_is_found() {
    assert_eq!(given("x(Failure::usage(\n \"NO_SUCH\", &[]))"), ["NO_SUCH"]);
    assert_eq!(
        given("Failure::local(exit, key, &[(\"detail\", d)])"),
        Vec::<String>::new()
    );
    assert_eq!(
        failures("A_B =\n    .what = x\nlower =\n"),
        BTreeSet::from(["A_B".to_owned()])
    );
}

#[test]
fn a_reason_is_given_only_where_it_is_made() {
    for made in [
        "fn f() { Problem::new(Reason::AgentBusy) }",
        "fn f() { match x { Some(_) => Reason::AgentBusy.code(), None => y } }",
        "fn f() { tell!(reason = Reason::AgentBusy) }",
        "fn f() { g(Reason::AgentBusy) == h }",
    ] {
        assert!(made_reasons(made).contains("AgentBusy"), "{made}");
    }
    for asked in [
        "#[cfg(test)] mod t { fn f() { g(Reason::AgentBusy) } }",
        "fn f() { match x { Reason::AgentBusy | Reason::AgentGone => 1, _ => 2 } }",
        "fn f() { if let Some(Reason::AgentBusy) = x {} }",
        "fn f() { x.reason == Reason::AgentBusy.code() }",
        "fn f() { &Reason::AgentBusy != y }",
        "fn f() { matches!(x.reason, Reason::AgentBusy | Reason::AgentGone) }",
        "/// Reason::AgentBusy\nfn f() { g(\"AGENT_BUSY\") } // \"AGENT_BUSY\"",
    ] {
        assert!(made_reasons(asked).is_empty(), "{asked}");
    }
    let texts =
        source::texts("fn f() { g(\"A\"); h!(x, \"B\") } // \"C\"\n#[cfg(test)] mod t { const D: &str = \"D\"; }");
    assert_eq!(texts, ["A", "B"]);
}

/// Options that the programs take: fields with `#[arg(long)]`.
fn options(text: &str, found: &mut BTreeSet<String>) {
    if !text.contains("arg(") {
        return;
    }
    let file = syn::parse_file(text).expect("a source file that compiles");
    let mut fields: Vec<syn::Field> = Vec::new();
    for item in file.items {
        match item {
            Item::Struct(item) => fields.extend(item.fields),
            Item::Enum(item) => fields.extend(item.variants.into_iter().flat_map(|variant| variant.fields)),
            _ => {}
        }
    }
    for field in fields {
        for attribute in &field.attrs {
            let Meta::List(list) = &attribute.meta else { continue };
            if !list.path.is_ident("arg") && !list.path.is_ident("clap") {
                continue;
            }
            let words = list.tokens.to_string();
            let parts: Vec<&str> = words.split(',').map(str::trim).collect();
            if parts.contains(&"long") {
                let name = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
                found.insert(name.replace('_', "-"));
            }
            for part in parts {
                let named = part
                    .strip_prefix("long = ")
                    .or_else(|| part.strip_prefix("visible_alias = "));
                found.extend(named.map(|name| name.trim_matches('"').to_owned()));
            }
        }
    }
}

/// Options that a text names: `--word`.
fn advised(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("--") {
        let is_start = !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
        let word: String = text[at + 2..]
            .chars()
            .take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')
            .collect();
        if is_start && word.starts_with(|c: char| c.is_ascii_lowercase()) {
            found.insert(word.trim_end_matches('-').to_owned());
        }
    }
    found
}

/// Options of other programs, and of clap itself.
const OTHERS: &[&str] = &["help", "version"];

#[test]
fn every_option_that_a_message_advises_can_be_given() {
    let mut known: BTreeSet<String> = OTHERS.iter().map(ToString::to_string).collect();
    for folder in ["cloud/src", "agent/src", "ctl/src", "xtask/src"] {
        for source in files(&root().join(folder), ".rs") {
            options(&fs::read_to_string(&source).unwrap(), &mut known);
        }
    }
    let mut faults = Vec::new();
    for messages in files(&root(), ".ftl") {
        let text = fs::read_to_string(&messages).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let unknown = advised(line).into_iter().filter(|option| !known.contains(option));
            faults.extend(unknown.map(|option| format!("{}: --{option} in `{}`", shown(&messages), line.trim())));
        }
    }
    assert!(
        faults.is_empty(),
        "options that no program takes:\n{}",
        faults.join("\n")
    );
}

#[test]
fn an_option_that_does_not_exist_is_found() {
    let mut known = BTreeSet::new();
    options(
        "struct A { #[arg(short, long)] include_lost: bool, #[arg(long = \"agent\", value_name = \"N\")] agents: X, plain: u8 }",
        &mut known,
    );
    assert_eq!(known, BTreeSet::from(["agent".to_owned(), "include-lost".to_owned()]));
    let found = advised("use --connection NAME, or `--include-lost`; a--b, - - and -- are none");
    assert_eq!(
        found,
        BTreeSet::from(["connection".to_owned(), "include-lost".to_owned()])
    );
}
