//! From flags and terminal to how output looks.

use std::path::PathBuf;

use opslink::pb::task_spec::Action;

use crate::{
    cli::{Globals, SaidBy},
    failure::Failure,
    output::Format,
    render::{Look, PerStream, RowFormat},
    terminal,
};

/// What a command wants; the terminal decides the rest.
pub(crate) struct Wanted {
    /// How rows are written.
    pub(crate) rows: RowFormat,
    /// Whether each line says its agent.
    pub(crate) many: bool,
    /// Whether each line says its time.
    pub(crate) timestamps: bool,
    /// Bytes as they are, even on a terminal.
    pub(crate) raw: bool,
    /// One file per agent and stream here.
    pub(crate) folder: Option<PathBuf>,
    /// The same output of several agents once, at the end.
    pub(crate) fold: bool,
    /// Whether csv and tsv begin with a header line.
    pub(crate) headers: bool,
    /// Nothing but output and errors.
    pub(crate) quiet: bool,
    /// Width of the longest agent name.
    pub(crate) name_width: usize,
}

impl Wanted {
    /// Looks at the terminal.
    pub(crate) fn look(self) -> Look {
        Look {
            many: self.many,
            timestamps: self.timestamps,
            raw: self.raw,
            rows: self.rows,
            headers: self.headers,
            name_width: self.name_width,
            tty: PerStream {
                out: terminal::stdout_is_tty(),
                err: terminal::stderr_is_tty(),
            },
            color: PerStream {
                out: terminal::stdout_has_color(),
                err: terminal::stderr_has_color(),
            },
            quiet: self.quiet,
            folder: self.folder,
            // One agent has nobody to be the same as.
            fold: self.fold && self.many,
        }
    }
}

/// Refuses what cannot be folded: documents for programs.
pub(crate) fn check_fold(fold: bool, rows: RowFormat) -> Result<(), Failure> {
    if fold && matches!(rows, RowFormat::Json | RowFormat::Jsonl) {
        return Err(Failure::usage("FOLD_NOT_FOR_JSON", &[]));
    }
    Ok(())
}

/// Settles how what a task gives is written: rows as a table for people, as csv for programs, unless told; lines as they
/// come.
///
/// # Errors
/// When this very command line asks for what cannot be. The environment is left aside then: it was said for lists, too.
pub(crate) fn row_format(action: Option<&Action>, globals: &Globals) -> Result<RowFormat, Failure> {
    let refused = |reason| match globals.output_by {
        SaidBy::Line => Err(Failure::usage(reason, &[])),
        SaidBy::Surroundings => Ok(usual_rows()),
    };
    // Commands and scripts print lines and no rows.
    let is_lines = matches!(action, Some(Action::Shell(_)));
    match globals.output {
        None => Ok(usual_rows()),
        Some(Format::Table | Format::Wide) => Ok(RowFormat::Table),
        Some(_) if is_lines => refused("FORMAT_NOT_FOR_LINES"),
        Some(Format::Csv) => Ok(RowFormat::Csv),
        Some(Format::Tsv) => Ok(RowFormat::Tsv),
        Some(Format::Json) => Ok(RowFormat::Json),
        Some(Format::Jsonl) => Ok(RowFormat::Jsonl),
        Some(Format::Yaml | Format::Name) => refused("FORMAT_NOT_FOR_ROWS"),
    }
}

/// How rows are written when nobody says it.
pub(crate) fn usual_rows() -> RowFormat {
    if terminal::stdout_is_tty() {
        RowFormat::Table
    } else {
        RowFormat::Csv
    }
}

#[cfg(test)]
mod tests {
    use opslink::pb::{ShellSpec, SqlSpec};

    use super::*;
    use crate::cli::Cli;

    fn globals(output: Format, output_by: SaidBy) -> Globals {
        Globals {
            output: Some(output),
            output_by,
            ..Cli::read(["cloudctl", "whoami"]).unwrap().globals
        }
    }

    fn told(action: &Action, output: Format, output_by: SaidBy) -> Result<RowFormat, String> {
        row_format(Some(action), &globals(output, output_by)).map_err(|failure| failure.reason)
    }

    #[test]
    fn a_format_is_what_comes_or_is_refused_with_words() {
        let (shell, sql) = (Action::Shell(ShellSpec::default()), Action::Sql(SqlSpec::default()));
        let lines = Err("FORMAT_NOT_FOR_LINES".to_owned());
        for output in [
            Format::Json,
            Format::Jsonl,
            Format::Yaml,
            Format::Csv,
            Format::Tsv,
            Format::Name,
        ] {
            assert_eq!(told(&shell, output, SaidBy::Line), lines, "{output:?}");
        }
        assert_eq!(told(&shell, Format::Wide, SaidBy::Line), Ok(RowFormat::Table));
        assert_eq!(told(&sql, Format::Json, SaidBy::Line), Ok(RowFormat::Json));
        for output in [Format::Yaml, Format::Name] {
            assert_eq!(told(&sql, output, SaidBy::Line), Err("FORMAT_NOT_FOR_ROWS".to_owned()));
        }
    }

    #[test]
    fn what_the_environment_says_of_lists_breaks_no_run() {
        let (shell, sql) = (Action::Shell(ShellSpec::default()), Action::Sql(SqlSpec::default()));
        for output in [Format::Json, Format::Yaml, Format::Name] {
            assert_eq!(
                told(&shell, output, SaidBy::Surroundings),
                Ok(usual_rows()),
                "{output:?}"
            );
        }
        assert_eq!(told(&sql, Format::Yaml, SaidBy::Surroundings), Ok(usual_rows()));
        assert_eq!(told(&sql, Format::Json, SaidBy::Surroundings), Ok(RowFormat::Json));
    }
}
