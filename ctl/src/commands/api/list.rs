//! `cloudctl api list`: every method with what it takes, gives and does.

use prost_reflect::{DescriptorPool, MethodDescriptor};
use serde::Serialize;

use crate::{app::App, commands::api, exit::Exit, failure::Failure, output::Column};

#[derive(Serialize)]
struct Row {
    method: String,
    request: String,
    response: String,
    about: String,
}

/// Runs `api list`.
pub(super) fn run(pool: &DescriptorPool, app: &App) -> Result<Exit, Failure> {
    let rows: Vec<Row> = api::methods(pool).iter().map(row).collect();
    let columns: [Column<Row>; 4] = [
        Column::new("METHOD", |row| row.method.clone()),
        Column::wide("REQUEST", |row| row.request.clone()),
        Column::wide("RESPONSE", |row| row.response.clone()),
        Column::new("ABOUT", |row| row.about.clone()),
    ];
    app.listing().list(&rows, |row| row.method.clone(), &columns)?;
    Ok(Exit::Done)
}

fn row(method: &MethodDescriptor) -> Row {
    let stream = |streams: bool, name: &str| {
        if streams {
            format!("stream {name}")
        } else {
            name.to_owned()
        }
    };
    Row {
        method: format!("{}/{}", method.parent_service().name(), method.name()),
        request: stream(method.is_client_streaming(), method.input().name()),
        response: stream(method.is_server_streaming(), method.output().name()),
        about: comment(method),
    }
}

/// Returns the first sentence of the comment in the `.proto` file.
fn comment(method: &MethodDescriptor) -> String {
    let file = method.parent_file();
    let path = method.path();
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    let text = location
        .map(|location| location.leading_comments().replace('\n', " "))
        .unwrap_or_default();
    let first = text.split(". ").next().unwrap_or_default().trim().trim_end_matches('.');
    first.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_says_what_it_is_about() {
        let pool = DescriptorPool::decode(opslink::pb::DESCRIPTOR_SET).unwrap();
        let rows: Vec<Row> = api::methods(&pool).iter().map(row).collect();
        assert!(rows.len() > 20);
        assert!(
            rows.iter()
                .any(|row| row.method == "TaskService/CreateTask" && row.about.contains("Creates a task"))
        );
        assert!(rows.iter().any(|row| row.response == "stream WatchTaskResponse"));
    }
}
