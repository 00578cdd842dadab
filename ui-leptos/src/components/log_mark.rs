//! Links to lines: which lines the URL marks, how they come into sight, and how others are marked.

use leptos::{ev, prelude::*, task::spawn_local};

use super::{
    copy::CopyButton,
    icon::Icon,
    log_state::{LogState, ROW_HEIGHT},
    task_excerpt::{Held, Spot},
    task_live::TaskLive,
    toast,
};
use crate::{
    dom,
    i18n::{Arg, t, ta},
    logic::{format, mark::Mark},
};

/// What is marked, and how to mark something else.
#[derive(Clone, Copy)]
pub(crate) struct Marking {
    /// The marked lines, once it is known whose they are.
    pub spot: Memo<Option<Spot>>,
    /// The URL names lines, known or not.
    pub named: Memo<bool>,
    /// Puts lines into the URL, or takes them out.
    pub go: Callback<Option<Spot>>,
    /// Lines that are in sight already: they need not be brought there.
    seen: StoredValue<Option<Spot>>,
}

impl Marking {
    /// From what the URL says.
    pub(crate) fn new(spot: Memo<Option<Spot>>, named: Memo<bool>, go: Callback<Option<Spot>>) -> Self {
        Self {
            spot,
            named,
            go,
            seen: StoredValue::new(None),
        }
    }

    /// Marks lines that are in sight.
    pub(crate) fn put(self, spot: Option<Spot>) {
        self.seen.set_value(spot.clone());
        self.go.run(spot);
    }

    /// Marks a line of an attempt; `extend` goes on from where the mark began.
    pub(crate) fn click(self, live: TaskLive, agent: &str, attempt_id: &str, line: u64, extend: bool) {
        let before = self.spot.get_untracked().filter(|spot| spot.attempt_id == attempt_id);
        let mark = match before {
            Some(spot) if extend => spot.mark.to(line),
            _ => Mark::line(line),
        };
        let attempt = live.view.with_value(|view| view.attempt_number(attempt_id));
        let spot = live.spot(Some(agent), attempt, mark);
        if let Some(spot) = spot {
            self.put(Some(spot));
        }
    }
}

/// The query that a link to lines has.
pub(crate) fn query(agent: &str, attempt: u32, mark: Mark) -> String {
    let agent = String::from(js_sys::encode_uri_component(agent));
    // An SQL task shows its results unless it is asked for its log.
    let here = window().location().search().unwrap_or_default();
    let tab = if here.contains("tab=log") { "&tab=log" } else { "" };
    format!("?agent={agent}&attempt={attempt}&line={mark}{tab}")
}

/// Brings marked lines into sight, wherever they are.
pub(crate) fn reveal(state: LogState, live: TaskLive, marking: Marking) {
    let reading = StoredValue::new(None::<Spot>);
    Effect::new(move |_| {
        let spot = marking.spot.get();
        live.output.track();
        state.shown.track();
        let Some(spot) = spot else {
            marking.seen.set_value(None);
            return;
        };
        let known = |place: StoredValue<Option<Spot>>| place.with_value(|known| known.as_ref() == Some(&spot));
        if !live.opened.get() || known(marking.seen) || known(reading) {
            return;
        }
        match live.find(&spot) {
            Held::Here => show(state, live, marking, spot),
            Held::Live => live.leave_excerpt(),
            Held::Stored => {
                reading.set_value(Some(spot.clone()));
                spawn_local(async move {
                    let found = live.open_excerpt(&spot).await;
                    let _ = reading.try_set_value(None);
                    match found {
                        Ok(true) => {}
                        Ok(false) => missing(marking, spot),
                        Err(failure) => {
                            toast::complain(failure.what);
                            let _ = marking.seen.try_set_value(Some(spot));
                        }
                    }
                });
            }
            Held::Nowhere => missing(marking, spot),
            Held::NotYet => {}
        }
    });
}

