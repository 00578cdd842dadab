//! Which agents: by labels, by name, or all, with the list of those that are meant, as the cloud sees it.

use gloo_timers::future::TimeoutFuture;
use leptos::{prelude::*, task::spawn_local};
use opslink::pb::{self, AgentStatus};

use super::{
    agents_live::{AgentsLive, use_agents},
    field::TextField,
    icon::Icon,
    problem::ProblemBox,
    state::AgentBadge,
};
use crate::{
    api::{self, Failure},
    dom,
    i18n::{Arg, t, ta},
    logic::{
        labels, order,
        target::{By, Target},
    },
};

/// Agents shown of a long list.
const SHOWN: usize = 200;
/// Labels offered as buttons.
const OFFERED: usize = 24;

/// The agents that a target means right now.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Preview {
    /// In name order.
    pub agents: Vec<pb::Agent>,
    /// Why it cannot be told.
    pub problem: Option<Failure>,
    /// What was asked; none before the first answer. Until the next answer it is an older choice than the typed one.
    of: Option<pb::Selector>,
}

impl Preview {
    /// True when this is the answer to the choice as it is now.
    pub(crate) fn answers(&self, target: &Target) -> bool {
        self.of.as_ref() == Some(&target.selector())
    }

    /// Ids of the agents.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.agents.iter().map(|agent| agent.id.clone()).collect()
    }
}

/// Pause after the last key before the cloud is asked, and between two questions about one choice.
const PAUSE_MS: u32 = 250;
/// Pause before a question is repeated that nobody answered.
const RETRY_MS: u32 = 2_000;

/// Keeps a preview of the target: asked of the cloud a moment after the last key, and when agents change.
pub(crate) fn preview(target: RwSignal<Target>) -> RwSignal<Preview> {
    let live = use_agents();
    let preview = RwSignal::new(Preview::default());
    // One choice is one round. Somebody who comes or goes meanwhile makes its answer old, and never puts it off: in a
    // large fleet there is always somebody.
    let round = StoredValue::new(0_u64);
    let asking = StoredValue::new(false);
    let old = StoredValue::new(false);
    let ask = move |selector: pb::Selector| {
        asking.set_value(true);
        let mine = round.get_value();
        spawn_local(async move {
            let mut pause = PAUSE_MS;
            loop {
                TimeoutFuture::new(pause).await;
                if round.try_get_value() != Some(mine) {
                    return;
                }
                old.set_value(false);
                let answer = api::match_agents(selector.clone()).await;
                if round.try_get_value() != Some(mine) {
                    return;
                }
                let (agents, problem) = match answer {
                    Ok(agents) => (agents, None),
                    Err(failure) => (Vec::new(), Some(failure)),
                };
                let unanswered = problem.as_ref().is_some_and(Failure::is_unreachable);
                let of = Some(selector.clone());
                let _ = preview.try_set(Preview { agents, problem, of });
                if !unanswered && !old.get_value() {
                    return asking.set_value(false);
                }
                pause = if unanswered { RETRY_MS } else { PAUSE_MS };
            }
        });
    };
    let selector = Memo::new(move |_| (target.get().selector(), target.get().is_empty()));
    Effect::new(move |_| {
        let (selector, empty) = selector.get();
        round.update_value(|round| *round += 1);
        if empty {
            asking.set_value(false);
            return preview.set(Preview {
                of: Some(selector),
                ..Preview::default()
            });
        }
        ask(selector);
    });
    Effect::new(move |before: Option<()>| {
        live.agents.track();
        let (selector, empty) = selector.get_untracked();
        if before.is_none() || empty {
            return;
        }
        old.set_value(true);
        if !asking.get_value() {
            ask(selector);
        }
    });
    preview
}

/// The picker.
#[component]
pub(crate) fn TargetPicker(
    /// What is typed.
    target: RwSignal<Target>,
    /// What it means.
    preview: RwSignal<Preview>,
) -> impl IntoView {
    let live = use_agents();
    let by = Memo::new(move |_| target.with(|target| target.by));
    let names = field(target, |target| &mut target.names);
    let expression = field(target, |target| &mut target.labels);
    let exclude = field(target, |target| &mut target.exclude);
    let choice = move |value: By, id: &'static str| {
        view! {
            <button type="button" aria-pressed=move || (by.get() == value).to_string() on:click=move |_| target.update(|target| target.by = value)>{t(id)}</button>
        }
    };
    view! {
        <section class="card target" aria-labelledby="target-heading">
            <div class="card-head">
                <h2 id="target-heading">{t("target")}</h2>
                <div class="segments segments-small" role="group" aria-label=t("target-by")>
                    {choice(By::Labels, "target-labels")} {choice(By::Names, "target-names")} {choice(By::All, "target-all")}
                </div>
            </div>
            {move || match by.get() {
                By::Labels => view! {
                    <TextField id="target-expression" label=t("target-expression") value=expression placeholder="env=prod,dc in (bj,sh)" mono=true />
                    <Offers live=live target=target />
                }.into_any(),
                By::Names => view! {
                    <TextField id="target-name" label=t("target-name-list") value=names placeholder="web-1, db-*" mono=true />
                    <Choices live=live target=target />
                }.into_any(),
                By::All => view! { <p class="muted">{t("target-all-why")}</p> }.into_any(),
            }}
            <details open=move || target.with_untracked(|target| !target.exclude.is_empty())>
                <summary>{t("target-exclude")}</summary>
                <TextField id="target-without" label=t("target-exclude-list") value=exclude placeholder="web-3" mono=true />
            </details>
            <Matched preview=preview target=target />
        </section>
    }
}

