//! Hints at scripts that destroy things. A hint, not a guard: it never blocks, and it can miss.

/// Something in a script that people want to look at twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// 1-based line.
    pub line: usize,
    /// Message id in the catalogue.
    pub message: &'static str,
    /// The line itself.
    pub excerpt: String,
}

/// Looks at a shell script or command.
pub fn shell(script: &str) -> Vec<Hint> {
    hints(script, "#", |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let has = |word: &str| words.iter().any(|have| have.trim_start_matches("/sbin/") == word);
        let recursive = |flags: &&str| flags.starts_with('-') && flags.contains(['r', 'R']);
        if has("rm") && words.iter().any(recursive) {
            Some("danger-rm")
        } else if words.iter().any(|word| word.starts_with("mkfs"))
            || has("wipefs")
            || (has("dd") && line.contains("of=/dev/"))
        {
            Some("danger-format")
        } else if has("shutdown") || has("reboot") || has("poweroff") || has("halt") {
            Some("danger-power")
        } else if (has("chmod") || has("chown")) && words.iter().any(recursive) && line.trim_end().ends_with(" /") {
            Some("danger-modes")
        } else if (line.contains("curl ") || line.contains("wget ")) && pipes_into_shell(line) {
            Some("danger-pipe")
        } else if line.contains("kill -9 -1") || line.contains(":(){") || line.contains(":|:&") {
            Some("danger-kill")
        } else {
            None
        }
    })
}

fn pipes_into_shell(line: &str) -> bool {
    line.split('|').skip(1).any(|part| {
        matches!(
            part.trim_start().trim_start_matches("sudo ").split_whitespace().next(),
            Some("sh" | "bash" | "zsh")
        )
    })
}

/// Looks at SQL, statement by statement (cut at `;`, which is good enough for a hint).
pub fn sql(script: &str) -> Vec<Hint> {
    let mut found = Vec::new();
    for (start, code) in statements(script) {
        let code = code.to_uppercase();
        let words: Vec<&str> = code.split_whitespace().collect();
        let message = match words.as_slice() {
            ["DROP", "DATABASE" | "TABLE" | "SCHEMA" | "VIEW" | "INDEX", ..] => "danger-drop",
            ["TRUNCATE", ..] => "danger-truncate",
            ["ALTER", "TABLE", rest @ ..] if rest.contains(&"DROP") => "danger-drop",
            ["DELETE", "FROM", rest @ ..] if !rest.contains(&"WHERE") => "danger-no-where",
            ["UPDATE", rest @ ..] if !rest.contains(&"WHERE") && rest.contains(&"SET") => "danger-no-where",
            _ => continue,
        };
        let (before, after) = script.split_at(start);
        found.push(Hint {
            line: before.matches('\n').count() + 1,
            message,
            excerpt: excerpt(after),
        });
    }
    found
}

/// The statements without comments and without what is in quotes, each with the place of its first word.
fn statements(script: &str) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    let (mut at, mut start, mut code) = (0, 0, String::new());
    while let Some(rest) = script.get(at..)
        && let Some(letter) = rest.chars().next()
    {
        // Up to the end of what begins here, or else all.
        let through = |begin: usize, end: &str| {
            let to = rest.get(begin..).and_then(|inside| inside.find(end));
            to.map_or(rest.len(), |to| begin + to + end.len())
        };
        let (taken, kept) = match letter {
            '-' if rest.starts_with("--") => (through(0, "\n"), ' '),
            '/' if rest.starts_with("/*") => (through(2, "*/"), ' '),
            '\'' => (through(1, "'"), letter),
            '"' => (through(1, "\""), letter),
            '`' => (through(1, "`"), letter),
            _ => (letter.len_utf8(), letter),
        };
        if kept == ';' {
            all.push((start, std::mem::take(&mut code)));
        } else if !(code.is_empty() && kept.is_whitespace()) {
            if code.is_empty() {
                start = at;
            }
            code.push(kept);
        }
        at += taken;
    }
    all.push((start, code));
    all
}

fn hints(script: &str, comment: &str, look: impl Fn(&str) -> Option<&'static str>) -> Vec<Hint> {
    script
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with(comment))
        .filter_map(|(at, line)| {
            look(line).map(|message| Hint {
                line: at + 1,
                message,
                excerpt: excerpt(line.trim_start()),
            })
        })
        .collect()
}

fn excerpt(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destroying_commands_are_named() {
        let script = "echo hi\nrm -rf /var/lib/x\n# rm -rf /\nmkfs.ext4 /dev/sdb\ncurl https://x | sudo bash\n";
        let found: Vec<_> = shell(script)
            .into_iter()
            .map(|hint| (hint.line, hint.message))
            .collect();
        assert_eq!(found, [(2, "danger-rm"), (4, "danger-format"), (5, "danger-pipe")]);
    }

    #[test]
    fn harmless_commands_are_not() {
        assert_eq!(
            shell("rm file\necho reboot-me\ncurl https://x | jq .\ndd if=a of=b\n"),
            []
        );
    }

    #[test]
    fn sql_without_where_is_named_with_its_line() {
        let script =
            "select 1;\n\ndelete from users;\nupdate t set a = 1 where id = 2;\n-- drop table x\nDROP TABLE y;";
        let found: Vec<_> = sql(script).into_iter().map(|hint| (hint.line, hint.message)).collect();
        assert_eq!(found, [(3, "danger-no-where"), (6, "danger-drop")]);
    }

    #[test]
    fn sql_is_seen_through_its_comments_and_quotes() {
        let found = |script: &str| -> Vec<_> {
            let hints = sql(script).into_iter();
            hints.map(|hint| (hint.line, hint.message, hint.excerpt)).collect()
        };
        let drop = |line| vec![(line, "danger-drop", "DROP TABLE t".to_owned())];
        assert_eq!(found("-- a; b\nDROP TABLE t"), drop(2));
        assert_eq!(found("/* x */ DROP TABLE t"), drop(1));
        assert_eq!(found("/* x;\n y */\n\nDROP TABLE t"), drop(4));
        assert_eq!(found("select ';\n--'; DROP TABLE t"), drop(2));
        assert!(found("select 'a; drop table t', 'it''s; truncate x'").is_empty());
        assert!(found("/* never closed; drop table t;").is_empty());
        let everywhere = found("delete from t -- where");
        assert_eq!(
            everywhere,
            [(1, "danger-no-where", "delete from t -- where".to_owned())]
        );
    }
}
