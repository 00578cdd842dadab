//! API tokens: for scripts, pipelines, cloudctl and grpcurl.

use leptos::{ev, prelude::*, task::spawn_local};
use leptos_router::{
    NavigateOptions,
    hooks::{use_navigate, use_query_map},
};
use opslink::pb::{self, Role};

use crate::{
    api::{self, Failure},
    components::{
        copy::CodeLine,
        dialog::Dialog,
        empty::{Empty, Skeleton},
        field::{Field, TextField},
        icon::Icon,
        page::PageHead,
        problem::ProblemBox,
        time::{Ago, At},
        toast,
    },
    dom,
    i18n::{Arg, t, ta},
    session::session,
};

const DAY: u32 = 86_400;

/// The page.
#[component]
pub(crate) fn Tokens() -> impl IntoView {
    let tokens = RwSignal::new(None::<Vec<pb::Token>>);
    let problem = RwSignal::new(None::<Failure>);
    let reload = Callback::new(move |()| {
        spawn_local(async move {
            match api::list_tokens().await {
                Ok(list) => drop(tokens.try_set(Some(list))),
                Err(failure) => drop(problem.try_set(Some(failure))),
            }
        });
    });
    reload.run(());
    let creating = RwSignal::new(false);
    // `?new=1` asks for a token at once; when that is over, the URL says so no more.
    let (query, navigate) = (use_query_map(), use_navigate());
    let asked = Memo::new(move |_| query.read().get("new").is_some());
    Effect::new(move |_| {
        if asked.get() {
            creating.set(true);
        }
    });
    Effect::new(move |_| {
        if !creating.get() && asked.get_untracked() {
            let options = NavigateOptions {
                replace: true,
                ..Default::default()
            };
            navigate("/tokens", options);
        }
    });
    let revoking = RwSignal::new(None::<pb::Token>);
    let may = move || session().may_administer();

    view! {
        <PageHead heading=t("tokens") sub=t("tokens-sub")>
            <Show when=may>
                <button type="button" class="button button-primary" on:click=move |_| creating.set(true)>
                    <Icon name="plus" /><span>{t("token-create")}</span>
                </button>
            </Show>
        </PageHead>
        <ProblemBox problem=problem />
        {move || match tokens.get() {
            None if problem.get().is_some() => ().into_any(),
            None => view! { <Skeleton /> }.into_any(),
            Some(tokens) if tokens.is_empty() => view! { <Empty icon="key" heading=t("tokens-none") /> }.into_any(),
            Some(tokens) => view! { <Table tokens=tokens revoking=revoking may=Signal::derive(may) /> }.into_any(),
        }}
        <Dialog open=creating heading=t("token-create")>
            <Create open=creating changed=reload />
        </Dialog>
        <Revoke token=revoking changed=reload />
    }
}

#[component]
fn Table(tokens: Vec<pb::Token>, revoking: RwSignal<Option<pb::Token>>, may: Signal<bool>) -> impl IntoView {
    let row = move |token: pb::Token| {
        let role = t(&format!(
            "role-{}",
            token.role().as_str_name().trim_start_matches("ROLE_").to_lowercase()
        ));
        let revoked = token.revoked;
        let expired = token
            .expires_at
            .as_ref()
            .is_some_and(|time| time.seconds * 1_000_000 < dom::now_us());
        let name = token.name.clone();
        let asked = token.clone();
        let state = if revoked {
            "revoked"
        } else if expired {
            "expired"
        } else {
            "valid"
        };
        view! {
            <tr>
                <td class="card-title"><strong>{name.clone()}</strong></td>
                <td class="nowrap">{role}</td>
                <td class="wide nowrap">{token.created_by}</td>
                <td class="wide nowrap"><Ago time=token.last_used_at /></td>
                <td class="nowrap"><At time=token.expires_at /></td>
                <td class="nowrap card-state"><span class:muted=state != "valid">{t(&format!("token-{state}"))}</span></td>
                <td class="nowrap card-end">
                    {move || (may.get() && !revoked && !expired).then(|| {
                        let asked = asked.clone();
                        view! {
                            <button type="button" class="button button-small" aria-label=ta("token-revoke-named", &[("name", Arg::from(name.clone()))]) on:click=move |_| revoking.set(Some(asked.clone()))>{t("revoke")}</button>
                        }
                    })}
                </td>
            </tr>
        }
    };
    view! {
        <div class="table-frame table-scroll" role="region" tabindex="0" aria-label=t("tokens")>
            <table class="list-table cards">
                <thead>
                    <tr>
                        <th scope="col">{t("name")}</th>
                        <th scope="col">{t("role")}</th>
                        <th scope="col" class="wide">{t("created-by")}</th>
                        <th scope="col" class="wide">{t("last-used")}</th>
                        <th scope="col">{t("expires")}</th>
                        <th scope="col">{t("status")}</th>
                        <th scope="col"><span class="sr-only">{t("actions")}</span></th>
                    </tr>
                </thead>
                <tbody>{tokens.into_iter().map(row).collect_view()}</tbody>
            </table>
        </div>
    }
}

