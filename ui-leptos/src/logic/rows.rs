//! Visual rows of wrapped text: every row has the same height, so a list of a million rows needs no measuring.

/// Columns that a letter takes in a monospaced font.
pub fn width(letter: char) -> usize {
    match u32::from(letter) {
        0..=0x1f
        | 0x7f..=0x9f
        | 0x300..=0x36f
        | 0x200b..=0x200f
        | 0x202a..=0x202e
        | 0x2066..=0x2069
        | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0x33ff
        | 0x3400..=0x4dbf
        | 0x4e00..=0x9fff
        | 0xa000..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// Columns that a text takes.
pub fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// Cuts text into pieces of at most `columns` columns, as byte ranges. Never empty.
pub fn wrap(text: &str, columns: usize) -> Vec<(usize, usize)> {
    let columns = columns.max(8);
    let mut pieces = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (at, letter) in text.char_indices() {
        let takes = if letter == '\t' { 8 - used % 8 } else { width(letter) };
        if used + takes > columns && at > start {
            pieces.push((start, at));
            (start, used) = (at, 0);
        }
        used += takes;
    }
    pieces.push((start, text.len()));
    pieces
}

/// How many pieces [`wrap`] makes, without making them. Quick for short ASCII lines.
pub fn wrapped_len(text: &str, columns: usize) -> usize {
    let columns = columns.max(8);
    if text.len() <= columns && !text.contains('\t') {
        1
    } else {
        wrap(text, columns).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str, columns: usize) -> Vec<&str> {
        wrap(text, columns)
            .into_iter()
            .map(|(start, end)| &text[start..end])
            .collect()
    }

    #[test]
    fn text_is_cut_at_the_edge() {
        assert_eq!(pieces("abcdefghij", 8), ["abcdefgh", "ij"]);
        assert_eq!(pieces("", 8), [""]);
        assert_eq!(wrapped_len("abcdefghij", 8), 2);
    }

    #[test]
    fn wide_letters_take_two() {
        assert_eq!(pieces("中文中文中", 8), ["中文中文", "中"]);
    }
}
