//! What becomes of calls that no row of the table knows.

use axum::{Router, middleware::from_fn_with_state, routing::any};
use futures::stream;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_types::StatusExt;
use tower::ServiceExt;

use super::*;
use crate::{
    server::{Cloud, Settings},
    store::{Store, memory::MemoryStore},
};

/// Services whose handlers let everybody in: nobody asked the gate.
async fn open_to_everybody(stop: &CancellationToken) -> Router {
    let settings = Settings {
        names: vec!["localhost".to_owned()],
        ..Settings::default()
    };
    let store = Store::from(MemoryStore::new());
    let cloud = Cloud::assemble(store, settings, stop.clone()).await.unwrap();
    let reached = || any(|| async { "reached" });
    Router::new()
        .route("/opslink.v1.TaskService/{*method}", reached())
        .route("/opslink.v2.TaskService/{*method}", reached())
        .route("/other.v1.TaskService/{*method}", reached())
        .route_layer(from_fn_with_state(
            Headers::new(cloud.gate.clone(), cloud.directory.clone()),
            check,
        ))
}

fn call(path: &str, body: Body) -> Request {
    http::Request::post(path).body(body).unwrap()
}

#[tokio::test]
async fn a_call_of_ours_that_is_in_no_row_is_refused_unread_whatever_its_handler_does() {
    let stop = CancellationToken::new();
    let router = open_to_everybody(&stop).await;
    for path in [
        "/opslink.v2.TaskService/CreateTask",
        "/opslink.v1.TaskService/Nothing",
        "/opslink.v1.TaskService/createtask",
    ] {
        let unread = Body::from_stream(stream::poll_fn(|_| -> Poll<Option<Result<Bytes, axum::Error>>> {
            panic!("the body is read")
        }));
        let answer = router.clone().oneshot(call(path, unread)).await.unwrap();
        let status = Status::from_header_map(answer.headers()).expect(path);
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!(info.reason, Reason::Unimplemented.code());
        assert_eq!(info.metadata["rpc"], path);
    }
    // What is not ours has no table: reflection and health.
    let answer = router.oneshot(call("/other.v1.TaskService/X", Body::empty())).await;
    assert!(Status::from_header_map(answer.unwrap().headers()).is_none());
    stop.cancel();
}
