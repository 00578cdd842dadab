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
    let mut line = 1;
    for statement in script.split(';') {
        let code: String = statement
            .lines()
            .map(|line| line.split("--").next().unwrap_or_default())
            .collect::<Vec<_>>()
            .join(" ")
            .to_uppercase();
        let words: Vec<&str> = code.split_whitespace().collect();
        let message = match words.as_slice() {
            ["DROP", "DATABASE" | "TABLE" | "SCHEMA" | "VIEW" | "INDEX", ..] => Some("danger-drop"),
            ["TRUNCATE", ..] => Some("danger-truncate"),
            ["ALTER", "TABLE", rest @ ..] if rest.contains(&"DROP") => Some("danger-drop"),
            ["DELETE", "FROM", rest @ ..] if !rest.contains(&"WHERE") => Some("danger-no-where"),
            ["UPDATE", rest @ ..] if !rest.contains(&"WHERE") && rest.contains(&"SET") => Some("danger-no-where"),
            _ => None,
        };
        let leading = statement.len() - statement.trim_start().len();
        let start = line + statement.get(..leading).map_or(0, |space| space.matches('\n').count());
        if let Some(message) = message {
            found.push(Hint {
                line: start,
                message,
                excerpt: excerpt(statement.trim_start()),
            });
        }
        line += statement.matches('\n').count();
    }
    found
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
        assert_eq!(found, [(3, "danger-no-where"), (5, "danger-drop")]);
    }
}
