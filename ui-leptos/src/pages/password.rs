//! The account: a new password, forced at the first login or wanted.

use leptos::{prelude::*, task::spawn_local};

use crate::{
    api,
    components::{
        page::{self, PageHead},
        password_form::PasswordForm,
        switches::{LanguageSwitch, ThemeSwitch},
        toast,
    },
    i18n::t,
    session::{State, session},
};

/// Before anything else works.
#[component]
pub(crate) fn NewPassword() -> impl IntoView {
    page::title(|| t("password-change"));
    let done = Callback::new(move |()| {
        spawn_local(async move {
            match api::current_user().await {
                Ok(Some(user)) => session().entered(user),
                Ok(None) | Err(_) => session().state.set(State::Out),
            }
        });
    });
    view! {
        <main class="gate">
            <div class="gate-card">
                <h1>{t("password-forced")}</h1>
                <p class="muted">{t("password-forced-why")}</p>
                <PasswordForm done=done />
            </div>
            <div class="gate-switches">
                <ThemeSwitch />
                <LanguageSwitch />
            </div>
        </main>
    }
}

/// The page of one's own account.
#[component]
pub(crate) fn Account() -> impl IntoView {
    view! {
        <PageHead heading=t("account") sub=t("account-sub") />
        <section class="card card-narrow">
            <h2>{t("password-change")}</h2>
            <PasswordForm done=Callback::new(|()| toast::say(t("password-changed"))) />
        </section>
    }
}
