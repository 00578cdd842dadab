//! What a task asks for: its limits. The action itself is converted by its kind, in [`crate::kind`].

use std::time::Duration;

use super::{InvalidMessage, whole_secs};
use crate::{
    kind::{self, Action},
    pb,
    task::TaskSpec,
};

/// Run time when none is asked for.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3_600);
/// TERM to KILL when none is asked for.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

impl TryFrom<pb::TaskSpec> for TaskSpec {
    type Error = InvalidMessage;

    fn try_from(spec: pb::TaskSpec) -> Result<Self, InvalidMessage> {
        let action = spec
            .action
            .ok_or_else(|| InvalidMessage::new("spec.action", format!("must be given: {}", every_kind())))?;
        let seconds_or = |secs: u32, default| {
            if secs == 0 {
                default
            } else {
                Duration::from_secs(secs.into())
            }
        };
        Ok(Self {
            action: Action::try_from(action)?,
            timeout: seconds_or(spec.timeout_secs, DEFAULT_TIMEOUT),
            grace: seconds_or(spec.grace_secs, DEFAULT_GRACE),
        })
    }
}

impl From<TaskSpec> for pb::TaskSpec {
    fn from(spec: TaskSpec) -> Self {
        Self {
            action: Some(spec.action.into()),
            timeout_secs: whole_secs(spec.timeout),
            grace_secs: whole_secs(spec.grace),
        }
    }
}

/// The names of all kinds, for people.
fn every_kind() -> String {
    match kind::NAMES {
        [before @ .., last] if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        names => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_says_nothing_to_do_is_told_what_there_is() {
        let error = TaskSpec::try_from(pb::TaskSpec::default()).unwrap_err();
        assert_eq!(error.to_string(), "`spec.action` must be given: shell, sql or fake");
    }

    #[test]
    fn defaults_of_the_proto_comments_are_applied() {
        let shell = pb::ShellSpec {
            argv: vec!["true".into()],
            ..Default::default()
        };
        let spec = TaskSpec::try_from(pb::TaskSpec {
            action: Some(pb::task_spec::Action::Shell(shell)),
            timeout_secs: 0,
            grace_secs: 0,
        })
        .unwrap();
        assert_eq!((spec.timeout, spec.grace), (DEFAULT_TIMEOUT, DEFAULT_GRACE));
    }
}
