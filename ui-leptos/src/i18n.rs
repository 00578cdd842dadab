//! The language of the page. Sentences come from `locales/*/console.ftl`; choosing another language redraws the page,
//! so a sentence is a plain `String` wherever it is used.

use std::{cell::Cell, sync::LazyLock};

use leptos::prelude::*;
use opslink::locale::Catalogue;
pub(crate) use opslink::locale::{Arg, Language};

use crate::{dom, prefs};

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    Catalogue::new(&[
        (Language::En, include_str!("../locales/en/console.ftl")),
        (Language::ZhCn, include_str!("../locales/zh-CN/console.ftl")),
    ])
});

thread_local! {
    static CURRENT: Cell<Language> = const { Cell::new(Language::En) };
}

/// Reads the choice, or else what the browser prefers. Returns the signal that the page hangs on.
pub(crate) fn start() -> RwSignal<Language> {
    let chosen = prefs::get("language").or_else(dom::browser_languages);
    let language = RwSignal::new(chosen.and_then(|tag| Language::from_tag(&tag)).unwrap_or_default());
    Effect::new(move |_| {
        let language = language.get();
        dom::set_root_attribute("lang", language.tag());
    });
    language
}

/// Makes a language the one that [`t`] speaks.
pub(crate) fn speak(language: Language) {
    CURRENT.set(language);
}

/// The language of the page.
pub(crate) fn language() -> Language {
    CURRENT.get()
}

/// The sentence `id`.
pub(crate) fn t(id: &str) -> String {
    CATALOGUE.text(language(), id, &[])
}

/// The sentence `id` with arguments.
pub(crate) fn ta(id: &str, args: &[(&str, Arg<'_>)]) -> String {
    CATALOGUE.text(language(), id, args)
}

/// The sentence `id` about a number, which is shown grouped (`$count`) and counted (`$n`).
pub(crate) fn tn(id: &str, number: u64) -> String {
    let shown = crate::logic::format::count(number);
    ta(id, &[("n", Arg::from(number)), ("count", Arg::from(shown))])
}
