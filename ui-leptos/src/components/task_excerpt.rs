//! Reading beside the live stream: lines before those that are held, and a part of a log that lies far from its end.

use leptos::prelude::*;
use opslink::pb::read_log_request::Start;

use super::task_live::TaskLive;
use crate::{
    api::{self, Answer, Pace},
    logic::{lines::Lines, mark::Mark, window::Window},
};

/// Lines read before and after those that a link points at.
const AROUND: u64 = 2_000;
/// Most marked lines that are read at once; whoever wants more scrolls.
const MOST: u64 = 20_000;

/// Marked lines of one attempt.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spot {
    /// Agent.
    pub agent: String,
    /// Id of the attempt.
    pub attempt_id: String,
    /// Its number: it stands in links, for a retry makes another log.
    pub attempt: u32,
    /// True while no other attempt took its place.
    pub newest: bool,
    /// The lines.
    pub mark: Mark,
}

/// A part of a log, shown instead of its end.
#[derive(Debug)]
pub(crate) struct Excerpt {
    /// Its lines.
    pub window: Window,
    /// Whose they are.
    pub agent: String,
    attempt_id: String,
    /// Lines of the whole log, of an attempt that the live window does not have.
    total: Option<u64>,
}

/// Where a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// In what is shown.
    Here,
    /// In the live window, while something else is shown.
    Live,
    /// In the store.
    Stored,
    /// Not said yet.
    NotYet,
    /// There is no such line.
    Nowhere,
}

fn holds(window: &Window, attempt_id: &str, line: u64) -> bool {
    window.source(attempt_id).is_some_and(|source| {
        source.lines.first_number().is_some_and(|first| first < line) && line <= source.lines.next_number()
    })
}

impl TaskLive {
    /// Reads the lines that are shown: an excerpt, or else the live window.
    pub(crate) fn lines<T>(self, read: impl FnOnce(&Window) -> T) -> T {
        self.excerpt.with_value(|excerpt| match excerpt {
            Some(excerpt) => read(&excerpt.window),
            None => self.window.with_value(read),
        })
    }

    /// The marked lines that a URL means: of an agent, and of an attempt or else the newest.
    pub(crate) fn spot(self, agent: Option<&str>, attempt: Option<u32>, mark: Mark) -> Option<Spot> {
        self.read(|view| {
            let executions = view.executions();
            let execution = match agent {
                Some(agent) => *executions.iter().find(|execution| execution.agent_name == agent)?,
                None if executions.len() == 1 => *executions.first()?,
                None => return None,
            };
            let number = attempt.unwrap_or(execution.attempt_number);
            let id = if number == execution.attempt_number {
                execution.attempt_id.clone()
            } else {
                let attempts = &execution.attempts;
                attempts.iter().find(|attempt| attempt.number == number)?.id.clone()
            };
            Some(Spot {
                agent: execution.agent_name.clone(),
                newest: id == execution.attempt_id,
                attempt_id: id,
                attempt: number,
                mark,
            })
        })
    }

    /// Where the first of these lines is.
    pub(crate) fn find(self, spot: &Spot) -> Held {
        let line = spot.mark.first();
        let shown = self.apart.get_untracked();
        if shown && self.lines(|window| holds(window, &spot.attempt_id, line)) {
            return Held::Here;
        }
        if !spot.newest {
            return Held::Stored;
        }
        let over = self.view.with_value(|view| {
            view.by_attempt(&spot.attempt_id)
                .is_none_or(|execution| crate::logic::taskview::is_over(execution.state()))
        });
        self.window.with_value(|window| match window.source(&spot.attempt_id) {
            None => Held::NotYet,
            Some(_) if holds(window, &spot.attempt_id, line) && shown => Held::Live,
            Some(_) if holds(window, &spot.attempt_id, line) => Held::Here,
            Some(source) if line <= source.lines.next_number() => Held::Stored,
            Some(_) if over => Held::Nowhere,
            Some(_) => Held::NotYet,
        })
    }

    /// Reads these lines and some around them, and shows them instead of the end.
    pub(crate) async fn open_excerpt(self, spot: &Spot) -> Answer<bool> {
        let total = if spot.newest {
            None
        } else {
            Some(length(&spot.attempt_id).await?)
        };
        if total.is_some_and(|total| total < spot.mark.first()) {
            return Ok(false);
        }
        let first = spot.mark.first();
        let last = spot.mark.last().min(first + MOST);
        let mut window = Window::default();
        let start = Start::FromLine(first.saturating_sub(AROUND));
        read(&spot.agent, &spot.attempt_id, &mut window, start, last + AROUND).await?;
        self.excerpt.set_value(Some(Excerpt {
            window,
            agent: spot.agent.clone(),
            attempt_id: spot.attempt_id.clone(),
            total,
        }));
        self.apart.set(true);
        self.flush(false, true);
        Ok(true)
    }

