//! What a task asks for.

use std::time::Duration;

use bytes::Bytes;

use super::{InvalidMessage, non_empty};
use crate::{
    pb,
    reason::Reason,
    task::{Action, FakeSpec, FakeStep, ShellProgram, ShellSpec, SqlOnError, SqlSpec, SqlTransaction, TaskSpec},
};

/// Longest script, in bytes. A control message has 1 MiB (design 04); the rest of it needs room too.
pub const SCRIPT_MAX: usize = 512 * 1024;
/// Longest standard input, in bytes.
pub const STDIN_MAX: usize = 256 * 1024;
/// Run time when none is asked for.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3_600);
/// TERM to KILL when none is asked for.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

impl TryFrom<pb::TaskSpec> for TaskSpec {
    type Error = InvalidMessage;

    fn try_from(spec: pb::TaskSpec) -> Result<Self, InvalidMessage> {
        let action = match spec.action {
            None => return Err(InvalidMessage::new("spec.action", "must be given: shell, sql or fake")),
            Some(pb::task_spec::Action::Shell(shell)) => Action::Shell(shell.try_into()?),
            Some(pb::task_spec::Action::Sql(sql)) => Action::Sql(sql.try_into()?),
            Some(pb::task_spec::Action::Fake(fake)) => Action::Fake(fake.try_into()?),
        };
        let seconds_or = |secs: u32, default| {
            if secs == 0 {
                default
            } else {
                Duration::from_secs(secs.into())
            }
        };
        Ok(Self {
            action,
            timeout: seconds_or(spec.timeout_secs, DEFAULT_TIMEOUT),
            grace: seconds_or(spec.grace_secs, DEFAULT_GRACE),
        })
    }
}

impl From<TaskSpec> for pb::TaskSpec {
    fn from(spec: TaskSpec) -> Self {
        let action = match spec.action {
            Action::Shell(shell) => pb::task_spec::Action::Shell(shell.into()),
            Action::Sql(sql) => pb::task_spec::Action::Sql(sql.into()),
            Action::Fake(fake) => pb::task_spec::Action::Fake(fake.into()),
        };
        Self {
            action: Some(action),
            timeout_secs: whole_secs(spec.timeout),
            grace_secs: whole_secs(spec.grace),
        }
    }
}

impl TryFrom<pb::ShellSpec> for ShellSpec {
    type Error = InvalidMessage;

    fn try_from(shell: pb::ShellSpec) -> Result<Self, InvalidMessage> {
        if shell.stdin.len() > STDIN_MAX {
            return Err(InvalidMessage::new(
                "spec.shell.stdin",
                format!(
                    "has {} bytes; at most {STDIN_MAX} travel with a task",
                    shell.stdin.len()
                ),
            ));
        }
        for argument in &shell.argv {
            without_nul("spec.shell.argv", argument)?;
        }
        for (name, value) in &shell.env {
            if name.is_empty() || name.contains('=') {
                return Err(InvalidMessage::new(
                    "spec.shell.env",
                    format!("has the impossible name `{name}`"),
                ));
            }
            without_nul("spec.shell.env", name)?;
            without_nul("spec.shell.env", value)?;
        }
        for (field, text) in [
            ("spec.shell.cwd", &shell.cwd),
            ("spec.shell.run_as", &shell.run_as),
            ("spec.shell.interpreter", &shell.interpreter),
        ] {
            without_nul(field, text)?;
        }
        let program = if shell.script.is_empty() {
            if !shell.script_name.is_empty() || !shell.interpreter.is_empty() {
                return Err(empty_script("spec.shell.script", &shell.script_name));
            }
            match shell.argv.first() {
                None => {
                    return Err(InvalidMessage::new(
                        "spec.shell.argv",
                        "must not be empty when there is no script",
                    ));
                }
                Some(program) if program.is_empty() => {
                    return Err(InvalidMessage::new(
                        "spec.shell.argv",
                        "must begin with the name of a program",
                    ));
                }
                Some(_) => ShellProgram::Argv(shell.argv),
            }
        } else {
            check_script("spec.shell.script", &shell.script_name, &shell.script)?;
            ShellProgram::Script {
                text: shell.script,
                interpreter: non_empty(shell.interpreter),
                args: shell.argv,
                name: shell.script_name,
            }
        };
        Ok(Self {
            program,
            env: shell.env.into_iter().collect(),
            cwd: non_empty(shell.cwd),
            stdin: shell.stdin,
            run_as: non_empty(shell.run_as),
        })
    }
}

