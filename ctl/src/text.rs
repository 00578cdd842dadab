//! What `cloudctl` says to people, in their language: `ctl/locales/<language>/cli.ftl`.

use std::sync::OnceLock;

use opslink::locale::{Arg, Catalogue, Language};

static LANGUAGE: OnceLock<Language> = OnceLock::new();
static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();

/// Settles the language once: `--lang`, then `CLOUDCTL_LANG`, `LC_ALL`, `LC_MESSAGES`, `LANG`; English otherwise.
pub(crate) fn init(wanted: Option<&str>) {
    let chosen = wanted.map(str::to_owned).or_else(|| {
        ["CLOUDCTL_LANG", "LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    });
    // Only the first call counts; tests may race here, and all of them want English.
    let _ = LANGUAGE.set(chosen.as_deref().and_then(Language::from_tag).unwrap_or_default());
}

/// Returns the language in use.
pub(crate) fn language() -> Language {
    LANGUAGE.get().copied().unwrap_or(Language::En)
}

/// Returns a sentence of the catalogue. The catalogue is parsed at the first sentence, not at every start.
pub(crate) fn text(id: &str, args: &[(&'static str, &str)]) -> String {
    let argument = |(name, value): &(&'static str, &str)| {
        // Counts are numbers to Fluent, so that it can choose the plural; everything else is shown as it is.
        let count = if *name == "n" { value.parse::<u64>().ok() } else { None };
        (*name, count.map_or_else(|| Arg::from((*value).to_owned()), Arg::from))
    };
    let args: Vec<(&str, Arg<'_>)> = args.iter().map(argument).collect();
    catalogue().text(language(), id, &args)
}

fn catalogue() -> &'static Catalogue {
    CATALOGUE.get_or_init(|| {
        Catalogue::new(&[
            (Language::En, include_str!("../locales/en/cli.ftl")),
            (Language::ZhCn, include_str!("../locales/zh-CN/cli.ftl")),
        ])
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Every sentence with the variables that it uses.
    fn entries(source: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut entries: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let (mut message, mut current) = (String::new(), String::new());
        for line in source.lines().filter(|line| !line.starts_with('#')) {
            if let Some((id, _)) = line.split_once(" =") {
                current = match id.trim().strip_prefix('.') {
                    Some(attribute) => format!("{message}.{attribute}"),
                    None => id.to_owned(),
                };
                if !id.trim().starts_with('.') {
                    message = current.clone();
                }
                assert!(
                    entries.insert(current.clone(), BTreeSet::new()).is_none(),
                    "{current} is there twice"
                );
            }
            let variables = line
                .split("{ $")
                .skip(1)
                .filter_map(|rest| rest.split([' ', '}']).next());
            entries
                .entry(current.clone())
                .or_default()
                .extend(variables.map(str::to_owned));
        }
        entries
    }

    #[test]
    fn both_languages_say_the_same_things_with_the_same_variables() {
        let english = entries(include_str!("../locales/en/cli.ftl"));
        let chinese = entries(include_str!("../locales/zh-CN/cli.ftl"));
        assert_eq!(english, chinese);
        assert!(english.len() > 20);
        assert_eq!(catalogue().faults(), Vec::<String>::new());
    }

    #[test]
    fn every_sentence_that_the_code_asks_for_exists() {
        let mut checked = 0;
        for (file, source) in sources() {
            for (marker, prefix) in [("text(\"", ""), ("usage(\"", "."), ("local(", ".")] {
                for (at, _) in source.match_indices(marker) {
                    // A longer name that ends in the same letters is another function.
                    if source[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                        continue;
                    }
                    let rest = &source[at + marker.len()..];
                    let rest = if marker == "local(" {
                        rest.split('"').nth(1).unwrap_or_default()
                    } else {
                        rest
                    };
                    let Some(id) = rest.split('"').next() else { continue };
                    let is_id = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
                    if !is_id || (prefix == "." && id.chars().any(|c| c.is_ascii_lowercase())) {
                        continue;
                    }
                    checked += 1;
                    let known = opslink::reason::Reason::from_code(id).is_some();
                    let wanted = if prefix.is_empty() {
                        id.to_owned()
                    } else {
                        format!("{id}.what")
                    };
                    assert!(
                        known || catalogue().has(Language::En, &wanted),
                        "{file} asks for {wanted}"
                    );
                }
            }
        }
        assert!(checked > 30, "only {checked} were found: is the search broken?");
    }

    #[test]
    fn every_column_has_a_title_in_both_languages() {
        let mut checked = 0;
        for (file, source) in sources() {
            for marker in ["Column::new(", "Column::wide("] {
                for (at, _) in source.match_indices(marker) {
                    let rest = source[at + marker.len()..].trim_start();
                    let Some(title) = rest.strip_prefix('"').and_then(|rest| rest.split('"').next()) else {
                        continue;
                    };
                    // This file looks for them, too.
                    if !title
                        .chars()
                        .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == ' ')
                    {
                        continue;
                    }
                    let id = format!("column-{}", title.to_ascii_lowercase().replace(' ', "-"));
                    checked += 1;
                    for language in [Language::En, Language::ZhCn] {
                        assert!(catalogue().has(language, &id), "{file} asks for {id}");
                    }
                    assert_eq!(catalogue().text(Language::En, &id, &[]), title, "csv and tables agree");
                }
            }
        }
        assert!(checked > 30, "only {checked} were found: is the search broken?");
    }

    fn sources() -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
                }
            }
        }
        found
    }
}
