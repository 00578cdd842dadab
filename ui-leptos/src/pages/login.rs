//! Logging in. The page that was asked for stays in the address bar and opens afterwards.

use leptos::prelude::*;
use leptos_router::components::Redirect;

use crate::{
    components::{
        icon::BrandMark,
        login_form::LoginForm,
        page,
        switches::{LanguageSwitch, ThemeSwitch},
    },
    i18n::t,
};

/// The page.
#[component]
pub(crate) fn Login() -> impl IntoView {
    page::title(|| t("login"));
    view! {
        <main class="gate">
            <div class="gate-card">
                <div class="brand brand-large">
                    <BrandMark />
                    <span>"OpsLink"</span>
                </div>
                <h1>{t("login-heading")}</h1>
                <LoginForm />
                <details class="gate-help">
                    <summary>{t("login-first")}</summary>
                    <p>{t("login-first-how")}</p>
                </details>
            </div>
            <div class="gate-switches">
                <ThemeSwitch />
                <LanguageSwitch />
            </div>
        </main>
    }
}

/// `/login` for somebody who is logged in.
#[component]
pub(crate) fn AlreadyIn() -> impl IntoView {
    view! { <Redirect path="/" /> }
}
