//! The person at the other end: whether there is a terminal, colours, talk on stderr, prompts.

use std::{
    io::{self, IsTerminal, Write},
    sync::OnceLock,
};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use unicode_width::UnicodeWidthStr;

use crate::{exit::Exit, failure::Failure, interrupt, render::escape};

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What was found out about the terminal at the start.
#[derive(Debug, Clone, Copy, Default)]
struct Terminal {
    stdout_tty: bool,
    stderr_tty: bool,
    stdin_tty: bool,
    stdout_color: bool,
    stderr_color: bool,
    quiet: bool,
}

static TERMINAL: OnceLock<Terminal> = OnceLock::new();

/// Looks at the three standard streams once.
pub(crate) fn init(color: ColorChoice, quiet: bool) {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let (stdout_tty, stderr_tty) = (io::stdout().is_terminal(), io::stderr().is_terminal());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let colored = |tty: bool| match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto if is_set("NO_COLOR") => false,
        ColorChoice::Auto if is_set("CLICOLOR_FORCE") => true,
        ColorChoice::Auto => tty && !dumb,
    };
    let _ = TERMINAL.set(Terminal {
        stdout_tty,
        stderr_tty,
        stdin_tty: io::stdin().is_terminal(),
        stdout_color: colored(stdout_tty),
        stderr_color: colored(stderr_tty),
        quiet,
    });
}

fn terminal() -> Terminal {
    TERMINAL.get().copied().unwrap_or_default()
}

/// Says whether stdout is a terminal.
pub(crate) fn stdout_is_tty() -> bool {
    terminal().stdout_tty
}

/// Says whether stderr is a terminal.
pub(crate) fn stderr_is_tty() -> bool {
    terminal().stderr_tty
}

/// Says whether stdout takes colours.
pub(crate) fn stdout_has_color() -> bool {
    terminal().stdout_color
}

/// Says whether stderr takes colours.
pub(crate) fn stderr_has_color() -> bool {
    terminal().stderr_color
}

/// Says whether somebody can answer a question.
pub(crate) fn can_prompt() -> bool {
    let terminal = terminal();
    terminal.stdin_tty && terminal.stderr_tty && std::env::var_os("CI").is_none_or(|value| value.is_empty())
}

/// A foreground colour.
pub(crate) const fn fg(color: AnsiColor) -> Style {
    Style::new().fg_color(Some(anstyle::Color::Ansi(color)))
}

/// Wraps a text in a style for stderr; as it is when stderr takes no colours.
pub(crate) fn styled(style: Style, text: &str) -> String {
    if stderr_has_color() {
        format!("{style}{text}{style:#}")
    } else {
        text.to_owned()
    }
}

/// Says a line to the person (stderr). Nothing with `--quiet`.
pub(crate) fn say(line: &str) {
    if !terminal().quiet {
        say_always(line);
    }
}

/// Says a line to the person (stderr), also with `--quiet`. What a cloud or an agent put into it is shown, never obeyed.
pub(crate) fn say_always(line: &str) {
    // One write per line: lines of parallel programs on one terminal stay whole.
    let _ = io::stderr().lock().write_all(&escape::colored(&format!("{line}\n")));
}

/// Says a warning, also with `--quiet`.
pub(crate) fn warn(line: &str) {
    let word = styled(
        fg(AnsiColor::Yellow).bold(),
        &format!("{}:", crate::text::text("word-warning", &[])),
    );
    say_always(&format!("{word} {line}"));
}

/// Prints the three lines of a failure and its reason.
pub(crate) fn error_block(failure: &Failure) {
    let _ = io::stderr().lock().write_all(block_of(failure).as_bytes());
}

/// The three lines of a failure and its reason. A cloud says them: they are shown, and nothing in them is obeyed.
fn block_of(failure: &Failure) -> String {
    let dim = Style::new().dimmed();
    let mut block = String::new();
    let mut part = |style: Style, word: &str, value: &str| {
        if !value.is_empty() {
            let word = crate::text::text(word, &[]);
            // A selector error draws a caret under the expression: all its lines move by the same width.
            let indent = " ".repeat(UnicodeWidthStr::width(word.as_str()) + 2);
            let value = escape::plain(value).replace('\n', &format!("\n{indent}"));
            block.push_str(&format!("{} {value}\n", styled(style, &format!("{word}:"))));
        }
    };
    part(fg(AnsiColor::Red).bold(), "word-error", &failure.what);
    part(dim, "word-cause", &failure.why);
    part(fg(AnsiColor::Cyan), "word-try", &failure.fix);
    part(dim, "word-ref", &failure.reason);
    block
}

/// Asks for a line. `flag` is what to give instead when nobody can answer.
pub(crate) fn ask(question: &str, flag: &str) -> Result<String, Failure> {
    require_prompt(flag)?;
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(&escape::colored(&format!("{question} ")));
    let _ = stderr.flush();
    drop(stderr);
    let mut answer = String::new();
    match io::stdin().read_line(&mut answer) {
        Ok(0) => Err(interrupted()),
        Ok(_) => Ok(answer.trim().to_owned()),
        Err(error) => Err(Failure::unexpected(&error.to_string())),
    }
}

/// Asks a yes-no question; anything but yes is no.
pub(crate) fn confirm(question: &str, flag: &str) -> Result<bool, Failure> {
    let answer = ask(&format!("{question} [y/N]"), flag)?;
    Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes" | "是"))
}

/// Asks for a password without showing it.
pub(crate) fn ask_password(question: &str, flag: &str) -> Result<String, Failure> {
    require_prompt(flag)?;
    interrupt::restore_terminal();
    rpassword::prompt_password(format!("{question} ")).map_err(|error| match error.kind() {
        io::ErrorKind::Interrupted | io::ErrorKind::UnexpectedEof => interrupted(),
        _ => Failure::unexpected(&error.to_string()),
    })
}

fn require_prompt(flag: &str) -> Result<(), Failure> {
    if can_prompt() {
        Ok(())
    } else {
        Err(Failure::usage("NO_TERMINAL", &[("flag", flag)]))
    }
}

fn interrupted() -> Failure {
    Failure::local(Exit::Interrupted, "INTERRUPTED", &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_cloud_says_of_a_failure_is_shown_and_not_obeyed() {
        let failure = Failure {
            exit: Exit::NotFound,
            reason: "AGENT\u{9b}2J".to_owned(),
            what: "no agent \x1b[31m\x1b]0;owned\x07\nsecond\x1b[2J".to_owned(),
            why: "\x08\x08hidden\rover".to_owned(),
            fix: "\u{202e}gpj.exe".to_owned(),
        };
        let shown = block_of(&failure);
        let obeyed = |character: char| character != '\n' && (character.is_control() || character == '\u{202e}');
        assert!(!shown.contains(obeyed), "{shown:?}");
        assert!(
            shown.contains("no agent ␛[31m␛]0;owned␇\n") && shown.contains("␍over"),
            "{shown}"
        );
        assert_eq!(shown.lines().count(), 5, "{shown}");
    }
}
