//! `cloudctl context current`.

use crate::{app::App, exit::Exit, failure::Failure, output};

/// Runs `context current`.
pub(super) fn run(app: &App) -> Result<Exit, Failure> {
    match app.globals.context.clone().or(app.config.contexts()?.current) {
        Some(name) => output::print(format!("{name}\n").as_bytes()).map(|()| Exit::Done),
        None => Err(Failure::local(Exit::NotAllowed, "NOT_LOGGED_IN", &[])),
    }
}
