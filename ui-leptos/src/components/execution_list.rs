//! The executions of a task: one line per agent; choosing one shows its output alone.

use leptos::prelude::*;
use opslink::pb::{Execution, ExecutionState};

use super::{
    icon::Icon,
    log_row::{outcome_words, tint},
    task_live::TaskLive,
    time::{elapsed, every_second},
    virtual_rows::{Viewport, VirtualRows},
};
use crate::{
    i18n::{t, tn},
    logic::taskview::{execution_word, is_over},
};

const ROW_HEIGHT: f64 = 46.0;

/// The list.
#[component]
pub(crate) fn ExecutionList(
    /// The task.
    live: TaskLive,
    /// Only those in this state.
    state: RwSignal<Option<ExecutionState>>,
    /// Chooses an agent, or all.
    choose: Callback<Option<String>>,
) -> impl IntoView {
    let shown = Memo::new(move |_| {
        let wanted = state.get();
        live.read(|view| {
            let executions = view.executions().into_iter();
            executions
                .filter(|execution| wanted.is_none_or(|wanted| execution.state() == wanted))
                .cloned()
                .collect::<Vec<_>>()
        })
    });
    let total = move || live.read(|view| view.len());
    let viewport = Viewport::new();
    let now = every_second();
    view! {
        <section class="executions" aria-label=t("executions")>
            <button type="button" class="execution execution-all" aria-pressed=move || live.chosen.get().is_none().to_string() on:click=move |_| choose.run(None)>
                <Icon name="agents" />
                <span class="execution-name">{move || tn("executions-all", total() as u64)}</span>
            </button>
            <VirtualRows
                viewport=viewport
                count=Signal::derive(move || shown.with(Vec::len))
                row_height=ROW_HEIGHT
                class="execution-rows"
                role="group"
                label=t("executions")
                row=move |at| match shown.with(|shown| shown.get(at).cloned()) {
                    Some(execution) => view! { <Row execution=execution chosen=live.chosen choose=choose now=now /> }.into_any(),
                    None => ().into_any(),
                }
            />
        </section>
    }
}

#[component]
fn Row(
    execution: Execution,
    chosen: Memo<Option<String>>,
    choose: Callback<Option<String>>,
    now: ReadSignal<i64>,
) -> impl IntoView {
    let word = execution_word(execution.state());
    let name = StoredValue::new(execution.agent_name.clone());
    let tinted = format!("execution-name tint-{}", tint(&execution.agent_name));
    let shown_name = execution.agent_name.clone();
    let outcome = outcome_words(&execution);
    let over = is_over(execution.state());
    let attempt = execution.attempt_number;
    let took = move || {
        let end = execution.finished_at.filter(|_| over);
        let now = if over { 0 } else { now.get() };
        execution
            .started_at
            .as_ref()
            .map(|start| elapsed(Some(start), end.as_ref(), now))
    };
    view! {
        <button type="button" class="execution" data-agent=name.get_value() data-state=word
            aria-pressed=move || (chosen.get() == Some(name.get_value())).to_string()
            on:click=move |_| choose.run(Some(name.get_value()))
        >
            <span class=format!("state state-{word}")><Icon name=word /></span>
            <span class="execution-main">
                <span class=tinted>{shown_name}</span>
                <span class="execution-detail">
                    <span class=format!("state state-{word}")>{t(&format!("state-{}", word.replace('_', "-")))}</span>
                    {(!outcome.is_empty()).then(|| view! { <span>{outcome.clone()}</span> })}
                    {(attempt > 1).then(|| view! { <span>{tn("attempt", attempt.into())}</span> })}
                </span>
            </span>
            <span class="num muted small nowrap">{took}</span>
        </button>
    }
}