impl From<ShellSpec> for pb::ShellSpec {
    fn from(shell: ShellSpec) -> Self {
        let (argv, script, interpreter, script_name) = match shell.program {
            ShellProgram::Argv(argv) => (argv, Bytes::new(), None, String::new()),
            ShellProgram::Script {
                text,
                interpreter,
                args,
                name,
            } => (args, text, interpreter, name),
        };
        Self {
            argv,
            script,
            interpreter: interpreter.unwrap_or_default(),
            env: shell.env.into_iter().collect(),
            cwd: shell.cwd.unwrap_or_default(),
            stdin: shell.stdin,
            run_as: shell.run_as.unwrap_or_default(),
            script_name,
        }
    }
}

impl TryFrom<pb::SqlSpec> for SqlSpec {
    type Error = InvalidMessage;

    fn try_from(sql: pb::SqlSpec) -> Result<Self, InvalidMessage> {
        let field = "spec.sql.script";
        check_script(field, &sql.script_name, &sql.script)?;
        // Some editors put a byte order mark first; no database knows what to do with it.
        let bytes = sql.script.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&sql.script);
        let script = match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(error) => {
                let reason = format!("is not UTF-8 (first bad byte at offset {})", error.valid_up_to());
                let invalid = InvalidMessage::new(field, reason).because(Reason::ScriptBinary);
                return Err(invalid.with("name", shown_name(field, &sql.script_name)));
            }
        };
        if script.trim().is_empty() {
            return Err(empty_script(field, &sql.script_name));
        }
        let transaction = match sql.transaction() {
            pb::SqlTransaction::Unspecified | pb::SqlTransaction::PerStatement => SqlTransaction::PerStatement,
            pb::SqlTransaction::Single => SqlTransaction::Single,
        };
        let on_error = match sql.on_error() {
            pb::SqlOnError::Unspecified | pb::SqlOnError::Stop => SqlOnError::Stop,
            pb::SqlOnError::Continue => SqlOnError::Continue,
        };
        if transaction == SqlTransaction::Single && on_error == SqlOnError::Continue {
            return Err(InvalidMessage::new(
                "spec.sql.on_error",
                "cannot be CONTINUE with a single transaction: the first error rolls back everything",
            ));
        }
        Ok(Self {
            script,
            connection: non_empty(sql.connection),
            transaction,
            on_error,
            max_rows: if sql.max_rows == 0 { None } else { Some(sql.max_rows) },
            statement_timeout: match sql.statement_timeout_secs {
                0 => None,
                secs => Some(Duration::from_secs(secs.into())),
            },
            read_only: sql.read_only,
            name: sql.script_name,
        })
    }
}

impl From<SqlSpec> for pb::SqlSpec {
    fn from(sql: SqlSpec) -> Self {
        let transaction = match sql.transaction {
            SqlTransaction::PerStatement => pb::SqlTransaction::PerStatement,
            SqlTransaction::Single => pb::SqlTransaction::Single,
        };
        let on_error = match sql.on_error {
            SqlOnError::Stop => pb::SqlOnError::Stop,
            SqlOnError::Continue => pb::SqlOnError::Continue,
        };
        Self {
            script: sql.script.into(),
            connection: sql.connection.unwrap_or_default(),
            transaction: transaction.into(),
            on_error: on_error.into(),
            max_rows: sql.max_rows.unwrap_or(0),
            statement_timeout_secs: sql.statement_timeout.map_or(0, whole_secs),
            read_only: sql.read_only,
            script_name: sql.name,
        }
    }
}

