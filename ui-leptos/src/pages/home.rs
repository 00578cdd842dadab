//! Home: what runs, what is offline, what went wrong; and the way in on a first visit.

use gloo_timers::future::TimeoutFuture;
use leptos::prelude::*;
use leptos_router::components::A;
use opslink::pb::{self, AgentStatus, Task};

use crate::{
    api::{self, Failure, spawn_scoped},
    components::{
        agents_live::{AgentsLive, use_agents},
        empty::Skeleton,
        icon::Icon,
        page::PageHead,
        problem::ProblemBox,
        state::AgentBadge,
        sync_banner::SyncBanner,
        task_table::TaskTable,
        time::Ago,
    },
    dom,
    i18n::{Arg, t, ta, tn},
    logic::{order, taskview::is_finished},
};

/// The page.
#[component]
pub(crate) fn Home() -> impl IntoView {
    let live = use_agents();
    let tasks = RwSignal::new(None::<Vec<Task>>);
    let problem = RwSignal::new(None::<Failure>);
    spawn_scoped(async move {
        loop {
            if dom::is_visible() {
                match api::list_tasks(20, String::new(), String::new(), &[]).await {
                    Ok(page) => {
                        problem.set(None);
                        if tasks.with_untracked(|known| known.as_ref() != Some(&page.tasks)) {
                            tasks.set(Some(page.tasks));
                        }
                    }
                    Err(failure) => problem.set(Some(failure)),
                }
            }
            TimeoutFuture::new(2_500).await;
        }
    });
    let running = Memo::new(move |_| {
        tasks.with(|tasks| {
            tasks
                .iter()
                .flatten()
                .filter(|task| !is_finished(task.state()))
                .cloned()
                .collect::<Vec<_>>()
        })
    });
    let recent = Memo::new(move |_| {
        tasks.with(|tasks| {
            tasks
                .iter()
                .flatten()
                .filter(|task| is_finished(task.state()))
                .take(8)
                .cloned()
                .collect::<Vec<_>>()
        })
    });
    let has_tasks = Memo::new(move |_| tasks.with(|tasks| tasks.as_ref().map(|tasks| !tasks.is_empty())));
    let first_visit =
        move || live.known.get() && (live.agents.with(|agents| agents.is_empty()) || has_tasks.get() == Some(false));

    view! {
        <PageHead heading=t("home")>
            <A href="/run/shell" attr:class="button"><Icon name="shell" /><span>{t("run-shell")}</span></A>
            <A href="/run/sql" attr:class="button"><Icon name="sql" /><span>{t("run-sql")}</span></A>
        </PageHead>
        <SyncBanner sync=live.sync />
        <ProblemBox problem=problem />
        <Show when=first_visit>
            <Checklist live=live has_tasks=Signal::derive(move || has_tasks.get() == Some(true)) />
        </Show>
        <div class="home">
            <section class="stack" aria-labelledby="running-heading">
                <h2 id="running-heading">{move || tn("home-running", running.with(Vec::len) as u64)}</h2>
                {move || match (has_tasks.get(), running.get()) {
                    (None, _) => view! { <Skeleton rows=2 /> }.into_any(),
                    (_, running) if running.is_empty() => view! { <p class="quiet-line">{t("home-running-none")}</p> }.into_any(),
                    (_, running) => view! { <TaskTable tasks=running /> }.into_any(),
                }}
                <div class="card-head">
                    <h2>{t("home-recent")}</h2>
                    <A href="/tasks" attr:class="small">{t("home-all-tasks")}</A>
                </div>
                {move || match (has_tasks.get(), recent.get()) {
                    (None, _) => view! { <Skeleton rows=4 /> }.into_any(),
                    (_, recent) if recent.is_empty() => view! { <p class="quiet-line">{t("tasks-none")}</p> }.into_any(),
                    (_, recent) => view! { <TaskTable tasks=recent /> }.into_any(),
                }}
            </section>
            <Fleet live=live />
        </div>
    }
}

/// How many agents there are, and which of them are away.
#[component]
fn Fleet(live: AgentsLive) -> impl IntoView {
    let offline = Memo::new(move |_| {
        live.agents.with(|agents| {
            let mut offline: Vec<_> = agents
                .values()
                .filter(|agent| agent.status() != AgentStatus::Online)
                .cloned()
                .collect();
            let seen = |agent: &pb::Agent| agent.last_seen_at.as_ref().map_or(0, |time| time.seconds);
            order::by(&mut offline, |a, b| seen(b).cmp(&seen(a)));
            offline
        })
    });
    view! {
        <section class="card" aria-labelledby="fleet-heading">
            <div class="card-head">
                <h2 id="fleet-heading">{t("agents")}</h2>
                <A href="/agents" attr:class="small">{t("home-all-agents")}</A>
            </div>
            <Show when=move || live.known.get() fallback=|| view! { <Skeleton rows=2 /> }>
                <p class="fleet-number">
                    <span class="num fleet-big">{move || live.counts().0}</span>
                    <span class="muted">{move || ta("home-online-of", &[("total", Arg::from(live.counts().1))])}</span>
                </p>
                {move || {
                    let offline = offline.get();
                    let hidden = offline.len().saturating_sub(8);
                    (!offline.is_empty()).then(|| view! {
                        <ul class="fleet-list">
                            {offline.into_iter().take(8).map(|agent| { let name = agent.name.clone(); view! {
                                <li>
                                    <A href=format!("/agents/{}", agent.name) attr:class="cell-cut">{name}</A>
                                    <AgentBadge status=agent.status() />
                                    <span class="muted small nowrap"><Ago time=agent.last_seen_at /></span>
                                </li>
                            }}).collect_view()}
                        </ul>
                        {(hidden > 0).then(|| view! { <A href="/agents?status=offline" attr:class="small">{tn("home-more", hidden as u64)}</A> })}
                    })
                }}
            </Show>
        </section>
    }
}

/// Three steps from nothing to the first output.
#[component]
fn Checklist(live: AgentsLive, has_tasks: Signal<bool>) -> impl IntoView {
    let has_agents = move || live.agents.with(|agents| !agents.is_empty());
    let step = |number: &'static str, done: Signal<bool>, id: &'static str, href: &'static str| {
        view! {
            <li class="step" class:done=move || done.get()>
                <span class="step-number" aria-hidden="true">{move || if done.get() { view! { <Icon name="check" /> }.into_any() } else { number.into_any() }}</span>
                <div>
                    <strong>{t(id)}</strong>
                    <p>{t(&format!("{id}-why"))}</p>
                </div>
                {move || if done.get() { view! { <span class="state state-succeeded">{t("done")}</span> }.into_any() } else { view! { <A href=href attr:class="button">{t(&format!("{id}-go"))}</A> }.into_any() }}
            </li>
        }
    };
    view! {
        <section class="card" aria-labelledby="checklist-heading">
            <h2 id="checklist-heading">{t("checklist")}</h2>
            <ol class="steps">
                {step("1", Signal::derive(|| true), "step-login", "/")}
                {step("2", Signal::derive(has_agents), "step-agent", "/agents/new")}
                {step("3", has_tasks, "step-task", "/run/shell?all=1&cmd=uname%20-a")}
            </ol>
        </section>
    }
}
