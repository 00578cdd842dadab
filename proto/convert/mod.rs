//! Between wire types and domain types: `TryFrom` inward with [`InvalidMessage`], `From` outward. What belongs to one kind
//! of work is in [`crate::kind`].
//!
//! Wire types stop here. The defaults and limits that the comments of the .proto files name are applied on the way in
//! and nowhere else.

use std::time::Duration;

use crate::{reason::Reason, time::UnixMicros};

mod agent;
mod event;
mod execution;
mod outcome;
mod task_spec;

pub use agent::{AGENT_NAME_MAX, LABEL_MAX, LABELS_MAX, agent_name, labels};
pub use task_spec::{DEFAULT_GRACE, DEFAULT_TIMEOUT};

pub use crate::kind::{SCRIPT_MAX, STDIN_MAX};

/// A message that does not make sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {reason}")]
pub struct InvalidMessage {
    /// Path of the field, as in the .proto file: `spec.shell.argv`.
    pub field: String,
    /// What is wrong with it, so that `field` + reason is a sentence: `must not be empty`.
    pub reason: String,
    /// The catalogue's reason for it; `INVALID_ARGUMENT` when there is no better one.
    pub code: Reason,
    /// Arguments of that reason's sentences by name, see [`Reason::args`].
    pub args: Vec<(&'static str, String)>,
}

impl InvalidMessage {
    /// Makes one with the reason `INVALID_ARGUMENT`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
            code: Reason::InvalidArgument,
            args: Vec::new(),
        }
    }

    /// Gives it a better reason of the catalogue.
    #[must_use]
    pub fn because(mut self, code: Reason) -> Self {
        self.code = code;
        self
    }

    /// Adds an argument of its reason's sentences.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.args.push((name, value.to_string()));
        self
    }

    /// Puts the name of the outer message before the field.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }
}

/// Turns a point in time into its wire form.
pub fn timestamp(time: UnixMicros) -> pbjson_types::Timestamp {
    let nanos = time.0.rem_euclid(1_000_000) * 1_000;
    pbjson_types::Timestamp {
        seconds: time.0.div_euclid(1_000_000),
        // Below 1,000,000,000 by the line above.
        nanos: i32::try_from(nanos).unwrap_or(0),
    }
}

/// Turns a wire timestamp into a point in time; what does not fit becomes the nearest that does.
pub fn unix_micros(timestamp: &pbjson_types::Timestamp) -> UnixMicros {
    let micros = timestamp
        .seconds
        .saturating_mul(1_000_000)
        .saturating_add(i64::from(timestamp.nanos) / 1_000);
    UnixMicros(micros)
}

/// Empty means absent in proto3; absent means `None` here.
pub(crate) fn non_empty(text: String) -> Option<String> {
    if text.is_empty() { None } else { Some(text) }
}

/// Rounds up, so that no limit becomes 0, which would mean the default.
pub(crate) fn whole_secs(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn timestamps_round_trip(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            let wire = timestamp(UnixMicros(micros));
            prop_assert!((0..1_000_000_000).contains(&wire.nanos));
            prop_assert_eq!(unix_micros(&wire), UnixMicros(micros));
        }
    }

    #[test]
    fn an_impossible_timestamp_does_not_overflow() {
        let wire = pbjson_types::Timestamp {
            seconds: i64::MAX,
            nanos: i32::MAX,
        };
        assert_eq!(unix_micros(&wire), UnixMicros(i64::MAX));
    }

    #[test]
    fn an_invalid_message_names_its_field() {
        let error = InvalidMessage::new("argv", "must not be empty")
            .within("shell")
            .within("spec");
        assert_eq!(error.to_string(), "`spec.shell.argv` must not be empty");
    }
}
