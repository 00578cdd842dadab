//! The chosen execution: how it ended, its attempts, and what can be done with it alone.

use leptos::{prelude::*, task::spawn_local};
use leptos_router::components::A;
use opslink::pb::{Execution, ExecutionState};

use super::{dialog::Dialog, icon::Icon, task_live::TaskLive, toast};
use crate::{
    api,
    i18n::{Arg, t, ta},
    logic::{
        format,
        taskview::{TaskView, can_retry, is_over},
    },
    session::session,
};

/// The strip above the output of one agent.
#[component]
pub(crate) fn ExecutionDetail(
    /// The task.
    live: TaskLive,
) -> impl IntoView {
    let execution = Memo::new(move |_| {
        let chosen = live.chosen.get();
        live.read(|view| match chosen {
            Some(name) => view
                .executions()
                .into_iter()
                .find(|execution| execution.agent_name == name)
                .cloned(),
            // The only one is chosen by itself.
            None => view.executions().first().map(|execution| (*execution).clone()),
        })
    });
    let act = Callback::new(move |retry: bool| {
        let Some(execution) = execution.get_untracked() else {
            return;
        };
        let lost = execution.state() == ExecutionState::Lost;
        spawn_local(async move {
            let agents = vec![execution.agent_id];
            let result = if retry {
                api::retry_task(execution.task_id, agents, lost).await
            } else {
                api::cancel_task(execution.task_id, agents).await
            };
            match result {
                Ok(()) => {
                    toast::say(t(if retry { "retry-asked" } else { "cancel-asked" }));
                    live.restart();
                }
                Err(failure) => toast::complain(failure.what),
            }
        });
    });
    // What would happen a second time, if anything.
    let again = move || {
        let lost = execution.with(|execution| {
            execution
                .as_ref()
                .is_some_and(|one| one.state() == ExecutionState::Lost)
        });
        if lost {
            Some("retry-lost-why")
        } else {
            live.read(TaskView::is_sql).then_some("retry-sql")
        }
    };
    let asking = RwSignal::new(false);
    let wish = Callback::new(move |retry: bool| {
        if retry && untrack(again).is_some() {
            asking.set(true);
        } else {
            act.run(retry);
        }
    });
    view! {
        {move || execution.get().map(
            |execution| view! { <Strip execution=execution finished=live.read(|view| view.is_finished()) act=wish /> },
        )}
        <Dialog open=asking heading=t("retry-here")>
            <p>{move || again().map(t)}</p>
            <div class="dialog-actions">
                <button type="button" class="button" on:click=move |_| asking.set(false)>{t("cancel")}</button>
                <button type="button" id="retry-here" class="button button-primary" on:click=move |_| { asking.set(false); act.run(true) }>{t("retry")}</button>
            </div>
        </Dialog>
    }
}

#[component]
fn Strip(execution: Execution, finished: bool, act: Callback<bool>) -> impl IntoView {
    let state = execution.state();
    let outcome = execution.outcome.clone().filter(|_| is_over(state)).unwrap_or_default();
    let verified = execution.output_verified && is_over(state);
    let bytes: u64 = outcome.streams.iter().map(|stream| stream.bytes).sum();
    let href = format!("/agents/{}", execution.agent_name);
    view! {
        <div class="strip">
            <A href=href attr:class="strip-name">{execution.agent_name.clone()}</A>
            {outcome.exit_code.map(|code| view! { <span>{ta("exit-code", &[("code", Arg::from(code))])}</span> })}
            {(!outcome.message.is_empty() && outcome.exit_code.is_none()).then(|| view! { <span class="strip-message">{outcome.message.clone()}</span> })}
            {(!outcome.reason.is_empty()).then(|| view! { <code class="label">{outcome.reason.clone()}</code> })}
            {(verified && bytes > 0).then(|| view! { <span class="muted small strip-verified" title=t("verified-why")><Icon name="check" />{ta("verified", &[("size", Arg::from(format::bytes(bytes)))])}</span> })}
            <span class="strip-actions">
                <Show when=move || session().may_operate() && !is_over(state)>
                    <button type="button" class="button button-small" on:click=move |_| act.run(false)><Icon name="stop" />{t("cancel-here")}</button>
                </Show>
                <Show when=move || session().may_operate() && finished && can_retry(state)>
                    <button type="button" class="button button-small" on:click=move |_| act.run(true)><Icon name="retry" />{t("retry-here")}</button>
                </Show>
            </span>
        </div>
    }
}
