//! How far a task is: its executions, what they amount to as an exit code, and the summary at the end.

use std::{collections::BTreeMap, time::Duration};

use anstyle::{AnsiColor, Style};
use opslink::{
    convert,
    pb::{Execution, Task},
    reason::Reason,
    task::{ExecutionState, TaskState},
};

use crate::{
    duration,
    exit::Exit,
    output,
    render::escape,
    terminal::{self, fg, styled},
    text::{language, text},
};

/// At most so many targets are listed one by one at the end.
const MAX_LISTED: usize = 20;

/// What is known of a task.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// The task itself.
    pub(crate) task: Task,
    executions: BTreeMap<String, Execution>,
    attempts: BTreeMap<String, String>,
}

impl Progress {
    /// Starts from the answer to a create.
    pub(crate) fn new(task: Task, executions: Vec<Execution>) -> Self {
        let mut progress = Self {
            task,
            ..Self::default()
        };
        for execution in executions {
            progress.update(execution);
        }
        progress
    }

    /// Takes a state of an execution in; false when it is the one that was known.
    pub(crate) fn update(&mut self, execution: Execution) -> bool {
        for attempt in &execution.attempts {
            self.attempts.insert(attempt.id.clone(), execution.agent_name.clone());
        }
        if !execution.attempt_id.is_empty() {
            self.attempts
                .insert(execution.attempt_id.clone(), execution.agent_name.clone());
        }
        let agent_id = execution.agent_id.clone();
        let is_new = self.executions.get(&agent_id) != Some(&execution);
        self.executions.insert(agent_id, execution);
        is_new
    }

    /// Returns the name of the agent that makes an attempt.
    pub(crate) fn agent_of(&self, attempt_id: &str) -> Option<&str> {
        self.attempts.get(attempt_id).map(String::as_str)
    }

    /// Returns the executions in agent name order.
    pub(crate) fn executions(&self) -> Vec<&Execution> {
        let mut executions: Vec<&Execution> = self.executions.values().collect();
        executions.sort_by(|a, b| a.agent_name.cmp(&b.agent_name));
        executions
    }

    /// Returns the number of targets.
    pub(crate) fn len(&self) -> usize {
        self.executions.len()
    }

    /// Returns the width of the longest agent name.
    pub(crate) fn name_width(&self) -> usize {
        self.executions
            .values()
            .map(|execution| execution.agent_name.chars().count())
            .max()
            .unwrap_or_default()
    }

    /// Says whether every execution is at its end.
    pub(crate) fn is_finished(&self) -> bool {
        TaskState::try_from(self.task.state()).is_ok_and(TaskState::is_terminal)
    }

    /// Returns the exit code that the targets amount to.
    pub(crate) fn exit(&self) -> Exit {
        exit_of(self.executions.values().map(state))
    }

    /// Says on stderr how it ended and what can be done about it.
    pub(crate) fn print_summary(&self) {
        let exit = self.exit();
        match self.executions().as_slice() {
            // One target that did what it was told: scripts want silence, people a short word.
            [only] if exit == Exit::Done && terminal::stderr_is_tty() => terminal::say(&line(only, 0)),
            [_] if exit == Exit::Done => {}
            [only] => terminal::say_always(&line(only, 0)),
            many => self.print_many(many),
        }
        if exit != Exit::Done && self.is_finished() {
            let id = short(&self.task.id);
            terminal::say(&text(
                "run-hint-failed",
                &[
                    ("logs", &format!("cloudctl logs {id}")),
                    ("retry", &format!("cloudctl task retry {id}")),
                ],
            ));
        }
    }

    fn print_many(&self, executions: &[&Execution]) {
        let mut counts: BTreeMap<ExecutionState, usize> = BTreeMap::new();
        for execution in executions {
            *counts.entry(state(execution)).or_default() += 1;
        }
        let parts: Vec<String> = counts
            .iter()
            .map(|(state, n)| styled(style(*state), &format!("{n} {}", output::state(state.word()))))
            .collect();
        let took = task_duration(&self.task)
            .map(|took| format!(" · {}", duration::show(took)))
            .unwrap_or_default();
        let total = executions.len().to_string();
        let head = text("run-summary", &[("n", &total), ("counts", &parts.join(", "))]);
        terminal::say(&format!("{head}{took}"));
        let width = self.name_width().min(32);
        let bad: Vec<&&Execution> = executions
            .iter()
            .filter(|execution| state(execution) != ExecutionState::Succeeded)
            .collect();
        for execution in bad.iter().take(MAX_LISTED) {
            terminal::say_always(&format!("  {}", line(execution, width)));
        }
        if let Some(more) = bad.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
            terminal::say(&text("run-more", &[("n", &more.to_string())]));
        }
    }
}

/// Returns the exit code that the states of all targets amount to.
fn exit_of(states: impl Iterator<Item = ExecutionState>) -> Exit {
    let (mut timed_out, mut failed) = (false, false);
    for state in states {
        match state {
            ExecutionState::TimedOut => timed_out = true,
            ExecutionState::Failed
            | ExecutionState::Canceled
            | ExecutionState::Refused
            | ExecutionState::Expired
            | ExecutionState::Lost => failed = true,
            ExecutionState::Held
            | ExecutionState::Queued
            | ExecutionState::Dispatched
            | ExecutionState::Running
            | ExecutionState::Succeeded => {}
        }
    }
    match (failed, timed_out) {
        (true, _) => Exit::RemoteFailed,
        (false, true) => Exit::Timeout,
        (false, false) => Exit::Done,
    }
}

/// Reads the state of an execution; what this version does not know counts as lost.
pub(crate) fn state(execution: &Execution) -> ExecutionState {
    ExecutionState::try_from(execution.state()).unwrap_or(ExecutionState::Lost)
}

