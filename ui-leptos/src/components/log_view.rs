//! The output of a task: a window of its newest lines, in rows of one height.

use std::{rc::Rc, time::Duration};

use leptos::{ev, html, prelude::*, task::spawn_local};
use opslink::event::Stream;

use super::{
    dialog::Dialog,
    icon::Icon,
    log_row::{self, Look},
    log_toolbar::LogToolbar,
    task_live::TaskLive,
    toast,
    virtual_rows::{Viewport, VirtualRows},
};
use crate::{
    dom,
    i18n::{t, tn},
    logic::{
        rows, sgr,
        window::{Filter, Place},
    },
    prefs,
};

const ROW_HEIGHT: f64 = 20.0;
/// Lines read by 'load earlier'.
const EARLIER: u64 = 10_000;

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
    shown: RwSignal<Vec<Place>>,
    /// First row of each line, when wrapped; the last is the number of rows.
    starts: RwSignal<Vec<u32>>,
    columns: RwSignal<usize>,
    viewport: Viewport,
}

impl LogState {
    fn new() -> Self {
        Self {
            follow: RwSignal::new(true),
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
        }
    }

    /// Goes to the end and stays there.
    pub(crate) fn to_end(self) {
        self.follow.set(true);
        let viewport = self.viewport;
        request_animation_frame(move || viewport.to_end());
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
        let Some(line) = self.hits.with_untracked(|hits| hits.get(self.hit.get_untracked()).copied()) else { return };
        self.follow.set(false);
        self.viewport.to_row(self.row_of(line), ROW_HEIGHT);
    }

    fn row_of(self, line: usize) -> usize {
        if self.wrap.get_untracked() {
            self.starts.with_untracked(|starts| starts.get(line).copied().unwrap_or_default() as usize)
        } else {
            line
        }
    }
}

/// The log.
#[component]
pub(crate) fn LogView(
    /// The task.
    live: TaskLive,
    /// More than one agent may speak.
    #[prop(into)]
    several: Signal<bool>,
) -> impl IntoView {
    let state = LogState::new();
    let chosen = live.chosen;
    let filter = Memo::new(move |_| Filter { agent: chosen.get(), stream: state.stream.get() });
    let look = Memo::new(move |_| Look {
        agents: several.get() && chosen.get().is_none(),
        times: state.times.get(),
        numbers: !several.get() || chosen.get().is_some(),
    });
    let ruler = NodeRef::<html::Span>::new();
    measure(state, ruler, look);
    arrange(state, live, filter);
    search(state, live);
    let fresh = follow(state, live);
    keys(state);

    let count = Signal::derive(move || {
        if state.wrap.get() {
            state.starts.with(|starts| starts.last().copied().unwrap_or_default() as usize)
        } else {
            state.shown.with(Vec::len)
        }
    });
    let expanded = RwSignal::new(None::<String>);
    let expand = Callback::new(move |text: String| expanded.set(Some(sgr::plain(&text))));
    let row = move |at: usize| {
        live.output.track();
        let look = look.get();
        let (line_at, nth) = if state.wrap.get() {
            state.starts.with(|starts| locate(starts, at))
        } else {
            (at, 0)
        };
        let Some(place) = state.shown.with(|shown| shown.get(line_at).copied()) else { return ().into_any() };
        let needle = state.needle.get();
        let current = !needle.is_empty() && state.hits.with(|hits| hits.get(state.hit.get()) == Some(&line_at));
        live.window.with_value(|window| {
            let Some((source, line)) = window.line(place) else { return ().into_any() };
            let piece = state.wrap.get().then(|| {
                let text = sgr::plain(&log_row::words(line));
                rows::wrap(&text, state.columns.get()).get(nth).copied().unwrap_or((0, text.len()))
            });
            log_row::row(source, line, look, &log_row::Place { piece, continued: nth > 0, needle, current }, expand)
        })
    };
    let scrolled = Callback::new(move |()| {
        let Some(node) = state.viewport.node.get_untracked() else { return };
        let rest = node.scroll_height() - node.scroll_top() - node.client_height();
        let at_end = f64::from(rest) < ROW_HEIGHT * 1.5;
        if state.follow.get_untracked() != at_end {
            state.follow.set(at_end);
        }
    });
    let is_empty = move || state.shown.with(Vec::is_empty);
    view! {
        <div class="log">
            <LogToolbar state=state live=live />
            <Earlier live=live filter=filter state=state />
            <div class="log-body" class:log-wrapped=move || state.wrap.get()>
                <span node_ref=ruler class="log-ruler" aria-hidden="true">{"0".repeat(100)}</span>
                <VirtualRows viewport=state.viewport count=count row_height=ROW_HEIGHT row=row class="log-rows" role="log" label=t("output") on_scroll=scrolled />
                <Show when=is_empty>
                    <p class="log-empty">{move || nothing(live, state)}</p>
                </Show>
                <Show when=move || !state.follow.get() && !is_empty()>
                    <button type="button" class="button log-jump" on:click=move |_| state.to_end()>
                        <Icon name="down" />
                        {move || match fresh.get() { 0 => t("log-to-end"), n => tn("log-new-lines", n) }}
                    </button>
                </Show>
            </div>
        </div>
        <Expanded text=expanded />
    }
}

/// Why no line is shown.
fn nothing(live: TaskLive, state: LogState) -> String {
    if state.stream.get().is_some() {
        t("log-none-stream")
    } else if live.read(|view| view.is_finished()) {
        t("log-none")
    } else if !live.opened.get() {
        t("log-opening")
    } else {
        t("log-waiting")
    }
}

