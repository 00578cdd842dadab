//! `cloudctl agent join-token list`.

use opslink::pb::{JoinToken, ListJoinTokensRequest};

use crate::{
    app::App,
    commands::pages,
    exit::Exit,
    failure::Failure,
    output::{self, Column},
};

/// Runs `agent join-token list`.
pub(super) async fn run(app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let tokens = pages::collect(usize::MAX, |page_token| {
        let mut agents = client.agents();
        async move {
            let request = ListJoinTokensRequest {
                page_size: 1_000,
                page_token,
            };
            let page = agents.list_join_tokens(request).await?.into_inner();
            Ok((page.join_tokens, page.next_page_token))
        }
    })
    .await?;
    let columns: [Column<JoinToken>; 7] = [
        Column::new("ID", |token| token.id.clone()),
        Column::new("STATE", state),
        Column::new("EXPIRES IN", |token| output::until(&token.expires_at)),
        Column::new("AGENT", |token| {
            if token.agent_name.is_empty() {
                "–".into()
            } else {
                token.agent_name.clone()
            }
        }),
        Column::new("LABELS", |token| output::labels(&token.labels)),
        Column::new("CREATED BY", |token| token.created_by.clone()),
        Column::wide("CREATED", |token| output::time(&token.created_at)),
    ];
    app.listing().list(&tokens, |token| token.id.clone(), &columns)?;
    Ok(Exit::Done)
}

fn state(token: &JoinToken) -> String {
    let word = if token.used_at.is_some() {
        "used"
    } else if token.revoked {
        "revoked"
    } else if output::until(&token.expires_at) == "over" {
        "expired"
    } else {
        "usable"
    };
    word.to_owned()
}
