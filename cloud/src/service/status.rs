//! The one place that makes a `tonic::Status`.
//!
//! Every error carries one `ErrorInfo` (the reason and its arguments, for programs) and one `LocalizedMessage` (three
//! lines for people). The plain message is its first line.

use std::collections::HashMap;

use opslink::{convert::InvalidMessage, locale::Language, problem::Problem, reason::Reason};
use tonic::{Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{pki, store};

/// Domain of every `ErrorInfo`.
pub const DOMAIN: &str = "opslink";

/// Longest text in a status: it travels in HTTP headers, which are bounded.
const MAX_TEXT_BYTES: usize = 2048;

/// Returns the language that a caller wants for messages (`accept-language`); English when it says nothing known.
pub fn language(metadata: &MetadataMap) -> Language {
    metadata
        .get("accept-language")
        .and_then(|value| value.to_str().ok())
        .and_then(Language::from_tag)
        .unwrap_or_default()
}

/// Turns a problem into what goes over the wire, in this language.
pub fn to_status(problem: &Problem, language: Language) -> Status {
    let code = problem.reason.grpc();
    let args: HashMap<String, String> = problem
        .args
        .iter()
        .map(|(name, value)| (name.clone(), cut(value.clone())))
        .collect();
    let mut details = ErrorDetails::new();
    details
        .set_error_info(problem.reason.code(), DOMAIN, args)
        .set_localized_message(language.tag(), cut(problem.lines(language)));
    if let Some(seconds) = retry_after(problem) {
        details.set_retry_info(Some(std::time::Duration::from_secs(seconds)));
    }
    Status::with_error_details(code, cut(problem.what(language)), details)
}

/// Turns an error of the store into a problem. What the database said goes to the log and, for admins to find it
/// again, into the problem; it never holds SQL text or values.
pub fn store_problem(error: store::Error) -> Problem {
    match error {
        store::Error::Unavailable { message, reason } => {
            tracing::error!(error = message, reason, "the store is unavailable");
            if reason == Reason::DiskFull.code() {
                Problem::new(Reason::DiskFull).with("path", "the database")
            } else {
                Problem::new(Reason::DatabaseUnavailable).with("detail", message)
            }
        }
        store::Error::Corrupt { what, message } => {
            tracing::error!(what, error = message, "the store holds something unreadable");
            Problem::new(Reason::Internal).with("detail", format!("stored {what} is not readable"))
        }
        store::Error::Exists { what, name } => {
            Problem::plain(Reason::InvalidArgument, format!("{what} `{name}` already exists"))
                .with("field", what)
                .with("detail", "already exists")
        }
        store::Error::NotFound { what, name } => match what {
            "agent" => Problem::new(Reason::AgentNotFound).with("agent", name),
            "task" => Problem::new(Reason::TaskNotFound).with("task", name),
            "attempt" => Problem::new(Reason::AttemptNotFound).with("attempt", name),
            // `what` is a word of the engines, not a closed set.
            _ => Problem::new(Reason::TokenNotFound).with("name", name),
        },
    }
}

/// Turns an error of the certificate authority into a problem.
pub fn pki_problem(error: pki::Error) -> Problem {
    match error {
        pki::Error::Store(error) => store_problem(error),
        pki::Error::Request(detail) => Problem::new(Reason::CsrInvalid).with("detail", detail),
        pki::Error::Corrupt { .. } | pki::Error::Issue(_) | pki::Error::Random => {
            tracing::error!(%error, "the certificate authority failed");
            Problem::new(Reason::Internal).with("detail", error)
        }
    }
}

/// Makes the problem of one bad field.
pub fn bad_field(field: &str, detail: impl Into<String>) -> Problem {
    InvalidMessage::new(field, detail).into()
}

fn retry_after(problem: &Problem) -> Option<u64> {
    problem
        .args
        .get("seconds")
        .and_then(|seconds| seconds.parse().ok())
        .filter(|_| problem.reason.retryable())
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let end = (0..=MAX_TEXT_BYTES)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn a_status_carries_the_reason_for_programs_and_three_lines_for_people() {
        let problem = Problem::new(Reason::AgentNotFound).with("agent", "prod");
        let status = to_status(&problem, Language::En);
        assert_eq!(status.code(), Code::NotFound);
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("AGENT_NOT_FOUND", "opslink")
        );
        assert_eq!(info.metadata["agent"], "prod");
        let message = details.localized_message().unwrap();
        assert_eq!(message.locale, "en");
        assert_eq!(message.message.lines().count(), 3);
        assert!(status.message().contains("prod"));
    }

    #[test]
    fn the_language_follows_the_header() {
        let mut metadata = MetadataMap::new();
        assert_eq!(language(&metadata), Language::En);
        metadata.insert("accept-language", "zh-CN,zh;q=0.9,en;q=0.8".parse().unwrap());
        assert_eq!(language(&metadata), Language::ZhCn);
        let status = to_status(&Reason::Unauthenticated.into(), language(&metadata));
        assert_eq!(status.get_error_details().localized_message().unwrap().locale, "zh-CN");
    }

    #[test]
    fn a_wait_is_told_to_programs_too() {
        let status = to_status(&Problem::new(Reason::TooManyAttempts).with("seconds", 7), Language::En);
        let delay = status.get_error_details().retry_info().unwrap().retry_delay.unwrap();
        assert_eq!(delay.as_secs(), 7);
    }

    #[test]
    fn huge_texts_are_cut_to_what_headers_take() {
        let problem = Problem::plain(Reason::Internal, "é".repeat(100_000)).with("detail", "x".repeat(100_000));
        let status = to_status(&problem, Language::En);
        let mut headers = http::HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        let size: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        assert!(size < 32 * 1024, "{size}");
    }
}
