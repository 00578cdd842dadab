//! Which tokens people mean by a name, an id or the beginning of one. All of them are found before the first is revoked.

use crate::{exit::Exit, failure::Failure};

/// Fewer characters of an id say nothing: the cloud's own bound for tasks (`TASK_ID_AMBIGUOUS`).
const MIN_PREFIX_CHARS: usize = 8;

/// A token as people may name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    /// In full.
    pub(crate) id: String,
    /// Empty where tokens have none.
    pub(crate) name: String,
    /// Neither revoked, nor used up, nor over.
    pub(crate) is_usable: bool,
}

impl Known {
    /// Returns how it is told: by name and id.
    pub(crate) fn shown(&self) -> String {
        if self.name.is_empty() {
            self.id.clone()
        } else {
            format!("{} ({})", self.name, self.id)
        }
    }
}

/// Finds each of the tokens that are meant.
///
/// # Errors
/// `TOKEN_NOT_FOUND`, or `TOKEN_AMBIGUOUS` with those that fit.
pub(crate) fn all<'a>(wanted: &[String], known: &'a [Known]) -> Result<Vec<&'a Known>, Failure> {
    wanted.iter().map(|wanted| one(wanted, known)).collect()
}

fn one<'a>(wanted: &str, known: &'a [Known]) -> Result<&'a Known, Failure> {
    let id = wanted.to_ascii_lowercase();
    if let Some(exact) = known.iter().find(|token| token.id == id) {
        return Ok(exact);
    }
    let is_named = |token: &Known| !wanted.is_empty() && token.name == wanted;
    // A name is free again when its token has ended: then it is the name of the one that works.
    let is_held = known.iter().any(|token| token.is_usable && is_named(token));
    let is_meant = |token: &&Known| {
        let by_name = is_named(token) && (token.is_usable || !is_held);
        by_name || (id.len() >= MIN_PREFIX_CHARS && token.id.starts_with(&id))
    };
    let fitting: Vec<&Known> = known.iter().filter(is_meant).collect();
    match fitting.as_slice() {
        [] => Err(Failure::local(Exit::NotFound, "TOKEN_NOT_FOUND", &[("name", wanted)])),
        [token] => Ok(*token),
        several => {
            let shown: Vec<String> = several.iter().map(|token| token.shown()).collect();
            let shown = shown.join(", ");
            Err(Failure::usage(
                "TOKEN_AMBIGUOUS",
                &[("name", wanted), ("fitting", &shown)],
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: &str, name: &str, is_usable: bool) -> Known {
        Known {
            id: id.to_owned(),
            name: name.to_owned(),
            is_usable,
        }
    }

    fn known() -> Vec<Known> {
        vec![
            token("0192f0c1-1111", "ci", true),
            token("0192f0c1-2222", "backup", true),
            token("0193aaaa-3333", "ci", false),
            token("0194bbbb-4444", "0192f0c1-1", true),
            token("0195cccc-5555", "", true),
        ]
    }

    fn found(wanted: &str) -> Result<String, String> {
        one(wanted, &known())
            .map(|token| token.id.clone())
            .map_err(|failure| failure.reason)
    }

    #[test]
    fn a_token_is_meant_by_its_name_its_id_or_the_beginning_of_it() {
        for (wanted, id) in [
            ("backup", "0192f0c1-2222"),
            ("0192f0c1-2", "0192f0c1-2222"),
            ("0193AAAA-3333", "0193aaaa-3333"),
            ("0195cccc", "0195cccc-5555"),
            // Somebody else had this name before.
            ("ci", "0192f0c1-1111"),
        ] {
            assert_eq!(found(wanted), Ok(id.to_owned()), "{wanted}");
        }
    }

    #[test]
    fn what_fits_several_revokes_none_and_names_them() {
        let failure = one("0192f0c1", &known()).unwrap_err();
        assert_eq!(failure.reason, "TOKEN_AMBIGUOUS");
        for word in ["ci (0192f0c1-1111)", "backup (0192f0c1-2222)"] {
            assert!(failure.why.contains(word), "{}", failure.why);
        }
        // The name of one is the beginning of another's id.
        assert_eq!(found("0192f0c1-1"), Err("TOKEN_AMBIGUOUS".to_owned()));
        let wanted = ["backup".to_owned(), "0192f0c1".to_owned()];
        assert!(all(&wanted, &known()).is_err(), "and none of the others is");
    }

    #[test]
    fn a_short_beginning_or_an_empty_word_is_no_token() {
        for wanted in ["", "0192f0c", "bac", "Backup"] {
            assert_eq!(found(wanted), Err("TOKEN_NOT_FOUND".to_owned()), "{wanted}");
        }
    }
}
