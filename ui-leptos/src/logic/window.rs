//! The window of a task's output that a page holds: the newest lines of every attempt it shows, never all of a log.

use opslink::event::{Event, Stream};

use super::lines::{Kind, Line, Lines};

/// Most lines held by one page.
pub const MAX_LINES: usize = 50_000;
/// Most bytes of text held by one page.
pub const MAX_BYTES: usize = 48 * 1024 * 1024;

/// The output of one attempt.
#[derive(Debug, Default)]
pub struct Source {
    /// Name of the agent, for the prefix.
    pub agent: String,
    /// The attempt.
    pub attempt_id: String,
    /// The next event that was not seen.
    pub next_seq: u64,
    /// Its lines.
    pub lines: Lines,
}

/// Which lines are shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only this agent.
    pub agent: Option<String>,
    /// Only this stream (and the words of the runner).
    pub stream: Option<Stream>,
}

/// A line's place. It means the same line after others were dropped or put before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index of the source.
    pub source: u32,
    /// The line's place in it.
    pub line: i64,
}

/// Where in a view a line is; of one that is not there, the next of its source.
pub fn row_of(view: &[Place], line: Place) -> Option<usize> {
    view.iter()
        .position(|place| place.source == line.source && place.line >= line.line)
}

/// The lines of all sources.
#[derive(Debug, Default)]
pub struct Window {
    sources: Vec<Source>,
    /// Grows with every change.
    pub revision: u64,
    /// Output lines that ever arrived, for 'N new lines'.
    pub arrived: u64,
}

impl Window {
    /// All sources.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The source of an attempt.
    pub fn source(&self, attempt_id: &str) -> Option<&Source> {
        self.sources.iter().find(|source| source.attempt_id == attempt_id)
    }

    /// The source of an attempt, made if it is new. A new attempt of an agent takes the place of the one before.
    pub fn source_mut(&mut self, agent: &str, attempt_id: &str, first_seq: u64, first_line: u64) -> &mut Source {
        let fresh = || Source {
            agent: agent.to_owned(),
            attempt_id: attempt_id.to_owned(),
            next_seq: first_seq,
            lines: Lines::from_line(first_line),
        };
        let at = match self.sources.iter().position(|source| source.agent == agent) {
            Some(at) => at,
            None => {
                self.sources.push(fresh());
                self.sources.len() - 1
            }
        };
        #[expect(clippy::indexing_slicing, reason = "found or pushed just above")]
        let source = &mut self.sources[at];
        if source.attempt_id != attempt_id {
            *source = fresh();
        }
        source
    }

    /// Takes the events of a chunk; those that were seen before are left out.
    pub fn feed(&mut self, agent: &str, attempt_id: &str, first_seq: u64, first_line: u64, events: &[Event]) {
        let source = self.source_mut(agent, attempt_id, first_seq, first_line);
        let seen = usize::try_from(source.next_seq.saturating_sub(first_seq)).unwrap_or(usize::MAX);
        let before = source.lines.len();
        for event in events.iter().skip(seen) {
            source.lines.push(event);
        }
        source.next_seq = source.next_seq.max(first_seq + events.len() as u64);
        self.arrived += (source.lines.len() - before) as u64;
        self.revision += 1;
        self.trim();
    }

    /// Puts earlier lines before those of an attempt.
    pub fn prepend(&mut self, attempt_id: &str, earlier: Lines) {
        if let Some(source) = self.sources.iter_mut().find(|source| source.attempt_id == attempt_id) {
            source.lines.prepend(earlier);
            self.revision += 1;
        }
    }

    /// Forgets everything, as when another attempt is shown.
    pub fn clear(&mut self) {
        self.sources.clear();
        self.revision += 1;
    }

    /// Lines held.
    pub fn len(&self) -> usize {
        self.sources.iter().map(|source| source.lines.len()).sum()
    }

