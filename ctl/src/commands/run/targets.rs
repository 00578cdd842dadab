//! Which agents, how fast, how long: the flags that every `run` has.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use clap_complete::ArgValueCompleter;
use opslink::pb::{CreateTaskRequest, Queueing, Rollout, Selector, TaskSpec, task_spec::Action};

use crate::{commands::completion, duration, input};

/// Target and follow flags.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// Agents by name, glob (web-*) or id; repeatable, or separated by commas
    #[arg(
        short, long = "agent", value_name = "NAME", value_delimiter = ',', value_parser = input::not_blank,
        help_heading = "Targets", add = ArgValueCompleter::new(completion::agents)
    )]
    agents: Vec<String>,
    /// Agents by label: env=prod,dc in (bj,sh),!legacy
    #[arg(short = 'l', long, value_name = "EXPRESSION", value_parser = input::not_blank, help_heading = "Targets")]
    selector: Option<String>,
    /// Every agent
    #[arg(long, conflicts_with_all = ["agents", "selector"], help_heading = "Targets")]
    all: bool,
    /// Leave out these names or globs; a name that no agent has is refused, a glob may match nobody
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = input::not_blank, help_heading = "Targets",
          add = ArgValueCompleter::new(completion::agents))]
    exclude: Vec<String>,
    /// Show the agents and ask before anything runs (not with --yes); it then runs on exactly these, or on none
    #[arg(long, conflicts_with_all = ["dry_run", "print_request"], help_heading = "Targets")]
    pub(super) confirm: bool,

    /// At most N agents at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Rollout")]
    parallel: Option<u32>,
    /// Start no more agents after N have not succeeded
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Rollout")]
    max_fail: Option<u32>,
    /// Wait for agents that are offline, instead of refusing
    #[arg(long, help_heading = "Rollout")]
    queue: bool,
    /// How long a queued agent is waited for: 1h (default), 7d (longest)
    #[arg(long, value_name = "DURATION", requires = "queue", value_parser = duration::parse_secs, help_heading = "Rollout")]
    expires: Option<u32>,
    /// Longest run time on each agent: 1h (default)
    #[arg(long, value_name = "DURATION", value_parser = duration::parse_secs, help_heading = "Rollout")]
    timeout: Option<u32>,
    /// Why, for the audit trail
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        help_heading = "Rollout"
    )]
    reason: String,

    #[command(flatten)]
    pub(super) follow: FollowArgs,
}

/// What to do with the output.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct FollowArgs {
    /// Print the task's id and return at once
    #[arg(short, long, help_heading = "Output")]
    pub(super) detach: bool,
    /// Check, and print the agents that would run; nothing is run
    #[arg(long, help_heading = "Output")]
    pub(super) dry_run: bool,
    /// Print the request as JSON; nothing is sent
    #[arg(long, help_heading = "Output")]
    pub(super) print_request: bool,
    /// Write one file per agent and stream into this folder
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath, help_heading = "Output")]
    pub(super) output_dir: Option<PathBuf>,
    /// Show the same output of several agents once, with their names, at the end; what differs, as a diff
    #[arg(long, conflicts_with_all = ["output_dir", "timestamps", "detach"], help_heading = "Output")]
    pub(super) fold: bool,
    /// Begin each line with its time (UTC)
    #[arg(long, help_heading = "Output")]
    pub(super) timestamps: bool,
    /// Show bytes as they are, also what a terminal would obey
    #[arg(long, help_heading = "Output")]
    pub(super) raw: bool,
}

impl TargetArgs {
    /// Makes the request. Its id makes it safe to send again.
    pub(super) fn request(&self, action: Action) -> CreateTaskRequest {
        CreateTaskRequest {
            spec: Some(TaskSpec {
                action: Some(action),
                timeout_secs: self.timeout.unwrap_or_default(),
                grace_secs: 0,
            }),
            selector: Some(Selector {
                names: self.agents.clone(),
                expression: self.selector.clone().unwrap_or_default(),
                exclude: self.exclude.clone(),
                all: self.all,
            }),
            rollout: Some(Rollout {
                max_parallel: self.parallel.unwrap_or_default(),
                max_failures: self.max_fail.unwrap_or_default(),
            }),
            queueing: Some(Queueing {
                enabled: self.queue,
                ttl_secs: self.expires.unwrap_or_default(),
            }),
            request_id: uuid::Uuid::now_v7().to_string(),
            reason: self.reason.clone(),
            dry_run: self.follow.dry_run,
            expected_agents: None,
        }
    }

    /// Says whether any target was named at all.
    pub(super) fn is_empty(&self) -> bool {
        self.agents.is_empty() && !self.all && self.selector.is_none()
    }
}
