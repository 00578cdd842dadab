//! Tests of the catalogue itself.

use std::collections::BTreeSet;

use super::*;

#[test]
fn codes_are_upper_snake_unique_and_spell_their_variant() {
    let mut seen = BTreeSet::new();
    for reason in Reason::ALL {
        let code = reason.code();
        assert!(seen.insert(code), "{code} is there twice");
        assert!(
            code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'),
            "{code}"
        );
        assert_eq!(
            code.replace('_', "").to_lowercase(),
            format!("{reason:?}").to_lowercase()
        );
        assert_eq!(Reason::from_code(code), Some(*reason));
    }
    assert_eq!(Reason::from_code("NO_SUCH_REASON"), None);
}

#[test]
fn what_the_caller_did_wrong_is_never_retryable() {
    for reason in Reason::ALL {
        if matches!(
            reason.grpc(),
            Code::InvalidArgument | Code::PermissionDenied | Code::AlreadyExists
        ) {
            assert!(!reason.retryable(), "{reason}");
        }
        if reason.grpc() == Code::Unavailable {
            assert!(reason.retryable(), "{reason}");
        }
    }
}

#[cfg(feature = "locale")]
mod sentences {
    use std::collections::BTreeSet;

    use super::*;
    use crate::locale::{self, Language};

    const SENTENCES: [(&str, &str); 2] = [
        ("en", include_str!("locales/en/errors.ftl")),
        ("zh-CN", include_str!("locales/zh-CN/errors.ftl")),
    ];

    /// Names of the arguments that a text uses.
    fn placeables(text: &str) -> BTreeSet<&str> {
        text.split("{ $")
            .skip(1)
            .filter_map(|rest| rest.split_once(' '))
            .map(|(name, _)| name)
            .collect()
    }

    /// The part of a file that belongs to a code.
    fn entry<'a>(ftl: &'a str, code: &str) -> &'a str {
        let start = ftl
            .find(&format!("\n{code} =\n"))
            .map(|at| at + 1)
            .unwrap_or_else(|| panic!("no entry {code}"));
        let rest = &ftl[start..];
        let end = rest
            .match_indices('\n')
            .find(|(at, _)| !rest[at + 1..].starts_with(' '))
            .map_or(rest.len(), |x| x.0);
        &rest[..end]
    }

    #[test]
    fn the_files_have_no_syntax_errors_and_no_entry_without_a_reason() {
        assert_eq!(locale::errors().faults(), Vec::<String>::new());
        for (language, ftl) in SENTENCES {
            let ids: Vec<_> = ftl.lines().filter_map(|line| line.strip_suffix(" =")).collect();
            assert_eq!(ids.len(), Reason::ALL.len(), "{language}");
            for id in ids {
                assert!(Reason::from_code(id).is_some(), "{language}: {id} is no reason");
            }
        }
    }

    #[test]
    fn every_reason_says_what_why_and_do_this_in_both_languages() {
        for reason in Reason::ALL {
            for language in Language::ALL {
                for line in ["what", "why", "fix"] {
                    let id = format!("{}.{line}", reason.code());
                    assert!(locale::errors().has(language, &id), "{} has no {id}", language.tag());
                    let text = locale::errors().text(language, &id, &[]);
                    assert!(text.chars().count() >= 4, "{} {id}: {text}", language.tag());
                    assert!(!text.contains('\n'), "{} {id} has more than one line", language.tag());
                }
            }
        }
    }

    #[test]
    fn sentences_use_exactly_the_arguments_that_are_listed() {
        for reason in Reason::ALL {
            let listed: BTreeSet<_> = reason.args().iter().copied().collect();
            for (language, ftl) in SENTENCES {
                assert_eq!(placeables(entry(ftl, reason.code())), listed, "{language} {reason}");
            }
        }
    }

    #[test]
    fn the_two_languages_are_not_the_same_text() {
        for reason in Reason::ALL {
            let text = |language| locale::errors().text(language, &format!("{}.what", reason.code()), &[]);
            assert_ne!(text(Language::En), text(Language::ZhCn), "{reason}");
        }
    }

    /// The codes that `cloudctl` gives by itself, from its own file of sentences: they never cross the wire.
    fn of_cloudctl() -> String {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ctl/locales/en/cli.ftl");
        let ftl = std::fs::read_to_string(path).unwrap();
        let mut page = String::from(
            "\n# Errors of cloudctl alone\n\nFound on the caller's side, before or after the API. Made from \
             `ctl/locales/en/cli.ftl`.\n",
        );
        let labels = [(".what = ", "What"), (".why = ", "Why"), (".fix = ", "Do this")];
        let mut in_code = false;
        for line in ftl.lines() {
            match line.strip_suffix(" =") {
                Some(code) if code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') => {
                    in_code = true;
                    page.push_str(&format!("\n## {code}\n\n"));
                }
                Some(_) | None => in_code &= line.starts_with(' '),
            }
            for (attribute, label) in labels {
                if let Some(text) = line.trim_start().strip_prefix(attribute).filter(|_| in_code) {
                    let text = text.replace("{ $", "*").replace(" }", "*");
                    page.push_str(&format!("- {label}: {text}\n"));
                }
            }
        }
        page
    }

    /// `UPDATE_DOCS=1 cargo test -p opslink reason` writes the file anew.
    #[test]
    fn the_page_of_errors_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");
        let wanted = markdown() + &of_cloudctl();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == wanted,
            "docs/errors.md is old: UPDATE_DOCS=1 cargo test -p opslink reason"
        );
    }
}
