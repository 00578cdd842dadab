//! One agent: what it is, what it can reach, what it did.

use leptos::{prelude::*, task::spawn_local};
use leptos_router::{
    components::A,
    hooks::{use_navigate, use_params_map},
};
use opslink::pb::{self, Task};

use crate::{
    api::{self, Failure},
    components::{
        agent_labels::Labels,
        agents_live::use_agents,
        dialog::Dialog,
        empty::{Empty, Skeleton},
        field::TextField,
        icon::Icon,
        page::PageHead,
        problem::ProblemBox,
        state::AgentBadge,
        sync_banner::SyncBanner,
        task_table::TaskTable,
        time::{Ago, At},
        toast,
    },
    i18n::{Arg, t, ta},
    logic::{format, labels},
    session::session,
};

/// The page.
#[component]
pub(crate) fn AgentPage() -> impl IntoView {
    let params = use_params_map();
    let wanted = Memo::new(move |_| params.read().get("agent").unwrap_or_default());
    let live = use_agents();
    // The live list has it all; an id or a prefix is looked up there too.
    let agent = Memo::new(move |_| {
        let wanted = wanted.get();
        live.agents.with(|agents| {
            agents
                .get(&wanted)
                .or_else(|| agents.values().find(|agent| agent.id == wanted))
                .cloned()
        })
    });
    let name = Memo::new(move |_| agent.get().map_or_else(|| wanted.get(), |agent| agent.name));
    view! {
        <nav class="crumbs" aria-label=t("crumbs")><A href="/agents">{t("agents")}</A><span aria-hidden="true">"/"</span></nav>
        <SyncBanner sync=live.sync />
        {move || match (agent.get(), live.known.get()) {
            (Some(agent), _) => view! { <Known agent=agent /> }.into_any(),
            (None, true) => view! {
                <PageHead heading=name.get() />
                <Empty icon="agents" heading=t("agent-unknown")><A href="/agents" attr:class="button">{t("home-all-agents")}</A></Empty>
            }.into_any(),
            (None, false) => view! { <PageHead heading=name.get() /><Skeleton rows=5 /> }.into_any(),
        }}
        {move || agent.with(Option::is_some).then(|| view! { <RecentTasks name=name.get() /> })}
    }
}

#[component]
fn Known(agent: pb::Agent) -> impl IntoView {
    let facts = agent.facts.clone().unwrap_or_default();
    let removing = RwSignal::new(false);
    let labelling = RwSignal::new(false);
    let run = format!("/run/shell?a={}", agent.name);
    let sql = format!("/run/sql?a={}", agent.name);
    let stored = StoredValue::new(agent.clone());
    let fact = |id: &str, value: String| (!value.is_empty()).then(|| view! { <dt>{t(id)}</dt><dd>{value}</dd> });
    let some = |number: u64, text: String| if number == 0 { String::new() } else { text };
    view! {
        <PageHead heading=agent.name.clone()>
            <Show when=move || session().may_operate()>
                <A href=run.clone() attr:class="button"><Icon name="shell" /><span>{t("run-shell")}</span></A>
                <A href=sql.clone() attr:class="button"><Icon name="sql" /><span>{t("run-sql")}</span></A>
            </Show>
            <Show when=move || session().may_administer()>
                <button type="button" class="button button-danger" on:click=move |_| removing.set(true)>{t("agent-remove")}</button>
            </Show>
        </PageHead>
        <div class="toolbar"><AgentBadge status=agent.status() /><span class="muted">{t("last-seen")}" "<Ago time=agent.last_seen_at /></span></div>
        <div class="two">
            <section class="card" aria-labelledby="facts-heading">
                <h2 id="facts-heading">{t("facts")}</h2>
                <dl class="facts">
                    {fact("fact-host", facts.hostname)}
                    {fact("fact-system", [facts.os, facts.arch].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" / "))}
                    {fact("fact-kernel", facts.kernel)}
                    {fact("fact-cpus", some(facts.cpu_count.into(), facts.cpu_count.to_string()))}
                    {fact("fact-memory", some(facts.memory_bytes, format::bytes(facts.memory_bytes)))}
                    {fact("agent-version", facts.agent_version)}
                    {fact("fact-capabilities", facts.capabilities.join(", "))}
                    <dt>{t("fact-enrolled")}</dt><dd><At time=agent.enrolled_at /></dd>
                    <dt>{t("fact-id")}</dt><dd class="mono">{agent.id.clone()}</dd>
                </dl>
            </section>
            <div class="stack">
                <section class="card" aria-labelledby="labels-heading">
                    <div class="card-head">
                        <h2 id="labels-heading">{t("labels")}</h2>
                        <Show when=move || session().may_administer()>
                            <button type="button" class="button button-small" on:click=move |_| labelling.set(true)>{t("edit")}</button>
                        </Show>
                    </div>
                    <Labels of=agent.labels.clone() linked=true />
                </section>
                <Connections agent=agent.clone() />
            </div>
        </div>
        <Dialog open=removing heading=t("agent-remove")><Remove agent=stored.get_value() open=removing /></Dialog>
        <Dialog open=labelling heading=t("labels")><EditLabels agent=stored.get_value() open=labelling /></Dialog>
    }
}

