//! How a log is shown and where in it the person is: what is in sight, on which rows, and the search.

use std::time::Duration;

use leptos::{ev, html, prelude::*};
use opslink::event::Stream;

use super::{
    log_mark::Marking,
    log_row::{self, Look},
    task_live::TaskLive,
    virtual_rows::Viewport,
};
use crate::{
    dom,
    logic::{
        rows, sgr,
        window::{self, Filter, Place},
    },
    prefs,
};

/// Height of a row in pixels.
pub(crate) const ROW_HEIGHT: f64 = 20.0;

/// How the log is shown, and where in it the person is.
#[derive(Clone, Copy)]
pub(crate) struct LogState {
    /// Stay at the end.
    pub follow: RwSignal<bool>,
    /// Wrap long lines.
    pub wrap: RwSignal<bool>,
    /// Show times.
    pub times: RwSignal<bool>,
    /// Only this stream.
    pub stream: RwSignal<Option<Stream>>,
    /// Text searched for.
    pub needle: RwSignal<String>,
    /// Lines with hits, as indexes of `shown`.
    pub hits: RwSignal<Vec<usize>>,
    /// Which hit.
    pub hit: RwSignal<usize>,
    /// The lines that are shown, in order.
    pub shown: RwSignal<Vec<Place>>,
    /// First row of each line, when wrapped; the last is the number of rows.
    pub starts: RwSignal<Vec<u32>>,
    /// Letters that fit into a row.
    pub columns: RwSignal<usize>,
    /// The list.
    pub viewport: Viewport,
    /// The line that stays where it is until the page has been drawn anew: piece of it, and pixels above its row.
    held: StoredValue<Option<(Place, usize, f64)>>,
    live: TaskLive,
    marking: Marking,
}

impl LogState {
    /// As this browser last had it; at its end, unless the URL marks lines.
    pub(crate) fn new(live: TaskLive, marking: Marking) -> Self {
        Self {
            follow: RwSignal::new(!marking.named.get_untracked()),
            wrap: RwSignal::new(prefs::get("log.wrap").as_deref() == Some("on")),
            times: RwSignal::new(prefs::get("log.times").as_deref() == Some("on")),
            stream: RwSignal::new(None),
            needle: RwSignal::new(String::new()),
            hits: RwSignal::new(Vec::new()),
            hit: RwSignal::new(0),
            shown: RwSignal::new(Vec::new()),
            starts: RwSignal::new(Vec::new()),
            columns: RwSignal::new(100),
            viewport: Viewport::new(),
            held: StoredValue::new(None),
            live,
            marking,
        }
    }

    /// Goes to the end and stays there.
    pub(crate) fn to_end(self) {
        if self.live.apart.get_untracked() {
            // The marked lines are far from the end: a reload shall show the same.
            self.marking.put(None);
            self.live.leave_excerpt();
        }
        self.follow.set(true);
    }

    /// Keeps what is in sight.
    pub(crate) fn stay(self) {
        self.follow.set(false);
    }

    /// Takes note that the person wants to see what is above: that ends following, whatever comes.
    pub(crate) fn look_back(self) {
        if self.follow.get_untracked() && self.viewport.top.get_untracked() > 0.0 {
            self.stay();
        }
    }

    /// Takes note that the person scrolled.
    pub(crate) fn scrolled(self, by: f64) {
        let rest = self.viewport.rest();
        // At the end without a rest the browser itself went up, because there is less to show.
        if by < 0.0 && rest > 1 && self.follow.get_untracked() {
            self.stay();
        }
        // The end of an excerpt is not the end.
        if by > 0.0 && f64::from(rest) < ROW_HEIGHT * 1.5 && !self.live.apart.get_untracked() {
            self.follow.set(true);
        }
    }

