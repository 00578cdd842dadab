//! All tasks, newest first. The filters stand in the URL.

use gloo_timers::future::TimeoutFuture;
use leptos::prelude::*;
use leptos_router::{
    NavigateOptions,
    components::A,
    hooks::{use_navigate, use_query_map},
};
use opslink::pb::{Task, TaskState};

use crate::{
    api::{self, Failure, spawn_scoped},
    components::{
        empty::{Empty, Skeleton},
        icon::Icon,
        page::PageHead,
        problem::ProblemBox,
        task_table::TaskTable,
    },
    dom,
    i18n::t,
    logic::taskview::{task_state, task_word},
};

const PAGE: i32 = 50;
const STATES: [TaskState; 5] = [
    TaskState::Running,
    TaskState::Pending,
    TaskState::Succeeded,
    TaskState::Failed,
    TaskState::Canceled,
];

/// The page.
#[component]
pub(crate) fn Tasks() -> impl IntoView {
    let query = use_query_map();
    let state = Memo::new(move |_| query.read().get("state").unwrap_or_default());
    let agent = Memo::new(move |_| query.read().get("agent").unwrap_or_default());
    let navigate = use_navigate();
    let go = Callback::new(move |(state, agent): (String, String)| {
        let mut parts = Vec::new();
        if !state.is_empty() {
            parts.push(format!("state={state}"));
        }
        if !agent.is_empty() {
            parts.push(format!("agent={}", String::from(js_sys::encode_uri_component(&agent))));
        }
        let query = if parts.is_empty() {
            String::new()
        } else {
            format!("?{}", parts.join("&"))
        };
        navigate(
            &format!("/tasks{query}"),
            NavigateOptions {
                replace: true,
                scroll: false,
                ..Default::default()
            },
        );
    });

    let tasks = RwSignal::new(None::<Vec<Task>>);
    let more = RwSignal::new(String::new());
    let problem = RwSignal::new(None::<Failure>);
    // The newest page stays fresh; older pages, once asked for, stay as they were read.
    Effect::new(move |_| {
        let (state, agent) = (state.get(), agent.get());
        tasks.set(None);
        more.set(String::new());
        spawn_scoped(async move {
            let states: Vec<TaskState> = task_state(&state).into_iter().collect();
            loop {
                if dom::is_visible() {
                    match api::list_tasks(PAGE, String::new(), agent.clone(), &states).await {
                        Ok(page) => {
                            problem.set(None);
                            merge(tasks, more, page);
                        }
                        Err(failure) => problem.set(Some(failure)),
                    }
                }
                TimeoutFuture::new(2_500).await;
            }
        });
    });
    let load_more = move |_| {
        let (token, state, agent) = (more.get_untracked(), state.get_untracked(), agent.get_untracked());
        leptos::task::spawn_local(async move {
            let states: Vec<TaskState> = task_state(&state).into_iter().collect();
            match api::list_tasks(PAGE, token, agent, &states).await {
                Ok(page) => {
                    let _ = more.try_set(page.next_page_token);
                    let _ = tasks.try_update(|tasks| tasks.get_or_insert_default().extend(page.tasks));
                }
                Err(failure) => {
                    let _ = problem.try_set(Some(failure));
                }
            }
        });
    };

    view! {
        <PageHead heading=t("tasks")>
            <A href="/run/shell" attr:class="button"><Icon name="shell" /><span>{t("run-shell")}</span></A>
            <A href="/run/sql" attr:class="button"><Icon name="sql" /><span>{t("run-sql")}</span></A>
        </PageHead>
        <div class="toolbar">
            <div class="search">
                <Icon name="search" />
                <input id="filter" class="input" type="search" spellcheck="false" aria-label=t("tasks-filter-agent") placeholder=t("tasks-filter-agent")
                    prop:value=move || agent.get()
                    on:change=move |event| go.run((state.get_untracked(), dom::value(&event).trim().to_owned())) />
            </div>
            <div class="segments segments-scroll" role="group" aria-label=t("status")>
                <button type="button" aria-pressed=move || state.get().is_empty().to_string() on:click=move |_| go.run((String::new(), agent.get_untracked()))>{t("all")}</button>
                {STATES.map(|word| { let word = task_word(word); view! {
                    <button type="button" aria-pressed=move || (state.get() == word).to_string() on:click=move |_| go.run((word.to_owned(), agent.get_untracked()))>{t(&format!("state-{word}"))}</button>
                }})}
            </div>
        </div>
        <ProblemBox problem=problem />
        {move || match tasks.get() {
            None if problem.get().is_some() => ().into_any(),
            None => view! { <Skeleton rows=8 /> }.into_any(),
            Some(tasks) if tasks.is_empty() && state.get().is_empty() && agent.get().is_empty() => view! {
                <Empty icon="tasks" heading=t("tasks-none")><A href="/run/shell" attr:class="button">{t("run-first")}</A></Empty>
            }.into_any(),
            Some(tasks) if tasks.is_empty() => view! {
                <Empty icon="search" heading=t("tasks-no-match")><button type="button" class="button" on:click=move |_| go.run(Default::default())>{t("filter-clear")}</button></Empty>
            }.into_any(),
            Some(tasks) => view! { <TaskTable tasks=tasks /> }.into_any(),
        }}
        <Show when=move || !more.get().is_empty()>
            <div><button type="button" class="button" on:click=load_more>{t("load-more")}</button></div>
        </Show>
    }
}

fn merge(tasks: RwSignal<Option<Vec<Task>>>, more: RwSignal<String>, page: opslink::pb::ListTasksResponse) {
    let held = tasks.with_untracked(|tasks| tasks.as_ref().map_or(0, Vec::len));
    if held <= page.tasks.len().max(PAGE as usize) {
        if tasks.with_untracked(|known| known.as_ref() != Some(&page.tasks)) {
            tasks.set(Some(page.tasks));
        }
        more.set(page.next_page_token);
        return;
    }
    tasks.update(|known| {
        let known = known.get_or_insert_default();
        let mut fresh = page.tasks;
        known.retain(|task| fresh.iter().all(|newer| newer.id != task.id));
        fresh.append(known);
        *known = fresh;
    });
}
