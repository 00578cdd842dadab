//! What a terminal may be told by bytes from elsewhere: text, line ends and colours (SGR). Everything else that would
//! move, retitle, copy, erase or reverse is shown as a visible sign instead, so nothing is hidden and nothing obeys.

/// Longest SGR sequence that is believed: `ESC [ 38;2;255;255;255;48;2;255;255;255 m` has 36 bytes.
const MAX_SEQUENCE: usize = 64;

/// A filter for one stream; sequences and characters may be cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// An unfinished UTF-8 character.
    partial: Vec<u8>,
    /// An unfinished escape sequence, from ESC on.
    sequence: String,
}

impl Filter {
    /// Filters the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let joined;
        let mut rest = bytes;
        if !self.partial.is_empty() {
            let mut buffer = std::mem::take(&mut self.partial);
            buffer.extend_from_slice(bytes);
            joined = buffer;
            rest = &joined;
        }
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.text(text, out);
                    return;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    self.text(std::str::from_utf8(valid).unwrap_or_default(), out);
                    let Some(bad) = error.error_len() else {
                        self.partial = after.to_vec();
                        return;
                    };
                    // A lone C1 byte is a control code to some terminals.
                    self.text("\u{fffd}", out);
                    rest = after.get(bad..).unwrap_or_default();
                }
            }
        }
    }

    /// Shows what is left of an unfinished sequence or character.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        self.give_up(out);
        if !self.partial.is_empty() {
            self.partial.clear();
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }

    fn text(&mut self, text: &str, out: &mut Vec<u8>) {
        for character in text.chars() {
            self.character(character, out);
        }
    }

    fn character(&mut self, character: char, out: &mut Vec<u8>) {
        if self.sequence.is_empty() {
            if character == '\u{1b}' {
                self.sequence.push(character);
            } else {
                sign(character, out);
            }
            return;
        }
        let is_first = self.sequence.len() == 1;
        let may_go_on = if is_first {
            character == '['
        } else {
            matches!(character, '0'..='9' | ';' | ':')
        };
        if may_go_on && self.sequence.len() < MAX_SEQUENCE {
            self.sequence.push(character);
        } else if !is_first && character == 'm' {
            out.extend_from_slice(self.sequence.as_bytes());
            out.push(b'm');
            self.sequence.clear();
        } else {
            self.give_up(out);
            self.character(character, out);
        }
    }

    /// Shows the begun sequence: it is none that a terminal may see.
    fn give_up(&mut self, out: &mut Vec<u8>) {
        for character in std::mem::take(&mut self.sequence).chars() {
            sign(character, out);
        }
    }
}

/// Writes a character, or a visible sign for one that a terminal would obey.
fn sign(character: char, out: &mut Vec<u8>) {
    let shown = match character {
        '\n' | '\t' | '\r' => character,
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        // C1 controls, and the marks that reverse the order of text.
        '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' => '\u{fffd}',
        other => other,
    };
    let mut buffer = [0; 4];
    out.extend_from_slice(shown.encode_utf8(&mut buffer).as_bytes());
}

/// Makes a text fit for a terminal: its lines, tabs and colours stay.
pub(crate) fn colored(text: &str) -> Vec<u8> {
    let (mut filter, mut out) = (Filter::default(), Vec::with_capacity(text.len()));
    filter.push(text.as_bytes(), &mut out);
    filter.finish(&mut out);
    out
}

/// Makes a text fit for a terminal: its lines and tabs stay, and no colour.
pub(crate) fn plain(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\r' => out.extend_from_slice("␍".as_bytes()),
            other => sign(other, &mut out),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Makes a text fit for one cell or one line: no control at all, also no colour and no line end.
pub(crate) fn visible(text: &str) -> String {
    if !text
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{2069}'))
    {
        return text.to_owned();
    }
    let mut out = Vec::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => out.extend_from_slice("↵".as_bytes()),
            '\t' => out.push(b' '),
            '\r' => out.extend_from_slice("␍".as_bytes()),
            other => sign(other, &mut out),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(parts: &[&[u8]]) -> Vec<u8> {
        let (mut filter, mut out) = (Filter::default(), Vec::new());
        for part in parts {
            filter.push(part, &mut out);
        }
        filter.finish(&mut out);
        out
    }

    fn text(input: &[u8]) -> String {
        String::from_utf8(filter(&[input])).unwrap()
    }

    #[test]
    fn colours_pass() {
        let line = "\x1b[1;31mred\x1b[0m \x1b[38;2;1;2;3mtrue\x1b[m\n";
        assert_eq!(text(line.as_bytes()), line);
    }

    #[test]
    fn everything_else_that_a_terminal_obeys_is_shown() {
        for hostile in [
            "\x1b]0;title\x07",
            "\x1b]52;c;aGk=\x07",
            "\x1b]8;;http://x\x1b\\",
            "\x1b[2J",
            "\x1b[1;1H",
            "\x1bc",
            "\x1b[?25l",
            "\x1bP+q\x1b\\",
            "\u{9b}2J",
            "\x08\x08",
            "\x1b[31",
            "\x1b",
            "\u{202e}abc",
        ] {
            let shown = text(hostile.as_bytes());
            assert!(
                !shown.contains(['\x1b', '\x07', '\x08', '\u{9b}', '\u{202e}']),
                "{hostile:?} became {shown:?}"
            );
        }
        assert_eq!(text(b"\x1b[2Jx"), "␛[2Jx");
    }

    #[test]
    fn invalid_utf8_cannot_smuggle_control_codes() {
        assert_eq!(text(b"a\x9b2Jb"), "a\u{fffd}2Jb");
    }

    #[test]
    fn a_text_keeps_its_lines_and_only_a_colored_one_its_colours() {
        let told = "a\tb\r\n\x1b[31mc\x1b[2J\u{9b}2J";
        assert_eq!(plain(told), "a\tb␍\n␛[31mc␛[2J\u{fffd}2J");
        assert_eq!(colored(told), "a\tb\r\n\x1b[31mc␛[2J\u{fffd}2J".as_bytes());
    }

    #[test]
    fn a_cell_has_no_line_end_and_no_colour() {
        assert_eq!(visible("a\nb\x1b[31mc"), "a↵b␛[31mc");
        assert_eq!(visible("上海"), "上海");
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_cut_changes_nothing(bytes in prop::collection::vec(prop_oneof![
            Just(0x1b_u8), Just(b'['), Just(b'm'), Just(b'3'), Just(0xe4), Just(0xb8), Just(0x8a), any::<u8>(),
        ], 0..60), cut in 0_usize..60) {
            let cut = cut.min(bytes.len());
            prop_assert_eq!(filter(&[&bytes[..cut], &bytes[cut..]]), filter(&[&bytes]));
        }

        #[test]
        fn an_escape_that_comes_through_always_begins_a_colour(bytes in prop::collection::vec(prop_oneof![
            Just(0x1b_u8), Just(b'['), Just(b'm'), Just(b';'), Just(b'1'), any::<u8>(),
        ], 0..200)) {
            let out = String::from_utf8(filter(&[&bytes])).unwrap();
            for rest in out.split('\x1b').skip(1) {
                let body = rest.strip_prefix('[').unwrap();
                let end = body.find(|c: char| !(c.is_ascii_digit() || c == ';' || c == ':')).unwrap();
                prop_assert_eq!(&body[end..=end], "m");
            }
        }
    }
}
