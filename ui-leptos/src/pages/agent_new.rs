//! Adding an agent: one line to paste on the new machine, and a light that turns green when it arrives.

use gloo_timers::future::TimeoutFuture;
use leptos::{ev, prelude::*, task::spawn_local};
use leptos_router::components::A;
use opslink::pb::{self, AgentStatus};

use crate::{
    api::{self, Failure, spawn_scoped},
    components::{
        agents_live::use_agents,
        copy::CodeLine,
        field::{Field, TextField},
        icon::Icon,
        page::PageHead,
        problem::ProblemBox,
        time::At,
    },
    dom,
    i18n::{Arg, t, ta},
    logic::labels,
};

/// The page.
#[component]
pub(crate) fn AgentNew() -> impl IntoView {
    let name = RwSignal::new(String::new());
    let label_text = RwSignal::new(String::new());
    let ttl = RwSignal::new(String::from("3600"));
    let problem = RwSignal::new(None::<Failure>);
    let answer = RwSignal::new(None::<pb::CreateJoinTokenResponse>);
    let parsed = Memo::new(move |_| labels::parse(&label_text.get()));
    let submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        let Ok(labels) = parsed.get_untracked() else {
            return dom::focus("agent-labels");
        };
        let message = pb::CreateJoinTokenRequest {
            labels: labels.into_iter().collect(),
            agent_name: name.get_untracked().trim().to_owned(),
            ttl_secs: ttl.get_untracked().parse().unwrap_or_default(),
            request_id: api::request_id(),
        };
        problem.set(None);
        spawn_local(async move {
            match api::create_join_token(message).await {
                Ok(made) => drop(answer.try_set(Some(made))),
                Err(failure) => drop(problem.try_set(Some(failure))),
            }
        });
    };
    view! {
        <nav class="crumbs" aria-label=t("crumbs")><A href="/agents">{t("agents")}</A><span aria-hidden="true">"/"</span></nav>
        <PageHead heading=t("add-agent") sub=t("add-agent-sub") />
        <div class="stack add-agent">
            {move || match answer.get() {
                None => view! {
                    <form class="card form" on:submit=submit>
                        <ProblemBox problem=problem />
                        <TextField id="agent-name" label=t("agent-name") value=name hint=t("agent-name-hint") placeholder="web-1" mono=true />
                        <TextField id="agent-labels" label=t("labels") value=label_text hint=t("agent-labels-hint") placeholder="env=prod, dc=bj" mono=true />
                        {move || parsed.get().err().map(|part| view! { <p class="field-error" role="alert">{ta("label-bad", &[("part", Arg::from(part))])}</p> })}
                        <Field id="agent-ttl" label=t("agent-ttl") hint=t("agent-ttl-hint")>
                            <select id="agent-ttl" class="input" on:change=move |event| ttl.set(dom::value(&event))>
                                {[("900", "ttl-15m"), ("3600", "ttl-1h"), ("86400", "ttl-1d"), ("604800", "ttl-7d")].map(|(seconds, id)| view! { <option value=seconds selected=seconds == "3600">{t(id)}</option> })}
                            </select>
                        </Field>
                        <div><button type="submit" class="button button-primary">{t("agent-line-make")}</button></div>
                    </form>
                }.into_any(),
                Some(made) => view! { <Line made=made again=Callback::new(move |()| answer.set(None)) /> }.into_any(),
            }}
        </div>
    }
}

/// The line, and what comes of it.
#[component]
fn Line(made: pb::CreateJoinTokenResponse, again: Callback<()>) -> impl IntoView {
    let live = use_agents();
    let token = made.join_token.unwrap_or_default();
    let before: Vec<String> = live
        .agents
        .with_untracked(|agents| agents.values().map(|agent| agent.id.clone()).collect());
    let used_by = RwSignal::new(None::<String>);
    let revoked = RwSignal::new(false);
    let id = token.id.clone();
    // The token itself knows best who used it; the live list only says that somebody new is there.
    spawn_scoped(async move {
        while used_by.get_untracked().is_none() {
            if let Ok(tokens) = api::list_join_tokens().await
                && let Some(known) = tokens.into_iter().find(|known| known.id == id)
            {
                if !known.used_by_agent_id.is_empty() {
                    used_by.set(Some(known.used_by_agent_id));
                }
                revoked.set(known.revoked);
            }
            TimeoutFuture::new(
                if live
                    .agents
                    .with_untracked(|agents| agents.values().any(|agent| !before.contains(&agent.id)))
                {
                    400
                } else {
                    1_500
                },
            )
            .await;
        }
    });
    let arrived = Memo::new(move |_| {
        let id = used_by.get()?;
        live.agents
            .with(|agents| agents.values().find(|agent| agent.id == id).cloned())
    });
    let token_id = StoredValue::new(token.id);
    let revoke = move |_| {
        spawn_local(async move {
            if api::revoke_join_token(token_id.get_value()).await.is_ok() {
                let _ = revoked.try_set(true);
            }
        });
    };
    // Who pastes one line expects an agent that runs.
    let line = format!("{} --start", made.command);
    view! {
        <section class="card" aria-labelledby="line-heading">
            <h2 id="line-heading">{t("agent-line")}</h2>
            <p class="muted">{t("agent-line-how")}</p>
            <CodeLine id="join-line" text=Signal::stored(line) label=t("agent-line") />
            <p class="muted small">{t("agent-line-expires")}" "<At time=token.expires_at /></p>
        </section>
        <div aria-live="polite">
            {move || match (arrived.get(), revoked.get()) {
                (Some(agent), _) if agent.status() != AgentStatus::Online => view! {
                    <div class="waiting" id="joined"><span class="pulse" aria-hidden="true"></span><span><strong>{agent.name.clone()}</strong>" "{t("agent-joined")}" "<code>"opslink-agent run"</code></span></div>
                }.into_any(),
                (Some(agent), _) => view! {
                    <div class="waiting arrived" id="arrived">
                        <Icon name="succeeded" />
                        <span><strong>{agent.name.clone()}</strong>" "{t("agent-arrived")}</span>
                    </div>
                    <div class="toolbar next-steps">
                        <A href=format!("/run/shell?a={}&cmd=uname%20-a", agent.name) attr:class="button button-primary"><Icon name="play" /><span>{t("run-first")}</span></A>
                        <A href=format!("/agents/{}", agent.name) attr:class="button">{t("agent-open")}</A>
                        <button type="button" class="button" on:click=move |_| again.run(())>{t("agent-another")}</button>
                    </div>
                }.into_any(),
                (None, true) => view! {
                    <div class="waiting"><Icon name="canceled" /><span>{t("agent-line-revoked")}</span></div>
                    <div class="toolbar next-steps"><button type="button" class="button" on:click=move |_| again.run(())>{t("agent-another")}</button></div>
                }.into_any(),
                (None, false) => view! {
                    <div class="waiting"><span class="pulse" aria-hidden="true"></span><span>{t("agent-waiting")}</span></div>
                    <div class="toolbar next-steps"><button type="button" class="button button-small" on:click=revoke>{t("agent-line-revoke")}</button></div>
                }.into_any(),
            }}
        </div>
    }
}
