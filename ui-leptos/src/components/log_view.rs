//! The output of a task: a window of its newest lines, in rows of one height.

use leptos::{ev, html, prelude::*, task::spawn_local};

use super::{
    dialog::Dialog,
    icon::Icon,
    log_mark::{self, MarkBar, Marking},
    log_row::{self, Look, Wishes},
    log_state::{LogState, ROW_HEIGHT, arrange, follow, keys, locate, measure, search},
    log_toolbar::LogToolbar,
    task_excerpt::Spot,
    task_live::TaskLive,
    toast,
    virtual_rows::VirtualRows,
};
use crate::{
    i18n::{t, tn},
    logic::{mark::Mark, rows, sgr, window::Filter},
};

/// Lines read by 'load earlier' and 'load later'.
const MORE: u64 = 10_000;

/// The log.
#[component]
pub(crate) fn LogView(
    /// The task.
    live: TaskLive,
    /// More than one agent may speak.
    #[prop(into)]
    several: Signal<bool>,
    /// Lines that the URL marks.
    marking: Marking,
) -> impl IntoView {
    let state = LogState::new(live, marking);
    let chosen = live.chosen;
    let filter = Memo::new(move |_| Filter {
        agent: chosen.get(),
        stream: state.stream.get(),
    });
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
    log_mark::reveal(state, live, marking);
    log_mark::keys(state, live, marking);
    // An excerpt belongs to one agent.
    Effect::new(move |_| {
        let chosen = chosen.get();
        let other = live.excerpt.with_value(|excerpt| {
            excerpt
                .as_ref()
                .is_some_and(|excerpt| several.get_untracked() && chosen.as_ref() != Some(&excerpt.agent))
        });
        if other {
            live.leave_excerpt();
            state.follow.set(!marking.named.get_untracked());
        }
    });

    let count = Signal::derive(move || {
        if state.wrap.get() {
            state
                .starts
                .with(|starts| starts.last().copied().unwrap_or_default() as usize)
        } else {
            state.shown.with(Vec::len)
        }
    });
    let expanded = RwSignal::new(None::<String>);
    let wishes = Wishes {
        expand: Callback::new(move |text: String| expanded.set(Some(sgr::plain(&text)))),
        mark: Callback::new(move |(agent, attempt_id, line, extend): (String, String, u64, bool)| {
            state.stay();
            marking.click(live, &agent, &attempt_id, line, extend);
        }),
    };
    let row = move |at: usize| {
        live.output.track();
        let look = look.get();
        let (line_at, nth) = if state.wrap.get() {
            state.starts.with(|starts| locate(starts, at))
        } else {
            (at, 0)
        };
        let Some(place) = state.shown.with(|shown| shown.get(line_at).copied()) else {
            return ().into_any();
        };
        let spot = marking.spot.get();
        let needle = state.needle.get();
        let current = !needle.is_empty() && state.hits.with(|hits| hits.get(state.hit.get()) == Some(&line_at));
        live.lines(|window| {
            let Some((source, line)) = window.line(place) else {
                return ().into_any();
            };
            let number = line.number.map(|number| number + 1);
            let marked =
                |spot: &Spot| spot.attempt_id == source.attempt_id && number.is_some_and(|line| spot.mark.has(line));
            let link = number.and_then(|line| {
                let attempt = live.view.with_value(|view| view.attempt_number(&source.attempt_id))?;
                Some(log_mark::query(&source.agent, attempt, Mark::line(line)))
            });
            let piece = state.wrap.get().then(|| {
                let text = sgr::plain(&log_row::words(line));
                rows::wrap(&text, state.columns.get())
                    .get(nth)
                    .copied()
                    .unwrap_or((0, text.len()))
            });
            log_row::row(
                source,
                line,
                look,
                &log_row::Place {
                    piece,
                    continued: nth > 0,
                    needle,
                    current,
                    marked: spot.as_ref().is_some_and(marked),
                    link,
                },
                wishes,
            )
        })
    };
    let wheel = move |event: ev::WheelEvent| {
        if event.delta_y() < 0.0 && !event.ctrl_key() {
            state.look_back();
        }
    };
    let key = move |event: ev::KeyboardEvent| {
        if matches!(event.key().as_str(), "ArrowUp" | "PageUp" | "Home") || (event.key() == " " && event.shift_key()) {
            state.look_back();
        }
    };
    // On the scroll bar, which lies beside the inner width; or with a finger, which pulls down what is above.
    let finger = StoredValue::new(None::<i32>);
    let press = move |event: ev::PointerEvent| {
        finger.set_value((event.pointer_type() == "touch").then(|| event.client_y()));
        let on_list = event.target() == state.viewport.node.get_untracked().map(web_sys::EventTarget::from);
        if on_list && f64::from(event.offset_x()) >= state.viewport.width.get_untracked() {
            state.look_back();
        }
    };
    let pull = move |event: ev::PointerEvent| {
        if finger.get_value().is_some_and(|start| event.client_y() > start) {
            state.look_back();
        }
    };
    let is_empty = move || state.shown.with(Vec::is_empty);
    view! {
        <div class="log">
            <LogToolbar state=state live=live />
            <MarkBar state=state marking=marking />
            <Earlier live=live filter=filter state=state />
            <div class="log-body" class:log-wrapped=move || state.wrap.get() on:wheel=wheel on:keydown=key on:pointerdown=press on:pointermove=pull>
                <span node_ref=ruler class="log-ruler" aria-hidden="true">{"0".repeat(100)}</span>
                <VirtualRows viewport=state.viewport count=count row_height=ROW_HEIGHT row=row class="log-rows" role="log" label=t("output") on_scroll=Callback::new(move |by: f64| state.scrolled(by)) />
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
            <Later live=live />
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

/// Offers what lies before the window.
#[component]
fn Earlier(live: TaskLive, filter: Memo<Filter>, state: LogState) -> impl IntoView {
    let busy = RwSignal::new(false);
    let missing = Memo::new(move |_| {
        live.output.track();
        let filter = filter.get();
        live.lines(|window| {
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
        spawn_local(async move {
            if let Err(failure) = live.load_earlier(only, MORE).await {
                toast::complain(failure.what);
            }
            let _ = busy.try_set(false);
        });
    };
    view! {
        <Show when=move || missing.get().gt(&0)>
            <div class="log-bar log-earlier">
                <span>{move || tn("log-earlier", missing.get())}</span>
                <button type="button" class="button button-small" disabled=move || busy.get() on:click=load><Icon name="up" />{t("log-load-earlier")}</button>
            </div>
        </Show>
    }
}

/// Offers what lies after an excerpt.
#[component]
fn Later(live: TaskLive) -> impl IntoView {
    let busy = RwSignal::new(false);
    let missing = Memo::new(move |_| {
        live.output.track();
        live.later()
    });
    let load = move |_| {
        busy.set(true);
        spawn_local(async move {
            if let Err(failure) = live.load_later(MORE).await {
                toast::complain(failure.what);
            }
            let _ = busy.try_set(false);
        });
    };
    view! {
        <Show when=move || missing.get().gt(&0)>
            <div class="log-bar log-later">
                <span>{move || tn("log-later", missing.get())}</span>
                <button type="button" class="button button-small" disabled=move || busy.get() on:click=load><Icon name="down" />{t("log-load-later")}</button>
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
