//! `cloudctl audit list`.

use clap::Args;
use opslink::pb::{AuditEvent, ListAuditEventsRequest};

use crate::{
    app::App,
    commands::pages,
    exit::Exit,
    failure::Failure,
    output::{self, Column},
};

/// Arguments of `audit list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// How many, newest first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

/// Runs `audit list`.
pub(super) async fn run(args: ListArgs, app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let page_size = i32::try_from(args.limit.min(1_000)).unwrap_or(1_000);
    let events = pages::collect(args.limit, |page_token| {
        let mut audit = client.audit();
        async move {
            let request = ListAuditEventsRequest { page_size, page_token };
            let page = audit.list_audit_events(request).await?.into_inner();
            Ok((page.events, page.next_page_token))
        }
    })
    .await?;
    let columns: [Column<AuditEvent>; 7] = [
        Column::new("TIME", |event| output::time(&event.time)),
        Column::new("ACTOR", |event| event.actor.clone()),
        Column::new("ACTION", |event| event.action.clone()),
        Column::new("RESOURCE", |event| event.resource.clone()),
        Column::new("DETAIL", |event| event.detail.clone()),
        Column::wide("ROLE", |event| output::role(event.actor_role)),
        Column::wide("PEER", |event| event.peer.clone()),
    ];
    app.listing().list(&events, |event| event.id.to_string(), &columns)?;
    Ok(Exit::Done)
}
