//! `cloudctl context use NAME`.

use crate::{app::App, exit::Exit, failure::Failure, terminal, text::text};

/// Runs `context use`.
pub(super) fn run(name: &str, app: &App) -> Result<Exit, Failure> {
    app.config.use_context(name)?;
    terminal::say(&text("context-used", &[("name", name)]));
    Ok(Exit::Done)
}
