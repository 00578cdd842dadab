//! Colours of terminal output, and nothing else of it.
//!
//! Only SGR sequences (`ESC [ … m`) have a meaning here. Every other escape sequence is dropped, so that output can
//! never move a cursor, set a title or make a link in the page, and so are the marks that turn the order of letters, with
//! which `gpj.exe` looks like `exe.jpg`. The result is text and a small closed style: it is
//! shown as text nodes with class names.

/// How a run of text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Style {
    /// Foreground of the 16-colour palette.
    pub foreground: Option<u8>,
    /// Background of the 16-colour palette.
    pub background: Option<u8>,
    /// Bold.
    pub bold: bool,
    /// Faint.
    pub faint: bool,
    /// Italic.
    pub italic: bool,
    /// Underlined.
    pub underline: bool,
    /// Foreground and background swapped.
    pub inverse: bool,
}

/// A run of text in one style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span<'a> {
    /// Its look.
    pub style: Style,
    /// Its text, without control characters.
    pub text: &'a str,
}

impl Style {
    /// Class names for the style; empty for plain text.
    pub fn classes(&self) -> String {
        let mut classes = String::new();
        let mut add = |class: &str| {
            if !classes.is_empty() {
                classes.push(' ');
            }
            classes.push_str(class);
        };
        if let Some(colour) = self.foreground {
            add(&format!("fg-{colour}"));
        }
        if let Some(colour) = self.background {
            add(&format!("bg-{colour}"));
        }
        let flags = [
            (self.bold, "sgr-bold"),
            (self.faint, "sgr-faint"),
            (self.italic, "sgr-italic"),
            (self.underline, "sgr-underline"),
            (self.inverse, "sgr-inverse"),
        ];
        for (on, class) in flags {
            if on {
                add(class);
            }
        }
        classes
    }

    fn apply(&mut self, parameters: &str) {
        let mut numbers = parameters
            .split([';', ':'])
            .map(|number| number.parse::<u16>().unwrap_or(0));
        while let Some(number) = numbers.next() {
            match number {
                0 => *self = Self::default(),
                1 => self.bold = true,
                2 => self.faint = true,
                3 => self.italic = true,
                4 => self.underline = true,
                7 => self.inverse = true,
                22 => (self.bold, self.faint) = (false, false),
                23 => self.italic = false,
                24 => self.underline = false,
                27 => self.inverse = false,
                30..=37 => self.foreground = u8::try_from(number - 30).ok(),
                39 => self.foreground = None,
                40..=47 => self.background = u8::try_from(number - 40).ok(),
                49 => self.background = None,
                90..=97 => self.foreground = u8::try_from(number - 90 + 8).ok(),
                100..=107 => self.background = u8::try_from(number - 100 + 8).ok(),
                38 => self.foreground = extended(&mut numbers),
                48 => self.background = extended(&mut numbers),
                // Blink, conceal, fonts, frames: without a meaning in a log.
                _ => {}
            }
        }
    }
}

/// `5;n` or `2;r;g;b` brought down to the 16-colour palette.
fn extended(numbers: &mut impl Iterator<Item = u16>) -> Option<u8> {
    match numbers.next()? {
        5 => match numbers.next()? {
            index @ 0..=15 => u8::try_from(index).ok(),
            index @ 16..=231 => {
                let cube = index - 16;
                Some(nearest((cube / 36) * 51, ((cube / 6) % 6) * 51, (cube % 6) * 51))
            }
            index => {
                let grey = (index.min(255) - 232) * 10 + 8;
                Some(nearest(grey, grey, grey))
            }
        },
        2 => {
            let (red, green, blue) = (numbers.next()?, numbers.next()?, numbers.next()?);
            Some(nearest(red, green, blue))
        }
        _ => None,
    }
}

fn nearest(red: u16, green: u16, blue: u16) -> u8 {
    let highest = red.max(green).max(blue);
    if highest < 48 {
        return 0;
    }
    let lowest = red.min(green).min(blue);
    if highest - lowest < 40 {
        return if highest > 192 {
            15
        } else if highest > 110 {
            7
        } else {
            8
        };
    }
    let on = |value: u16, bit: u8| if value * 2 > highest { bit } else { 0 };
    let bright = if highest > 200 { 8 } else { 0 };
    (on(red, 1) | on(green, 2) | on(blue, 4)) + bright
}

/// Cuts a line into styled runs. `style` carries on from line to line.
pub fn parse<'a>(line: &'a str, style: &mut Style) -> Vec<Span<'a>> {
    let mut spans = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find(is_control) {
        let (text, tail) = rest.split_at(at);
        push(&mut spans, *style, text);
        rest = skip_control(tail, style);
    }
    push(&mut spans, *style, rest);
    spans
}

