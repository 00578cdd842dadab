//! `cloudctl whoami`.

use opslink::pb::{CurrentUser, GetCurrentUserRequest};

use crate::{
    app::App,
    commands::login::shown_name,
    exit::Exit,
    failure::Failure,
    output::{self, Column},
};

/// Runs `whoami`.
pub(crate) async fn run(app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let user = client
        .auth()
        .get_current_user(GetCurrentUserRequest {})
        .await?
        .into_inner()
        .user
        .unwrap_or_default();
    let columns: [Column<CurrentUser>; 2] = [
        Column::new("USER", shown_name),
        Column::new("ROLE", |user| output::role(user.role)),
    ];
    app.listing().object(&user, shown_name, &columns)?;
    Ok(Exit::Done)
}
