//! `--fold`: the same output of many agents is shown once, with their names; what others said, as its differences from
//! that. Output is gathered until its end, since only then it is known what is the same; what is large goes to a nameless
//! temporary file meanwhile.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    io::{self, Read, Seek, SeekFrom, Write},
};

use opslink::event::Stream;
use ring::digest::{Context, SHA256};
use tempfile::SpooledTempFile;

use crate::{
    render::{
        PerStream, escape,
        fold_diff::{self, Difference},
    },
    text::text,
};

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

/// Where one stream is shown.
pub(super) struct Way<'a, W> {
    to: &'a mut W,
    color: bool,
}

impl<'a, W: Write> Way<'a, W> {
    /// Shows on this writer.
    pub(super) const fn new(to: &'a mut W, color: bool) -> Self {
        Self { to, color }
    }
}

/// Writes each output once, that of most agents first. The others are shown as their differences from that one, where
/// this is shorter. The names are on stdout, and on stderr too where it is read apart from stdout.
pub(super) fn show(
    all: Vec<(String, PerStream<Gathered>)>,
    ways: &mut PerStream<Way<'_, impl Write>>,
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
    let mut groups = groups.into_iter();
    let Some(mut largest) = groups.next() else {
        return Ok(());
    };
    let largest_said = PerStream {
        out: Said::of(&mut largest.said.out)?,
        err: Said::of(&mut largest.said.err)?,
    };
    let largest_name = name(&largest.agents);
    show_group(&mut largest, ways, same_screen, |gathered, way, _| {
        copy(gathered, way.to)
    })?;
    for mut group in groups {
        let name = name(&group.agents);
        show_group(&mut group, ways, same_screen, |gathered, way, stream| {
            show_odd(largest_said.of(stream), &largest_name, gathered, &name, way)
        })?;
    }
    Ok(())
}

fn show_group<W: Write>(
    group: &mut Group,
    ways: &mut PerStream<Way<'_, W>>,
    same_screen: bool,
    mut body: impl FnMut(&mut Gathered, &mut Way<'_, W>, Stream) -> io::Result<()>,
) -> io::Result<()> {
    let head = format!("── {} ──\n", name(&group.agents));
    ways.out.to.write_all(head.as_bytes())?;
    body(&mut group.said.out, &mut ways.out, Stream::Stdout)?;
    ways.out.to.flush()?;
    if !group.said.err.is_empty {
        if !same_screen {
            ways.err.to.write_all(head.as_bytes())?;
        }
        body(&mut group.said.err, &mut ways.err, Stream::Stderr)?;
        ways.err.to.flush()?;
    }
    Ok(())
}

/// Shows one stream of a smaller group.
fn show_odd<W: Write>(
    first: &Said,
    first_name: &str,
    gathered: &mut Gathered,
    name: &str,
    way: &mut Way<'_, W>,
) -> io::Result<()> {
    let said = Said::of(gathered)?;
    let (Some(old), Some(new)) = (&first.bytes, &said.bytes) else {
        writeln!(way.to, "{}", text("fold-too-large", &[]))?;
        return copy(gathered, way.to);
    };
    match fold_diff::compare(old, new, way.color) {
        // Nothing to be saved by a sentence.
        Difference::None if fold_diff::is_short(new) => copy(gathered, way.to),
        Difference::None => writeln!(way.to, "{}", text("fold-same", &[])),
        Difference::TooMuch => copy(gathered, way.to),
        Difference::Lines(lines) => {
            writeln!(way.to, "--- {first_name}\n+++ {name}")?;
            way.to.write_all(&lines)
        }
    }
}

/// What was said, unless it is too large to be compared.
struct Said {
    bytes: Option<Vec<u8>>,
}

impl Said {
    fn of(gathered: &mut Gathered) -> io::Result<Self> {
        let length = gathered.bytes.seek(SeekFrom::End(0))?;
        if length > fold_diff::MAX_BYTES {
            return Ok(Self { bytes: None });
        }
        gathered.bytes.rewind()?;
        let mut bytes = Vec::new();
        gathered.bytes.read_to_end(&mut bytes)?;
        Ok(Self { bytes: Some(bytes) })
    }
}

/// Names of a group, and how many they are.
fn name(agents: &[String]) -> String {
    let names: Vec<String> = agents.iter().map(|agent| escape::visible(agent)).collect();
    let count = match agents.len() {
        1 => String::new(),
        n => format!(" ({n})"),
    };
    format!("{}{count}", names.join(", "))
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
