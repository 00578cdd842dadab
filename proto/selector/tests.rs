//! Tests of selectors: what they match, what they refuse and how the refusal is drawn.

use proptest::prelude::*;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn expression_matches(expression: &str, pairs: &[(&str, &str)]) -> bool {
    Selector::parse_expression(expression)
        .unwrap()
        .matches("a", AgentId::new(), &labels(pairs))
}

fn by_names(names: &[&str]) -> Result<Selector, Error> {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    Selector::parse(pb::Selector {
        names,
        ..Default::default()
    })
}

fn drawn(expression: &str) -> String {
    Selector::parse_expression(expression).unwrap_err().to_string()
}

#[test]
fn every_operator_does_what_its_name_says() {
    let agent = &[("env", "prod"), ("dc", "bj"), ("url", "http://x:1")];
    for (expression, expected) in [
        ("env=prod", true),
        ("env==prod", true),
        ("env=staging", false),
        ("env!=staging", true),
        ("env != prod", false),
        ("rack!=r1", true),
        ("dc in (bj,sh)", true),
        ("dc in ( sh )", false),
        ("dc notin (sh, gz)", true),
        ("rack notin (r1)", true),
        ("dc notin (bj)", false),
        ("env", true),
        ("legacy", false),
        ("!legacy", true),
        ("! env", false),
        ("env=prod,dc in (bj,sh),!legacy", true),
        ("env=prod,dc=sh", false),
        ("url=http://x:1", true),
        ("in=1", false),
        (" env = prod , dc ", true),
    ] {
        assert_eq!(expression_matches(expression, agent), expected, "{expression}");
    }
    assert!(expression_matches("env=", &[("env", "")]));
}

#[test]
fn names_are_exact_globs_or_ids() {
    let id = AgentId::new();
    let none = labels(&[]);
    for (name, expected) in [
        ("web-01", true),
        ("web-*", true),
        ("w?b-0?", true),
        ("*", true),
        ("web", false),
        ("web-0", false),
    ] {
        assert_eq!(
            by_names(&[name]).unwrap().matches("web-01", id, &none),
            expected,
            "{name}"
        );
    }
    assert!(
        by_names(&["other", &id.to_string()])
            .unwrap()
            .matches("web-01", id, &none)
    );
    assert!(
        !by_names(&[&AgentId::new().to_string()])
            .unwrap()
            .matches("web-01", id, &none)
    );
}

#[test]
fn all_parts_must_match_and_excluded_names_never_do() {
    let selector = Selector::parse(pb::Selector {
        names: vec!["web-*".into()],
        expression: "env=prod".into(),
        exclude: vec!["web-9*".into()],
        all: false,
    })
    .unwrap();
    let prod = labels(&[("env", "prod")]);
    assert!(selector.matches("web-1", AgentId::new(), &prod));
    assert!(!selector.matches("db-1", AgentId::new(), &prod));
    assert!(!selector.matches("web-1", AgentId::new(), &labels(&[])));
    assert!(!selector.matches("web-91", AgentId::new(), &prod));
}

#[test]
fn an_empty_selector_is_an_error_unless_all_is_set() {
    assert_eq!(Selector::parse(pb::Selector::default()).unwrap_err(), Error::Empty);
    assert_eq!(Selector::parse_expression("  ").unwrap_err(), Error::Empty);
    let only_exclude = pb::Selector {
        exclude: vec!["a".into()],
        ..Default::default()
    };
    assert_eq!(Selector::parse(only_exclude).unwrap_err(), Error::Empty);
    let all = Selector::parse(pb::Selector {
        all: true,
        ..Default::default()
    })
    .unwrap();
    assert!(all.matches("anything", AgentId::new(), &labels(&[])));
}

#[test]
fn names_that_nobody_has_are_told() {
    let id = AgentId::new().to_string();
    let selector = by_names(&["prod", "web-*", "gone", &id]).unwrap();
    assert_eq!(
        selector.unknown_names(|name| name == "prod"),
        vec!["gone".to_owned(), id]
    );
}

#[test]
fn a_caret_stands_below_the_fault() {
    assert_eq!(
        drawn("env=prod,dc in bj"),
        "expected `(` at position 16\n  env=prod,dc in bj\n                 ^"
    );
    assert_eq!(
        drawn("env=prod,,x"),
        "expected the name of a label at position 10\n  env=prod,,x\n           ^"
    );
    assert_eq!(
        drawn("env in (a,b"),
        "expected `,` or `)` at position 12\n  env in (a,b\n             ^"
    );
    assert_eq!(
        drawn("env prod"),
        "expected `=`, `!=`, `in`, `notin`, `,` or the end at position 5\n  env prod\n      ^"
    );
    assert_eq!(drawn("a!b"), "expected `=` after `!` at position 3\n  a!b\n    ^");
    assert_eq!(
        drawn("a=b c"),
        "expected `,` or the end at position 5\n  a=b c\n      ^"
    );
}

