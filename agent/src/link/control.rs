//! The control frames that the courier says by itself. Pure.

use opslink::{
    id::AttemptId,
    pb::{Accepted, Refused, Unimplemented, attach_request::Frame},
};

use crate::launch::{Phase, Refusal};

pub(super) fn accepted(id: AttemptId, phase: Phase) -> Frame {
    Frame::Accepted(Accepted {
        attempt_id: id.to_string(),
        phase: phase.to_pb().into(),
    })
}

pub(super) fn refused(id: AttemptId, refusal: Refusal) -> Frame {
    let Refusal { reason, message } = refusal;
    Frame::Refused(Refused {
        attempt_id: id.to_string(),
        reason: reason.to_owned(),
        message,
    })
}

pub(super) fn unimplemented(name: &str) -> Frame {
    Frame::Unimplemented(Unimplemented { frame: name.to_owned() })
}

/// Which attempt the frame refuses, if any.
pub(super) fn refused_attempt(frame: &Frame) -> Option<AttemptId> {
    match frame {
        Frame::Refused(refused) => refused.attempt_id.parse().ok(),
        _ => None,
    }
}
