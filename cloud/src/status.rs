//! The one place that makes a `tonic::Status`.
//!
//! Every error carries one `ErrorInfo` (the reason and its arguments, for programs) and one `LocalizedMessage` (three
//! lines for people). The plain message is its first line.

use std::collections::HashMap;

use http::HeaderMap;
use opslink::{convert::InvalidMessage, locale::Language, problem::Problem, reason::Reason};
use tonic::{Code, Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{pki, store};

/// Domain of every `ErrorInfo`.
pub const DOMAIN: &str = "opslink";

/// Longest plain message. It travels in HTTP trailers, of which other clients take 8 KiB in all; beyond ASCII each byte
/// takes three there.
const MAX_MESSAGE_BYTES: usize = 512;
/// Longest three lines for people.
const MAX_LINES_BYTES: usize = 2048;
/// Arguments in all: an echoed value may be as long as a request.
const MAX_ARGS_BYTES: usize = 2048;

/// Returns the language that a caller wants for messages (`accept-language`); English when it says nothing known.
pub fn language(metadata: &MetadataMap) -> Language {
    header_language(metadata.as_ref())
}

/// The same, before a request is a message.
pub fn header_language(headers: &HeaderMap) -> Language {
    headers
        .get("accept-language")
        .and_then(|value| value.to_str().ok())
        .and_then(Language::from_tag)
        .unwrap_or_default()
}

/// Turns a problem into what goes over the wire, in this language.
pub fn to_status(problem: &Problem, language: Language) -> Status {
    let code = problem.reason.grpc();
    let mut left = MAX_ARGS_BYTES;
    let args: HashMap<String, String> = problem
        .args
        .iter()
        .map(|(name, value)| {
            let value = cut(printable(value), left / 2);
            left -= value.len().min(left);
            (name.clone(), value)
        })
        .collect();
    let mut details = ErrorDetails::new();
    details
        .set_error_info(problem.reason.code(), DOMAIN, args)
        .set_localized_message(
            language.tag(),
            cut(printable(&problem.lines(language)), MAX_LINES_BYTES),
        );
    if let Some(seconds) = retry_after(problem) {
        details.set_retry_info(Some(std::time::Duration::from_secs(seconds)));
    }
    // One line: it is what logs and terminals show.
    let message = printable(&problem.what(language)).replace('\n', " ");
    Status::with_error_details(code, cut(message, MAX_MESSAGE_BYTES), details)
}

/// Without what a terminal obeys: messages echo what strangers sent.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c })
        .collect()
}

/// Gives an error that no handler made (an unknown method, a message above the limit) a reason of the catalogue too.
pub fn with_reason(response: axum::response::Response, path: &str, language: Language) -> axum::response::Response {
    let headers = response.headers();
    let Some(status) = headers.get(Status::GRPC_STATUS) else {
        return response;
    };
    if headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return response;
    }
    let said = headers.get("grpc-message").and_then(|text| text.to_str().ok());
    let problem = match Code::from_bytes(status.as_bytes()) {
        Code::Unimplemented => Problem::new(Reason::Unimplemented).with("rpc", path),
        Code::OutOfRange => {
            // "…: found 70000 bytes, the limit is: 65536 bytes", with its blanks encoded.
            let numbers: Vec<&str> = said
                .unwrap_or_default()
                .split("%20")
                .filter(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()))
                .collect();
            match numbers.as_slice() {
                [size, limit] => Problem::new(Reason::MessageTooLarge)
                    .with("size", size)
                    .with("limit", limit),
                _ => return response,
            }
        }
        _ => return response,
    };
    let kind = headers.get(http::header::CONTENT_TYPE).cloned();
    let mut answer = to_status(&problem, language).into_http();
    if let Some(kind) = kind {
        answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    }
    answer
}

/// Turns an error of the store into a problem. What the database said goes to the log and, for admins to find it
/// again, into the problem; it never holds SQL text or values.
pub fn store_problem(error: store::Error) -> Problem {
    match error {
        store::Error::Unavailable { message, reason, .. } => {
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

/// Says why the agents could not be read at the start. Without them a cloud would not know whom to let in.
pub fn agents_problem(error: store::Error) -> Problem {
    match error {
        store::Error::Corrupt { what, message } => {
            tracing::error!(what, error = message, "the agents cannot be read");
            Problem::new(Reason::DatabaseCorrupt).with("detail", message)
        }
        store::Error::Unavailable { .. } | store::Error::Exists { .. } | store::Error::NotFound { .. } => {
            store_problem(error)
        }
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

fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
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
        assert!(size < 8 * 1024, "{size}");
        let chinese = to_status(
            &Problem::new(Reason::AgentNotFound).with("agent", "云".repeat(9_000)),
            Language::ZhCn,
        );
        let mut headers = http::HeaderMap::new();
        chinese.add_header(&mut headers).unwrap();
        let size: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        assert!(size < 8 * 1024, "{size}");
    }

    #[test]
    fn what_a_terminal_obeys_is_not_echoed() {
        let status = to_status(
            &Problem::new(Reason::AgentNotFound).with("agent", "\x1b[31mx\r\ny"),
            Language::En,
        );
        assert!(
            !status.message().chars().any(char::is_control),
            "{:?}",
            status.message()
        );
        let details = status.get_error_details();
        let shown = &details.localized_message().unwrap().message;
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        assert!(!details.error_info().unwrap().metadata["agent"].contains('\x1b'));
    }

    #[test]
    fn errors_that_no_handler_made_have_a_reason_too() {
        let reason = |status: Status| {
            let answer = with_reason(status.into_http(), "/opslink.v1.X/Y", Language::En);
            let status = Status::from_header_map(answer.headers()).unwrap();
            status.get_error_details().error_info().unwrap().clone()
        };
        assert_eq!(reason(Status::unimplemented("")).reason, "UNIMPLEMENTED");
        let text = "Error, decoded message length too large: found 70000 bytes, the limit is: 65536 bytes";
        let large = reason(Status::out_of_range(text));
        assert_eq!(large.reason, "MESSAGE_TOO_LARGE");
        assert_eq!(
            (large.metadata["size"].as_str(), large.metadata["limit"].as_str()),
            ("70000", "65536")
        );
    }
}