fn show(state: LogState, live: TaskLive, marking: Marking, spot: Spot) {
    let line = spot.mark.first();
    let at = live.lines(|window| {
        let is_it = |place: &_| {
            window.line(*place).is_some_and(|(source, held)| {
                source.attempt_id == spot.attempt_id && held.number.is_some_and(|number| number + 1 == line)
            })
        };
        state.shown.with_untracked(|shown| shown.iter().position(is_it))
    });
    // It is held and will be arranged in a moment, or its stream is not shown.
    let Some(at) = at else { return };
    marking.seen.set_value(Some(spot));
    state.follow.set(false);
    let row = state.row_of(at);
    request_animation_frame(move || state.viewport.to_row(row, ROW_HEIGHT));
}

fn missing(marking: Marking, spot: Spot) {
    let line = Arg::from(format::count(spot.mark.first()));
    toast::complain(ta("log-no-line", &[("line", line)]));
    let _ = marking.seen.try_set_value(Some(spot));
}

/// Says what is marked, and copies the link to it.
#[component]
pub(crate) fn MarkBar(
    /// How the log is shown.
    state: LogState,
    /// What is marked.
    marking: Marking,
) -> impl IntoView {
    let link = Signal::derive(move || marking.spot.get().as_ref().map(address).unwrap_or_default());
    let words = move || {
        marking.spot.get().map(|spot| {
            let args = [
                ("n", Arg::from(spot.mark.count())),
                ("first", Arg::from(format::count(spot.mark.first()))),
                ("last", Arg::from(format::count(spot.mark.last()))),
            ];
            ta("log-marked", &args)
        })
    };
    let old = move || marking.spot.get().filter(|spot| !spot.newest);
    view! {
        <Show when=move || marking.spot.with(Option::is_some)>
            <div class="log-bar log-marked">
                <Icon name="link" />
                <span id="log-mark">{words}</span>
                {move || old().map(|spot| view! { <span class="muted">{ta("log-old-attempt", &[("n", Arg::from(spot.attempt))])}</span> })}
                <CopyButton text=link label=t("log-copy-link") word=t("log-copy-link-short") />
                <button type="button" class="button button-quiet button-icon button-small" aria-label=t("log-unmark") title=t("log-unmark") on:click=move |_| { marking.put(None); state.stay() }>
                    <Icon name="close" />
                </button>
            </div>
        </Show>
    }
}

/// The whole address of marked lines.
fn address(spot: &Spot) -> String {
    let path = window().location().pathname().unwrap_or_default();
    format!("{}{path}{}", dom::origin(), query(&spot.agent, spot.attempt, spot.mark))
}

/// `y` copies a link, to the line in sight when none is marked; shift and the arrows move the mark's end.
pub(crate) fn keys(state: LogState, live: TaskLive, marking: Marking) {
    let handle = window_event_listener(ev::keydown, move |event| {
        if event.ctrl_key() || event.meta_key() || event.alt_key() || dom::in_field(&event) {
            return;
        }
        let spot = marking.spot.get_untracked();
        let by = match event.key().as_str() {
            "ArrowDown" if event.shift_key() => 1,
            "ArrowUp" if event.shift_key() => -1,
            "y" => 0,
            _ => return,
        };
        let spot = match (spot, by) {
            (Some(spot), 0) => Some(spot),
            (Some(spot), by) => Some(Spot {
                mark: spot.mark.moved(by),
                ..spot
            }),
            (None, _) => in_sight(state, live),
        };
        let Some(spot) = spot else { return };
        event.prevent_default();
        marking.put(Some(spot.clone()));
        if by == 0 {
            spawn_local(async move {
                if dom::copy(&address(&spot)).await {
                    toast::say(t("log-link-copied"));
                } else {
                    toast::complain(t("copy-refused"));
                }
            });
        }
    });
    on_cleanup(move || handle.remove());
}

/// The line that the person is at: the hit of a search, or else the first in sight.
fn in_sight(state: LogState, live: TaskLive) -> Option<Spot> {
    let at = state.current_line();
    let (agent, attempt_id, line) = live.lines(|window| {
        state.shown.with_untracked(|shown| {
            shown.iter().skip(at).find_map(|place| {
                let (source, line) = window.line(*place)?;
                Some((source.agent.clone(), source.attempt_id.clone(), line.number? + 1))
            })
        })
    })?;
    let attempt = live.view.with_value(|view| view.attempt_number(&attempt_id));
    live.spot(Some(&agent), attempt, Mark::line(line))
}
