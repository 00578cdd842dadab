//! The navigation: a column on wide screens, a bar with a menu on narrow ones.

use leptos::prelude::*;
use leptos_router::{components::A, hooks::use_location};

use super::{
    agents_live::use_agents,
    icon::{BrandMark, Icon},
    palette::PaletteButton,
    switches::{LanguageSwitch, ThemeSwitch},
};
use crate::{
    i18n::{Arg, t, ta},
    session::{State, session},
};

/// Brand, places, and who is here.
#[component]
pub(crate) fn Nav() -> impl IntoView {
    let open = RwSignal::new(false);
    let location = use_location();
    Effect::new(move |_| {
        location.pathname.track();
        open.set(false);
    });
    view! {
        <header class="nav" class:open=move || open.get()>
            <div class="nav-bar">
                <A href="/" attr:class="brand" attr:aria-label=t("home")>
                    <BrandMark />
                    <span>"OpsLink"</span>
                </A>
                <PaletteButton />
                <button
                    type="button"
                    class="button button-quiet button-icon nav-toggle"
                    aria-label=t("menu")
                    aria-expanded=move || open.get().to_string()
                    aria-controls="nav-body"
                    on:click=move |_| open.update(|open| *open = !*open)
                >
                    <Icon name="menu" />
                </button>
            </div>
            <div class="nav-body" id="nav-body">
                <nav aria-label=t("nav")>
                    <ul class="nav-list">
                        <Place href="/" icon="home" label="home" exact=true />
                        <li>
                            <A href="/agents" attr:class="nav-link">
                                <Icon name="agents" />
                                <span>{t("agents")}</span>
                                <OnlineCount />
                            </A>
                        </li>
                        <Place href="/tasks" icon="tasks" label="tasks" />
                    </ul>
                    <p class="nav-group" id="nav-run">{t("nav-run")}</p>
                    <ul class="nav-list" aria-labelledby="nav-run">
                        <Place href="/run/shell" icon="shell" label="run-shell" />
                        <Place href="/run/sql" icon="sql" label="run-sql" />
                    </ul>
                    <p class="nav-group" id="nav-admin">{t("nav-admin")}</p>
                    <ul class="nav-list" aria-labelledby="nav-admin">
                        <Place href="/tokens" icon="key" label="tokens" />
                        <Place href="/audit" icon="audit" label="audit" />
                    </ul>
                </nav>
                <div class="nav-foot">
                    <Who />
                    <div class="nav-switches">
                        <ThemeSwitch />
                        <LanguageSwitch />
                    </div>
                </div>
            </div>
        </header>
    }
}

#[component]
fn Place(href: &'static str, icon: &'static str, label: &'static str, #[prop(optional)] exact: bool) -> impl IntoView {
    view! {
        <li>
            <A href=href exact=exact attr:class="nav-link">
                <Icon name=icon />
                <span>{t(label)}</span>
            </A>
        </li>
    }
}

#[component]
fn OnlineCount() -> impl IntoView {
    let live = use_agents();
    let counts = Memo::new(move |_| live.known.get().then(|| live.counts()));
    move || {
        counts.get().map(|(online, total)| {
            let label = ta(
                "agents-online-of",
                &[("online", Arg::from(online)), ("total", Arg::from(total))],
            );
            view! {
                <span class="nav-count num" title=label.clone()>
                    <span aria-hidden="true">{format!("{online}/{total}")}</span>
                    <span class="sr-only">{label.clone()}</span>
                </span>
            }
        })
    }
}

#[component]
fn Who() -> impl IntoView {
    let name = move || match session().state.get() {
        State::In(user) => user.username,
        State::Unknown | State::Out => String::new(),
    };
    let role = move || {
        t(&format!(
            "role-{}",
            session()
                .role()
                .as_str_name()
                .trim_start_matches("ROLE_")
                .to_lowercase()
        ))
    };
    view! {
        <div class="who">
            <Icon name="user" />
            <A href="/account" attr:class="who-name" attr:title=t("account")>
                <span>{name}</span>
                <span class="muted">{role}</span>
            </A>
            <button type="button" class="button button-quiet button-small" on:click=|_| session().leave()>{t("logout")}</button>
        </div>
    }
}
