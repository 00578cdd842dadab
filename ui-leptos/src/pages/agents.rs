//! All agents, live. The filter is a selector and stands in the URL.

use leptos::prelude::*;
use leptos_router::{
    NavigateOptions,
    components::A,
    hooks::{use_navigate, use_query_map},
};
use opslink::{
    pb::{self, AgentStatus},
    selector::Selector,
};

use crate::{
    components::{
        agent_labels::Labels,
        agents_live::use_agents,
        empty::{Empty, Skeleton},
        icon::Icon,
        page::PageHead,
        state::AgentBadge,
        sync_banner::SyncBanner,
        time::Ago,
        virtual_rows::{Viewport, VirtualRows},
    },
    i18n::{Arg, t, ta},
    logic::{labels, target},
    session::session,
};

const ROW_HEIGHT: f64 = 44.0;

/// The page.
#[component]
pub(crate) fn Agents() -> impl IntoView {
    let live = use_agents();
    let query = use_query_map();
    let filter = Memo::new(move |_| query.read().get("l").unwrap_or_default());
    let status = Memo::new(move |_| query.read().get("status").unwrap_or_default());
    let navigate = use_navigate();
    let go = Callback::new(move |(filter, status): (String, String)| {
        let encode = |text: &str| String::from(js_sys::encode_uri_component(text));
        let mut parts = Vec::new();
        if !filter.is_empty() {
            parts.push(format!("l={}", encode(&filter)));
        }
        if !status.is_empty() {
            parts.push(format!("status={status}"));
        }
        let query = if parts.is_empty() {
            String::new()
        } else {
            format!("?{}", parts.join("&"))
        };
        navigate(
            &format!("/agents{query}"),
            NavigateOptions {
                replace: true,
                scroll: false,
                ..Default::default()
            },
        );
    });

    let selector = Memo::new(move |_| read_filter(&filter.get()));
    let shown = Memo::new(move |_| {
        let (selector, status) = (selector.get(), status.get());
        live.agents.with(|agents| {
            let wanted = agents.values().filter(|agent| matches_status(agent, &status));
            wanted
                .filter(|agent| matches(agent, selector.as_ref()))
                .cloned()
                .collect::<Vec<_>>()
        })
    });
    let error = move || selector.get().err();
    let viewport = Viewport::new();
    let counts = move || {
        let (online, total) = live.counts();
        ta(
            "agents-online-of",
            &[("online", Arg::from(online)), ("total", Arg::from(total))],
        )
    };

    view! {
        <PageHead heading=t("agents")>
            <Show when=move || session().may_administer()>
                <A href="/agents/new" attr:class="button button-primary"><Icon name="plus" /><span>{t("add-agent")}</span></A>
            </Show>
        </PageHead>
        <SyncBanner sync=live.sync />
        <div class="toolbar">
            <div class="search">
                <Icon name="search" />
                <input
                    id="filter"
                    class="input mono"
                    type="search"
                    spellcheck="false"
                    autocapitalize="off"
                    aria-label=t("agents-filter")
                    aria-invalid=move || error().is_some().to_string()
                    placeholder="env=prod,dc in (bj,sh)"
                    prop:value=move || filter.get()
                    on:input=move |event| go.run((event_target_value(&event), status.get_untracked()))
                />
            </div>
            <div class="segments" role="group" aria-label=t("status")>
                {["", "online", "offline"].map(|word| view! {
                    <button type="button" aria-pressed=move || (status.get() == word).to_string() on:click=move |_| go.run((filter.get_untracked(), word.to_owned()))>
                        {if word.is_empty() { t("all") } else { t(&format!("state-{word}")) }}
                    </button>
                })}
            </div>
            <span class="toolbar-note num" role="status">{counts}</span>
        </div>
        {move || error().map(|text| view! { <pre class="problem-drawing" role="alert">{text}</pre> })}
        <Show when=move || live.known.get() fallback=|| view! { <Skeleton rows=6 /> }>
            <Show
                when=move || !shown.with(Vec::is_empty)
                fallback=move || if live.agents.with(|agents| agents.is_empty()) {
                    view! { <Empty icon="agents" heading=t("agents-none")><A href="/agents/new" attr:class="button">{t("add-agent")}</A></Empty> }.into_any()
                } else {
                    view! { <Empty icon="search" heading=t("agents-no-match")><button type="button" class="button" on:click=move |_| go.run(Default::default())>{t("filter-clear")}</button></Empty> }.into_any()
                }
            >
                <div class="table-frame">
                    <VirtualRows
                        viewport=viewport
                        count=Signal::derive(move || shown.with(Vec::len))
                        row_height=ROW_HEIGHT
                        class="agents-table"
                        role="table"
                        label=t("agents")
                        head=ViewFn::from(|| view! { <Head /> })
                        row=move |at| match shown.with(|shown| shown.get(at).cloned()) {
                            Some(agent) => view! { <Row agent=agent /> }.into_any(),
                            None => ().into_any(),
                        }
                    />
                </div>
            </Show>
        </Show>
    }
}

#[component]
fn Head() -> impl IntoView {
    view! {
        <div class="table-head agents-row" role="row">
            {["name", "status", "labels", "agent-version", "last-seen"].map(|id| view! { <span role="columnheader">{t(id)}</span> })}
        </div>
    }
}

#[component]
fn Row(agent: pb::Agent) -> impl IntoView {
    let href = format!("/agents/{}", agent.name);
    let name = agent.name.clone();
    let status = agent.status();
    let facts = agent.facts.clone().unwrap_or_default();
    let system = [facts.os, facts.arch]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("/");
    view! {
        <div class="table-row agents-row" role="row" data-agent=agent.name>
            <span role="cell" class="cell-main">
                <A href=href attr:class="row-link">{name}</A>
            </span>
            <span role="cell"><AgentBadge status=status /></span>
            <span role="cell" class="cell-cut"><Labels of=agent.labels linked=true /></span>
            <span role="cell" class="num cell-cut">{facts.agent_version}" "<span class="muted">{system}</span></span>
            <span role="cell" class="cell-cut">
                {if status == AgentStatus::Online { view! { <span class="muted">{t("now-online")}</span> }.into_any() } else { view! { <Ago time=agent.last_seen_at /> }.into_any() }}
            </span>
        </div>
    }
}

/// A filter is an expression, or names (a bare word also matches inside a name).
fn read_filter(text: &str) -> Result<Option<Selector>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let expression = text.contains(['=', '!', '(']) || text.contains(" in ");
    let selector = if expression {
        pb::Selector {
            expression: text.to_owned(),
            ..pb::Selector::default()
        }
    } else {
        let glob = |word: String| {
            if word.contains(['*', '?']) || word.len() == 36 {
                word
            } else {
                format!("*{word}*")
            }
        };
        pb::Selector {
            names: target::words(text).into_iter().map(glob).collect(),
            ..pb::Selector::default()
        }
    };
    Selector::parse(selector).map(Some).map_err(|error| error.to_string())
}

fn matches(agent: &pb::Agent, selector: Result<&Option<Selector>, &String>) -> bool {
    // While the filter cannot be read, everything stays in sight.
    let Ok(Some(selector)) = selector else { return true };
    let Ok(id) = agent.id.parse() else { return false };
    selector.matches(&agent.name, id, &labels::pairs(&agent.labels).into_iter().collect())
}

fn matches_status(agent: &pb::Agent, status: &str) -> bool {
    match status {
        "online" => agent.status() == AgentStatus::Online,
        "offline" => agent.status() != AgentStatus::Online,
        _ => true,
    }
}
