//! `cloudctl context list`.

use serde::Serialize;

use crate::{app::App, exit::Exit, failure::Failure, output::Column};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    current: bool,
    server: String,
    user: Option<String>,
    ca_sha256: Option<String>,
}

/// Runs `context list`.
pub(super) fn run(app: &App) -> Result<Exit, Failure> {
    let contexts = app.config.contexts()?;
    let current = contexts.current;
    let rows: Vec<Row> = contexts
        .contexts
        .into_iter()
        .map(|(name, context)| Row {
            current: current.as_deref() == Some(&name),
            name,
            server: context.server,
            user: context.user,
            ca_sha256: context.ca_sha256,
        })
        .collect();
    let columns: [Column<Row>; 5] = [
        Column::new(
            "CURRENT",
            |row| if row.current { "*".to_owned() } else { String::new() },
        ),
        Column::new("NAME", |row| row.name.clone()),
        Column::new("SERVER", |row| row.server.clone()),
        Column::new("USER", |row| row.user.clone().unwrap_or_default()),
        Column::wide("CA SHA256", |row| row.ca_sha256.clone().unwrap_or_default()),
    ];
    app.listing().list(&rows, |row| row.name.clone(), &columns)?;
    Ok(Exit::Done)
}
