//! Where rendered bytes go: large writes straight through, small ones gathered.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    os::fd::AsFd,
};

/// Small writes gather up to this; larger ones go through without a copy.
const BUFFER_BYTES: usize = 64 * 1024;

/// A buffered way out.
pub(crate) type Sink = BufWriter<Box<dyn Write + Send>>;

/// Wraps a writer.
pub(crate) fn sink(writer: impl Write + Send + 'static) -> Sink {
    BufWriter::with_capacity(BUFFER_BYTES, Box::new(writer))
}

/// Opens stdout for bulk: its own descriptor, because the standard library's would look for line ends in every write.
pub(crate) fn stdout() -> io::Result<Sink> {
    Ok(sink(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
}

/// Opens stderr likewise.
pub(crate) fn stderr() -> io::Result<Sink> {
    Ok(sink(File::from(io::stderr().as_fd().try_clone_to_owned()?)))
}
