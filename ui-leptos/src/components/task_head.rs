//! The head of a task: what, who, when, how far; and what can be done with all of it.

use leptos::{prelude::*, task::spawn_local};
use leptos_router::components::A;
use opslink::pb::{CreateTaskRequest, ExecutionState, Task};

use super::{
    box_score::{BoxScore, CountBar},
    copy::{CodeLine, CopyButton},
    dialog::Dialog,
    icon::Icon,
    page,
    state::TaskBadge,
    task_live::TaskLive,
    time::{Ago, elapsed, every_second},
    toast,
};
use crate::{
    api, dom,
    i18n::{t, tn},
    logic::{
        format,
        taskview::{self, TaskView},
        twin,
    },
    session::session,
};

/// The head.
#[component]
pub(crate) fn TaskHead(
    /// The task.
    live: TaskLive,
    /// Only executions in this state are listed.
    state: RwSignal<Option<ExecutionState>>,
) -> impl IntoView {
    let task = Memo::new(move |_| live.read(|view| view.task.clone()));
    let counts = Memo::new(move |_| live.read(TaskView::counts));
    let summary = Memo::new(move |_| {
        task.get()
            .map(|task| taskview::summary(task.spec.as_ref()))
            .unwrap_or_default()
    });
    page::title(move || {
        let word = task
            .get()
            .map(|task| t(&format!("state-{}", taskview::task_word(task.state()))))
            .unwrap_or_default();
        format!("{word} · {}", summary.get())
    });
    view! {
        <header class="page-head task-head">
            <div class="page-title">
                <h1 class="task-summary mono">{move || summary.get()}</h1>
                {move || task.get().map(|task| view! { <About task=task /> })}
            </div>
            <div class="page-actions"><Actions live=live task=task /></div>
        </header>
        <div class="task-score">
            <span class="task-bar">{move || view! { <CountBar counts=counts.get() /> }}</span>
            <BoxScore counts=counts chosen=state />
        </div>
    }
}

#[component]
fn About(task: Task) -> impl IntoView {
    let now = every_second();
    let finished = taskview::is_finished(task.state());
    let selector = task.selector.clone().unwrap_or_default();
    let meant = if selector.all {
        t("target-all")
    } else if selector.names.is_empty() {
        selector.expression
    } else {
        selector.names.join(", ")
    };
    let id = task.id.clone();
    let (created, ended) = (task.created_at, task.finished_at.filter(|_| finished));
    let took = move || elapsed(created.as_ref(), ended.as_ref(), if finished { 0 } else { now.get() });
    view! {
        <p class="task-about">
            <span id="task-state"><TaskBadge state=task.state() /></span>
            {(task.cancel_requested && !finished).then(|| view! { <span class="muted">{t("cancel-underway")}</span> })}
            <span class="num" title=t("duration")>{took}</span>
            <span>{task.created_by.clone()}</span>
            <Ago time=task.created_at />
            <span class="label" title=t("target")>{meant}</span>
            {(!task.reason.is_empty()).then(|| view! { <span class="muted">{task.reason.clone()}</span> })}
            <span class="task-id mono">{format::short_id(&task.id).to_owned()}<CopyButton text=Signal::stored(id) label=t("copy-id") /></span>
        </p>
    }
}

