//! What every task can be told: how long, how many at a time, what about agents that are away.

use leptos::prelude::*;
use opslink::pb::{Queueing, Rollout};

use super::field::{Field, TextField};
use crate::{
    dom,
    i18n::{Arg, t, ta},
    logic::limits,
};

/// What was typed.
#[derive(Clone, Copy)]
pub(crate) struct RunOptions {
    /// Longest run time.
    pub timeout: RwSignal<String>,
    /// At work at the same time.
    pub parallel: RwSignal<String>,
    /// Failures after which no more are started.
    pub max_failures: RwSignal<String>,
    /// Wait for agents that are offline.
    pub queue: RwSignal<bool>,
    /// How long they are waited for.
    pub queue_ttl: RwSignal<String>,
    /// Why, for the audit.
    pub reason: RwSignal<String>,
    /// The fields are in sight from the start.
    pub open: RwSignal<bool>,
}

impl RunOptions {
    /// Nothing typed.
    pub(crate) fn new() -> Self {
        let text = || RwSignal::new(String::new());
        Self {
            timeout: text(),
            parallel: text(),
            max_failures: text(),
            queue: RwSignal::new(false),
            queue_ttl: RwSignal::new("1h".into()),
            reason: text(),
            open: RwSignal::new(false),
        }
    }

    /// As another task had it.
    pub(crate) fn fill(self, timeout_secs: u32, rollout: Option<&Rollout>, queueing: Option<&Queueing>, reason: &str) {
        let number = |number: u32| if number == 0 { String::new() } else { number.to_string() };
        let rollout = rollout.cloned().unwrap_or_default();
        self.timeout.set(if timeout_secs == 0 {
            String::new()
        } else {
            format!("{timeout_secs}s")
        });
        self.parallel.set(number(rollout.max_parallel));
        self.max_failures.set(number(rollout.max_failures));
        if let Some(queueing) = queueing.filter(|queueing| queueing.enabled) {
            self.queue.set(true);
            self.queue_ttl.set(format!("{}s", queueing.ttl_secs.max(1)));
        }
        self.reason.set(reason.to_owned());
    }

    /// What cannot be read of it, in a sentence; empty when all can.
    pub(crate) fn problem(self) -> String {
        let number = |label, text: RwSignal<String>| text.with(|text| bad_number::<u32>(label, text));
        let time = |label, text: RwSignal<String>| text.with(|text| bad_time(label, text));
        let wait = || {
            if self.queue.get() {
                time("opt-queue-ttl", self.queue_ttl)
            } else {
                None
            }
        };
        time("opt-timeout", self.timeout)
            .or_else(|| number("opt-parallel", self.parallel))
            .or_else(|| number("opt-max-failures", self.max_failures))
            .or_else(wait)
            .unwrap_or_default()
    }

    /// The time limit; 0 is the cloud's default.
    pub(crate) fn timeout_secs(self) -> u32 {
        limits::seconds(&self.timeout.get()).unwrap_or_default()
    }

    /// The rollout, when anything was said about it.
    pub(crate) fn rollout(self) -> Option<Rollout> {
        let number = |text: String| limits::number(&text).unwrap_or_default();
        let rollout = Rollout {
            max_parallel: number(self.parallel.get()),
            max_failures: number(self.max_failures.get()),
        };
        (rollout != Rollout::default()).then_some(rollout)
    }

    /// The queueing, when wanted.
    pub(crate) fn queueing(self) -> Option<Queueing> {
        self.queue.get().then(|| Queueing {
            enabled: true,
            ttl_secs: limits::seconds(&self.queue_ttl.get()).unwrap_or_default(),
        })
    }
}

/// Says that a field holds no length of time, when it holds none.
pub(crate) fn bad_time(label: &str, text: &str) -> Option<String> {
    let bad = limits::seconds(text).is_none();
    bad.then(|| {
        ta(
            "bad-time",
            &[("field", Arg::from(t(label))), ("text", Arg::from(text.to_owned()))],
        )
    })
}

/// Says that a field holds no number, when it holds none.
pub(crate) fn bad_number<N: std::str::FromStr + Default + PartialEq>(label: &str, text: &str) -> Option<String> {
    let bad = limits::number::<N>(text).is_none();
    bad.then(|| {
        ta(
            "bad-number",
            &[("field", Arg::from(t(label))), ("text", Arg::from(text.to_owned()))],
        )
    })
}

/// The fields.
#[component]
pub(crate) fn RunOptionFields(
    /// What is typed.
    options: RunOptions,
    /// More fields, of the kind of task.
    children: Children,
) -> impl IntoView {
    view! {
        <details class="card options" open=options.open.get_untracked()>
            <summary><h2>{t("options")}</h2></summary>
            <div class="option-grid">
                {children()}
                <TextField id="opt-timeout" label=t("opt-timeout") value=options.timeout hint=t("opt-timeout-hint") placeholder="1h" />
                <TextField id="opt-parallel" label=t("opt-parallel") value=options.parallel hint=t("opt-parallel-hint") placeholder="–" />
                <TextField id="opt-max-failures" label=t("opt-max-failures") value=options.max_failures hint=t("opt-max-failures-hint") placeholder="–" />
                <TextField id="opt-reason" label=t("opt-reason") value=options.reason hint=t("opt-reason-hint") />
                <div class="stack">
                    <label class="check">
                        <input id="opt-queue" type="checkbox" prop:checked=move || options.queue.get() on:change=move |event| options.queue.set(event_target_checked(&event)) />
                        <span>{t("opt-queue")}</span>
                    </label>
                    <Show when=move || options.queue.get()>
                        <TextField id="opt-queue-ttl" label=t("opt-queue-ttl") value=options.queue_ttl placeholder="1h" />
                    </Show>
                </div>
            </div>
        </details>
    }
}

/// A choice between a few words.
#[component]
pub(crate) fn Choice(
    /// Its id.
    id: &'static str,
    /// Its label.
    #[prop(into)]
    label: String,
    /// Its value.
    value: RwSignal<String>,
    /// Values and message ids.
    words: &'static [(&'static str, &'static str)],
    /// A word on it.
    #[prop(optional, into)]
    hint: Option<String>,
) -> impl IntoView {
    view! {
        <Field id=id label=label hint=hint.unwrap_or_default()>
            <select id=id class="input" prop:value=move || value.get() on:change=move |event| value.set(dom::value(&event))>
                {words.iter().map(|(word, text)| view! { <option value=*word selected=value.with_untracked(|value| value == word)>{t(text)}</option> }).collect_view()}
            </select>
        </Field>
    }
}
