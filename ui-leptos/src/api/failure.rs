//! A call that did not work, as a page shows it.

use wasm_bindgen::JsValue;

use crate::{i18n::t, logic::status::Status, session::session};

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

    /// No answer came.
    pub(super) fn unreachable() -> Self {
        Self {
            reason: UNREACHABLE.into(),
            what: t("error-unreachable"),
            why: t("error-unreachable-why"),
            fix: t("error-unreachable-fix"),
        }
    }

    /// The browser could not reach the cloud. Its own words say no more than that.
    pub(super) fn silent(_: JsValue) -> Self {
        Self::unreachable()
    }

    /// An answer came and makes no sense.
    pub(super) fn broken(why: &str) -> Self {
        Self {
            reason: "INTERNAL".into(),
            what: format!("opslink: {why}"),
            why: String::new(),
            fix: String::new(),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        if status.code == "UNAUTHENTICATED" && status.reason.as_deref() != Some("LOGIN_FAILED") {
            session().lost();
        }
        let Some(reason) = status.reason else {
            // Without details it is not our server that spoke, or nobody did.
            if matches!(status.code, "" | "UNKNOWN" | "UNAVAILABLE" | "INTERNAL") {
                return Self::unreachable();
            }
            return Self {
                reason: status.code.to_owned(),
                what: status.message,
                why: String::new(),
                fix: String::new(),
            };
        };
        let (what, why, fix) = three(&status.text.unwrap_or(status.message));
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
