//! What can be done with the output: search, streams, wrap, times, follow, download.

use leptos::{ev, prelude::*, task::spawn_local};
use opslink::event::{EventBody, Stream};
use opslink::pb::read_log_request::Start;

use super::{icon::Icon, log_state::LogState, task_live::TaskLive, toast};
use crate::{
    api::{self, Answer, Pace},
    dom,
    i18n::{Arg, t, ta},
    logic::format,
    prefs,
};

/// The bar above the lines.
#[component]
pub(crate) fn LogToolbar(
    /// How the log is shown.
    state: LogState,
    /// The task.
    live: TaskLive,
) -> impl IntoView {
    let keep = |name: &'static str, on: bool| prefs::set(name, if on { "on" } else { "off" });
    Effect::new(move |_| keep("log.wrap", state.wrap.get()));
    Effect::new(move |_| keep("log.times", state.times.get()));
    let hits = move || {
        if state.needle.with(String::is_empty) {
            return String::new();
        }
        let total = state.hits.with(Vec::len);
        let at = if total == 0 { 0 } else { state.hit.get() + 1 };
        ta(
            "log-hits",
            &[("at", Arg::from(at)), ("total", Arg::from(format::count(total as u64)))],
        )
    };
    let typed = move |event: ev::KeyboardEvent| match event.key().as_str() {
        "Enter" => state.step(if event.shift_key() { 1 } else { -1 }),
        "Escape" => state.needle.set(String::new()),
        _ => {}
    };
    let stream = move |value: Option<Stream>, text: String| {
        view! { <button type="button" aria-pressed=move || (state.stream.get() == value).to_string() on:click=move |_| state.stream.set(value)>{text}</button> }
    };
    let busy = RwSignal::new(false);
    let save = move |_| {
        busy.set(true);
        spawn_local(async move {
            if let Err(failure) = download(live).await {
                toast::complain(failure.what);
            }
            let _ = busy.try_set(false);
        });
    };
    view! {
        <div class="log-toolbar" role="toolbar" aria-label=t("output")>
            <div class="search log-search">
                <Icon name="search" />
                <input id="filter" class="input" type="search" spellcheck="false" autocomplete="off" aria-label=t("log-search") placeholder=t("log-search")
                    prop:value=move || state.needle.get() on:input=move |event| state.needle.set(dom::value(&event)) on:keydown=typed />
            </div>
            <span class="num muted small log-hits" role="status">{hits}</span>
            <Show when=move || state.hits.with(|hits| !hits.is_empty())>
                <button type="button" class="button button-quiet button-icon button-small" aria-label=t("key-previous") title=t("key-previous") on:click=move |_| state.step(-1)><Icon name="up" /></button>
                <button type="button" class="button button-quiet button-icon button-small" aria-label=t("key-next") title=t("key-next") on:click=move |_| state.step(1)><Icon name="down" /></button>
            </Show>
            <div class="log-tools">
                <div class="segments segments-small" role="group" aria-label=t("log-streams")>
                    {stream(None, t("all"))} {stream(Some(Stream::Stdout), "stdout".into())} {stream(Some(Stream::Stderr), "stderr".into())}
                </div>
                <button type="button" class="button button-quiet button-icon button-small" aria-label=t("key-wrap") title=t("key-wrap") aria-pressed=move || state.wrap.get().to_string() on:click=move |_| state.wrap.update(|on| *on = !*on)><Icon name="wrap" /></button>
                <button type="button" class="button button-quiet button-icon button-small" aria-label=t("key-times") title=t("key-times") aria-pressed=move || state.times.get().to_string() on:click=move |_| state.times.update(|on| *on = !*on)><Icon name="clock" /></button>
                <button type="button" id="download" class="button button-quiet button-icon button-small" aria-label=t("log-download") title=t("log-download") disabled=move || busy.get() on:click=save><Icon name="download" /></button>
                <button type="button" class="button button-quiet button-small" aria-label=t("log-follow") aria-pressed=move || state.follow.get().to_string() on:click=move |_| if state.follow.get_untracked() { state.stay() } else { state.to_end() }><Icon name="down" /><span>{t("log-follow")}</span></button>
            </div>
        </div>
    }
}

/// Gives the person the whole output as it was written: of the chosen agent, or of all, one after the other.
async fn download(live: TaskLive) -> Answer<()> {
    let chosen = live.chosen.get_untracked();
    let (task, attempts): (String, Vec<(String, String)>) = live.view.with_value(|view| {
        let executions = view.executions().into_iter();
        let wanted = executions
            .filter(|execution| chosen.as_ref().is_none_or(|chosen| *chosen == execution.agent_name))
            .filter(|execution| !execution.attempt_id.is_empty())
            .map(|execution| (execution.agent_name.clone(), execution.attempt_id.clone()))
            .collect();
        (
            view.task.as_ref().map(|task| task.id.clone()).unwrap_or_default(),
            wanted,
        )
    });
    let single = attempts.len() == 1;
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let pace = Pace::new();
    for (agent, attempt) in &attempts {
        if !single {
            parts.push(format!("==> {agent} <==\n").into_bytes());
        }
        let mut chunks = api::read_log(attempt.clone(), Start::FromSeq(0), 0).await?;
        while let Some(message) = chunks.message().await? {
            let Some(chunk) = message.chunk else { continue };
            let mut part = Vec::new();
            for event in api::decode(&chunk)? {
                if let EventBody::Output { data, .. } = event.body {
                    part.extend_from_slice(&data);
                }
            }
            parts.push(part);
            pace.breathe().await;
        }
    }
    let agent = if single {
        attempts
            .first()
            .map(|(agent, _)| format!("-{agent}"))
            .unwrap_or_default()
    } else {
        String::new()
    };
    dom::download(
        &format!("{}{agent}.log", format::short_id(&task)),
        "application/octet-stream",
        &parts,
    );
    Ok(())
}
