//! `cloudctl token list`.

use opslink::pb::{ListTokensRequest, Token};

use crate::{
    app::App,
    commands::{meant::Known, pages},
    connect::Client,
    exit::Exit,
    failure::Failure,
    output::{self, Column},
};

/// Runs `token list`.
pub(super) async fn run(app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let tokens = all(&client).await?;
    let columns: [Column<Token>; 8] = [
        Column::new("NAME", |token| token.name.clone()),
        Column::new("ROLE", |token| output::role(token.role)),
        Column::new("STATE", state),
        Column::new("EXPIRES IN", |token| output::until(&token.expires_at)),
        Column::new("LAST USED", |token| output::time(&token.last_used_at)),
        Column::new("CREATED BY", |token| token.created_by.clone()),
        Column::wide("CREATED", |token| output::time(&token.created_at)),
        Column::new("ID", |token| token.id.clone()),
    ];
    app.listing().list(&tokens, |token| token.id.clone(), &columns)?;
    Ok(Exit::Done)
}

/// Reads every token.
pub(crate) async fn all(client: &Client) -> Result<Vec<Token>, Failure> {
    pages::collect(usize::MAX, |page_token| {
        let mut tokens = client.tokens();
        async move {
            let page = tokens
                .list_tokens(ListTokensRequest {
                    page_size: 1_000,
                    page_token,
                })
                .await?
                .into_inner();
            Ok((page.tokens, page.next_page_token))
        }
    })
    .await
}

/// Returns the tokens as people may name them.
pub(crate) fn known(tokens: &[Token]) -> Vec<Known> {
    let known = |token: &Token| Known {
        id: token.id.clone(),
        name: token.name.clone(),
        is_usable: state(token) == "usable",
    };
    tokens.iter().map(known).collect()
}

fn state(token: &Token) -> String {
    let expired = output::until(&token.expires_at) == "over";
    match (token.revoked, expired) {
        (true, _) => "revoked",
        (false, true) => "expired",
        (false, false) => "usable",
    }
    .to_owned()
}
