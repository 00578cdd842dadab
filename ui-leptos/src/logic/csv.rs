//! CSV as RFC 4180 has it. NULL is an empty field, an empty text is `""`. What a spreadsheet would run as a formula gets
//! a `'` before it, as OWASP's "CSV Injection" says.

/// What a file of it begins with: Excel takes what has none for the machine's old code page.
pub const BOM: &[u8] = "\u{feff}".as_bytes();

/// Appends one record.
pub fn record<'a>(out: &mut String, cells: impl Iterator<Item = Option<&'a str>>) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            out.push(',');
        }
        let Some(cell) = cell else { continue };
        let formula = match cell.chars().next() {
            Some('=' | '@' | '\t' | '\r') => true,
            // A signed number is none.
            Some('+' | '-') => cell.parse::<f64>().is_err(),
            _ => false,
        };
        let guarded;
        let cell = if formula {
            guarded = format!("'{cell}");
            guarded.as_str()
        } else {
            cell
        };
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

    #[test]
    fn formulas_are_text_and_numbers_stay_numbers() {
        let mut out = String::new();
        let cells = ["=1+1", "@SUM(A1)", "+cmd", "-1+1", "-1", "+1.5e3", "a=b"];
        record(&mut out, cells.into_iter().map(Some));
        assert_eq!(out, "'=1+1,'@SUM(A1),'+cmd,'-1+1,-1,+1.5e3,a=b\r\n");
    }
}