#[component]
fn Actions(live: TaskLive, task: Memo<Option<Task>>) -> impl IntoView {
    let canceling = RwSignal::new(false);
    let retrying = RwSignal::new(false);
    let copying = RwSignal::new(false);
    let running = move || task.get().is_some_and(|task| !taskview::is_finished(task.state()));
    let failed = move || live.read(TaskView::failed);
    let again = move || {
        task.get()
            .map(|task| {
                format!(
                    "/run/{}?from={}",
                    if taskview::kind(task.spec.as_ref()) == "sql" {
                        "sql"
                    } else {
                        "shell"
                    },
                    task.id
                )
            })
            .unwrap_or_default()
    };
    let cancel = move |_| {
        canceling.set(false);
        let Some(task) = task.get_untracked() else { return };
        spawn_local(async move {
            match api::cancel_task(task.id, Vec::new()).await {
                Ok(()) => toast::say(t("cancel-asked")),
                Err(failure) => toast::complain(failure.what),
            }
        });
    };
    view! {
        <button type="button" class="button" on:click=move |_| copying.set(true)><Icon name="copy" /><span>{t("copy-as")}</span></button>
        <Show when=move || session().may_operate()>
            <A href=again attr:class="button"><Icon name="play" /><span>{t("run-again")}</span></A>
            <Show when=move || !running() && (failed() > 0)>
                <button type="button" id="retry" class="button" on:click=move |_| retrying.set(true)><Icon name="retry" /><span>{move || tn("retry-failed", failed() as u64)}</span></button>
            </Show>
            <Show when=running>
                <button type="button" id="cancel" class="button button-danger" on:click=move |_| canceling.set(true)><Icon name="stop" /><span>{t("cancel-task")}</span></button>
            </Show>
        </Show>
        <Dialog open=canceling heading=t("cancel-task")>
            <p>{move || tn("cancel-sure", live.read(|view| view.counts().iter().filter(|(state, _)| !taskview::is_over(*state)).map(|(_, count)| u64::from(*count)).sum()))}</p>
            <p class="muted">{t("cancel-how")}</p>
            <div class="dialog-actions">
                <button type="button" class="button" on:click=move |_| canceling.set(false)>{t("cancel-not")}</button>
                <button type="button" id="cancel-confirm" class="button button-danger" on:click=cancel>{t("cancel-task")}</button>
            </div>
        </Dialog>
        <Dialog open=retrying heading=t("retry")><Retry live=live open=retrying /></Dialog>
        <Dialog open=copying heading=t("copy-as")>{move || task.get().map(|task| view! { <Twins task=task /> })}</Dialog>
    }
}

#[component]
fn Retry(live: TaskLive, open: RwSignal<bool>) -> impl IntoView {
    let lost = live.view.with_value(TaskView::lost);
    let failed = live.view.with_value(TaskView::failed);
    let include_lost = RwSignal::new(false);
    let count = move || (failed - if include_lost.get() { 0 } else { lost }) as u64;
    let retry = move |_| {
        open.set(false);
        let Some(id) = live
            .view
            .with_value(|view| view.task.as_ref().map(|task| task.id.clone()))
        else {
            return;
        };
        let include_lost = include_lost.get_untracked();
        spawn_local(async move {
            match api::retry_task(id, Vec::new(), include_lost).await {
                Ok(()) => {
                    toast::say(t("retry-asked"));
                    live.restart();
                }
                Err(failure) => toast::complain(failure.what),
            }
        });
    };
    let is_sql = live.view.with_value(TaskView::is_sql);
    view! {
        <p>{move || tn("retry-sure", count())}</p>
        {is_sql.then(|| view! { <p class="hint">{t("retry-sql")}</p> })}
        {(lost > 0).then(|| view! {
            <label class="check">
                <input type="checkbox" on:change=move |event| include_lost.set(event_target_checked(&event)) />
                <span>{tn("retry-lost", lost as u64)}<span class="hint block">{t("retry-lost-why")}</span></span>
            </label>
        })}
        <div class="dialog-actions">
            <button type="button" class="button" on:click=move |_| open.set(false)>{t("cancel")}</button>
            <button type="button" id="retry-confirm" class="button button-primary" disabled=move || count() == 0 on:click=retry>{t("retry")}</button>
        </div>
    }
}

#[component]
fn Twins(task: Task) -> impl IntoView {
    let place = twin::Place {
        origin: dom::origin(),
        file: None,
    };
    let logs = format!("cloudctl logs {} -f", task.id);
    let request = CreateTaskRequest {
        spec: task.spec,
        selector: task.selector,
        rollout: task.rollout.filter(|rollout| *rollout != Default::default()),
        queueing: task.queueing.filter(|queueing| queueing.enabled),
        reason: task.reason,
        ..CreateTaskRequest::default()
    };
    let (cloudctl, grpcurl) = (twin::cloudctl(&request, &place), twin::grpcurl(&request, &place));
    view! {
        <div class="stack">
            <p class="twin-name">{t("copy-logs")}</p>
            <CodeLine text=Signal::stored(logs) label="cloudctl logs" />
            <p class="twin-name">{t("twin-cloudctl")}</p>
            <CodeLine text=Signal::stored(cloudctl) label=t("twin-cloudctl") />
            <p class="twin-name">{t("twin-grpcurl")}</p>
            <CodeLine text=Signal::stored(grpcurl) label=t("twin-grpcurl") />
        </div>
    }
}
