//! Times: how long ago, with the exact time in the tooltip; and running clocks.

use std::time::Duration;

use leptos::prelude::*;
use pbjson_types::Timestamp;

use crate::{
    dom,
    i18n::{Arg, t, ta},
    logic::format,
};

/// Microseconds since 1970 of a message's time.
pub(crate) fn micros(time: &Timestamp) -> i64 {
    time.seconds * 1_000_000 + i64::from(time.nanos / 1_000)
}

/// A signal that changes every second, one for each place that asks.
pub(crate) fn every_second() -> ReadSignal<i64> {
    let (now, set_now) = signal(dom::now_us());
    if let Ok(handle) = set_interval_with_handle(move || set_now.set(dom::now_us()), Duration::from_secs(1)) {
        on_cleanup(move || handle.clear());
    }
    now
}

/// `5 minutes ago`.
pub(crate) fn ago(time_us: i64, now_us: i64) -> String {
    let (unit, number) = format::ago_secs((now_us - time_us) / 1_000_000);
    ta(&format!("ago-{unit}"), &[("n", Arg::from(number))])
}

/// How long ago something was; a dash when it never was.
#[component]
pub(crate) fn Ago(
    /// When.
    #[prop(into)]
    time: Option<Timestamp>,
) -> impl IntoView {
    let Some(time) = time else {
        return view! { <span class="muted">"–"</span> }.into_any();
    };
    let time = micros(&time);
    let now = every_second();
    view! {
        <time datetime=dom::iso_time(time) title=dom::local_time(time)>
            {move || ago(time, now.get())}
        </time>
    }
    .into_any()
}

/// The exact time.
#[component]
pub(crate) fn At(
    /// When.
    #[prop(into)]
    time: Option<Timestamp>,
) -> impl IntoView {
    let Some(time) = time else {
        return view! { <span class="muted">"–"</span> }.into_any();
    };
    let time = micros(&time);
    view! { <time class="num" datetime=dom::iso_time(time) title=move || ago(time, dom::now_us())>{dom::local_time(time)}</time> }
        .into_any()
}

/// How long something took, or has taken so far.
pub(crate) fn elapsed(start: Option<&Timestamp>, end: Option<&Timestamp>, now_us: i64) -> String {
    let Some(start) = start else { return t("none") };
    format::duration_us(end.map_or(now_us, micros) - micros(start))
}
