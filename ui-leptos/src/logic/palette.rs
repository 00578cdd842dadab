//! Finding things in the palette by what is typed: words of any language, the start of words before their middle, and
//! letters in order when nothing else fits.

use super::order;

/// Bytes of a label in which letters in order mean something.
const LONG: usize = 48;

/// One thing that can be found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    /// What is shown.
    pub label: String,
    /// Other words for it, as those of the other language.
    pub also: String,
}

/// Numbers of the entries that fit, best first; all of them, in order, when nothing is typed.
pub fn find<'a>(typed: &str, entries: impl IntoIterator<Item = &'a Words>) -> Vec<usize> {
    let words = words(&typed.to_lowercase());
    let mut found: Vec<(usize, u32)> = entries
        .into_iter()
        .enumerate()
        .filter_map(|(at, entry)| Some((at, fit(&words, entry)?)))
        .collect();
    order::by(&mut found, |a, b| b.1.cmp(&a.1));
    found.into_iter().map(|(at, _)| at).collect()
}

/// How well an entry fits all words; `None` when one of them does not.
fn fit(words: &[String], entry: &Words) -> Option<u32> {
    let (label, also) = (entry.label.to_lowercase(), entry.also.to_lowercase());
    let mut sum = 0;
    for word in words {
        sum += match (place(&label, word), place(&also, word)) {
            (Some(Place::Start), _) => 100,
            (Some(Place::Word), _) => 80,
            (_, Some(Place::Start | Place::Word)) => 60,
            (Some(Place::Inside), _) => 50,
            (_, Some(Place::Inside)) => 40,
            (None, None) if in_order(&label, word) => 10,
            (None, None) => return None,
        };
    }
    Some(sum)
}

enum Place {
    Start,
    Word,
    Inside,
}

fn place(text: &str, word: &str) -> Option<Place> {
    let mut best = None;
    for (at, _) in text.match_indices(word) {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        match before {
            None => return Some(Place::Start),
            // Chinese has no gaps: each character begins a word.
            Some(letter) if !letter.is_ascii_alphanumeric() => best = Some(Place::Word),
            Some(_) if best.is_none() => best = Some(Place::Inside),
            Some(_) => {}
        }
    }
    best
}

/// True when all letters come in this order, the first at the start of a word.
fn in_order(text: &str, word: &str) -> bool {
    let mut letters = word.chars();
    let (Some(first), true) = (letters.next(), word.chars().count() > 1) else {
        return false;
    };
    // In a long text almost any letters come in order.
    if text.len() > LONG {
        return false;
    }
    let starts = text.match_indices(first).filter(|(at, _)| {
        let before = text.get(..*at).and_then(|text| text.chars().next_back());
        before.is_none_or(|letter| !letter.is_alphanumeric())
    });
    starts.into_iter().any(|(at, _)| {
        let mut rest = text.get(at..).unwrap_or_default().chars().skip(1);
        letters.clone().all(|letter| rest.any(|other| other == letter))
    })
}

/// Cuts what is typed into words: at blanks, and where Chinese meets other letters.
fn words(typed: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut before = None;
    for letter in typed.chars() {
        let kind = (!letter.is_whitespace()).then(|| u32::from(letter) >= 0x2e80);
        match (kind, words.last_mut()) {
            (None, _) => {}
            (Some(_), Some(word)) if before == kind => word.push(letter),
            (Some(_), _) => words.push(letter.to_string()),
        }
        before = kind;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Words> {
        [
            ("Agents", "代理 Agents"),
            ("Run shell on prod", "在 prod 上执行命令 shell"),
            ("Run SQL on prod", "在 prod 上执行 SQL"),
            ("审计", "Audit 审计"),
            ("prod-db", ""),
        ]
        .map(|(label, also)| Words {
            label: label.into(),
            also: also.into(),
        })
        .to_vec()
    }

    fn found(typed: &str) -> Vec<String> {
        let entries = entries();
        find(typed, &entries)
            .into_iter()
            .map(|at| entries[at].label.clone())
            .collect()
    }

    #[test]
    fn nothing_typed_finds_everything_in_order() {
        assert_eq!(found("  ").len(), entries().len());
        assert_eq!(found("")[0], "Agents");
    }

    #[test]
    fn words_of_either_language_find_it() {
        assert_eq!(found("agen"), ["Agents"]);
        assert_eq!(found("代理"), ["Agents"]);
        assert_eq!(found("audit"), ["审计"]);
        assert_eq!(found("计"), ["审计"]);
        assert_eq!(found("执行sql"), ["Run SQL on prod"]);
    }

    #[test]
    fn every_word_must_fit_in_any_order() {
        assert_eq!(found("prod sh"), ["Run shell on prod"]);
        assert_eq!(found("SHELL PROD"), ["Run shell on prod"]);
        assert_eq!(found("prod nothing"), Vec::<String>::new());
    }

    #[test]
    fn a_start_is_better_than_a_word_within() {
        assert_eq!(found("prod")[0], "prod-db");
    }

    #[test]
    fn letters_in_order_find_it_when_nothing_else_does() {
        assert_eq!(found("rsq"), ["Run SQL on prod"]);
        assert_eq!(found("zz"), Vec::<String>::new());
    }
}
