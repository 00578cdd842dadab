//! Labels as text: `env=prod, dc=bj`.

use std::collections::BTreeMap;

/// Reads labels separated by commas or white space.
///
/// # Errors
/// The part that is not `name=value`.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut labels = BTreeMap::new();
    for part in text.split([',', '\n', ' ', '\t']).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some((name, value)) if valid_name(name) && valid_value(value) => {
                labels.insert(name.to_owned(), value.to_owned());
            }
            _ => return Err(part.to_owned()),
        }
    }
    Ok(labels)
}

fn valid_name(name: &str) -> bool {
    let name = name.as_bytes();
    (1..=63).contains(&name.len())
        && name
            .iter()
            .all(|letter| letter.is_ascii_alphanumeric() || b"._-/".contains(letter))
        && !name.starts_with(b"agent/")
}

fn valid_value(value: &str) -> bool {
    value.len() <= 63
        && value
            .bytes()
            .all(|letter| letter.is_ascii_alphanumeric() || b"._-".contains(&letter))
}

/// Sorted `name=value` pairs.
pub fn pairs<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = labels
        .into_iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    super::order::by(&mut pairs, |a, b| a.cmp(b));
    pairs
}

/// `env=prod,dc=bj`, sorted.
pub fn text<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    pairs(labels)
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_and_written() {
        let labels = parse("env=prod, dc=bj\n").unwrap();
        assert_eq!(text(&labels), "dc=bj,env=prod");
    }

    #[test]
    fn a_bad_part_is_named() {
        assert_eq!(parse("env=prod, nonsense"), Err("nonsense".to_owned()));
        assert_eq!(parse("=x"), Err("=x".to_owned()));
        assert_eq!(parse("agent/os=linux"), Err("agent/os=linux".to_owned()));
    }
}
