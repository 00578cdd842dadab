//! What is not gRPC: the console, and the answer to calls that nobody knows.

pub mod console;

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use opslink::{locale::Language, problem::Problem, reason::Reason};

use crate::status::to_status;

/// Answers everything that no service took.
pub async fn fallback(request: Request) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
    match content_type {
        Some(kind) if kind.as_bytes().starts_with(b"application/grpc") => unknown_call(request.uri().path(), kind),
        Some(_) | None => console::serve(request).await.into_response(),
    }
}

/// gRPC clients get a gRPC answer, not a page.
fn unknown_call(path: &str, kind: HeaderValue) -> Response {
    let problem = Problem::new(Reason::Unimplemented).with("rpc", path);
    let mut response = to_status(&problem, Language::En).into_http::<Body>();
    if kind.as_bytes().starts_with(b"application/grpc-web") {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}
