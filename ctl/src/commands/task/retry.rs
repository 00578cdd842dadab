//! `cloudctl task retry TASK`: a new attempt for what did not succeed, followed like a run.

use clap::Args;
use clap_complete::ArgValueCompleter;
use opslink::pb::RetryTaskRequest;

use crate::{
    app::App,
    commands::{
        completion,
        task::{
            self, get,
            look::{self, Wanted},
        },
    },
    exit::Exit,
    failure::Failure,
    follow::{self, End, Watch},
    output::Format,
    progress::{self, Progress},
    render::Screen,
    terminal,
    text::text,
};

/// Arguments of `task retry`.
#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    /// Id, or its first characters
    #[arg(add = ArgValueCompleter::new(completion::tasks))]
    task: String,
    /// Only on these agents; repeatable, or separated by commas
    #[arg(short, long = "agent", value_name = "NAME", value_delimiter = ',', add = ArgValueCompleter::new(completion::agents))]
    agents: Vec<String>,
    /// Also the lost ones, whose outcome nobody knows: they may have run
    #[arg(long)]
    include_lost: bool,
    /// Also what succeeded: it runs a second time
    #[arg(long)]
    include_succeeded: bool,
    /// Return at once
    #[arg(short, long)]
    detach: bool,
}

/// Runs `task retry`.
pub(super) async fn run(args: RetryArgs, app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    // A format that cannot be is refused before anything runs.
    let rows = if args.detach {
        look::usual_rows()
    } else {
        let task = get::task(&client, &args.task).await?;
        look::row_format(task::action(&task), &app.globals)?
    };
    let request = RetryTaskRequest {
        id: args.task,
        agents: args.agents,
        include_lost: args.include_lost,
        include_succeeded: args.include_succeeded,
        request_id: uuid::Uuid::now_v7().to_string(),
    };
    let answer = client.tasks().retry_task(request).await?.into_inner();
    let task = answer.task.unwrap_or_default();
    let names: Vec<String> = answer
        .executions
        .iter()
        .map(|execution| execution.agent_name.clone())
        .collect();
    terminal::say(&text(
        "task-retried",
        &[("id", progress::short(&task.id)), ("agents", &names.join(", "))],
    ));
    if args.detach {
        let listing = app.listing();
        if listing.format != Format::Table {
            listing.object(&task, |task| task.id.clone(), &task::columns())?;
        }
        return Ok(Exit::Done);
    }
    let agents = answer
        .executions
        .iter()
        .map(|execution| execution.agent_id.clone())
        .collect();
    let watch = Watch {
        task_id: task.id.clone(),
        agents,
        ..Watch::default()
    };
    let mut progress = Progress::new(task, answer.executions);
    let wanted = Wanted {
        rows,
        many: progress.len() > 1,
        timestamps: false,
        raw: false,
        folder: None,
        fold: false,
        headers: !app.globals.no_headers,
        quiet: app.globals.quiet,
        name_width: progress.name_width(),
    };
    let screen = Screen::open(wanted.look()).map_err(|error| Failure::unexpected(&error.to_string()))?;
    match follow::follow(&client, watch, &mut progress, screen, &mut ()).await? {
        End::Detached => Ok(Exit::Interrupted),
        End::Complete => {
            progress.print_summary();
            Ok(progress.exit())
        }
    }
}
