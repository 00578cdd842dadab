//! Agents in few words, for people.

/// Names that an error lists before it says 'and N more'.
const NAMES_SHOWN: usize = 10;

/// Says `1 agent`, `2 agents`.
pub(super) fn count_of_agents(count: usize) -> String {
    if count == 1 {
        "1 agent".to_owned()
    } else {
        format!("{count} agents")
    }
}

/// Names in a sentence: the first ten, and how many more there are.
pub(super) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMES_SHOWN);
    let mut text = names.take(NAMES_SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}
