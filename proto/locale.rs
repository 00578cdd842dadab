//! Sentences for people, from Fluent files. One catalogue per program; the errors' own is here, shared by all.

use std::sync::{LazyLock, OnceLock};

use fluent_bundle::{FluentArgs, FluentResource, concurrent::FluentBundle};
use unic_langid::LanguageIdentifier;

pub use fluent_bundle::FluentValue as Arg;

/// A language of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Language {
    /// English; also what everything falls back to.
    #[default]
    En,
    /// Simplified Chinese.
    ZhCn,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::En, Self::ZhCn];

    /// Returns its BCP 47 tag.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::ZhCn => "zh-CN",
        }
    }

    /// Chooses by the environment of a terminal: `LC_ALL`, `LC_MESSAGES`, `LANG`; English when none says more.
    pub fn of_environment(read: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &&str| read(name).filter(|value| !value.is_empty());
        let tag = ["LC_ALL", "LC_MESSAGES", "LANG"].iter().find_map(set);
        tag.as_deref().and_then(Self::from_tag).unwrap_or_default()
    }

    /// Reads a tag, a POSIX locale (`zh_CN.UTF-8`) or an `accept-language` header: the first language in it that we
    /// speak. Weights are ignored: browsers list in order.
    pub fn from_tag(text: &str) -> Option<Self> {
        text.split(',').find_map(|part| {
            let part = part.trim();
            let primary = part.split(['-', '_', '.', ';', '@']).next().unwrap_or(part);
            if primary.eq_ignore_ascii_case("zh") {
                Some(Self::ZhCn)
            } else if primary.eq_ignore_ascii_case("en") {
                Some(Self::En)
            } else {
                None
            }
        })
    }
}

/// The sentences of one program in every language. Each language is read when it is first asked for.
pub struct Catalogue {
    sources: Vec<Source>,
}

struct Source {
    language: Language,
    ftl: &'static str,
    bundle: OnceLock<FluentBundle<FluentResource>>,
}

impl Catalogue {
    /// Makes a catalogue from the text of one Fluent file per language.
    pub fn new(sources: &[(Language, &'static str)]) -> Self {
        let source = |(language, ftl): &(Language, &'static str)| Source {
            language: *language,
            ftl,
            bundle: OnceLock::new(),
        };
        Self {
            sources: sources.iter().map(source).collect(),
        }
    }

    /// Returns the sentence `id` (`message` or `message.attribute`) in a language; else in English; else the id itself.
    pub fn text(&self, language: Language, id: &str, args: &[(&str, Arg<'_>)]) -> String {
        self.find(language, id, args)
            .or_else(|| self.find(Language::En, id, args))
            .unwrap_or_else(|| id.to_owned())
    }

    /// Says whether a language has the sentence itself, without falling back.
    pub fn has(&self, language: Language, id: &str) -> bool {
        self.find(language, id, &[]).is_some()
    }

    /// Returns what is wrong with the files: for tests, one line per fault.
    pub fn faults(&self) -> Vec<String> {
        let fault = |source: &Source| match FluentResource::try_new(source.ftl.to_owned()) {
            Ok(_) => Vec::new(),
            Err((_, errors)) => errors
                .iter()
                .map(|error| format!("{}: {error}", source.language.tag()))
                .collect(),
        };
        self.sources.iter().flat_map(fault).collect()
    }

    fn find(&self, language: Language, id: &str, args: &[(&str, Arg<'_>)]) -> Option<String> {
        let bundle = self.sources.iter().find(|source| source.language == language)?.bundle();
        let pattern = match id.split_once('.') {
            Some((message, attribute)) => bundle.get_message(message)?.get_attribute(attribute)?.value(),
            None => bundle.get_message(id)?.value()?,
        };
        let args: FluentArgs<'_> = args.iter().map(|(name, value)| (*name, value.clone())).collect();
        // A sentence with a mistake in it still says more than none.
        let mut errors = Vec::new();
        Some(bundle.format_pattern(pattern, Some(&args), &mut errors).into_owned())
    }
}

impl Source {
    fn bundle(&self) -> &FluentBundle<FluentResource> {
        self.bundle.get_or_init(|| {
            let tag: LanguageIdentifier = self.language.tag().parse().unwrap_or_default();
            let mut bundle = FluentBundle::new_concurrent(vec![tag]);
            // Isolation marks are invisible in a browser and rubbish in a terminal and in a copied command.
            bundle.set_use_isolating(false);
            let resource = FluentResource::try_new(self.ftl.to_owned()).unwrap_or_else(|(partial, _)| partial);
            bundle.add_resource_overriding(resource);
            bundle
        })
    }
}

/// Returns the sentences of [`crate::reason`]: ids are `CODE.what`, `CODE.why`, `CODE.fix`.
pub fn errors() -> &'static Catalogue {
    static ERRORS: LazyLock<Catalogue> = LazyLock::new(|| {
        Catalogue::new(&[
            (Language::En, include_str!("locales/en/errors.ftl")),
            (Language::ZhCn, include_str!("locales/zh-CN/errors.ftl")),
        ])
    });
    &ERRORS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        Catalogue::new(&[
            (
                Language::En,
                "hello = Hello { $name }\nonly = here\nthing = x\n    .tip = Tip { $n }\n",
            ),
            (Language::ZhCn, "hello = 你好 { $name }\n"),
        ])
    }

    #[test]
    fn sentences_take_arguments_and_no_invisible_marks() {
        assert_eq!(
            catalogue().text(Language::En, "hello", &[("name", "Ada".into())]),
            "Hello Ada"
        );
        assert_eq!(
            catalogue().text(Language::ZhCn, "hello", &[("name", "Ada".into())]),
            "你好 Ada"
        );
        assert_eq!(catalogue().text(Language::En, "thing.tip", &[("n", 5.into())]), "Tip 5");
    }

    #[test]
    fn what_is_missing_falls_back_to_english_and_then_to_the_id() {
        assert_eq!(catalogue().text(Language::ZhCn, "only", &[]), "here");
        assert_eq!(catalogue().text(Language::ZhCn, "nowhere.what", &[]), "nowhere.what");
        assert!(!catalogue().has(Language::ZhCn, "only"));
    }

    #[test]
    fn languages_are_found_in_tags_locales_and_headers() {
        for (text, language) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", Some(Language::ZhCn)),
            ("fr, en-GB;q=0.7", Some(Language::En)),
            ("zh_CN.UTF-8", Some(Language::ZhCn)),
            ("C.UTF-8", None),
            ("", None),
        ] {
            assert_eq!(Language::from_tag(text), language, "{text}");
        }
    }
}
