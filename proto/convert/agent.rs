//! Names and labels of agents.

use std::collections::{BTreeMap, HashMap};

use super::InvalidMessage;
use crate::reason::Reason;

/// Longest name of an agent, in characters (they are ASCII). A DNS label's length.
pub const AGENT_NAME_MAX: usize = 63;
/// Longest key or value of a label, in characters. As in Kubernetes.
pub const LABEL_MAX: usize = 63;
/// Most labels of one agent.
pub const LABELS_MAX: usize = 64;

/// Checks an agent name: 1 to 63 characters of `a-z 0-9 . _ -`, the first a letter or a digit.
///
/// # Errors
/// `AGENT_NAME_INVALID`.
pub fn agent_name(field: &str, name: &str) -> Result<String, InvalidMessage> {
    let invalid = |reason: &str| InvalidMessage::new(field, reason).because(Reason::AgentNameInvalid);
    if name.is_empty() || name.len() > AGENT_NAME_MAX {
        return Err(invalid("must have 1 to 63 characters"));
    }
    if !name
        .bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
    {
        return Err(invalid("may only have the characters a-z 0-9 . _ -"));
    }
    if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Err(invalid("must begin with a letter or a digit"));
    }
    Ok(name.to_owned())
}

/// Checks the labels that the server keeps for an agent.
///
/// # Errors
/// `LABEL_INVALID`: too many, too long, a character that a selector could not name, or a key under `agent/`.
pub fn labels(field: &str, labels: HashMap<String, String>) -> Result<BTreeMap<String, String>, InvalidMessage> {
    let invalid = |reason: String| InvalidMessage::new(field, reason).because(Reason::LabelInvalid);
    if labels.len() > LABELS_MAX {
        return Err(invalid(format!(
            "has {} labels; at most {LABELS_MAX} are kept",
            labels.len()
        )));
    }
    for (key, value) in &labels {
        if key.is_empty() || key.len() > LABEL_MAX || !key.bytes().all(is_key_byte) {
            return Err(invalid(format!(
                "has the key `{key}`; keys are 1 to 63 characters of A-Z a-z 0-9 . _ - /"
            )));
        }
        if key.starts_with("agent/") {
            return Err(invalid(format!(
                "has the key `{key}`; `agent/` belongs to what agents say of themselves"
            )));
        }
        if value.len() > LABEL_MAX || !value.bytes().all(is_value_byte) {
            return Err(invalid(format!(
                "has the value `{value}` at `{key}`; values are at most 63 characters of A-Z a-z 0-9 . _ - / : @ +"
            )));
        }
    }
    Ok(labels.into_iter().collect())
}

/// Characters of a label's key, also in selectors.
pub(crate) const fn is_key_byte(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'/')
}

/// Characters of a label's value, also in selectors.
pub(crate) const fn is_value_byte(byte: u8) -> bool {
    is_key_byte(byte) || matches!(byte, b':' | b'@' | b'+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names_pass_and_bad_ones_say_why() {
        for good in ["prod", "web-01.bj", "0", &"a".repeat(63)] {
            assert_eq!(agent_name("name", good).unwrap(), good);
        }
        for bad in ["", "Prod", "a b", "-a", ".a", "é", &"a".repeat(64)] {
            assert_eq!(
                agent_name("name", bad).unwrap_err().code,
                Reason::AgentNameInvalid,
                "{bad}"
            );
        }
    }

    #[test]
    fn labels_that_a_selector_could_not_name_are_refused() {
        let one = |key: &str, value: &str| labels("labels", HashMap::from([(key.to_owned(), value.to_owned())]));
        assert!(one("env", "prod").is_ok());
        assert!(one("env", "").is_ok());
        assert!(one("example.org/role", "web:1").is_ok());
        for (key, value) in [
            ("", "x"),
            ("a=b", "x"),
            ("agent/os", "linux"),
            ("env", "a,b"),
            ("env", "a b"),
        ] {
            assert_eq!(one(key, value).unwrap_err().code, Reason::LabelInvalid, "{key}={value}");
        }
    }
}