    /// Shows the live window again.
    pub(crate) fn leave_excerpt(self) {
        if self.apart.get_untracked() {
            self.excerpt.set_value(None);
            self.apart.set(false);
            self.flush(false, true);
        }
    }

    /// Lines after those of the excerpt.
    pub(crate) fn later(self) -> u64 {
        self.excerpt.with_value(|excerpt| {
            let Some(excerpt) = excerpt else { return 0 };
            let end = |window: &Window| {
                window
                    .source(&excerpt.attempt_id)
                    .map_or(0, |source| source.lines.next_number())
            };
            let total = excerpt.total.unwrap_or_else(|| self.window.with_value(end));
            total.saturating_sub(end(&excerpt.window))
        })
    }

    /// Reads lines after those of the excerpt.
    pub(crate) async fn load_later(self, lines: u64) -> Answer<()> {
        let wanted = self.excerpt.with_value(|excerpt| {
            let excerpt = excerpt.as_ref()?;
            let source = excerpt.window.source(&excerpt.attempt_id)?;
            let (agent, attempt_id) = (excerpt.agent.clone(), excerpt.attempt_id.clone());
            Some((agent, attempt_id, source.next_seq, source.lines.next_number()))
        });
        let Some((agent, attempt_id, seq, line)) = wanted else {
            return Ok(());
        };
        let mut chunks = api::read_log(attempt_id.clone(), Start::FromSeq(seq), 0).await?;
        let pace = Pace::new();
        while let Some(message) = chunks.message().await? {
            let Some(chunk) = message.chunk else { continue };
            let events = api::decode(&chunk)?;
            self.excerpt.update_value(|excerpt| {
                if let Some(excerpt) = excerpt.as_mut().filter(|excerpt| excerpt.attempt_id == attempt_id) {
                    let (seq, line) = (chunk.first_seq, chunk.first_line);
                    excerpt.window.feed(&agent, &attempt_id, seq, line, &events);
                }
            });
            if chunk.first_line + chunk.line_count >= line + lines {
                break;
            }
            pace.breathe().await;
        }
        self.flush(false, true);
        Ok(())
    }

    /// Reads lines before those that are held, of one agent or of all.
    pub(crate) async fn load_earlier(self, only: Option<String>, lines: u64) -> Answer<()> {
        let wanted: Vec<(String, u64)> = self.lines(|window| {
            let sources = window.sources().iter();
            sources
                .filter(|source| only.as_ref().is_none_or(|only| *only == source.agent))
                .filter_map(|source| Some((source.attempt_id.clone(), source.lines.first_number()?)))
                .filter(|(_, first)| *first > 0)
                .collect()
        });
        let share = (lines / wanted.len().max(1) as u64).max(200);
        for (attempt, first) in wanted {
            let start = Start::FromLine(first.saturating_sub(share));
            let mut chunks = api::read_log(attempt.clone(), start, 0).await?;
            let mut earlier = None::<Lines>;
            let pace = Pace::new();
            while let Some(message) = chunks.message().await? {
                let Some(chunk) = message.chunk else { continue };
                let earlier = earlier.get_or_insert_with(|| Lines::from_line(chunk.first_line));
                api::decode(&chunk)?.iter().for_each(|event| earlier.push(event));
                if earlier.next_number() > first {
                    break;
                }
                pace.breathe().await;
            }
            let Some(earlier) = earlier else { continue };
            self.excerpt.update_value(|excerpt| match excerpt {
                Some(excerpt) => excerpt.window.prepend(&attempt, earlier),
                None => self.window.update_value(|window| window.prepend(&attempt, earlier)),
            });
        }
        self.flush(false, true);
        Ok(())
    }
}

/// Reads an attempt from a place on until a line.
async fn read(agent: &str, attempt_id: &str, window: &mut Window, start: Start, until: u64) -> Answer<()> {
    let mut chunks = api::read_log(attempt_id.to_owned(), start, 0).await?;
    let pace = Pace::new();
    while let Some(message) = chunks.message().await? {
        let Some(chunk) = message.chunk else { continue };
        let events = api::decode(&chunk)?;
        window.feed(agent, attempt_id, chunk.first_seq, chunk.first_line, &events);
        if chunk.first_line + chunk.line_count > until {
            break;
        }
        pace.breathe().await;
    }
    Ok(())
}

/// Lines of a whole log.
async fn length(attempt_id: &str) -> Answer<u64> {
    let mut chunks = api::read_log(attempt_id.to_owned(), Start::TailLines(1), 0).await?;
    let mut last = Lines::default();
    while let Some(message) = chunks.message().await? {
        let Some(chunk) = message.chunk else { continue };
        // The last line may have no end: only what was said tells.
        if last.next_number() < chunk.first_line {
            last = Lines::from_line(chunk.first_line);
        }
        api::decode(&chunk)?.iter().for_each(|event| last.push(event));
    }
    Ok(last.next_number())
}
