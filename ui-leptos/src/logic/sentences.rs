//! Sentences from a Fluent file, as far as the console's files go: text, `{ $name }`, `{ "text" }`, and selections by a
//! number or a word.
//!
//! `cloudctl` and the cloud read their files with Fluent's own library. In a browser that is 15 kB on the wire; this is one. A test
//! holds both against each other on every sentence, so a file that asks for more than this knows does not pass.

use std::fmt::Write as _;

use opslink::locale::Language;

/// An argument of a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// A number: selections can go by its plural category.
    Number(i128),
    /// Text.
    Text(String),
}

macro_rules! numbers {
    ($($kind:ty)*) => {
        $(impl From<$kind> for Arg {
            fn from(number: $kind) -> Self {
                Self::Number(number as i128)
            }
        })*
    };
}

numbers!(i32 u32 i64 u64 usize);

impl From<String> for Arg {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Arg {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// The sentences of one language.
#[derive(Debug)]
pub struct Sentences {
    language: Language,
    /// Id and pattern, in the order of the file.
    entries: Vec<(&'static str, &'static str)>,
}

impl Sentences {
    /// Reads a file.
    pub fn read(language: Language, ftl: &'static str) -> Self {
        let mut entries = Vec::new();
        let mut rest = ftl;
        while !rest.is_empty() {
            // An entry goes on as long as lines are indented, or close a brace.
            let mut end = 0;
            for line in rest.split_inclusive('\n') {
                if end > 0 && !line.starts_with([' ', '}']) {
                    break;
                }
                end += line.len();
            }
            let (entry, after) = rest.split_at(end);
            rest = after;
            if entry.starts_with(|letter: char| letter.is_ascii_lowercase())
                && let Some((id, pattern)) = entry.split_once('=')
            {
                entries.push((id.trim_end(), pattern.trim()));
            }
        }
        Self { language, entries }
    }

    /// The ids, in the order of the file.
    pub fn ids(&self) -> impl Iterator<Item = &'static str> {
        self.entries.iter().map(|(id, _)| *id)
    }

    /// A sentence, if the language has it.
    pub fn say(&self, id: &str, args: &[(&str, Arg)]) -> Option<String> {
        let (_, pattern) = self.entries.iter().find(|(known, _)| *known == id)?;
        let mut out = String::new();
        self.write(&mut out, pattern, args);
        Some(out)
    }

    fn write(&self, out: &mut String, pattern: &str, args: &[(&str, Arg)]) {
        let mut rest = pattern;
        while let Some((text, after)) = rest.split_once('{') {
            out.push_str(text);
            let (inside, after) = after.split_at(closing(after));
            self.place(out, inside.trim(), args);
            rest = after.get(1..).unwrap_or_default();
        }
        out.push_str(rest);
    }

    /// Writes what stands in braces.
    fn place(&self, out: &mut String, inside: &str, args: &[(&str, Arg)]) {
        if let Some(text) = inside.strip_prefix('"') {
            return out.push_str(text.trim_end_matches('"'));
        }
        let (name, variants) = inside.split_once("->").unwrap_or((inside, ""));
        let name = name.trim().trim_start_matches('$');
        let arg = args.iter().find(|(known, _)| *known == name).map(|(_, arg)| arg);
        if !variants.is_empty() {
            return self.select(out, variants, arg, args);
        }
        match arg {
            Some(Arg::Text(text)) => out.push_str(text),
            Some(Arg::Number(number)) => {
                let _ = write!(out, "{number}");
            }
            None => {
                let _ = write!(out, "{{${name}}}");
            }
        }
    }

    /// Writes the first variant that fits, or the one with the star.
    fn select(&self, out: &mut String, variants: &str, arg: Option<&Arg>, args: &[(&str, Arg)]) {
        let mut chosen = None;
        for line in variants.lines().map(str::trim) {
            let (starred, line) = match line.strip_prefix('*') {
                Some(line) => (true, line),
                None => (false, line),
            };
            let Some((key, pattern)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) else {
                continue;
            };
            if arg.is_some_and(|arg| self.fits(key.trim(), arg)) {
                chosen = Some(pattern);
                break;
            }
            if starred {
                chosen = Some(pattern);
            }
        }
        self.write(out, chosen.unwrap_or_default().trim(), args);
    }

    fn fits(&self, key: &str, arg: &Arg) -> bool {
        match arg {
            Arg::Text(text) => text == key,
            Arg::Number(number) => match key.parse::<i128>() {
                Ok(wanted) => wanted == *number,
                Err(_) => key == self.plural(*number),
            },
        }
    }

    /// The plural category of a whole number.
    fn plural(&self, number: i128) -> &'static str {
        match self.language {
            Language::En if number == 1 => "one",
            Language::En | Language::ZhCn => "other",
        }
    }
}

/// Place of the brace that closes what was opened before this text.
fn closing(text: &str) -> usize {
    let mut open = 1;
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => open += 1,
            '}' if open == 1 => return at,
            '}' => open -= 1,
            _ => {}
        }
    }
    text.len()
}
