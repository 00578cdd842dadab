//! An error as people see it: a reason of the catalogue, and what it is about.

use std::{collections::BTreeMap, fmt};

use crate::{convert::InvalidMessage, reason::Reason};

/// An error with its arguments, independent of any language.
///
/// Its three lines (what, why, do this) come from `proto/locales/<language>/errors.ftl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Why.
    pub reason: Reason,
    /// Arguments of its sentences by name, see [`Reason::args`]; others travel along for programs.
    pub args: BTreeMap<String, String>,
    /// Replaces the catalogue's first line, in every language.
    plain: Option<String>,
}

impl Problem {
    /// Makes a problem without arguments.
    pub const fn new(reason: Reason) -> Self {
        Self {
            reason,
            args: BTreeMap::new(),
            plain: None,
        }
    }

    /// Makes a problem whose first line is `what`, whatever the language.
    pub fn plain(reason: Reason, what: impl Into<String>) -> Self {
        Self {
            plain: Some(what.into()),
            ..Self::new(reason)
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.args.insert(name.into(), value.to_string());
        self
    }
}

#[cfg(feature = "locale")]
impl Problem {
    /// Returns the first line: what happened.
    pub fn what(&self, language: crate::locale::Language) -> String {
        match &self.plain {
            Some(text) => text.clone(),
            None => self.line(language, "what"),
        }
    }

    /// Returns the second line: why.
    pub fn why(&self, language: crate::locale::Language) -> String {
        self.line(language, "why")
    }

    /// Returns the third line: what to do about it.
    pub fn fix(&self, language: crate::locale::Language) -> String {
        self.line(language, "fix")
    }

    /// Returns the three lines, without what is empty.
    pub fn lines(&self, language: crate::locale::Language) -> String {
        let lines = [self.what(language), self.why(language), self.fix(language)];
        lines
            .into_iter()
            .filter(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Returns the block that programs print: what, why, do this, and the code to look up.
    pub fn report(&self, language: crate::locale::Language) -> String {
        use crate::locale::Language;

        // As `cloudctl` says them. The indent is in columns: a Chinese word takes two for each character.
        let (words, colon, indent) = match language {
            Language::En => (["error", "cause", "try", "ref"], ": ", [7, 7, 5, 5]),
            Language::ZhCn => (["错误", "原因", "建议", "代码"], ": ", [6; 4]),
        };
        let texts = [
            self.what(language),
            self.why(language),
            self.fix(language),
            self.reason.code().to_owned(),
        ];
        let parts = words.into_iter().zip(indent).zip(texts);
        let shown = parts
            .filter(|(_, text)| !text.is_empty())
            .map(|((word, indent), text)| {
                // Second lines (a drawn caret, say) stay aligned under the first.
                let indent = " ".repeat(indent);
                format!("{word}{colon}{}", text.replace('\n', &format!("\n{indent}")))
            });
        shown.collect::<Vec<_>>().join("\n")
    }

    fn line(&self, language: crate::locale::Language, attribute: &str) -> String {
        use crate::locale::Arg;
        // Every argument that the sentences may use has a value: nobody shall read `{$name}`.
        let unknown = self.reason.args().iter().map(|name| (*name, Arg::from("?")));
        let given = self
            .args
            .iter()
            .map(|(name, value)| (name.as_str(), Arg::from(value.as_str())));
        let args: Vec<_> = unknown.chain(given).collect();
        crate::locale::errors().text(language, &format!("{}.{attribute}", self.reason.code()), &args)
    }
}

impl fmt::Display for Problem {
    /// For logs: the code, the plain text and the arguments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason.code())?;
        if let Some(text) = &self.plain {
            write!(f, ": {text}")?;
        }
        for (name, value) in &self.args {
            write!(f, " {name}={value:?}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl From<Reason> for Problem {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

impl From<InvalidMessage> for Problem {
    fn from(error: InvalidMessage) -> Self {
        let problem = Self::new(error.code).with("detail", &error).with("field", &error.field);
        let args = error.args.into_iter();
        args.fold(problem, |problem, (name, value)| problem.with(name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_message_keeps_its_own_reason() {
        let error = InvalidMessage::new("spec.sql.script", "must not be empty").because(Reason::ScriptEmpty);
        let problem = Problem::from(error);
        assert_eq!(problem.reason, Reason::ScriptEmpty);
        assert_eq!(problem.args["field"], "spec.sql.script");
    }

    #[cfg(feature = "locale")]
    #[test]
    fn a_script_that_is_refused_is_told_by_its_name_and_size() {
        use crate::{
            convert::SCRIPT_MAX,
            locale::Language,
            pb,
            task::{ShellSpec, SqlSpec},
        };

        let sql = |script: &[u8], name: &str| {
            let spec = pb::SqlSpec {
                script: bytes::Bytes::copy_from_slice(script),
                script_name: name.to_owned(),
                ..Default::default()
            };
            Problem::from(SqlSpec::try_from(spec).unwrap_err())
        };
        let shell = |script: &[u8], name: &str| {
            let spec = pb::ShellSpec {
                script: bytes::Bytes::copy_from_slice(script),
                script_name: name.to_owned(),
                ..Default::default()
            };
            Problem::from(ShellSpec::try_from(spec).unwrap_err())
        };
        let large = vec![b'a'; SCRIPT_MAX + 1];
        let (binary, empty): (&[u8], &[u8]) = (b"a\0", b"");
        for script in [&large[..], binary, empty] {
            for problem in [sql(script, "up.sql"), shell(script, "up.sql"), sql(script, "")] {
                for language in Language::ALL {
                    let what = problem.what(language);
                    assert!(!what.contains('?'), "{what}");
                }
            }
        }
        let lines = sql(&large, "up.sql").lines(Language::En);
        assert!(
            lines.starts_with("The script “up.sql” is too large: 513 KiB; at most 512 KiB are allowed."),
            "{lines}"
        );
    }

    #[test]
    fn logs_get_the_code_and_the_arguments() {
        let problem = Problem::new(Reason::AgentNotFound).with("agent", "prod");
        assert_eq!(problem.to_string(), "AGENT_NOT_FOUND agent=\"prod\"");
    }

    #[cfg(feature = "locale")]
    #[test]
    fn the_three_lines_name_what_they_are_about_in_both_languages() {
        use crate::locale::Language;
        let problem = Problem::new(Reason::AgentNotFound).with("agent", "prod");
        for language in Language::ALL {
            assert!(problem.what(language).contains("prod"), "{}", problem.what(language));
            assert_eq!(problem.lines(language).lines().count(), 3);
        }
        assert_ne!(problem.what(Language::En), problem.what(Language::ZhCn));
    }

    #[cfg(feature = "locale")]
    #[test]
    fn a_forgotten_argument_never_shows_its_name() {
        use crate::locale::Language;
        for reason in Reason::ALL {
            let text = Problem::new(*reason).lines(Language::En);
            assert!(!text.contains('{') && !text.contains('$'), "{text}");
        }
    }
}
