//! `--fold`: the same output of many agents is shown once, with their names. Output is gathered until its end, since
//! only then it is known what is the same; what is large goes to a nameless temporary file meanwhile.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    io::{self, Seek, Write},
};

use ring::digest::{Context, SHA256};
use tempfile::SpooledTempFile;

use crate::render::{PerStream, escape};

/// Kept in memory per agent and stream; thousands of agents rarely say more than this each.
const MEMORY_BYTES: usize = 256 * 1024;

/// One stream of one agent.
pub(super) struct Gathered {
    bytes: SpooledTempFile,
    digest: Context,
    is_empty: bool,
}

impl Gathered {
    /// Begins with nothing.
    pub(super) fn new() -> Self {
        Self {
            bytes: SpooledTempFile::new(MEMORY_BYTES),
            digest: Context::new(&SHA256),
            is_empty: true,
        }
    }

    fn key(&self) -> Vec<u8> {
        self.digest.clone().finish().as_ref().to_vec()
    }
}

impl Write for Gathered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.bytes.write(bytes)?;
        self.digest.update(bytes.get(..written).unwrap_or_default());
        self.is_empty &= written == 0;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.bytes.flush()
    }
}

/// Agents that said the same.
struct Group {
    agents: Vec<String>,
    said: PerStream<Gathered>,
}

/// Writes each output once, that of most agents first. The names are on stdout, and on stderr too where it is read
/// apart from stdout.
pub(super) fn show(
    all: Vec<(String, PerStream<Gathered>)>,
    out: &mut impl Write,
    err: &mut impl Write,
    same_screen: bool,
) -> io::Result<()> {
    let mut groups: BTreeMap<(Vec<u8>, Vec<u8>), Group> = BTreeMap::new();
    for (agent, said) in all {
        let group = groups.entry((said.out.key(), said.err.key()));
        let agents = &mut group
            .or_insert_with(|| Group {
                agents: Vec::new(),
                said,
            })
            .agents;
        agents.push(agent);
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.iter_mut().for_each(|group| group.agents.sort_unstable());
    groups.sort_by(|a, b| (Reverse(a.agents.len()), &a.agents).cmp(&(Reverse(b.agents.len()), &b.agents)));
    for mut group in groups {
        let head = head(&group.agents);
        out.write_all(head.as_bytes())?;
        copy(&mut group.said.out, out)?;
        out.flush()?;
        if !group.said.err.is_empty {
            if !same_screen {
                err.write_all(head.as_bytes())?;
            }
            copy(&mut group.said.err, err)?;
            err.flush()?;
        }
    }
    Ok(())
}

fn head(agents: &[String]) -> String {
    let names: Vec<String> = agents.iter().map(|agent| escape::visible(agent)).collect();
    let count = match agents.len() {
        1 => String::new(),
        n => format!(" ({n})"),
    };
    format!("── {}{count} ──\n", names.join(", "))
}

/// Writes what was gathered, with an end of its last line.
fn copy(from: &mut Gathered, to: &mut impl Write) -> io::Result<()> {
    if from.is_empty {
        return Ok(());
    }
    from.bytes.rewind()?;
    let mut ended = Ended { to, ended: true };
    io::copy(&mut from.bytes, &mut ended)?;
    if !ended.ended {
        to.write_all(b"\n")?;
    }
    Ok(())
}

/// Remembers whether the last byte ended a line.
struct Ended<'a, W> {
    to: &'a mut W,
    ended: bool,
}

impl<W: Write> Write for Ended<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        if let Some(last) = written.checked_sub(1).and_then(|at| bytes.get(at)) {
            self.ended = *last == b'\n';
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
