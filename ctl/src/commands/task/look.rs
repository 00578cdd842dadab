//! From flags and terminal to how output looks.

use std::path::PathBuf;

use crate::{
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

/// Settles how rows are written: a table for people, csv for programs, unless told.
pub(crate) fn row_format(output: Option<Format>) -> Result<RowFormat, Failure> {
    match output {
        None if terminal::stdout_is_tty() => Ok(RowFormat::Table),
        None | Some(Format::Csv) => Ok(RowFormat::Csv),
        Some(Format::Table | Format::Wide) => Ok(RowFormat::Table),
        Some(Format::Tsv) => Ok(RowFormat::Tsv),
        Some(Format::Json) => Ok(RowFormat::Json),
        Some(Format::Jsonl) => Ok(RowFormat::Jsonl),
        Some(Format::Yaml | Format::Name) => Err(Failure::usage("FORMAT_NOT_FOR_ROWS", &[])),
    }
}
