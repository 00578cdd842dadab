//! `cloudctl task cancel TASK`.

use clap::Args;
use clap_complete::ArgValueCompleter;
use opslink::pb::CancelTaskRequest;

use crate::{
    app::App,
    commands::{completion, task},
    exit::Exit,
    failure::Failure,
    output::Format,
    progress, terminal,
    text::text,
};

/// Arguments of `task cancel`.
#[derive(Debug, Args)]
pub(crate) struct CancelArgs {
    /// Id, or its first characters
    task: String,
    /// Only on these agents; repeatable, or separated by commas
    #[arg(short, long = "agent", value_name = "NAME", value_delimiter = ',', add = ArgValueCompleter::new(completion::agents))]
    agents: Vec<String>,
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// Runs `task cancel`.
pub(super) async fn run(args: CancelArgs, app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let request = CancelTaskRequest {
        id: args.task,
        agents: args.agents,
        reason: args.reason,
    };
    let task = client
        .tasks()
        .cancel_task(request)
        .await?
        .into_inner()
        .task
        .unwrap_or_default();
    let listing = app.listing();
    if listing.format == Format::Table {
        let id = progress::short(&task.id);
        let key = if task::is_finished(&task) {
            "task-already-over"
        } else {
            "task-cancel-asked"
        };
        let message = match key {
            "task-already-over" => text("task-already-over", &[("id", id)]),
            _ => text(
                "task-cancel-asked",
                &[("id", id), ("watch", &format!("cloudctl task watch {id}"))],
            ),
        };
        terminal::say(&message);
    } else {
        listing.object(&task, |task| task.id.clone(), &task::columns())?;
    }
    Ok(Exit::Done)
}
