//! A task as a page sees it: the newest word on it and on each of its executions.

use std::collections::BTreeMap;

use opslink::pb::{self, ExecutionState, TaskState};

/// A task and its executions.
#[derive(Debug, Clone, Default)]
pub struct TaskView {
    /// Absent until the first message.
    pub task: Option<pb::Task>,
    /// By agent id.
    executions: BTreeMap<String, pb::Execution>,
}

impl TaskView {
    /// Takes a task. True when something changed.
    pub fn set_task(&mut self, task: pb::Task) -> bool {
        let changed = self.task.as_ref() != Some(&task);
        self.task = Some(task);
        changed
    }

    /// Takes an execution, unless a newer word on it is known. True when something changed.
    pub fn set_execution(&mut self, execution: pb::Execution) -> bool {
        match self.executions.get(&execution.agent_id) {
            Some(known) if known.revision > execution.revision || *known == execution => false,
            _ => {
                self.executions.insert(execution.agent_id.clone(), execution);
                true
            }
        }
    }

    /// The executions in agent name order.
    pub fn executions(&self) -> Vec<&pb::Execution> {
        let mut all: Vec<_> = self.executions.values().collect();
        super::order::by(&mut all, |a, b| a.agent_name.cmp(&b.agent_name));
        all
    }

    /// How many executions there are.
    pub fn len(&self) -> usize {
        self.executions.len()
    }

    /// True before the first execution.
    pub fn is_empty(&self) -> bool {
        self.executions.is_empty()
    }

    /// The execution of this attempt.
    pub fn by_attempt(&self, attempt_id: &str) -> Option<&pb::Execution> {
        self.executions
            .values()
            .find(|execution| execution.attempt_id == attempt_id)
    }

    /// The number of an attempt, also of one that was replaced.
    pub fn attempt_number(&self, attempt_id: &str) -> Option<u32> {
        let newest = self.by_attempt(attempt_id).map(|execution| execution.attempt_number);
        newest.or_else(|| {
            let mut all = self.executions.values().flat_map(|execution| &execution.attempts);
            all.find(|attempt| attempt.id == attempt_id)
                .map(|attempt| attempt.number)
        })
    }

    /// Executions per state, in order of life, without zeroes: from the executions, which come at least as soon as
    /// the task's own counts.
    pub fn counts(&self) -> Vec<(ExecutionState, u32)> {
        if self.executions.is_empty() {
            let counts = self.task.iter().flat_map(|task| &task.counts);
            return counts
                .map(|count| (count.state(), count.count))
                .filter(|(_, count)| *count > 0)
                .collect();
        }
        let mut counts: BTreeMap<i32, (ExecutionState, u32)> = BTreeMap::new();
        for execution in self.executions.values() {
            counts.entry(execution.state).or_insert((execution.state(), 0)).1 += 1;
        }
        counts.into_values().collect()
    }

    /// The task's state.
    pub fn state(&self) -> TaskState {
        self.task.as_ref().map_or(TaskState::Unspecified, pb::Task::state)
    }

    /// True when everything is at its end.
    pub fn is_finished(&self) -> bool {
        is_finished(self.state())
    }

    /// Agents whose execution is at an end and did not succeed.
    pub fn failed(&self) -> usize {
        self.executions
            .values()
            .filter(|execution| can_retry(execution.state()))
            .count()
    }

    /// Agents whose outcome cannot be known.
    pub fn lost(&self) -> usize {
        self.executions
            .values()
            .filter(|execution| execution.state() == ExecutionState::Lost)
            .count()
    }

    /// True for a task whose results are tables.
    pub fn is_sql(&self) -> bool {
        let action = self
            .task
            .as_ref()
            .and_then(|task| task.spec.as_ref())
            .and_then(|spec| spec.action.as_ref());
        matches!(action, Some(pb::task_spec::Action::Sql(_)))
    }
}

/// True when a task changes no more.
pub const fn is_finished(state: TaskState) -> bool {
    matches!(state, TaskState::Succeeded | TaskState::Failed | TaskState::Canceled)
}

/// True when an execution changes no more (in this attempt).
pub const fn is_over(state: ExecutionState) -> bool {
    !matches!(
        state,
        ExecutionState::Unspecified
            | ExecutionState::Held
            | ExecutionState::Queued
            | ExecutionState::Dispatched
            | ExecutionState::Running
    )
}

/// True when 'retry' offers a new attempt for it.
pub const fn can_retry(state: ExecutionState) -> bool {
    is_over(state) && !matches!(state, ExecutionState::Succeeded)
}

