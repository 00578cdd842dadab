//! What was done by whom, newest first.

use leptos::{prelude::*, task::spawn_local};
use leptos_router::components::A;
use opslink::pb;

use crate::{
    api::{self, Failure},
    components::{
        empty::{Empty, Skeleton},
        icon::Icon,
        page::PageHead,
        problem::ProblemBox,
        time::At,
    },
    dom,
    i18n::t,
};

/// The page.
#[component]
pub(crate) fn AuditPage() -> impl IntoView {
    let events = RwSignal::new(None::<Vec<pb::AuditEvent>>);
    let next = RwSignal::new(String::new());
    let problem = RwSignal::new(None::<Failure>);
    let filter = RwSignal::new(String::new());
    let load = Callback::new(move |token: String| {
        spawn_local(async move {
            match api::list_audit_events(token).await {
                Ok(page) => {
                    let _ = next.try_set(page.next_page_token);
                    let _ = events.try_update(|events| events.get_or_insert_default().extend(page.events));
                }
                Err(failure) => drop(problem.try_set(Some(failure))),
            }
        });
    });
    load.run(String::new());
    let shown = move || {
        let needle = filter.get().to_lowercase();
        let hit = |event: &pb::AuditEvent| {
            [&event.actor, &event.action, &event.resource, &event.detail, &event.peer]
                .iter()
                .any(|text| text.to_lowercase().contains(&needle))
        };
        events
            .get()
            .map(|events| events.into_iter().filter(hit).collect::<Vec<_>>())
    };
    view! {
        <PageHead heading=t("audit") sub=t("audit-sub") />
        <div class="toolbar">
            <div class="search">
                <Icon name="search" />
                <input id="filter" class="input" type="search" spellcheck="false" aria-label=t("audit-filter") placeholder=t("audit-filter")
                    on:input=move |event| filter.set(dom::value(&event)) />
            </div>
        </div>
        <ProblemBox problem=problem />
        {move || match shown() {
            None if problem.get().is_some() => ().into_any(),
            None => view! { <Skeleton rows=8 /> }.into_any(),
            Some(events) if events.is_empty() => view! { <Empty icon="audit" heading=t("audit-none") /> }.into_any(),
            Some(events) => view! {
                <div class="table-frame table-scroll" role="region" tabindex="0" aria-label=t("audit")>
                    <table class="list-table cards">
                        <thead>
                            <tr>
                                <th scope="col">{t("when")}</th>
                                <th scope="col">{t("who")}</th>
                                <th scope="col">{t("action")}</th>
                                <th scope="col">{t("resource")}</th>
                                <th scope="col" class="wide">{t("detail")}</th>
                                <th scope="col" class="wide">{t("peer")}</th>
                            </tr>
                        </thead>
                        <tbody>{events.into_iter().map(|event| view! { <Row event=event /> }).collect_view()}</tbody>
                    </table>
                </div>
            }.into_any(),
        }}
        <Show when=move || !next.get().is_empty()>
            <div><button type="button" class="button" on:click=move |_| load.run(next.get_untracked())>{t("load-more")}</button></div>
        </Show>
    }
}

#[component]
fn Row(event: pb::AuditEvent) -> impl IntoView {
    let task = event.resource.strip_prefix("task/").map(str::to_owned);
    let resource = match task {
        Some(id) => view! { <A href=format!("/tasks/{id}") attr:class="mono">{event.resource.clone()}</A> }.into_any(),
        None => view! { <span class="mono">{event.resource.clone()}</span> }.into_any(),
    };
    view! {
        <tr>
            <td class="nowrap"><At time=event.time /></td>
            <td class="nowrap audit-actor" title=event.actor.clone()>{event.actor.clone()}</td>
            <td class="nowrap mono card-title">{event.action}</td>
            <td class="audit-resource">{resource}</td>
            <td class="wide cut" title=event.detail.clone()>{event.detail.clone()}</td>
            <td class="wide nowrap mono small">{event.peer}</td>
        </tr>
    }
}
