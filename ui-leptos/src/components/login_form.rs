//! Logging in: on its own page, and in a dialog when a session ends while somebody is at work.

use leptos::{ev, prelude::*, task::spawn_local};

use super::{dialog::Dialog, field::TextField, problem::ProblemBox};
use crate::{
    api,
    i18n::t,
    session::{State, session},
};

/// Name and password.
#[component]
pub(crate) fn LoginForm() -> impl IntoView {
    // Who it was is known when a session ends at work.
    let username = RwSignal::new(match session().state.get_untracked() {
        State::In(user) => user.username,
        State::Unknown | State::Out => "admin".into(),
    });
    let password = RwSignal::new(String::new());
    let problem = RwSignal::new(None);
    let (busy, set_busy) = signal(false);
    let submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        if busy.get_untracked() {
            return;
        }
        set_busy.set(true);
        problem.set(None);
        spawn_local(async move {
            let result = api::login(username.get_untracked().trim().to_owned(), password.get_untracked()).await;
            let _ = set_busy.try_set(false);
            match result {
                Ok(Some(user)) => session().entered(user),
                Ok(None) => {}
                Err(failure) => {
                    let _ = problem.try_set(Some(failure));
                }
            }
        });
    };
    view! {
        <form class="form" on:submit=submit>
            <ProblemBox problem=problem />
            <TextField id="username" label=t("username") value=username autocomplete="username" />
            <TextField id="password" label=t("password") value=password kind="password" autocomplete="current-password" autofocus=true />
            <button type="submit" class="button button-primary button-wide" disabled=move || busy.get()>
                {move || if busy.get() { t("login-busy") } else { t("login") }}
            </button>
        </form>
    }
}

/// Asks again without losing what is half written.
#[component]
pub(crate) fn ExpiredDialog() -> impl IntoView {
    let open = session().expired;
    view! {
        <Dialog open=open heading=t("session-expired") firm=true>
            <p class="muted">{t("session-expired-why")}</p>
            <LoginForm />
        </Dialog>
    }
}