    /// The line on top, and where it stands.
    fn on_top(self) -> Option<(Place, usize, f64)> {
        let top = self.viewport.top.get_untracked();
        let row = (top / ROW_HEIGHT) as usize;
        // As the rows were arranged, which can be otherwise than they are to be arranged now.
        let (line, piece) = self.starts.with_untracked(|starts| {
            if starts.is_empty() {
                (row, 0)
            } else {
                locate(starts, row)
            }
        });
        let place = self.shown.with_untracked(|shown| shown.get(line).copied())?;
        Some((place, piece, top % ROW_HEIGHT))
    }

    /// Brings the held line back to where it was.
    fn keep_in_sight(self) {
        let Some((place, piece, above)) = self.held.try_update_value(Option::take).flatten() else {
            return;
        };
        if let Some(line) = self.shown.with_untracked(|shown| window::row_of(shown, place)) {
            self.viewport
                .to((self.row_of(line) + piece) as f64 * ROW_HEIGHT + above);
        }
    }

    /// The line that the person is at: the hit of a search, or else the first in sight.
    pub(crate) fn current_line(self) -> usize {
        let hit = self
            .hits
            .with_untracked(|hits| hits.get(self.hit.get_untracked()).copied());
        hit.unwrap_or_else(|| {
            let row = (self.viewport.top.get_untracked() / ROW_HEIGHT).ceil() as usize;
            if self.wrap.get_untracked() {
                self.starts.with_untracked(|starts| locate(starts, row).0)
            } else {
                row
            }
        })
    }

    /// Goes to a hit, counted on from the current one.
    pub(crate) fn step(self, by: isize) {
        let count = self.hits.with_untracked(Vec::len);
        if count == 0 {
            return;
        }
        let next = (self.hit.get_untracked() as isize + by).rem_euclid(count as isize) as usize;
        self.hit.set(next);
        self.show_hit();
    }

    fn show_hit(self) {
        let Some(line) = self
            .hits
            .with_untracked(|hits| hits.get(self.hit.get_untracked()).copied())
        else {
            return;
        };
        self.follow.set(false);
        self.viewport.to_row(self.row_of(line), ROW_HEIGHT);
    }

    /// The row of a line.
    pub(crate) fn row_of(self, line: usize) -> usize {
        if self.wrap.get_untracked() {
            self.starts
                .with_untracked(|starts| starts.get(line).copied().unwrap_or_default() as usize)
        } else {
            line
        }
    }
}

/// Line and piece of a row.
pub(crate) fn locate(starts: &[u32], row: usize) -> (usize, usize) {
    let row = u32::try_from(row).unwrap_or(u32::MAX);
    let line = starts.partition_point(|start| *start <= row).saturating_sub(1);
    let start = starts.get(line).copied().unwrap_or_default();
    (line, (row - start) as usize)
}

/// Measures how many letters fit into a row.
pub(crate) fn measure(state: LogState, ruler: NodeRef<html::Span>, look: Memo<Look>) {
    Effect::new(move |_| {
        let Some(ruler) = ruler.get() else { return };
        let letter = f64::from(ruler.offset_width()) / 100.0;
        if letter < 1.0 {
            return;
        }
        let look = look.get();
        // The prefix takes room in the first piece; every piece keeps to what is left beside it.
        let prefix = if look.agents { 16.0 } else { 0.0 }
            + if look.times { 14.0 } else { 0.0 }
            + if look.numbers { 8.0 } else { 0.0 };
        let columns = (state.viewport.width.get() - 44.0) / letter - prefix - 3.0;
        let columns = (columns as usize).max(16);
        if state.columns.get_untracked() != columns {
            state.columns.set(columns);
        }
    });
}