impl TryFrom<pb::FakeSpec> for FakeSpec {
    type Error = InvalidMessage;

    fn try_from(fake: pb::FakeSpec) -> Result<Self, InvalidMessage> {
        use pb::fake_step::Step;
        let step = |step: pb::FakeStep| match step.step {
            None => Err(InvalidMessage::new("spec.fake.steps", "has a step of an unknown kind")),
            Some(Step::SleepMs(ms)) => Ok(FakeStep::Sleep(Duration::from_millis(ms.into()))),
            Some(Step::Stdout(data)) => Ok(FakeStep::Stdout(data)),
            Some(Step::Stderr(data)) => Ok(FakeStep::Stderr(data)),
            Some(Step::ExitCode(code)) => Ok(FakeStep::Exit(code)),
            Some(Step::Fail(message)) => Ok(FakeStep::Fail(message)),
            Some(Step::FloodBytes(bytes)) => Ok(FakeStep::Flood(bytes)),
            Some(Step::StubbornMs(ms)) => Ok(FakeStep::Stubborn(Duration::from_millis(ms.into()))),
        };
        Ok(Self {
            steps: fake.steps.into_iter().map(step).collect::<Result<_, _>>()?,
        })
    }
}

impl From<FakeSpec> for pb::FakeSpec {
    fn from(fake: FakeSpec) -> Self {
        use pb::fake_step::Step;
        let step = |step: FakeStep| match step {
            FakeStep::Sleep(time) => Step::SleepMs(whole_millis(time)),
            FakeStep::Stdout(data) => Step::Stdout(data),
            FakeStep::Stderr(data) => Step::Stderr(data),
            FakeStep::Exit(code) => Step::ExitCode(code),
            FakeStep::Fail(message) => Step::Fail(message),
            FakeStep::Flood(bytes) => Step::FloodBytes(bytes),
            FakeStep::Stubborn(time) => Step::StubbornMs(whole_millis(time)),
        };
        Self {
            steps: fake
                .steps
                .into_iter()
                .map(|one| pb::FakeStep { step: Some(step(one)) })
                .collect(),
        }
    }
}

/// What people know a script by: its name, else its field.
const fn shown_name<'a>(field: &'a str, name: &'a str) -> &'a str {
    if name.is_empty() { field } else { name }
}

fn check_script(field: &str, name: &str, script: &Bytes) -> Result<(), InvalidMessage> {
    if script.is_empty() {
        return Err(empty_script(field, name));
    }
    if script.len() > SCRIPT_MAX {
        let reason = format!("has {} bytes; at most {SCRIPT_MAX} travel with a task", script.len());
        return Err(InvalidMessage::new(field, reason)
            .because(Reason::ScriptTooLarge)
            .with("name", shown_name(field, name))
            .with("size", format!("{} KiB", script.len().div_ceil(1_024)))
            .with("limit", format!("{} KiB", SCRIPT_MAX / 1_024)));
    }
    if let Some(offset) = memchr::memchr(0, script) {
        let reason = format!("is not text (NUL byte at offset {offset})");
        let invalid = InvalidMessage::new(field, reason).because(Reason::ScriptBinary);
        return Err(invalid.with("name", shown_name(field, name)));
    }
    Ok(())
}

fn empty_script(field: &str, name: &str) -> InvalidMessage {
    let invalid = InvalidMessage::new(field, "must not be empty").because(Reason::ScriptEmpty);
    invalid.with("name", shown_name(field, name))
}

fn without_nul(field: &str, text: &str) -> Result<(), InvalidMessage> {
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return Err(InvalidMessage::new(field, "must not contain a NUL byte"));
    }
    Ok(())
}

/// Rounds up, so that no limit becomes 0, which would mean the default.
fn whole_secs(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX)
}

fn whole_millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
#[path = "task_spec_tests.rs"]
mod tests;
