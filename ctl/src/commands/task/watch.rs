//! `cloudctl task watch TASK`: one line per change of a target, until the end.

use std::collections::HashMap;

use clap::Args;
use clap_complete::ArgValueCompleter;
use opslink::task::ExecutionState;

use crate::{
    app::App,
    commands::{
        completion,
        task::{
            get,
            look::{self, Wanted},
        },
    },
    exit::Exit,
    failure::Failure,
    follow::{self, End, Observer, Watch},
    output::{self, Format},
    progress::{self, Progress},
    render::Screen,
};

/// Arguments of `task watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// Id, or its first characters
    #[arg(add = ArgValueCompleter::new(completion::tasks))]
    task: String,
}

struct Changes {
    seen: HashMap<String, ExecutionState>,
    json: bool,
    width: usize,
}

impl Observer for Changes {
    fn changed(&mut self, progress: &Progress, agent_id: Option<&str>) {
        self.width = self.width.max(progress.name_width().min(32));
        let executions = progress.executions();
        let Some(execution) = executions
            .iter()
            .find(|execution| Some(execution.agent_id.as_str()) == agent_id)
        else {
            return;
        };
        let state = progress::state(execution);
        if self.seen.insert(execution.agent_id.clone(), state) == Some(state) {
            return;
        }
        let line = match self.json {
            true => serde_json::to_string(execution).unwrap_or_default(),
            false => progress::line(execution, self.width),
        };
        // A reader that went away ends the command at the next write of its own accord.
        let _ = output::print(format!("{line}\n").as_bytes());
    }
}

/// Runs `task watch`.
pub(super) async fn run(args: WatchArgs, app: &App) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let task = get::task(&client, &args.task).await?;
    let watch = Watch {
        task_id: task.id.clone(),
        no_output: true,
        ..Watch::default()
    };
    let mut progress = Progress::new(task, Vec::new());
    let screen = Screen::open(
        Wanted {
            rows: look::usual_rows(),
            many: true,
            timestamps: false,
            raw: false,
            folder: None,
            fold: false,
            headers: true,
            quiet: true,
            name_width: 0,
        }
        .look(),
    )
    .map_err(|error| Failure::unexpected(&error.to_string()))?;
    let json = matches!(app.listing().format, Format::Json | Format::Jsonl);
    let mut changes = Changes {
        seen: HashMap::new(),
        json,
        width: 0,
    };
    match follow::follow(&client, watch, &mut progress, screen, &mut changes).await? {
        End::Detached => Ok(Exit::Interrupted),
        End::Complete => Ok(progress.exit()),
    }
}
