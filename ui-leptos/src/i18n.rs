//! The language of the page. Sentences come from `locales/*/console.ftl`; choosing another language loads the page
//! anew, so a sentence is a plain `String` wherever it is used.

use std::{cell::Cell, sync::LazyLock};

pub(crate) use opslink::locale::Language;

pub(crate) use crate::logic::sentences::Arg;
use crate::{dom, logic::sentences::Sentences, prefs};

static ENGLISH: LazyLock<Sentences> =
    LazyLock::new(|| Sentences::read(Language::En, include_str!("../locales/en/console.ftl")));
static CHINESE: LazyLock<Sentences> =
    LazyLock::new(|| Sentences::read(Language::ZhCn, include_str!("../locales/zh-CN/console.ftl")));

thread_local! {
    static CURRENT: Cell<Language> = const { Cell::new(Language::En) };
}

/// Reads the choice, or else what the browser prefers.
pub(crate) fn start() {
    let chosen = prefs::get("language").or_else(dom::browser_languages);
    let language = chosen.and_then(|tag| Language::from_tag(&tag)).unwrap_or_default();
    CURRENT.set(language);
    dom::set_root_attribute("lang", language.tag());
}

/// Keeps another language as the choice, and starts again with it.
pub(crate) fn choose(language: Language) {
    if language != CURRENT.get() {
        prefs::set("language", language.tag());
        dom::reload();
    }
}

/// The language of the page.
pub(crate) fn language() -> Language {
    CURRENT.get()
}

/// The sentence `id` in this language; else in English; else the id itself.
fn say(language: Language, id: &str, args: &[(&str, Arg)]) -> String {
    let sentences = match language {
        Language::En => &ENGLISH,
        Language::ZhCn => &CHINESE,
    };
    sentences
        .say(id, args)
        .or_else(|| ENGLISH.say(id, args))
        .unwrap_or_else(|| id.to_owned())
}

/// The sentence `id`.
pub(crate) fn t(id: &str) -> String {
    say(language(), id, &[])
}

/// The sentence `id` in every language, for finding things by words of any of them.
pub(crate) fn in_all(id: &str, args: &[(&str, Arg)]) -> String {
    Language::ALL.map(|language| say(language, id, args)).join(" ")
}

/// The sentence `id` with arguments.
pub(crate) fn ta(id: &str, args: &[(&str, Arg)]) -> String {
    say(language(), id, args)
}

/// The sentence `id` about a number, which is shown grouped (`$count`) and counted (`$n`).
pub(crate) fn tn(id: &str, number: u64) -> String {
    let shown = crate::logic::format::count(number);
    ta(id, &[("n", Arg::from(number)), ("count", Arg::from(shown))])
}
