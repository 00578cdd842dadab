//! Short words on what was just done, read out by screen readers.

use std::time::Duration;

use leptos::prelude::*;

use super::icon::Icon;

#[derive(Debug, Clone, PartialEq)]
struct Toast {
    id: u64,
    text: String,
    bad: bool,
}

#[derive(Clone, Copy)]
struct List(RwSignal<Vec<Toast>>);

thread_local! {
    static LIST: List = List(RwSignal::new(Vec::new()));
}

/// Makes the list before anything can scope it to a page.
pub(crate) fn provide() {
    LIST.with(|_| {});
}

/// Says something for a few seconds.
pub(crate) fn say(text: impl Into<String>) {
    push(text.into(), false);
}

/// Says that something did not work.
pub(crate) fn complain(text: impl Into<String>) {
    push(text.into(), true);
}

fn push(text: String, bad: bool) {
    let List(list) = LIST.with(|list| *list);
    let id = list.with_untracked(|list| list.last().map_or(0, |last| last.id)) + 1;
    list.update(|list| list.push(Toast { id, text, bad }));
    let stay = Duration::from_secs(if bad { 8 } else { 4 });
    set_timeout(move || list.update(|list| list.retain(|toast| toast.id != id)), stay);
}

/// Where they appear.
#[component]
pub(crate) fn Toasts() -> impl IntoView {
    let List(list) = LIST.with(|list| *list);
    view! {
        <div class="toasts" role="status" aria-live="polite">
            <For each=move || list.get() key=|toast| toast.id let:toast>
                <div class="toast" class:bad=toast.bad>
                    <Icon name=if toast.bad { "warning" } else { "check" } />
                    <span>{toast.text}</span>
                </div>
            </For>
        </div>
    }
}