#[component]
fn Connections(agent: pb::Agent) -> impl IntoView {
    let name = agent.name.clone();
    let row = move |connection: pb::Connection| {
        let href = format!("/run/sql?a={}&conn={}", name, connection.name);
        view! {
            <li>
                <Icon name="sql" />
                <A href=href attr:class="mono">{connection.name}</A>
                <span class="muted">{connection.kind}</span>
                {connection.is_default.then(|| view! { <span class="label">{t("default")}</span> })}
            </li>
        }
    };
    view! {
        <section class="card" aria-labelledby="connections-heading">
            <h2 id="connections-heading">{t("connections")}</h2>
            {if agent.connections.is_empty() {
                view! { <p class="muted">{t("connections-none")}</p> }.into_any()
            } else {
                view! { <ul class="connection-list">{agent.connections.into_iter().map(row).collect_view()}</ul> }.into_any()
            }}
            <p class="hint">{t("connections-hint")}</p>
        </section>
    }
}

#[component]
fn RecentTasks(name: String) -> impl IntoView {
    let tasks = RwSignal::new(None::<Vec<Task>>);
    let problem = RwSignal::new(None::<Failure>);
    let all = format!("/tasks?agent={name}");
    spawn_local(async move {
        match api::list_tasks(10, String::new(), name, &[]).await {
            Ok(page) => drop(tasks.try_set(Some(page.tasks))),
            Err(failure) => drop(problem.try_set(Some(failure))),
        }
    });
    view! {
        <section class="stack" aria-labelledby="agent-tasks-heading">
            <div class="card-head"><h2 id="agent-tasks-heading">{t("agent-tasks")}</h2><A href=all attr:class="small">{t("home-all-tasks")}</A></div>
            <ProblemBox problem=problem />
            {move || match tasks.get() {
                None => view! { <Skeleton rows=3 /> }.into_any(),
                Some(tasks) if tasks.is_empty() => view! { <p class="quiet-line">{t("agent-tasks-none")}</p> }.into_any(),
                Some(tasks) => view! { <TaskTable tasks=tasks /> }.into_any(),
            }}
        </section>
    }
}

#[component]
fn Remove(agent: pb::Agent, open: RwSignal<bool>) -> impl IntoView {
    let typed = RwSignal::new(String::new());
    let problem = RwSignal::new(None::<Failure>);
    let navigate = use_navigate();
    let name = StoredValue::new(agent.name.clone());
    let id = StoredValue::new(agent.id);
    let remove = move |_| {
        let navigate = navigate.clone();
        spawn_local(async move {
            match api::remove_agent(id.get_value()).await {
                Ok(()) => {
                    toast::say(t("agent-removed"));
                    navigate("/agents", Default::default());
                }
                Err(failure) => drop(problem.try_set(Some(failure))),
            }
        });
    };
    view! {
        <div class="form">
            <ProblemBox problem=problem />
            <p>{t("agent-remove-why")}</p>
            <TextField id="remove-name" label=ta("agent-remove-type", &[("name", Arg::from(agent.name))]) value=typed mono=true />
            <div class="dialog-actions">
                <button type="button" class="button" on:click=move |_| open.set(false)>{t("keep")}</button>
                <button type="button" class="button button-danger" disabled=move || typed.get() != name.get_value() on:click=remove>{t("agent-remove")}</button>
            </div>
        </div>
    }
}

#[component]
fn EditLabels(agent: pb::Agent, open: RwSignal<bool>) -> impl IntoView {
    let text = RwSignal::new(labels::text(&agent.labels).replace(',', ", "));
    let problem = RwSignal::new(None::<Failure>);
    let parsed = Memo::new(move |_| labels::parse(&text.get()));
    let id = StoredValue::new(agent.id);
    let save = move |_| {
        let Ok(labels) = parsed.get_untracked() else { return };
        spawn_local(async move {
            match api::set_agent_labels(id.get_value(), labels).await {
                Ok(_) => {
                    toast::say(t("saved"));
                    open.set(false);
                }
                Err(failure) => drop(problem.try_set(Some(failure))),
            }
        });
    };
    view! {
        <div class="form">
            <ProblemBox problem=problem />
            <TextField id="edit-labels" label=t("labels") value=text hint=t("agent-labels-hint") mono=true />
            {move || parsed.get().err().map(|part| view! { <p class="field-error" role="alert">{ta("label-bad", &[("part", Arg::from(part))])}</p> })}
            <div class="dialog-actions">
                <button type="button" class="button" on:click=move |_| open.set(false)>{t("cancel")}</button>
                <button type="button" class="button button-primary" disabled=move || parsed.get().is_err() on:click=save>{t("save")}</button>
            </div>
        </div>
    }
}
