//! States of executions and tasks.

use super::InvalidMessage;
use crate::{
    pb,
    task::{ExecutionState, TaskState},
};

impl From<ExecutionState> for pb::ExecutionState {
    fn from(state: ExecutionState) -> Self {
        match state {
            ExecutionState::Held => Self::Held,
            ExecutionState::Queued => Self::Queued,
            ExecutionState::Dispatched => Self::Dispatched,
            ExecutionState::Running => Self::Running,
            ExecutionState::Succeeded => Self::Succeeded,
            ExecutionState::Failed => Self::Failed,
            ExecutionState::TimedOut => Self::TimedOut,
            ExecutionState::Canceled => Self::Canceled,
            ExecutionState::Refused => Self::Refused,
            ExecutionState::Expired => Self::Expired,
            ExecutionState::Lost => Self::Lost,
        }
    }
}

impl TryFrom<pb::ExecutionState> for ExecutionState {
    type Error = InvalidMessage;

    fn try_from(state: pb::ExecutionState) -> Result<Self, InvalidMessage> {
        match state {
            pb::ExecutionState::Unspecified => Err(InvalidMessage::new("state", "must be given")),
            pb::ExecutionState::Held => Ok(Self::Held),
            pb::ExecutionState::Queued => Ok(Self::Queued),
            pb::ExecutionState::Dispatched => Ok(Self::Dispatched),
            pb::ExecutionState::Running => Ok(Self::Running),
            pb::ExecutionState::Succeeded => Ok(Self::Succeeded),
            pb::ExecutionState::Failed => Ok(Self::Failed),
            pb::ExecutionState::TimedOut => Ok(Self::TimedOut),
            pb::ExecutionState::Canceled => Ok(Self::Canceled),
            pb::ExecutionState::Refused => Ok(Self::Refused),
            pb::ExecutionState::Expired => Ok(Self::Expired),
            pb::ExecutionState::Lost => Ok(Self::Lost),
        }
    }
}

impl From<TaskState> for pb::TaskState {
    fn from(state: TaskState) -> Self {
        match state {
            TaskState::Pending => Self::Pending,
            TaskState::Running => Self::Running,
            TaskState::Succeeded => Self::Succeeded,
            TaskState::Failed => Self::Failed,
            TaskState::Canceled => Self::Canceled,
        }
    }
}

impl TryFrom<pb::TaskState> for TaskState {
    type Error = InvalidMessage;

    fn try_from(state: pb::TaskState) -> Result<Self, InvalidMessage> {
        match state {
            pb::TaskState::Unspecified => Err(InvalidMessage::new("state", "must be given")),
            pb::TaskState::Pending => Ok(Self::Pending),
            pb::TaskState::Running => Ok(Self::Running),
            pb::TaskState::Succeeded => Ok(Self::Succeeded),
            pb::TaskState::Failed => Ok(Self::Failed),
            pb::TaskState::Canceled => Ok(Self::Canceled),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_round_trips() {
        for state in ExecutionState::ALL {
            assert_eq!(
                ExecutionState::try_from(pb::ExecutionState::from(state)).unwrap(),
                state
            );
        }
        for state in [
            TaskState::Pending,
            TaskState::Running,
            TaskState::Succeeded,
            TaskState::Failed,
            TaskState::Canceled,
        ] {
            assert_eq!(TaskState::try_from(pb::TaskState::from(state)).unwrap(), state);
        }
        assert!(ExecutionState::try_from(pb::ExecutionState::Unspecified).is_err());
        assert!(TaskState::try_from(pb::TaskState::Unspecified).is_err());
    }
}