/// Asks for name, role and life; then shows the secret, once.
#[component]
fn Create(open: RwSignal<bool>, changed: Callback<()>) -> impl IntoView {
    let name = RwSignal::new(String::new());
    let role = RwSignal::new(String::from("operator"));
    let days = RwSignal::new(String::from("30"));
    let problem = RwSignal::new(None::<Failure>);
    let secret = RwSignal::new(None::<String>);
    let submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        let role = match role.get_untracked().as_str() {
            "admin" => Role::Admin,
            "operator" => Role::Operator,
            _ => Role::Viewer,
        };
        let ttl = days.get_untracked().parse::<u32>().unwrap_or(30).saturating_mul(DAY);
        spawn_local(async move {
            match api::create_token(name.get_untracked().trim().to_owned(), role, ttl).await {
                Ok(answer) => {
                    let _ = secret.try_set(Some(answer.secret));
                    changed.run(());
                }
                Err(failure) => drop(problem.try_set(Some(failure))),
            }
        });
    };
    move || {
        match secret.get() {
        Some(text) => {
            let login = format!("echo '{text}' | cloudctl login {} --with-token", dom::origin());
            view! {
                <div class="form">
                    <p><strong>{t("token-once")}</strong></p>
                    <CodeLine id="token-secret" text=Signal::stored(text) label=t("token-secret") />
                    <p class="muted">{t("token-use")}</p>
                    <CodeLine text=Signal::stored(login) label="cloudctl login" />
                    <div class="dialog-actions"><button type="button" class="button button-primary" on:click=move |_| open.set(false)>{t("token-kept")}</button></div>
                </div>
            }
            .into_any()
        }
        None => view! {
            <form class="form" on:submit=submit>
                <ProblemBox problem=problem />
                <TextField id="token-name" label=t("name") value=name placeholder="ci-pipeline" />
                <Field id="token-role" label=t("role") hint=t("token-role-hint")>
                    <select id="token-role" class="input" prop:value=move || role.get() on:change=move |event| role.set(dom::value(&event))>
                        {["viewer", "operator", "admin"].map(|word| view! { <option value=word selected=word == "operator">{t(&format!("role-{word}"))}</option> })}
                    </select>
                </Field>
                <Field id="token-days" label=t("token-life")>
                    <select id="token-days" class="input" prop:value=move || days.get() on:change=move |event| days.set(dom::value(&event))>
                        {["1", "7", "30", "90", "365"].map(|number| view! { <option value=number selected=number == "30">{ta("days", &[("n", Arg::from(number.parse::<u32>().unwrap_or_default()))])}</option> })}
                    </select>
                </Field>
                <div class="dialog-actions">
                    <button type="button" class="button" on:click=move |_| open.set(false)>{t("cancel")}</button>
                    <button type="submit" class="button button-primary" disabled=move || name.get().trim().is_empty()>{t("token-create")}</button>
                </div>
            </form>
        }
        .into_any(),
    }
    }
}

#[component]
fn Revoke(token: RwSignal<Option<pb::Token>>, changed: Callback<()>) -> impl IntoView {
    let open = RwSignal::new(false);
    Effect::new(move |_| {
        if token.with(Option::is_some) {
            open.set(true);
        }
    });
    Effect::new(move |_| {
        if !open.get() {
            token.set(None);
        }
    });
    let name = move || token.get().map(|token| token.name).unwrap_or_default();
    let revoke = move |_| {
        let Some(asked) = token.get_untracked() else { return };
        spawn_local(async move {
            match api::revoke_token(asked.id).await {
                Ok(()) => toast::say(t("token-was-revoked")),
                Err(failure) => toast::complain(failure.what),
            }
            open.set(false);
            changed.run(());
        });
    };
    view! {
        <Dialog open=open heading=t("token-revoke")>
            <p>{move || ta("token-revoke-sure", &[("name", Arg::from(name()))])}</p>
            <div class="dialog-actions">
                <button type="button" class="button" on:click=move |_| open.set(false)>{t("keep")}</button>
                <button type="button" class="button button-danger" on:click=revoke>{t("revoke")}</button>
            </div>
        </Dialog>
    }
}
