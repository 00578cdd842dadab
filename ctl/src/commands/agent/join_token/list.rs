//! `cloudctl agent join-token list`.

use opslink::pb::{JoinToken, ListJoinTokensRequest};

use crate::{
    app::App,
    commands::{meant::Known, pages},
    connect::Client,
    exit::Exit,
    failure::Failure,
    output::{self, Column},
};

/// Runs `agent join-token list`.
pub(super) async fn run(app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let tokens = all(&client).await?;
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

/// Reads every join token.
pub(crate) async fn all(client: &Client) -> Result<Vec<JoinToken>, Failure> {
    pages::collect(usize::MAX, |page_token| {
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
    .await
}

/// Returns the join tokens as people may name them: they have no names.
pub(crate) fn known(tokens: &[JoinToken]) -> Vec<Known> {
    let known = |token: &JoinToken| Known {
        id: token.id.clone(),
        name: String::new(),
        is_usable: state(token) == "usable",
    };
    tokens.iter().map(known).collect()
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
