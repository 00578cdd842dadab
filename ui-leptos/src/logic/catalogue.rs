//! Tests of the sentences: every one that is used exists, in both languages, and none is left over.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use opslink::locale::{self, Catalogue, Language};

use super::sentences::{Arg, Sentences};

fn ftl(language: Language) -> &'static str {
    match language {
        Language::En => include_str!("../../locales/en/console.ftl"),
        Language::ZhCn => include_str!("../../locales/zh-CN/console.ftl"),
    }
}

fn ids(language: Language) -> BTreeSet<&'static str> {
    let is_id = |line: &&str| line.starts_with(|letter: char| letter.is_ascii_lowercase());
    ftl(language)
        .lines()
        .filter(is_id)
        .filter_map(|line| line.split_once(" ="))
        .map(|(id, _)| id)
        .collect()
}

/// Asked while running, not while building: a test built in one checkout may run in another that shares its target.
fn source_folder() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    Path::new(&package).join("src")
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("source folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            sources(&path, files)
        } else {
            files.push(path)
        }
    }
}

/// Every string literal of the sources that looks like an id.
fn words_used() -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&source_folder(), &mut files);
    let mut words = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).expect("source");
        words.extend(text.split('"').map(str::to_owned));
    }
    words
}

#[test]
fn the_files_can_be_read() {
    let faults = Catalogue::new(&Language::ALL.map(|language| (language, ftl(language)))).faults();
    assert_eq!(faults, Vec::<String>::new());
}

/// Names of the arguments that a file's sentences take.
fn names(ftl: &str) -> BTreeSet<&str> {
    let name = |text: &'_ str| text.len() - text.trim_start_matches(|letter: char| letter.is_alphanumeric()).len();
    ftl.split("{ $").skip(1).map(|text| &text[..name(text)]).collect()
}

#[test]
fn sentences_are_what_fluent_makes_of_them() {
    let catalogue = Catalogue::new(&Language::ALL.map(|language| (language, ftl(language))));
    for language in Language::ALL {
        let sentences = Sentences::read(language, ftl(language));
        assert_eq!(sentences.ids().collect::<BTreeSet<_>>(), ids(language));
        assert_eq!(sentences.ids().count(), ids(language).len(), "an id is there twice");
        let names = names(ftl(language));
        for id in sentences.ids() {
            let numbers = [0_u64, 1, 2, 5, 21, 1_000_000].map(Arg::from);
            for arg in numbers.into_iter().chain(["", "词 word", "one"].map(Arg::from)) {
                let theirs = match &arg {
                    Arg::Number(number) => locale::Arg::from(u64::try_from(*number).expect("made above")),
                    Arg::Text(text) => locale::Arg::from(text.clone()),
                };
                let ours: Vec<_> = names.iter().map(|name| (*name, arg.clone())).collect();
                let theirs: Vec<_> = names.iter().map(|name| (*name, theirs.clone())).collect();
                let said = sentences.say(id, &ours).expect("listed above");
                assert_eq!(said, catalogue.text(language, id, &theirs), "{id} with {arg:?}");
            }
        }
    }
}

#[test]
fn both_languages_say_the_same_things() {
    let (english, chinese) = (ids(Language::En), ids(Language::ZhCn));
    assert_eq!(
        english.difference(&chinese).collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "missing in zh-CN"
    );
    assert_eq!(
        chinese.difference(&english).collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "missing in en"
    );
}

#[test]
fn every_sentence_that_is_asked_for_exists() {
    let mut files = Vec::new();
    sources(&source_folder(), &mut files);
    let known = ids(Language::En);
    let mut missing = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(file).expect("source");
        for call in ["t(\"", "ta(\"", "tn(\""] {
            for (at, _) in text.match_indices(call) {
                // Not the end of another function's name.
                if text[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_') {
                    continue;
                }
                let id = text[at + call.len()..].split('"').next().unwrap_or_default();
                if !id.is_empty() && !known.contains(id) {
                    missing.insert(id.to_owned());
                }
            }
        }
    }
    assert_eq!(missing, BTreeSet::new());
}

#[test]
fn no_sentence_is_left_over() {
    let words = words_used();
    // Ids that are put together from a prefix and a word.
    let composed = [
        "state-", "role-", "theme-", "token-", "ago-", "step-", "danger-", "outcome-",
    ];
    let left: Vec<_> = ids(Language::En)
        .into_iter()
        .filter(|id| !words.contains(*id) && !composed.iter().any(|prefix| id.starts_with(prefix)))
        .collect();
    assert_eq!(left, Vec::<&str>::new());
}
