//! Theme and language.

use leptos::prelude::*;

use super::icon::Icon;
use crate::{
    dom,
    i18n::{self, Language, t},
    prefs,
};

/// The theme: `light`, `dark` or `auto`.
#[derive(Clone, Copy)]
struct Theme(RwSignal<String>);

thread_local! {
    static THEME: Theme = Theme(RwSignal::new(prefs::get("theme").unwrap_or_else(|| "auto".into())));
}

/// Reads the choice before anything can scope it to a page.
pub(crate) fn provide() {
    THEME.with(|_| {});
}

/// Takes a theme and keeps the choice.
pub(crate) fn choose_theme(name: &'static str) {
    THEME.with(|Theme(theme)| theme.set(name.into()));
    if name == "auto" {
        prefs::remove("theme");
        dom::set_root_attribute("data-theme", "");
    } else {
        prefs::set("theme", name);
        dom::set_root_attribute("data-theme", name);
    }
}

/// Light, dark, or as the machine has it.
#[component]
pub(crate) fn ThemeSwitch() -> impl IntoView {
    let Theme(theme) = THEME.with(|theme| *theme);
    let button = move |name: &'static str, icon: &'static str| {
        let label = t(&format!("theme-{name}"));
        view! {
            <button type="button" aria-pressed=move || (theme.get() == name).to_string() aria-label=label.clone() title=label on:click=move |_| choose_theme(name)>
                <Icon name=icon />
            </button>
        }
    };
    view! {
        <div class="segments segments-small" role="group" aria-label=t("theme")>
            {button("light", "sun")} {button("auto", "auto")} {button("dark", "moon")}
        </div>
    }
}

/// 中 / EN.
#[component]
pub(crate) fn LanguageSwitch() -> impl IntoView {
    let button = move |language: Language, short: &'static str, name: &'static str| {
        view! {
            <button type="button" lang=language.tag() aria-pressed=(i18n::language() == language).to_string() aria-label=name title=name on:click=move |_| i18n::choose(language)>
                {short}
            </button>
        }
    };
    view! {
        <div class="segments segments-small" role="group" aria-label=t("language")>
            {button(Language::ZhCn, "中", "中文")} {button(Language::En, "EN", "English")}
        </div>
    }
}
