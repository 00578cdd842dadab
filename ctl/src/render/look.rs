//! What a screen is told once: who reads it, and what is wanted.

use std::path::PathBuf;

use opslink::event::Stream;

use crate::render::RowFormat;

/// How the output of one command is to look.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// Whether each line says its agent.
    pub(crate) many: bool,
    /// Whether each line says its time.
    pub(crate) timestamps: bool,
    /// Bytes as they are, even on a terminal.
    pub(crate) raw: bool,
    /// How rows are written.
    pub(crate) rows: RowFormat,
    /// Whether csv and tsv begin with a header line.
    pub(crate) headers: bool,
    /// Width of the longest agent name.
    pub(crate) name_width: usize,
    /// Whether stdout and stderr are terminals.
    pub(crate) tty: PerStream<bool>,
    /// Whether stdout and stderr take colours.
    pub(crate) color: PerStream<bool>,
    /// Nothing but output and errors.
    pub(crate) quiet: bool,
    /// One file per agent and stream in this folder, instead of stdout and stderr.
    pub(crate) folder: Option<PathBuf>,
    /// The same output of several agents once, at the end.
    pub(crate) fold: bool,
}

/// One value for stdout and one for stderr.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PerStream<T> {
    /// Of stdout.
    pub(crate) out: T,
    /// Of stderr.
    pub(crate) err: T,
}

impl<T> PerStream<T> {
    /// Returns the value of a stream.
    pub(crate) const fn of(&self, stream: Stream) -> &T {
        match stream {
            Stream::Stdout => &self.out,
            Stream::Stderr => &self.err,
        }
    }

    /// Returns the value of a stream, to change it.
    pub(super) const fn of_mut(&mut self, stream: Stream) -> &mut T {
        match stream {
            Stream::Stdout => &mut self.out,
            Stream::Stderr => &mut self.err,
        }
    }
}
