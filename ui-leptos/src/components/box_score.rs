//! How many executions are in each state: a bar and the numbers in words.

use leptos::prelude::*;
use opslink::pb::ExecutionState;

use super::icon::Icon;
use crate::{
    i18n::t,
    logic::{format, taskview::execution_word},
};

/// The bar alone, for lists.
#[component]
pub(crate) fn CountBar(
    /// Executions per state.
    counts: Vec<(ExecutionState, u32)>,
) -> impl IntoView {
    let words = counts
        .iter()
        .map(|(state, count)| {
            format!(
                "{count} {}",
                t(&format!("state-{}", execution_word(*state).replace('_', "-")))
            )
        })
        .collect::<Vec<_>>()
        .join(", ");
    view! {
        <span class="count-bar" role="img" aria-label=words.clone() title=words>
            {counts.into_iter().map(|(state, count)| view! {
                <span class=format!("count-part fill-{}", execution_word(state)) style:flex-grow=count.to_string()></span>
            }).collect_view()}
        </span>
    }
}

/// The numbers, each a button that shows only these.
#[component]
pub(crate) fn BoxScore(
    /// Executions per state.
    #[prop(into)]
    counts: Signal<Vec<(ExecutionState, u32)>>,
    /// Which state is shown alone.
    chosen: RwSignal<Option<ExecutionState>>,
) -> impl IntoView {
    view! {
        <div class="score" role="group" aria-label=t("score")>
            {move || counts.get().into_iter().map(|(state, count)| {
                let word = execution_word(state);
                view! {
                    <button
                        type="button"
                        class=format!("score-part state-{word}")
                        aria-pressed=move || (chosen.get() == Some(state)).to_string()
                        on:click=move |_| chosen.update(|chosen| *chosen = if *chosen == Some(state) { None } else { Some(state) })
                    >
                        <Icon name=word />
                        <span class="num score-number">{format::count(count.into())}</span>
                        <span>{t(&format!("state-{}", word.replace('_', "-")))}</span>
                    </button>
                }
            }).collect_view()}
        </div>
    }
}
