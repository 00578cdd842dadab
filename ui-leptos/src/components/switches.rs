//! Theme and language.

use leptos::prelude::*;

use super::icon::Icon;
use crate::{
    dom,
    i18n::{Language, t},
    prefs,
};

/// Light, dark, or as the machine has it.
#[component]
pub(crate) fn ThemeSwitch() -> impl IntoView {
    let theme = RwSignal::new(prefs::get("theme").unwrap_or_else(|| "auto".into()));
    let choose = move |name: &'static str| {
        theme.set(name.into());
        if name == "auto" {
            prefs::remove("theme");
            dom::set_root_attribute("data-theme", "");
        } else {
            prefs::set("theme", name);
            dom::set_root_attribute("data-theme", name);
        }
    };
    let button = move |name: &'static str, icon: &'static str| {
        let label = t(&format!("theme-{name}"));
        view! {
            <button type="button" aria-pressed=move || (theme.get() == name).to_string() aria-label=label.clone() title=label on:click=move |_| choose(name)>
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
    let current: RwSignal<Language> = expect_context();
    let button = move |language: Language, short: &'static str, name: &'static str| {
        let choose = move |_| {
            prefs::set("language", language.tag());
            current.set(language);
        };
        view! {
            <button type="button" lang=language.tag() aria-pressed=move || (current.get() == language).to_string() aria-label=name title=name on:click=choose>
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