/// A signal for one of the texts of the target.
fn field(target: RwSignal<Target>, part: fn(&mut Target) -> &mut String) -> RwSignal<String> {
    let text = RwSignal::new(target.with_untracked(|target| part(&mut target.clone()).clone()));
    Effect::new(move |_| {
        let text = text.get();
        if target.with_untracked(|target| *part(&mut target.clone()) != text) {
            target.update(|target| *part(target) = text);
        }
    });
    Effect::new(move |_| {
        let value = target.with(|target| part(&mut target.clone()).clone());
        if text.get_untracked() != value {
            text.set(value);
        }
    });
    text
}

/// Labels that agents have, to click together an expression.
#[component]
fn Offers(live: AgentsLive, target: RwSignal<Target>) -> impl IntoView {
    let offers = Memo::new(move |_| {
        live.agents.with(|agents| {
            let all = order::distinct(agents.values().flat_map(|agent| labels::pairs(&agent.labels)));
            all.into_iter().take(OFFERED).collect::<Vec<_>>()
        })
    });
    view! {
        <div class="labels" role="group" aria-label=t("target-offers")>
            {move || offers.get().into_iter().map(|(name, value)| {
                let part = StoredValue::new(format!("{name}={value}"));
                view! {
                    <button type="button" class="label" aria-pressed=move || target.with(|target| target.has_label(&part.get_value())).to_string()
                        on:click=move |_| target.update(|target| target.toggle_label(&part.get_value()))>
                        <span class="label-name">{name.clone()}</span><span class="label-value">{value}</span>
                    </button>
                }
            }).collect_view()}
        </div>
    }
}

/// All agents, to tick.
#[component]
fn Choices(live: AgentsLive, target: RwSignal<Target>) -> impl IntoView {
    let names = Memo::new(move |_| {
        live.agents.with(|agents| {
            agents
                .values()
                .take(SHOWN)
                .map(|agent| (agent.name.clone(), agent.status()))
                .collect::<Vec<_>>()
        })
    });
    view! {
        <ul class="choices" tabindex="0" aria-label=t("agents")>
            {move || names.get().into_iter().map(|(name, status)| {
                let stored = StoredValue::new(name.clone());
                view! {
                    <li>
                        <label class="check">
                            <input type="checkbox" prop:checked=move || target.with(|target| target.has_name(&stored.get_value()))
                                on:change=move |_| target.update(|target| target.toggle_name(&stored.get_value())) />
                            <span class="mono">{name}</span>
                        </label>
                        <AgentBadge status=status />
                    </li>
                }
            }).collect_view()}
        </ul>
    }
}

/// The agents that are meant.
#[component]
fn Matched(preview: RwSignal<Preview>, target: RwSignal<Target>) -> impl IntoView {
    let problem = Signal::derive(move || preview.with(|preview| preview.problem.clone()));
    let summary = move || {
        preview.with(|preview| {
            let online = preview
                .agents
                .iter()
                .filter(|agent| agent.status() == AgentStatus::Online)
                .count();
            let total = preview.agents.len();
            if target.with(Target::is_empty) {
                t("target-empty")
            } else if !target.with(|target| preview.answers(target)) {
                t("target-asking")
            } else if preview.problem.is_some() {
                String::new()
            } else {
                ta(
                    "target-matched",
                    &[("n", Arg::from(total)), ("offline", Arg::from(total - online))],
                )
            }
        })
    };
    view! {
        <div class="matched">
            <p role="status" class="matched-summary" id="matched">{summary}</p>
            <ProblemBox problem=problem />
            <ul class="matched-list" tabindex="0" aria-label=t("target-matched-list")>
                {move || preview.with(|preview| {
                    let hidden = preview.agents.len().saturating_sub(SHOWN);
                    let row = |agent: &pb::Agent| {
                        let name = agent.name.clone();
                        view! { <li><span class="mono cell-cut">{name}</span><AgentBadge status=agent.status() /></li> }
                    };
                    (preview.agents.iter().take(SHOWN).map(row).collect_view(), (hidden > 0).then(|| view! { <li class="muted">{ta("home-more", &[("count", Arg::from(hidden))])}</li> }))
                })}
            </ul>
            <Show when=move || preview.with(|preview| preview.agents.iter().any(|agent| agent.status() != AgentStatus::Online))>
                <p class="hint"><Icon name="info" />{t("target-offline-hint")}</p>
            </Show>
        </div>
    }
}

/// Puts the target into the URL without leaving the page.
pub(crate) fn keep_in_url(path: &'static str, target: RwSignal<Target>) {
    let navigate = leptos_router::hooks::use_navigate();
    Effect::new(move |before: Option<String>| {
        let encode = |text: &str| String::from(js_sys::encode_uri_component(text));
        let query: Vec<_> = target
            .get()
            .query()
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        let url = if query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", query.join("&"))
        };
        if before.is_some_and(|before| before != url) && dom::here().starts_with(path) {
            let options = leptos_router::NavigateOptions {
                replace: true,
                scroll: false,
                ..Default::default()
            };
            navigate(&url, options);
        }
        url
    });
}