#[test]
fn the_caret_is_right_below_wide_characters_and_control_characters_are_not_printed() {
    let text = drawn("env=生产");
    assert_eq!(
        text,
        "expected a value of the characters A-Z a-z 0-9 . _ - / : @ + at position 5\n  env=生产\n      ^"
    );
    assert!(!drawn("env=\x1b[31mred").contains('\x1b'));
    assert_eq!(drawn("a=b,环=1").lines().last(), Some("      ^"));
    assert!(drawn("a=b 环x").ends_with("\n      ^"));
}

#[test]
fn impossible_names_and_sizes_are_refused() {
    assert!(matches!(by_names(&["a b"]), Err(Error::Name { .. })));
    assert!(matches!(by_names(&[""]), Err(Error::Name { .. })));
    assert!(matches!(by_names(&[&"a".repeat(64)]), Err(Error::Name { .. })));
    assert!(matches!(
        by_names(&vec!["a"; NAMES_MAX + 1]),
        Err(Error::TooMany { count: 10_001 })
    ));
    assert!(matches!(
        Selector::parse_expression(&"a,".repeat(EXPRESSION_MAX)),
        Err(Error::Syntax(_))
    ));
}

#[test]
fn a_syntax_error_becomes_a_problem_with_its_drawing() {
    let problem = Problem::from(Selector::parse_expression("env=prod,,").unwrap_err());
    assert_eq!(problem.reason, Reason::SelectorSyntax);
    assert!(problem.args["drawing"].ends_with("\n  env=prod,,\n           ^"));
    // In every language its own words, and the drawing.
    for language in crate::locale::Language::ALL {
        let what = problem.what(language);
        assert!(what.contains(&problem.args["drawing"]), "{what}");
        let english = what.contains("expected the name of a label");
        assert_eq!(english, language == crate::locale::Language::En, "{what}");
    }
}

#[test]
fn everything_that_is_expected_is_said_in_every_language() {
    for expected in Expected::ALL {
        let problem = Problem::new(Reason::SelectorSyntax)
            .with("detail", "?detail?")
            .with("expected", expected.code())
            .with("drawing", "");
        let said = problem.what(crate::locale::Language::ZhCn);
        assert!(
            !said.contains("?detail?"),
            "{} has no words of its own: {said}",
            expected.code()
        );
    }
}

fn slow_glob(glob: &[u8], name: &[u8]) -> bool {
    match (glob.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => slow_glob(rest, name) || (!name.is_empty() && slow_glob(glob, &name[1..])),
        (Some((b'?', rest)), Some((_, after))) => slow_glob(rest, after),
        (Some((wanted, rest)), Some((byte, after))) => wanted == byte && slow_glob(rest, after),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

proptest! {
    #[test]
    fn globs_agree_with_the_slow_definition(glob in "[ab*?]{0,8}", name in "[ab]{0,8}") {
        prop_assert_eq!(glob_matches(&glob, &name), slow_glob(glob.as_bytes(), name.as_bytes()));
    }

    #[test]
    fn no_text_makes_it_panic_and_every_fault_lies_inside(text in "\\PC{0,40}") {
        if let Err(Error::Syntax(error)) = Selector::parse_expression(&text) {
            prop_assert!(error.position <= text.chars().count());
            prop_assert_eq!(error.to_string().lines().count(), 3);
        }
    }

    #[test]
    fn expression_shaped_text_does_not_panic(text in "[a-c=!,() in\t]{0,30}") {
        let _ = Selector::parse_expression(&text);
    }

    #[test]
    fn a_list_means_the_same_as_its_parts(value in "[a-d]", wanted in proptest::collection::vec("[a-d]", 1..4)) {
        let agent = labels(&[("k", &value)]);
        let list = Selector::parse_expression(&format!("k in ({})", wanted.join(","))).unwrap();
        let inverse = Selector::parse_expression(&format!("k notin ({})", wanted.join(","))).unwrap();
        let id = AgentId::new();
        prop_assert_eq!(list.matches("a", id, &agent), wanted.contains(&value));
        prop_assert_eq!(inverse.matches("a", id, &agent), !wanted.contains(&value));
    }
}
