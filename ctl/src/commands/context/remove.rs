//! `cloudctl context remove NAME`.

use crate::{app::App, exit::Exit, failure::Failure, terminal, text::text};

/// Runs `context remove`.
pub(super) fn run(name: &str, app: &App) -> Result<Exit, Failure> {
    app.config.remove(name)?;
    terminal::say(&text("context-removed", &[("name", name)]));
    Ok(Exit::Done)
}