/// Decides which lines are shown, and on which rows.
pub(crate) fn arrange(state: LogState, live: TaskLive, filter: Memo<Filter>) {
    Effect::new(move |_| {
        live.output.track();
        let filter = filter.get();
        let (wrap, columns) = (state.wrap.get(), state.columns.get());
        let on_top = if state.follow.get_untracked() {
            None
        } else {
            state.on_top()
        };
        live.lines(|window| {
            let shown = window.view(&filter);
            if wrap {
                let mut starts = Vec::with_capacity(shown.len() + 1);
                let mut at = 0_u32;
                for place in &shown {
                    starts.push(at);
                    let pieces = window.line(*place).map_or(1, |(_, line)| {
                        let text = log_row::words(line);
                        if text.contains('\u{1b}') {
                            rows::wrapped_len(&sgr::plain(&text), columns)
                        } else {
                            rows::wrapped_len(&text, columns)
                        }
                    });
                    at += u32::try_from(pieces).unwrap_or(1);
                }
                starts.push(at);
                state.starts.set(starts);
            } else if state.starts.with_untracked(|starts| !starts.is_empty()) {
                state.starts.set(Vec::new());
            }
            state.shown.set(shown);
        });
        // Rows above it came or went. A line that waits for its frame is the one that the person saw.
        if let Some(on_top) = on_top.filter(|on_top| state.on_top().map(|now| now.0) != Some(on_top.0))
            && state.held.with_value(Option::is_none)
        {
            state.held.set_value(Some(on_top));
            request_animation_frame(move || state.keep_in_sight());
        }
    });
}

/// Finds the hits, a moment after the last key.
pub(crate) fn search(state: LogState, live: TaskLive) {
    let round = StoredValue::new(0_u64);
    Effect::new(move |before: Option<String>| {
        let needle = state.needle.get();
        state.shown.track();
        let typed = before.is_some_and(|before| before != needle);
        round.update_value(|round| *round += 1);
        let mine = round.get_value();
        let look = move || {
            if round.try_get_value() != Some(mine) {
                return;
            }
            let needle = state.needle.get_untracked();
            let hits = live.lines(|window| state.shown.with_untracked(|shown| window.search(shown, &needle)));
            let last = hits.len().saturating_sub(1);
            state.hits.set(hits);
            if typed {
                state.hit.set(last);
                if !needle.is_empty() {
                    state.show_hit();
                }
            }
        };
        if needle.is_empty() {
            state.hits.set(Vec::new());
        } else {
            set_timeout(look, Duration::from_millis(120));
        }
        needle
    });
}

/// Stays at the end while wanted; otherwise counts what came since.
pub(crate) fn follow(state: LogState, live: TaskLive) -> RwSignal<u64> {
    let fresh = RwSignal::new(0_u64);
    // What was there before is not new, also when a link points into the middle.
    let seen = StoredValue::new(None::<u64>);
    Effect::new(move |_| {
        state.shown.track();
        state.starts.track();
        let arrived = live.window.with_value(|window| window.arrived);
        if live.opened.get() && seen.with_value(Option::is_none) {
            seen.set_value(Some(arrived));
        }
        if state.follow.get() {
            seen.set_value(Some(arrived));
            fresh.set(0);
            request_animation_frame(move || {
                // The person may have gone elsewhere meanwhile.
                if state.follow.try_get_untracked() == Some(true) {
                    state.viewport.to(f64::MAX);
                }
            });
        } else {
            fresh.set(arrived.saturating_sub(seen.get_value().unwrap_or(arrived)));
        }
    });
    fresh
}

/// Keys of the log, when they are not for a field.
pub(crate) fn keys(state: LogState) {
    let handle = window_event_listener(ev::keydown, move |event| {
        if event.ctrl_key() || event.meta_key() || event.alt_key() {
            return;
        }
        if dom::in_field(&event) {
            return;
        }
        match event.key().as_str() {
            "f" | "End" => state.to_end(),
            "w" => state.wrap.update(|wrap| *wrap = !*wrap),
            "t" => state.times.update(|times| *times = !*times),
            "n" => state.step(1),
            "N" => state.step(-1),
            _ => {}
        }
    });
    on_cleanup(move || handle.remove());
}
