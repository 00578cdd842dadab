//! One task: states and output, live. What is chosen stands in the URL, so a reload shows the same.

use leptos::prelude::*;
use leptos_router::{
    NavigateOptions,
    components::A,
    hooks::{use_location, use_navigate, use_params_map, use_query_map},
};
use opslink::pb::ExecutionState;

use crate::{
    components::{
        empty::{Empty, Skeleton},
        execution_detail::ExecutionDetail,
        execution_list::ExecutionList,
        log_mark::{self, Marking},
        log_view::LogView,
        page::{self, PageHead},
        problem::ProblemBox,
        results_view::ResultsView,
        sync_banner::SyncBanner,
        task_excerpt::Spot,
        task_head::TaskHead,
        task_live::{MANY, TaskLive},
    },
    i18n::t,
    logic::{mark::Mark, taskview::TaskView},
};

/// The page.
#[component]
pub(crate) fn TaskPage() -> impl IntoView {
    let params = use_params_map();
    let id = Memo::new(move |_| params.read().get("id").unwrap_or_default());
    page::title(|| t("task"));
    view! {
        <nav class="crumbs" aria-label=t("crumbs")><A href="/tasks">{t("tasks")}</A><span aria-hidden="true">"/"</span></nav>
        {move || view! { <OneTask id=id.get() /> }}
    }
}

/// Until the task is known, or forever when there is none.
#[component]
fn Waiting(live: TaskLive) -> impl IntoView {
    move || match live.problem.get() {
        None => view! { <Skeleton rows=6 /> }.into_any(),
        Some(_) => view! { <div><A href="/tasks" attr:class="button">{t("home-all-tasks")}</A></div> }.into_any(),
    }
}

#[component]
fn OneTask(id: String) -> impl IntoView {
    let query = use_query_map();
    let chosen = Memo::new(move |_| query.read().get("agent"));
    let tab = Memo::new(move |_| query.read().get("tab").unwrap_or_default());
    let live = TaskLive::open(id, chosen);
    live.follow_chosen();
    let state = RwSignal::new(None::<ExecutionState>);
    let location = use_location();
    let navigate = use_navigate();
    let show = Callback::new(move |query: String| {
        let options = NavigateOptions {
            replace: true,
            scroll: false,
            ..Default::default()
        };
        navigate(&format!("{}{query}", location.pathname.get_untracked()), options);
    });
    let go = Callback::new(move |(agent, tab): (Option<String>, String)| {
        let mut parts = Vec::new();
        if let Some(agent) = agent {
            parts.push(format!("agent={}", String::from(js_sys::encode_uri_component(&agent))));
        }
        if !tab.is_empty() {
            parts.push(format!("tab={tab}"));
        }
        show.run(if parts.is_empty() {
            String::new()
        } else {
            format!("?{}", parts.join("&"))
        });
    });
    let line = Memo::new(move |_| query.read().get("line").and_then(|text| Mark::parse(&text)));
    let attempt = Memo::new(move |_| query.read().get("attempt").and_then(|text| text.parse().ok()));
    let marking = Marking::new(
        Memo::new(move |_| live.spot(chosen.get().as_deref(), attempt.get(), line.get()?)),
        Memo::new(move |_| line.get().is_some()),
        Callback::new(move |spot: Option<Spot>| match spot {
            Some(spot) => show.run(log_mark::query(&spot.agent, spot.attempt, spot.mark)),
            None => go.run((chosen.get_untracked(), tab.get_untracked())),
        }),
    );
    let choose = Callback::new(move |agent: Option<String>| go.run((agent, tab.get_untracked())));
    let known = Memo::new(move |_| live.read(|view| view.task.is_some()));
    let is_sql = Memo::new(move |_| live.read(TaskView::is_sql));
    let several = Memo::new(move |_| live.read(|view| view.len() > 1));
    // Not anew with each change of the task: the log would be another one, at its end.
    let many_unchosen = Memo::new(move |_| live.read(|view| view.len() > MANY) && chosen.get().is_none());
    let tab_button = move |value: &'static str, text: String| {
        view! { <button type="button" role="tab" aria-selected=move || (tab.get() == value).to_string() on:click=move |_| go.run((chosen.get_untracked(), value.to_owned()))>{text}</button> }
    };
    view! {
        <ProblemBox problem=live.problem />
        <SyncBanner sync=live.sync />
        <Show when=move || known.get() fallback=move || view! { <PageHead heading=t("task") /><Waiting live=live /> }>
            <TaskHead live=live state=state />
            <div class="task-body" class:single=move || !several.get()>
                <Show when=move || several.get()>
                    <ExecutionList live=live state=state choose=choose />
                </Show>
                <div class="task-output">
                    <Show when=move || is_sql.get()>
                        <div class="segments task-tabs" role="tablist" aria-label=t("output")>
                            {tab_button("", t("results"))} {tab_button("log", t("log"))}
                        </div>
                    </Show>
                    <Show when=move || chosen.get().is_some() || !several.get()>
                        <ExecutionDetail live=live />
                    </Show>
                    {move || if many_unchosen.get() {
                        view! { <Empty icon="agents" heading=t("executions-choose") /> }.into_any()
                    } else if is_sql.get() && tab.get().is_empty() {
                        view! { <ResultsView live=live choose=choose /> }.into_any()
                    } else {
                        view! { <LogView live=live several=several marking=marking /> }.into_any()
                    }}
                </div>
            </div>
        </Show>
    }
}