/// Returns the colour of a state.
pub(crate) fn style(state: ExecutionState) -> Style {
    match state {
        ExecutionState::Succeeded => fg(AnsiColor::Green),
        ExecutionState::Held | ExecutionState::Queued => Style::new().dimmed(),
        ExecutionState::Dispatched | ExecutionState::Running => fg(AnsiColor::Cyan),
        ExecutionState::Canceled | ExecutionState::Expired => fg(AnsiColor::Yellow),
        ExecutionState::Failed | ExecutionState::TimedOut | ExecutionState::Refused | ExecutionState::Lost => {
            fg(AnsiColor::Red)
        }
    }
}

/// One line about one target: `✖ prod  failed · exit code 3 · 1.2 s`.
pub(crate) fn line(execution: &Execution, width: usize) -> String {
    let state = state(execution);
    let sign = match state {
        ExecutionState::Succeeded => "✔",
        ExecutionState::Held | ExecutionState::Queued | ExecutionState::Dispatched | ExecutionState::Running => "…",
        ExecutionState::Failed
        | ExecutionState::TimedOut
        | ExecutionState::Canceled
        | ExecutionState::Refused
        | ExecutionState::Expired
        | ExecutionState::Lost => "✖",
    };
    let name = escape::visible(&execution.agent_name);
    let pad = " ".repeat(width.saturating_sub(name.chars().count()));
    let mut parts = vec![format!(
        "{} {name}{pad}  {}",
        styled(style(state), sign),
        styled(style(state), &output::state(state.word()))
    )];
    parts.extend(why(execution));
    // The stable code, for searching and for scripts; the exit code says enough by itself.
    let reason = execution
        .outcome
        .as_ref()
        .map(|outcome| outcome.reason.as_str())
        .unwrap_or_default();
    if !reason.is_empty() && reason != Reason::ExitNonzero.code() {
        parts.push(escape::visible(reason));
    }
    if let Some(took) = execution_duration(execution) {
        parts.push(duration::show(took));
    }
    parts.join(" · ")
}

/// Says why an execution ended as it did: the runner's own sentence, else the exit code.
fn why(execution: &Execution) -> Option<String> {
    let outcome = execution.outcome.as_ref()?;
    let sentence = escape::visible(&outcome.message);
    let reason = Reason::from_code(&outcome.reason);
    let code = outcome.exit_code.filter(|code| *code != 0);
    match (sentence.is_empty(), reason, code) {
        // The number says it all, in every language.
        (_, Some(Reason::ExitNonzero), Some(code)) | (true, _, Some(code)) => {
            Some(text("exit-code", &[("code", &code.to_string())]))
        }
        (false, _, _) => Some(sentence),
        (true, Some(reason), None) => Some(opslink::problem::Problem::new(reason).what(language())),
        (true, None, None) => None,
    }
}

fn between(from: &Option<pbjson_types::Timestamp>, to: &Option<pbjson_types::Timestamp>) -> Option<Duration> {
    let (from, to) = (from.as_ref()?, to.as_ref()?);
    Some(convert::unix_micros(to).since(convert::unix_micros(from)))
}

fn execution_duration(execution: &Execution) -> Option<Duration> {
    between(&execution.started_at, &execution.finished_at)
}

/// Returns how long a finished task took.
pub(crate) fn task_duration(task: &Task) -> Option<Duration> {
    between(&task.created_at, &task.finished_at)
}

/// The part of a task's id that people type; every command takes a prefix. The first 8 digits of a version 7 UUID
/// change only every 65 s, so 13 are shown: milliseconds.
pub(crate) fn short(id: &str) -> &str {
    id.get(..13).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use opslink::pb;

    use super::*;

    fn execution(agent: &str, state: pb::ExecutionState) -> Execution {
        Execution {
            agent_id: format!("id-{agent}"),
            agent_name: agent.into(),
            attempt_id: format!("attempt-{agent}"),
            state: state.into(),
            ..Default::default()
        }
    }

    #[test]
    fn the_exit_code_is_the_worst_that_happened() {
        use ExecutionState::{Canceled, Failed, Lost, Running, Succeeded, TimedOut};
        let exit = |states: &[ExecutionState]| exit_of(states.iter().copied()).code();
        assert_eq!(exit(&[Succeeded, Succeeded]), 0);
        assert_eq!(exit(&[Succeeded, Failed]), 3);
        assert_eq!(exit(&[Succeeded, TimedOut]), 124);
        assert_eq!(exit(&[Failed, TimedOut]), 3);
        assert_eq!(exit(&[Canceled]), 3);
        assert_eq!(exit(&[Lost]), 3);
        assert_eq!(exit(&[Running]), 0);
    }

    #[test]
    fn attempts_lead_back_to_their_agents_also_old_ones() {
        let mut again = execution("prod", pb::ExecutionState::Running);
        again.attempts = vec![pb::Attempt {
            id: "old".into(),
            ..Default::default()
        }];
        let progress = Progress::new(Task::default(), vec![again]);
        assert_eq!(progress.agent_of("old"), Some("prod"));
        assert_eq!(progress.agent_of("attempt-prod"), Some("prod"));
        assert_eq!(progress.agent_of("other"), None);
    }

    #[test]
    fn a_line_says_state_and_reason() {
        let mut failed = execution("prod", pb::ExecutionState::Failed);
        failed.outcome = Some(pb::Outcome {
            exit_code: Some(3),
            ..Default::default()
        });
        assert_eq!(line(&failed, 6), "✖ prod    failed · exit code 3");
        failed.outcome = Some(pb::Outcome {
            message: "no such user\x1b[2J".into(),
            ..Default::default()
        });
        assert_eq!(line(&failed, 0), "✖ prod  failed · no such user␛[2J");
    }
}
