//! Quoting for a POSIX shell, so that a copied line does in a terminal what it does here.

/// One word, quoted when it has to be.
pub fn word(text: &str) -> String {
    let safe = |letter: char| letter.is_ascii_alphanumeric() || "_-./:=@%+,".contains(letter);
    if !text.is_empty() && text.chars().all(safe) && !text.starts_with('=') {
        return text.to_owned();
    }
    if text.chars().any(|letter| letter.is_control() && letter != '\n') {
        return ansi_c(text);
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// `$'…'` (bash, zsh, ksh) for text with control characters.
fn ansi_c(text: &str) -> String {
    let mut quoted = String::from("$'");
    for letter in text.chars() {
        match letter {
            '\'' => quoted.push_str(r"\'"),
            '\\' => quoted.push_str(r"\\"),
            '\n' => quoted.push_str(r"\n"),
            '\t' => quoted.push_str(r"\t"),
            '\r' => quoted.push_str(r"\r"),
            letter if letter.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(letter))),
            letter => quoted.push(letter),
        }
    }
    quoted.push('\'');
    quoted
}

/// Cuts a command line into words the way a POSIX shell does, without expanding anything.
///
/// # Errors
/// The reason why a shell would not take it: an open quote, a lone backslash, or a character that only a shell
/// understands (the line then wants to be a script).
pub fn split(line: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next() {
                        Some('\'') => break,
                        Some(letter) => word.push(letter),
                        None => return Err(SplitError::OpenQuote),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next() {
                        Some('"') => break,
                        Some('\\') => match letters.next() {
                            Some(letter @ ('"' | '\\' | '$' | '`')) => word.push(letter),
                            Some(letter) => word.extend(['\\', letter]),
                            None => return Err(SplitError::OpenQuote),
                        },
                        Some('$' | '`') => return Err(SplitError::NeedsShell),
                        Some(letter) => word.push(letter),
                        None => return Err(SplitError::OpenQuote),
                    }
                }
            }
            '\\' => match letters.next() {
                Some(letter) => word.get_or_insert_default().push(letter),
                None => return Err(SplitError::OpenQuote),
            },
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`' | '*' | '?' | '[' | '~' | '#' => {
                return Err(SplitError::NeedsShell);
            }
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Why a line is not a plain list of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitError {
    /// A quote or backslash at its end is not closed.
    OpenQuote,
    /// Pipes, variables, globs: a shell has to read it.
    NeedsShell,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_stay_plain() {
        assert_eq!(word("env=prod"), "env=prod");
        assert_eq!(word("/usr/bin/uname"), "/usr/bin/uname");
    }

    #[test]
    fn special_words_are_quoted() {
        assert_eq!(word(""), "''");
        assert_eq!(word("dc in (bj,sh)"), "'dc in (bj,sh)'");
        assert_eq!(word("it's"), r"'it'\''s'");
        assert_eq!(word("a\tb'c"), r"$'a\tb\'c'");
        assert_eq!(word("!legacy"), "'!legacy'");
        assert_eq!(word("中文"), "'中文'");
    }

    #[test]
    fn quoting_and_splitting_are_inverse() {
        for text in [
            "plain",
            "two words",
            "it's",
            "a\"b",
            "\\",
            "$HOME",
            "*",
            "line\nbreak",
            "",
            "中 文",
        ] {
            assert_eq!(split(&word(text)), Ok(vec![text.to_owned()]), "{text:?}");
        }
    }

    #[test]
    fn split_reads_quotes() {
        assert_eq!(
            split(r#"sh -c 'echo $A' "two words" a\ b"#),
            Ok(["sh", "-c", "echo $A", "two words", "a b"].map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn split_refuses_what_only_a_shell_knows() {
        assert_eq!(split("ls | wc"), Err(SplitError::NeedsShell));
        assert_eq!(split("echo \"$HOME\""), Err(SplitError::NeedsShell));
        assert_eq!(split("echo 'x"), Err(SplitError::OpenQuote));
    }
}