/// The stable word of a state, as in the command line: also its icon, its class and its message id.
pub const fn execution_word(state: ExecutionState) -> &'static str {
    match state {
        ExecutionState::Unspecified => "unknown",
        ExecutionState::Held => "held",
        ExecutionState::Queued => "queued",
        ExecutionState::Dispatched => "dispatched",
        ExecutionState::Running => "running",
        ExecutionState::Succeeded => "succeeded",
        ExecutionState::Failed => "failed",
        ExecutionState::TimedOut => "timed_out",
        ExecutionState::Canceled => "canceled",
        ExecutionState::Refused => "refused",
        ExecutionState::Expired => "expired",
        ExecutionState::Lost => "lost",
    }
}

/// The stable word of a task's state.
pub const fn task_word(state: TaskState) -> &'static str {
    match state {
        TaskState::Unspecified => "unknown",
        TaskState::Pending => "pending",
        TaskState::Running => "running",
        TaskState::Succeeded => "succeeded",
        TaskState::Failed => "failed",
        TaskState::Canceled => "canceled",
    }
}

/// Reads a word made by [`task_word`].
pub fn task_state(word: &str) -> Option<TaskState> {
    [
        TaskState::Pending,
        TaskState::Running,
        TaskState::Succeeded,
        TaskState::Failed,
        TaskState::Canceled,
    ]
    .into_iter()
    .find(|state| task_word(*state) == word)
}

/// What a task does, in one line: `uname -a`, or the first line of its script.
pub fn summary(spec: Option<&pb::TaskSpec>) -> String {
    use pb::task_spec::Action;
    let text = match spec.and_then(|spec| spec.action.as_ref()) {
        Some(Action::Shell(shell)) if !shell.argv.is_empty() && shell.script.is_empty() => shell
            .argv
            .iter()
            .map(|word| super::quote::word(word))
            .collect::<Vec<_>>()
            .join(" "),
        Some(Action::Shell(shell)) if !shell.script_name.is_empty() => shell.script_name.clone(),
        Some(Action::Shell(shell)) => first_line(&shell.script, "#"),
        Some(Action::Sql(sql)) if !sql.script_name.is_empty() => sql.script_name.clone(),
        Some(Action::Sql(sql)) => first_line(&sql.script, "--"),
        Some(Action::Fake(_)) => "fake".to_owned(),
        None => String::new(),
    };
    text.replace(super::sgr::turns, "").chars().take(160).collect()
}

fn first_line(script: &[u8], comment: &str) -> String {
    let text = String::from_utf8_lossy(script);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling = lines.clone().find(|line| !line.starts_with(comment));
    telling.or_else(|| lines.next()).unwrap_or_default().to_owned()
}

/// The kind of a task: the word of its executor.
pub const fn kind(spec: Option<&pb::TaskSpec>) -> &'static str {
    use pb::task_spec::Action;
    let Some(spec) = spec else { return "" };
    match &spec.action {
        Some(Action::Shell(_)) => "shell",
        Some(Action::Sql(_)) => "sql",
        Some(Action::Fake(_)) => "fake",
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn execution(agent: &str, state: ExecutionState, revision: u64) -> pb::Execution {
        pb::Execution {
            agent_id: format!("id-{agent}"),
            agent_name: agent.into(),
            state: state.into(),
            revision,
            ..pb::Execution::default()
        }
    }

    #[test]
    fn an_older_word_does_not_undo_a_newer_one() {
        let mut view = TaskView::default();
        assert!(view.set_execution(execution("a", ExecutionState::Succeeded, 5)));
        assert!(!view.set_execution(execution("a", ExecutionState::Running, 4)));
        assert_eq!(view.counts(), [(ExecutionState::Succeeded, 1)]);
    }

    #[test]
    fn counts_come_in_order_of_life() {
        let mut view = TaskView::default();
        view.set_execution(execution("b", ExecutionState::Failed, 1));
        view.set_execution(execution("a", ExecutionState::Queued, 2));
        view.set_execution(execution("c", ExecutionState::Failed, 3));
        assert_eq!(
            view.counts(),
            [(ExecutionState::Queued, 1), (ExecutionState::Failed, 2)]
        );
        assert_eq!((view.failed(), view.lost()), (2, 0));
        let names: Vec<_> = view
            .executions()
            .iter()
            .map(|execution| execution.agent_name.as_str())
            .collect();
        assert_eq!(names, ["a", "b", "c"]);
    }

    #[test]
    fn a_script_is_named_by_its_first_telling_line() {
        let shell = pb::ShellSpec {
            script: "#!/bin/sh\n# why\nset -e\n".into(),
            ..Default::default()
        };
        let spec = pb::TaskSpec {
            action: Some(pb::task_spec::Action::Shell(shell)),
            ..Default::default()
        };
        assert_eq!(summary(Some(&spec)), "set -e");
    }
}
