//! How a call ended, as the cloud says it: a code, and in its details a reason for programs and a text for people.

use prost::Message;

use super::frames::{self, Trailers};

/// Names of the gRPC codes, by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Name of its gRPC code.
    pub code: &'static str,
    /// Its message, in English.
    pub message: String,
    /// UPPER_SNAKE reason of the catalogue.
    pub reason: Option<String>,
    /// What, why, do this, in the language that was asked for.
    pub text: Option<String>,
}

impl Status {
    /// Reads headers or trailers; `None` when they say nothing about an end.
    pub fn read(trailers: &Trailers) -> Option<Self> {
        let number: usize = trailers.get("grpc-status")?.parse().ok()?;
        let mut status = Self {
            code: CODES.get(number).copied().unwrap_or("UNKNOWN"),
            message: trailers
                .get("grpc-message")
                .map(|text| frames::unescape(text))
                .unwrap_or_default(),
            ..Self::default()
        };
        let details = trailers.get("grpc-status-details-bin").map(|text| frames::base64(text));
        let details = details.and_then(|bytes| Details::decode(bytes.as_slice()).ok());
        for detail in details.unwrap_or_default().details {
            match detail.type_url.rsplit('/').next() {
                Some("google.rpc.ErrorInfo") => {
                    status.reason = ErrorInfo::decode(detail.value.as_slice()).ok().map(|info| info.reason);
                }
                Some("google.rpc.LocalizedMessage") => {
                    status.text = LocalizedMessage::decode(detail.value.as_slice())
                        .ok()
                        .map(|text| text.message);
                }
                _ => {}
            }
        }
        Some(status)
    }

    /// True when nothing went wrong.
    pub fn is_ok(&self) -> bool {
        self.code == "OK"
    }
}

/// `google.rpc.Status`, as much of it as is shown.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.ErrorInfo`, as much of it as is shown.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
}

/// `google.rpc.LocalizedMessage`, as much of it as is shown.
#[derive(Clone, PartialEq, Message)]
struct LocalizedMessage {
    #[prost(string, tag = "2")]
    message: String,
}

#[cfg(test)]
mod tests {
    use ::base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    /// What the cloud's own library writes.
    fn written(details: ErrorDetails) -> Trailers {
        let status = tonic_types::pb::Status::decode(
            tonic::Status::with_error_details(tonic::Code::NotFound, "no such agent", details).details(),
        )
        .expect("details");
        let mut trailers = Trailers::new();
        trailers.insert("grpc-status".into(), "5".into());
        trailers.insert("grpc-message".into(), "no%20such%20agent".into());
        trailers.insert(
            "grpc-status-details-bin".into(),
            STANDARD_NO_PAD.encode(status.encode_to_vec()),
        );
        trailers
    }

    #[test]
    fn reason_and_text_are_found_among_other_details() {
        let mut details = ErrorDetails::with_error_info("AGENT_UNKNOWN", "opslink", std::collections::HashMap::new());
        details.set_bad_request(Vec::new());
        details.set_localized_message("zh-CN", "没有这个代理。\n为什么\n怎么办");
        let status = Status::read(&written(details)).expect("a status");
        assert_eq!(status.code, "NOT_FOUND");
        assert_eq!(status.message, "no such agent");
        assert_eq!(status.reason.as_deref(), Some("AGENT_UNKNOWN"));
        assert_eq!(status.text.as_deref(), Some("没有这个代理。\n为什么\n怎么办"));
    }

    #[test]
    fn an_end_without_words_is_an_end() {
        let ended: Trailers = [("grpc-status".to_owned(), "0".to_owned())].into();
        assert!(Status::read(&ended).is_some_and(|status| status.is_ok()));
        assert_eq!(Status::read(&Trailers::new()), None);
    }
}