/// Line and piece of a row.
fn locate(starts: &[u32], row: usize) -> (usize, usize) {
    let row = u32::try_from(row).unwrap_or(u32::MAX);
    let line = starts.partition_point(|start| *start <= row).saturating_sub(1);
    let start = starts.get(line).copied().unwrap_or_default();
    (line, (row - start) as usize)
}

/// Measures how many letters fit into a row.
fn measure(state: LogState, ruler: NodeRef<html::Span>, look: Memo<Look>) {
    Effect::new(move |_| {
        let Some(ruler) = ruler.get() else { return };
        let letter = f64::from(ruler.offset_width()) / 100.0;
        if letter < 1.0 {
            return;
        }
        let look = look.get();
        // The prefix takes room in the first piece; every piece keeps to what is left beside it.
        let prefix = if look.agents { 16.0 } else { 0.0 } + if look.times { 14.0 } else { 0.0 } + if look.numbers { 8.0 } else { 0.0 };
        let columns = (state.viewport.width.get() - 44.0) / letter - prefix - 3.0;
        let columns = (columns as usize).max(16);
        if state.columns.get_untracked() != columns {
            state.columns.set(columns);
        }
    });
}

/// Decides which lines are shown, and on which rows.
fn arrange(state: LogState, live: TaskLive, filter: Memo<Filter>) {
    Effect::new(move |_| {
        live.output.track();
        let filter = filter.get();
        let (wrap, columns) = (state.wrap.get(), state.columns.get());
        live.window.with_value(|window| {
            let shown = window.view(&filter);
            if wrap {
                let mut starts = Vec::with_capacity(shown.len() + 1);
                let mut at = 0_u32;
                for place in &shown {
                    starts.push(at);
                    let pieces = window.line(*place).map_or(1, |(_, line)| {
                        let text = log_row::words(line);
                        if text.contains('\u{1b}') { rows::wrapped_len(&sgr::plain(&text), columns) } else { rows::wrapped_len(&text, columns) }
                    });
                    at += u32::try_from(pieces).unwrap_or(1);
                }
                starts.push(at);
                state.starts.set(starts);
            }
            state.shown.set(shown);
        });
    });
}

/// Finds the hits, a moment after the last key.
fn search(state: LogState, live: TaskLive) {
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
            let hits = live.window.with_value(|window| state.shown.with_untracked(|shown| window.search(shown, &needle)));
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
fn follow(state: LogState, live: TaskLive) -> RwSignal<u64> {
    let fresh = RwSignal::new(0_u64);
    let seen = StoredValue::new(0_u64);
    Effect::new(move |_| {
        state.shown.track();
        state.starts.track();
        let arrived = live.window.with_value(|window| window.arrived);
        if state.follow.get() {
            seen.set_value(arrived);
            fresh.set(0);
            let viewport = state.viewport;
            request_animation_frame(move || viewport.to_end());
        } else {
            fresh.set(arrived.saturating_sub(seen.get_value()));
        }
    });
    fresh
}

fn keys(state: LogState) {
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

/// Offers what lies before the window.
#[component]
fn Earlier(live: TaskLive, filter: Memo<Filter>, state: LogState) -> impl IntoView {
    let busy = RwSignal::new(false);
    let missing = Memo::new(move |_| {
        live.output.track();
        let filter = filter.get();
        live.window.with_value(|window| {
            let sources = window.sources().iter();
            sources
                .filter(|source| filter.agent.as_ref().is_none_or(|agent| *agent == source.agent))
                .filter_map(|source| source.lines.first_number())
                .sum::<u64>()
        })
    });
    let load = move |_| {
        busy.set(true);
        state.follow.set(false);
        let only = filter.get_untracked().agent;
        let before = state.shown.with_untracked(Vec::len);
        let place = Rc::new(state.viewport.top.get_untracked());
        spawn_local(async move {
            if let Err(failure) = live.load_earlier(only, EARLIER).await {
                toast::complain(failure.what);
            }
            // The line that was on top stays in sight.
            gloo_timers::future::TimeoutFuture::new(120).await;
            let _ = busy.try_set(false);
            if let Some(after) = state.shown.try_with_untracked(Vec::len)
                && let Some(node) = state.viewport.node.get_untracked()
            {
                let added = after.saturating_sub(before);
                node.set_scroll_top((state.row_of(added) as f64 * ROW_HEIGHT + *place) as i32);
            }
        });
    };
    view! {
        <Show when=move || (missing.get() > 0)>
            <div class="log-earlier">
                <span>{move || tn("log-earlier", missing.get())}</span>
                <button type="button" class="button button-small" disabled=move || busy.get() on:click=load><Icon name="up" />{t("log-load-earlier")}</button>
            </div>
        </Show>
    }
}

/// The whole of a long line.
#[component]
fn Expanded(text: RwSignal<Option<String>>) -> impl IntoView {
    let open = RwSignal::new(false);
    Effect::new(move |_| {
        if text.with(Option::is_some) {
            open.set(true);
        }
    });
    Effect::new(move |_| {
        if !open.get() {
            text.set(None);
        }
    });
    view! {
        <Dialog open=open heading=t("log-line")>
            <pre class="log-expanded" tabindex="0">{move || text.get().unwrap_or_default()}</pre>
        </Dialog>
    }
}