    /// True when nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn trim(&mut self) {
        loop {
            let lines = self.len();
            let bytes: usize = self.sources.iter().map(|source| source.lines.bytes()).sum();
            if lines <= MAX_LINES && bytes <= MAX_BYTES {
                return;
            }
            let largest = self.sources.iter_mut().max_by_key(|source| {
                if lines > MAX_LINES {
                    source.lines.len()
                } else {
                    source.lines.bytes()
                }
            });
            let Some(source) = largest else { return };
            let surplus = lines.saturating_sub(MAX_LINES).max(source.lines.len() / 10).max(1);
            source.lines.drop_front(surplus.min(source.lines.len()));
        }
    }

    /// A line by its place.
    pub fn line(&self, place: Place) -> Option<(&Source, &Line)> {
        let source = self.sources.get(place.source as usize)?;
        Some((source, source.lines.at(place.line)?))
    }

    /// The lines to show, in order: those of one agent as they were said, those of several by time.
    pub fn view(&self, filter: &Filter) -> Vec<Place> {
        let mut places: Vec<(i64, Place)> = Vec::with_capacity(self.len());
        for (source_at, source) in (0_u32..).zip(&self.sources) {
            if filter.agent.as_ref().is_some_and(|agent| *agent != source.agent) {
                continue;
            }
            for (line_at, line) in (source.lines.first_place()..).zip(source.lines.iter()) {
                if let (Some(wanted), Kind::Output(stream)) = (filter.stream, &line.kind)
                    && wanted != *stream
                {
                    continue;
                }
                places.push((
                    line.time_us,
                    Place {
                        source: source_at,
                        line: line_at,
                    },
                ));
            }
        }
        // Lines of one source never change their order.
        if !places.is_sorted_by_key(|(time, _)| *time) {
            super::order::by(&mut places, |a, b| a.0.cmp(&b.0));
        }
        places.into_iter().map(|(_, place)| place).collect()
    }

    /// Places in `view` whose text contains the needle (ASCII case ignored unless it has a capital letter).
    pub fn search(&self, view: &[Place], needle: &str) -> Vec<usize> {
        if needle.is_empty() {
            return Vec::new();
        }
        let exact = needle.chars().any(char::is_uppercase);
        let wanted = if exact {
            needle.to_owned()
        } else {
            needle.to_lowercase()
        };
        let hit = |text: &str| {
            let plain = super::sgr::plain(text);
            if exact {
                plain.contains(&wanted)
            } else {
                plain.to_lowercase().contains(&wanted)
            }
        };
        (0..view.len())
            .filter(|at| {
                view.get(*at)
                    .and_then(|place| self.line(*place))
                    .is_some_and(|(_, line)| hit(&line.text))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use opslink::event::EventBody;

    use super::*;

    fn event(time_us: i64, text: &str) -> Event {
        Event {
            time_us,
            body: EventBody::Output {
                stream: Stream::Stdout,
                data: Bytes::from(text.to_owned()),
            },
        }
    }

    fn shown(window: &Window, filter: &Filter) -> Vec<String> {
        let line = |place| {
            window
                .line(place)
                .map(|(source, line)| format!("{}|{}", source.agent, line.text))
        };
        window.view(filter).into_iter().filter_map(line).collect()
    }

    #[test]
    fn a_chunk_seen_twice_is_shown_once() {
        let mut window = Window::default();
        window.feed("a", "1", 0, 0, &[event(1, "x\n"), event(2, "y\n")]);
        window.feed("a", "1", 0, 0, &[event(1, "x\n"), event(2, "y\n"), event(3, "z\n")]);
        assert_eq!(shown(&window, &Filter::default()), ["a|x", "a|y", "a|z"]);
        assert_eq!(window.source("1").map(|source| source.next_seq), Some(3));
    }

    #[test]
    fn agents_are_merged_by_time_whatever_arrives_first() {
        let mut window = Window::default();
        window.feed("b", "2", 0, 0, &[event(2, "two\n"), event(4, "four\n")]);
        window.feed("a", "1", 0, 0, &[event(1, "one\n"), event(3, "three\n")]);
        assert_eq!(
            shown(&window, &Filter::default()),
            ["a|one", "b|two", "a|three", "b|four"]
        );
        let only = Filter {
            agent: Some("b".into()),
            stream: None,
        };
        assert_eq!(shown(&window, &only), ["b|two", "b|four"]);
    }

    #[test]
    fn a_clock_that_goes_back_reorders_nothing() {
        let mut window = Window::default();
        window.feed("a", "1", 0, 0, &[event(5, "first\n"), event(1, "second\n")]);
        assert_eq!(shown(&window, &Filter::default()), ["a|first", "a|second"]);
    }

    #[test]
    fn a_new_attempt_takes_the_place_of_the_old() {
        let mut window = Window::default();
        window.feed("a", "1", 0, 0, &[event(1, "old\n")]);
        window.feed("a", "2", 0, 0, &[event(2, "new\n")]);
        assert_eq!(shown(&window, &Filter::default()), ["a|new"]);
    }

    #[test]
    fn the_window_stays_small() {
        let mut window = Window::default();
        let flood = "line\n".repeat(30_000);
        for seq in 0..10 {
            window.feed("a", "1", seq, seq * 30_000, &[event(1, &flood)]);
        }
        assert!(window.len() <= MAX_LINES);
        let last = window.sources()[0]
            .lines
            .iter()
            .next_back()
            .and_then(|line| line.number);
        assert_eq!(last, Some(299_999));
    }

    #[test]
    fn a_line_is_found_again_after_older_ones_were_dropped() {
        let mut window = Window::default();
        let filter = Filter::default();
        let flood = |from: u64| {
            (from..from + 30_000)
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        };
        window.feed("a", "1", 0, 0, &[event(1, &flood(0))]);
        let before = window.view(&filter);
        let held = before[25_000];
        window.feed("a", "1", 1, 30_000, &[event(2, &flood(30_000))]);
        let after = window.view(&filter);
        assert!(after.len() < 60_000, "nothing was dropped");
        let row = row_of(&after, held).unwrap();
        assert!(row < 25_000);
        assert_eq!(window.line(after[row]).unwrap().1.text, "25000");
        assert_eq!(window.line(held).unwrap().1.text, "25000");
        // The line itself is gone: the oldest that is left.
        assert_eq!(row_of(&after, before[0]), Some(0));
    }

    #[test]
    fn search_minds_capitals_only_when_asked() {
        let mut window = Window::default();
        window.feed(
            "a",
            "1",
            0,
            0,
            &[event(1, "Error one\nfine\nerror \u{1b}[31mtwo\u{1b}[0m\n")],
        );
        let view = window.view(&Filter::default());
        assert_eq!(window.search(&view, "error"), [0, 2]);
        assert_eq!(window.search(&view, "Error"), [0]);
        assert_eq!(window.search(&view, "error two"), [2]);
    }
}
