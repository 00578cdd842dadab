//! A call that did not work, as a page shows it.

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::{i18n::t, session::session};

/// What, why, do this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// UPPER_SNAKE reason of the catalogue; `UNREACHABLE` when no answer came.
    pub reason: String,
    /// What happened. Can be several lines (a selector with its caret).
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do.
    pub fix: String,
}

/// Reason of a failure without an answer.
pub(crate) const UNREACHABLE: &str = "UNREACHABLE";

impl Failure {
    /// True when the same call may work later.
    pub(crate) fn is_unreachable(&self) -> bool {
        self.reason == UNREACHABLE
    }

    fn unreachable() -> Self {
        Self {
            reason: UNREACHABLE.into(),
            what: t("error-unreachable"),
            why: t("error-unreachable-why"),
            fix: t("error-unreachable-fix"),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        // Only what is shown is read: the other kinds of detail would bring their decoders with them.
        let reason = status.get_details_error_info().map(|info| info.reason);
        let code = status.code();
        if code == Code::Unauthenticated && reason.as_deref() != Some("LOGIN_FAILED") {
            session().lost();
        }
        let Some(reason) = reason else {
            // Without details it is not our server that spoke, or nobody did.
            if matches!(code, Code::Unknown | Code::Unavailable | Code::Internal)
                && !status.message().contains("opslink")
            {
                return Self::unreachable();
            }
            return Self {
                reason: format!("{code:?}").to_uppercase(),
                what: status.message().to_owned(),
                why: String::new(),
                fix: String::new(),
            };
        };
        let text = status
            .get_details_localized_message()
            .map_or_else(|| status.message().to_owned(), |text| text.message);
        let (what, why, fix) = three(&text);
        Self { reason, what, why, fix }
    }
}

/// The last two lines are why and what to do; whatever is above them is what happened.
fn three(text: &str) -> (String, String, String) {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    match lines.as_slice() {
        [what @ .., why, fix] if !what.is_empty() => (what.join("\n"), (*why).to_owned(), (*fix).to_owned()),
        _ => (text.trim_end().to_owned(), String::new(), String::new()),
    }
}
