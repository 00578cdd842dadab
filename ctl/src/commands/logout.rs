//! `cloudctl logout`: ends the session in the cloud and forgets its token here.

use std::sync::Arc;

use opslink::pb::LogoutRequest;

use crate::{
    app::App,
    connect::{Client, Dialer},
    exit::Exit,
    failure::Failure,
    terminal,
    text::text,
};

/// Runs `logout`. The token is forgotten even when the cloud cannot be told.
pub(crate) async fn run(app: &App) -> Result<Exit, Failure> {
    let target = app.target()?;
    let Some(token) = target.token else {
        return Err(Failure::local(Exit::NotAllowed, "NOT_LOGGED_IN", &[]));
    };
    if let Some(context) = &target.context {
        app.config.set_token(context, None)?;
    }
    // An API token has no session to end; it stays valid for whoever else uses it.
    if token.starts_with("ols_") {
        let client = Client::connect(Arc::new(Dialer::new(target.endpoint.clone(), target.pin)), Some(&token)).await?;
        client.auth().logout(LogoutRequest {}).await?;
    }
    terminal::say(&text("logout-done", &[("url", &target.endpoint.url())]));
    Ok(Exit::Done)
}