/// The text of a line without any control sequence.
pub fn plain(line: &str) -> String {
    if !line.contains(is_control) {
        return line.to_owned();
    }
    parse(line, &mut Style::default())
        .into_iter()
        .map(|span| span.text)
        .collect()
}

fn is_control(letter: char) -> bool {
    (letter.is_control() && letter != '\t') || turns(letter)
}

/// True for the embeddings, overrides and isolates of Unicode's bidirectional algorithm (UAX #9).
pub fn turns(letter: char) -> bool {
    matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn push<'a>(spans: &mut Vec<Span<'a>>, style: Style, text: &'a str) {
    if !text.is_empty() {
        spans.push(Span { style, text });
    }
}

/// What follows the control character or sequence at the start of `text`.
fn skip_control<'a>(text: &'a str, style: &mut Style) -> &'a str {
    let mut letters = text.chars();
    if letters.next() != Some('\u{1b}') {
        return letters.as_str();
    }
    let after = letters.as_str();
    match letters.next() {
        Some('[') => {
            let body = letters.as_str();
            let Some(end) = body.find(|letter: char| ('\u{40}'..='\u{7e}').contains(&letter)) else {
                return "";
            };
            let (parameters, tail) = body.split_at(end);
            if tail.starts_with('m') && parameters.chars().all(|letter| matches!(letter, '0'..='9' | ';' | ':')) {
                style.apply(parameters);
            }
            tail.get(1..).unwrap_or_default()
        }
        // Strings (titles, links, device control) run to BEL or ESC \.
        Some(']' | 'P' | '^' | '_' | 'X') => {
            let body = letters.as_str();
            let bell = body.find('\u{7}').map(|at| at + 1);
            let terminator = body.find("\u{1b}\\").map(|at| at + 2);
            match (bell, terminator) {
                (Some(bell), Some(terminator)) => body.get(bell.min(terminator)..).unwrap_or_default(),
                (Some(end), None) | (None, Some(end)) => body.get(end..).unwrap_or_default(),
                (None, None) => "",
            }
        }
        // Charset choice takes one more letter.
        Some('(' | ')' | '#') => {
            letters.next();
            letters.as_str()
        }
        Some('\u{20}'..='\u{7e}') => letters.as_str(),
        _ => after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(line: &str) -> Vec<(String, String)> {
        parse(line, &mut Style::default())
            .into_iter()
            .map(|span| (span.style.classes(), span.text.to_owned()))
            .collect()
    }

    #[test]
    fn colours_become_classes() {
        assert_eq!(
            classes("a\u{1b}[1;31mred\u{1b}[0m b"),
            [("", "a"), ("fg-1 sgr-bold", "red"), ("", " b")].map(|(class, text)| (class.to_owned(), text.to_owned()))
        );
    }

    #[test]
    fn style_carries_to_the_next_line() {
        let mut style = Style::default();
        parse("\u{1b}[32mone", &mut style);
        let spans = parse("two", &mut style);
        assert_eq!(spans.first().map(|span| span.style.foreground), Some(Some(2)));
    }

    #[test]
    fn other_sequences_vanish() {
        let line = "\u{1b}]0;title\u{7}x\u{1b}[2J\u{1b}[10;10Hy\u{1b}]8;;https://evil\u{1b}\\link\u{1b}]8;;\u{1b}\\\u{1b}(Bz\u{0}\u{8}";
        assert_eq!(plain(line), "xylinkz");
    }

    #[test]
    fn an_unfinished_sequence_hides_only_itself() {
        assert_eq!(plain("text\u{1b}[31"), "text");
        assert_eq!(plain("text\u{1b}"), "text");
        assert_eq!(plain("a\u{1b}界b"), "a界b");
    }

    #[test]
    fn large_palettes_come_down_to_sixteen() {
        let mut style = Style::default();
        parse("\u{1b}[38;5;196m", &mut style);
        assert_eq!(style.foreground, Some(9));
        parse("\u{1b}[38;2;10;200;10m", &mut style);
        assert_eq!(style.foreground, Some(2));
        parse("\u{1b}[48;5;300m", &mut style);
        assert_eq!(style.background, Some(15));
    }

    #[test]
    fn letters_stand_in_the_order_in_which_they_were_written() {
        assert_eq!(
            plain("\u{202e}gpj.exe\u{202c} \u{2067}x\u{2069} שלום"),
            "gpj.exe x שלום"
        );
    }

    #[test]
    fn tabs_stay() {
        assert_eq!(plain("a\tb"), "a\tb");
    }
}
