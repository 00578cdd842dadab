//! From bytes cut anywhere to lines: what lets the output of many agents share one screen.

use std::time::{Duration, Instant};

/// Longest part of a line that is kept waiting for its end; a longer line is shown in several parts.
pub(crate) const MAX_LINE_BYTES: usize = 64 * 1024;
/// How long a line without its end waits before it is shown anyway: a prompt, a progress bar.
pub(crate) const PARTIAL_PATIENCE: Duration = Duration::from_millis(200);

/// A line, or a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    /// The bytes, without the line end.
    pub(crate) bytes: &'a [u8],
    /// Whether the line's beginning was shown before.
    pub(crate) continues: bool,
    /// Whether the line ends here.
    pub(crate) ends: bool,
}

/// Puts the lines of one stream together.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    waiting: Vec<u8>,
    since: Option<Instant>,
    continues: bool,
}

impl Assembler {
    /// Takes the next bytes and hands out every line that is complete.
    pub(crate) fn push<E>(
        &mut self,
        mut bytes: &[u8],
        now: Instant,
        mut emit: impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(at) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(at);
            bytes = rest.get(1..).unwrap_or_default();
            if self.waiting.is_empty() {
                self.long(line, true, &mut emit)?;
            } else {
                self.waiting.extend_from_slice(line);
                let line = std::mem::take(&mut self.waiting);
                self.long(&line, true, &mut emit)?;
                // The buffer is kept: the next line will need it.
                self.waiting = line;
                self.waiting.clear();
            }
            self.since = None;
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.waiting.extend_from_slice(bytes);
        self.since.get_or_insert(now);
        if self.waiting.len() >= MAX_LINE_BYTES {
            let line = std::mem::take(&mut self.waiting);
            let whole = line.len() - line.len() % MAX_LINE_BYTES;
            let (parts, rest) = line.split_at(whole);
            self.long(parts, false, &mut emit)?;
            self.waiting.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Hands out the unfinished line when it has waited long enough.
    pub(crate) fn flush_due<E>(&mut self, now: Instant, emit: impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        match self.since {
            Some(since) if now.saturating_duration_since(since) >= PARTIAL_PATIENCE => self.flush(emit),
            _ => Ok(()),
        }
    }

    /// Hands out the unfinished line, if there is one.
    pub(crate) fn flush<E>(&mut self, mut emit: impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        self.since = None;
        if self.waiting.is_empty() {
            return Ok(());
        }
        let line = std::mem::take(&mut self.waiting);
        self.long(&line, false, &mut emit)
    }

    /// Says whether a line waits for its end.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.since.is_some()
    }

    /// Emits a line in parts of at most [`MAX_LINE_BYTES`].
    fn long<E>(&mut self, line: &[u8], ends: bool, emit: &mut impl FnMut(Piece<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut rest = line;
        while rest.len() > MAX_LINE_BYTES {
            let (part, after) = rest.split_at(MAX_LINE_BYTES);
            emit(Piece {
                bytes: part,
                continues: self.continues,
                ends: false,
            })?;
            self.continues = true;
            rest = after;
        }
        if !rest.is_empty() || ends {
            emit(Piece {
                bytes: rest,
                continues: self.continues,
                ends,
            })?;
            self.continues = !ends;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    type Pieces = Vec<(Vec<u8>, bool, bool)>;

    fn assemble(parts: &[&[u8]], flush_after: Option<usize>) -> Pieces {
        let mut pieces = Pieces::new();
        let mut assembler = Assembler::default();
        let now = Instant::now();
        let mut keep = |piece: Piece<'_>| {
            pieces.push((piece.bytes.to_vec(), piece.continues, piece.ends));
            Ok::<(), Infallible>(())
        };
        for (index, part) in parts.iter().enumerate() {
            assembler.push(part, now, &mut keep).unwrap();
            if flush_after == Some(index) {
                assembler.flush_due(now + PARTIAL_PATIENCE, &mut keep).unwrap();
            }
        }
        assembler.flush(&mut keep).unwrap();
        pieces
    }

    fn joined(pieces: &Pieces) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (piece, _, ends) in pieces {
            bytes.extend_from_slice(piece);
            if *ends {
                bytes.push(b'\n');
            }
        }
        bytes
    }

    #[test]
    fn a_line_cut_in_three_is_one_line() {
        assert_eq!(
            assemble(&[b"he", b"ll", b"o\nyou"], None),
            [(b"hello".to_vec(), false, true), (b"you".to_vec(), false, false)]
        );
    }

    #[test]
    fn a_prompt_is_shown_before_its_line_ends_and_then_continued() {
        assert_eq!(
            assemble(&[b"name? ", b"Ada\nnext\n"], Some(0)),
            [
                (b"name? ".to_vec(), false, false),
                (b"Ada".to_vec(), true, true),
                (b"next".to_vec(), false, true)
            ]
        );
    }

    #[test]
    fn a_line_that_never_ends_needs_bounded_memory() {
        let mut assembler = Assembler::default();
        let block = vec![b'x'; 100_000];
        let mut longest = 0;
        for _ in 0..100 {
            let emit = |piece: Piece<'_>| {
                assert!(piece.bytes.len() <= MAX_LINE_BYTES);
                Ok::<(), Infallible>(())
            };
            assembler.push(&block, Instant::now(), emit).unwrap();
            longest = longest.max(assembler.waiting.len());
        }
        assert!(longest < MAX_LINE_BYTES + block.len(), "{longest}");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_added_or_reordered(
            parts in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..50), 0..20),
            flush_after in prop::option::of(0_usize..20),
        ) {
            let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let pieces = assemble(&slices, flush_after);
            prop_assert_eq!(joined(&pieces), parts.concat());
            // A piece continues exactly when the one before it did not end.
            let mut open = false;
            for (_, continues, ends) in &pieces {
                prop_assert_eq!(*continues, open);
                open = !ends;
            }
        }

        #[test]
        fn long_lines_are_cut_and_still_whole(lengths in prop::collection::vec(0_usize..200_000, 1..4), cut in 1_usize..90_000) {
            let bytes: Vec<u8> = lengths.iter().flat_map(|n| std::iter::repeat_n(b'y', *n).chain([b'\n'])).collect();
            let slices: Vec<&[u8]> = bytes.chunks(cut).collect();
            let pieces = assemble(&slices, None);
            prop_assert!(pieces.iter().all(|(piece, _, _)| piece.len() <= MAX_LINE_BYTES));
            prop_assert_eq!(joined(&pieces), bytes);
        }
    }
}
