//! Tasks as a table.

use leptos::prelude::*;
use leptos_router::components::A;
use opslink::pb;

use super::{
    box_score::CountBar,
    icon::Icon,
    state::TaskBadge,
    time::{Ago, elapsed},
};
use crate::{
    dom,
    i18n::t,
    logic::{format, taskview},
};

/// The table.
#[component]
pub(crate) fn TaskTable(
    /// Newest first.
    tasks: Vec<pb::Task>,
) -> impl IntoView {
    view! {
        <div class="table-frame table-scroll" role="region" tabindex="0" aria-label=t("tasks")>
            <table class="list-table cards">
                <thead>
                    <tr>
                        <th scope="col">{t("status")}</th>
                        <th scope="col">{t("task")}</th>
                        <th scope="col" class="wide">{t("progress")}</th>
                        <th scope="col" class="wide">{t("created-by")}</th>
                        <th scope="col">{t("created")}</th>
                        <th scope="col" class="wide">{t("duration")}</th>
                    </tr>
                </thead>
                <tbody>{tasks.into_iter().map(|task| view! { <Row task=task /> }).collect_view()}</tbody>
            </table>
        </div>
    }
}

#[component]
fn Row(task: pb::Task) -> impl IntoView {
    let spec = task.spec.as_ref();
    let kind = taskview::kind(spec);
    let summary = taskview::summary(spec);
    let counts: Vec<_> = task.counts.iter().map(|count| (count.state(), count.count)).collect();
    let total: u32 = counts.iter().map(|(_, count)| count).sum();
    let id = task.id.clone();
    let took = elapsed(task.created_at.as_ref(), task.finished_at.as_ref(), dom::now_us());
    view! {
        <tr data-task=id>
            <td class="nowrap card-state"><TaskBadge state=task.state() /></td>
            <td class="cut card-title">
                <span class="task-cell">
                    <span title=kind><Icon name=if kind == "sql" { "sql" } else { "shell" } /></span>
                    <A href=format!("/tasks/{}", task.id) attr:class="row-link mono cell-cut">{if summary.is_empty() { format::short_id(&task.id).to_owned() } else { summary }}</A>
                </span>
            </td>
            <td class="wide"><span class="task-progress"><CountBar counts=counts /><span class="num muted small">{format::count(total.into())}</span></span></td>
            <td class="wide nowrap">{task.created_by}</td>
            <td class="nowrap"><Ago time=task.created_at /></td>
            <td class="wide nowrap num">{took}</td>
        </tr>
    }
}
