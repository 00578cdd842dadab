//! CSV as RFC 4180 has it. NULL is an empty field, an empty text is `""`.

/// Appends one record.
pub fn record<'a>(out: &mut String, cells: impl Iterator<Item = Option<&'a str>>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            out.push(',');
        }
        let Some(cell) = cell else { continue };
        if cell.is_empty() || cell.contains([',', '"', '\n', '\r']) || cell.starts_with(' ') || cell.ends_with(' ') {
            out.push('"');
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(cell);
        }
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_text_differ() {
        let mut out = String::new();
        record(&mut out, [Some("a"), None, Some(""), Some("x,\"y\"\n")].into_iter());
        assert_eq!(out, "a,,\"\",\"x,\"\"y\"\"\n\"\r\n");
    }
}
