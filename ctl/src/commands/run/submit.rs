//! The road that every `run` takes: check, create (once, whatever the network does), follow, sum up.

use std::time::Duration;

use opslink::pb::{CreateTaskRequest, CreateTaskResponse, Execution, ExpectedAgents, task_spec::Action};
use tonic::Code;

use crate::{
    app::App,
    commands::{
        run::targets::TargetArgs,
        task::{dry_run_columns, look},
    },
    connect::Client,
    exit::Exit,
    failure::Failure,
    follow::{self, End, Watch},
    output::{self, Format, Listing},
    patience::is_transient,
    progress::{self, Progress},
    render::Screen,
    terminal,
    text::text,
};

/// Pauses between tries of one and the same request: 3 s in all.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1_500),
];

/// Runs an action on the targets.
pub(super) async fn submit(action: Action, targets: &TargetArgs, app: &App) -> Result<Exit, Failure> {
    if targets.is_empty() {
        return Err(Failure::local(Exit::Usage, "SELECTOR_EMPTY", &[]));
    }
    // The answer to a run that is not followed is an object, and has every format.
    let rows = if targets.follow.print_request || targets.follow.dry_run || targets.follow.detach {
        look::usual_rows()
    } else {
        look::row_format(Some(&action), &app.globals)?
    };
    let mut request = targets.request(action);
    if targets.follow.print_request {
        return print_request(&request, app.listing());
    }
    look::check_fold(targets.follow.fold, rows)?;
    // Everything that can fail on this side has failed before anything is started on the other.
    if let Some(folder) = &targets.follow.output_dir {
        std::fs::create_dir_all(folder).map_err(|error| {
            let path = folder.display().to_string();
            Failure::usage(
                "FOLDER_NOT_WRITABLE",
                &[("path", &path), ("detail", &error.to_string())],
            )
        })?;
    }

    let client = app.client().await?;
    if targets.confirm {
        match confirmed(&client, &request, app).await? {
            Some(expected) => request.expected_agents = Some(expected),
            None => {
                terminal::say_always(&text("run-declined", &[]));
                return Ok(Exit::Interrupted);
            }
        }
    }
    let answer = tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => {
            terminal::say_always(&text("run-interrupted-early", &[]));
            return Ok(Exit::Interrupted);
        }
        answer = create(&client, &request) => answer?,
    };
    // Kept for the carets of SQL errors: the cloud need not send the script back.
    let mut task = answer.task.unwrap_or_default();
    if task.spec.is_none() {
        task.spec = request.spec;
    }
    if targets.follow.dry_run {
        return dry_run(&answer.executions, app.listing());
    }
    if targets.follow.detach {
        return detach(&task, answer.executions.len(), app.listing());
    }
    let task_id = task.id.clone();
    let mut progress = Progress::new(task, answer.executions);
    if terminal::stderr_is_tty() {
        let n = progress.len().to_string();
        terminal::say(&text("run-started", &[("id", progress::short(&task_id)), ("n", &n)]));
    }
    let screen = Screen::open(
        look::Wanted {
            rows,
            many: progress.len() > 1,
            timestamps: targets.follow.timestamps,
            raw: targets.follow.raw,
            folder: targets.follow.output_dir.clone(),
            fold: targets.follow.fold,
            headers: !app.globals.no_headers,
            quiet: app.globals.quiet,
            name_width: progress.name_width(),
        }
        .look(),
    )
    .map_err(|error| Failure::unexpected(&error.to_string()))?;
    let watch = Watch {
        task_id,
        ..Watch::default()
    };
    match follow::follow(&client, watch, &mut progress, screen, &mut ()).await? {
        End::Detached => Ok(Exit::Interrupted),
        End::Complete => {
            progress.print_summary();
            Ok(progress.exit())
        }
    }
}

/// Shows the agents that the selector means, and asks. What was said yes to is what may run.
async fn confirmed(client: &Client, request: &CreateTaskRequest, app: &App) -> Result<Option<ExpectedAgents>, Failure> {
    let look = CreateTaskRequest {
        request_id: String::new(),
        dry_run: true,
        ..request.clone()
    };
    let executions = create(client, &look).await?.executions;
    let names: Vec<&str> = executions
        .iter()
        .map(|execution| execution.agent_name.as_str())
        .collect();
    let (n, agents) = (names.len().to_string(), names.join(", "));
    let args = [("n", n.as_str()), ("agents", agents.as_str())];
    if app.globals.yes {
        terminal::say(&text("run-confirmed", &args));
    } else if !terminal::confirm(&text("run-confirm", &args), "--yes")? {
        return Ok(None);
    }
    let agents = executions.into_iter().map(|execution| execution.agent_id).collect();
    Ok(Some(ExpectedAgents { agents }))
}

/// Sends the request, again if the connection broke before the answer: the cloud knows the request by its id.
async fn create(client: &Client, request: &CreateTaskRequest) -> Result<CreateTaskResponse, Failure> {
    let mut pauses = PAUSES.iter();
    loop {
        let status = match client.tasks().create_task(request.clone()).await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => status,
        };
        let again = is_transient(&status) || status.code() == Code::Unavailable;
        match pauses.next() {
            Some(pause) if again => tokio::time::sleep(*pause).await,
            _ => return Err(Failure::from_status(&status)),
        }
    }
}

fn print_request(request: &CreateTaskRequest, listing: Listing) -> Result<Exit, Failure> {
    let format = if listing.format == Format::Table {
        Format::Json
    } else {
        listing.format
    };
    Listing { format, ..listing }.object(request, |request| request.request_id.clone(), &[])?;
    Ok(Exit::Done)
}

fn dry_run(executions: &[Execution], listing: Listing) -> Result<Exit, Failure> {
    listing.list(executions, |execution| execution.agent_name.clone(), &dry_run_columns())?;
    terminal::say(&text("run-dry", &[("n", &executions.len().to_string())]));
    Ok(Exit::Done)
}

fn detach(task: &opslink::pb::Task, targets: usize, listing: Listing) -> Result<Exit, Failure> {
    if matches!(listing.format, Format::Table | Format::Wide | Format::Name) {
        output::print(format!("{}\n", task.id).as_bytes())?;
        let id = progress::short(&task.id);
        let (n, logs) = (targets.to_string(), format!("cloudctl logs {id} -f"));
        terminal::say(&text("run-detach-hint", &[("n", &n), ("logs", &logs)]));
    } else {
        listing.object(task, |task| task.id.clone(), &crate::commands::task::columns())?;
    }
    Ok(Exit::Done)
}
