//! What an SQL task brought back: statements on one side, the chosen one's rows or error on the other.

use leptos::prelude::*;

use super::{icon::Icon, result_grid::ResultGrid, task_live::TaskLive};
use crate::{
    i18n::{Arg, t, ta, tn},
    logic::{
        format,
        results::{Results, Statement},
    },
};

/// The results of the chosen agent, or of the first that has any.
#[component]
pub(crate) fn ResultsView(
    /// The task.
    live: TaskLive,
    /// Chooses an agent.
    choose: Callback<Option<String>>,
) -> impl IntoView {
    let agents = Memo::new(move |_| {
        live.read(|view| {
            view.executions()
                .iter()
                .map(|execution| execution.agent_name.clone())
                .collect::<Vec<_>>()
        })
    });
    let agent = Memo::new(move |_| {
        live.output.track();
        live.chosen
            .get()
            .or_else(|| live.results.with_value(|results| results.keys().next().cloned()))
    });
    // The choice is the person's once made; until then the most telling statement.
    let picked = RwSignal::new(None::<(String, u32)>);
    let read = move |agent: &str| live.results.with_value(|results| results.get(agent).map(summary));
    let statements = Memo::new(move |_| {
        live.output.track();
        agent.get().and_then(|agent| read(&agent))
    });
    let statement = Memo::new(move |_| {
        let (all, telling) = statements.get()?;
        let wanted = picked
            .get()
            .filter(|(agent_name, _)| Some(agent_name) == agent.get().as_ref());
        let number = wanted.map(|(_, number)| number).or(telling)?;
        all.into_iter().find(|statement| statement.number == number)
    });
    view! {
        <div class="results">
            <Show when=move || (agents.with(Vec::len) > 1) && live.chosen.get().is_none()>
                <div class="segments segments-scroll" role="group" aria-label=t("agents")>
                    {move || agents.get().into_iter().take(24).map(|name| {
                        let (shown, pressed) = (name.clone(), name.clone());
                        view! { <button type="button" aria-pressed=move || (agent.get().as_ref() == Some(&pressed)).to_string() on:click=move |_| choose.run(Some(name.clone()))>{shown}</button> }
                    }).collect_view()}
                </div>
            </Show>
            <div class="results-body">
                <ol class="statements" aria-label=t("statements")>
                    {move || statements.get().map(|(all, _)| all.into_iter().map(|one| {
                        let number = one.number;
                        let pressed = move || statement.with(|chosen| chosen.as_ref().is_some_and(|chosen| chosen.number == number)).to_string();
                        view! {
                            <li>
                                <button type="button" class="statement" aria-pressed=pressed on:click=move |_| picked.set(agent.get_untracked().map(|agent| (agent, number)))>
                                    <Line statement=one />
                                </button>
                            </li>
                        }
                    }).collect_view())}
                </ol>
                <div class="result">
                    {move || match (statement.get(), agent.get()) {
                        (Some(statement), Some(agent)) => view! { <Shown live=live agent=agent statement=statement /> }.into_any(),
                        _ => view! { <p class="log-empty">{move || if live.read(|view| view.is_finished()) { t("results-none") } else { t("log-waiting") }}</p> }.into_any(),
                    }}
                </div>
            </div>
        </div>
    }
}

/// The statements without their rows, and which is the most telling.
fn summary(results: &Results) -> (Vec<Statement>, Option<u32>) {
    (results.statements.values().cloned().collect(), results.most_telling())
}

#[component]
fn Line(statement: Statement) -> impl IntoView {
    let (word, note) = match &statement.end {
        None => ("running", String::new()),
        Some(end) if end.error.is_some() => ("failed", t("state-failed")),
        Some(end) => ("succeeded", counted(end)),
    };
    let took = statement
        .end
        .as_ref()
        .map(|end| format::duration_us(i64::try_from(end.elapsed_us).unwrap_or(i64::MAX)));
    view! {
        <span class=format!("state state-{word}")><Icon name=word /></span>
        <span class="statement-main">
            <span class="statement-text mono">{statement.summary}</span>
            <span class="statement-note">{ta("statement-at", &[("n", Arg::from(statement.number + 1)), ("line", Arg::from(statement.line))])}" · "{note}" "{took}</span>
        </span>
    }
}

/// `12 rows`, or `INSERT 3`.
fn counted(end: &opslink::event::StatementEnd) -> String {
    match end.rows_affected {
        Some(affected) if end.rows_returned == 0 => {
            ta("rows-affected", &[("count", Arg::from(format::count(affected)))])
        }
        _ => tn("rows", end.rows_returned),
    }
}

#[component]
fn Shown(live: TaskLive, agent: String, statement: Statement) -> impl IntoView {
    let error = statement.end.as_ref().and_then(|end| end.error.clone());
    let cut = statement.end.as_ref().is_some_and(|end| end.rows_cut);
    let tables = statement.tables.clone();
    let text = statement.summary.clone();
    let quiet = error.is_none() && tables.is_empty();
    let done = statement.end.as_ref().map(counted);
    view! {
        {error.map(|error| view! {
            <div class="problem" role="alert">
                <Icon name="failed" />
                <div class="problem-text">
                    <p class="problem-what">{error.message.clone()}</p>
                    {(error.line > 0).then(|| view! { <p>{ta("sql-error-at", &[("line", Arg::from(error.line)), ("column", Arg::from(error.column))])}</p> })}
                    <pre class="problem-statement">{text}</pre>
                    {(!error.detail.is_empty()).then(|| view! { <p>{error.detail.clone()}</p> })}
                    {(!error.hint.is_empty()).then(|| view! { <p class="problem-fix">{error.hint.clone()}</p> })}
                    {(!error.code.is_empty()).then(|| view! { <p class="problem-reason">{error.code.clone()}</p> })}
                </div>
            </div>
        })}
        {cut.then(|| view! { <p class="banner"><Icon name="warning" />{t("rows-cut")}</p> })}
        {tables.into_iter().map(|table| view! { <ResultGrid live=live agent=agent.clone() table=table /> }).collect_view()}
        {quiet.then(|| view! { <p class="log-empty">{done.unwrap_or_else(|| t("state-running"))}</p> })}
    }
}
