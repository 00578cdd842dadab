//! `shell`: a command or a script.

use std::{collections::BTreeMap, mem};

use bytes::Bytes;

use super::{Kind, script};
use crate::{
    convert::{InvalidMessage, non_empty},
    pb,
};

/// Longest standard input, in bytes.
pub const STDIN_MAX: usize = 256 * 1024;

/// A command or a script.
#[derive(Debug, Clone, PartialEq)]
pub struct ShellSpec {
    /// What is run.
    pub program: ShellProgram,
    /// Added to the agent's own environment.
    pub env: BTreeMap<String, String>,
    /// Working directory; the agent's own when absent.
    pub cwd: Option<String>,
    /// Bytes given to the process, then end of file.
    pub stdin: Bytes,
    /// User name or uid; the agent's own when absent.
    pub run_as: Option<String>,
}

/// The two ways to say what a shell task runs.
#[derive(Debug, Clone, PartialEq)]
pub enum ShellProgram {
    /// Program and arguments, never empty, passed as they are.
    Argv(Vec<String>),
    /// A script that travels as a file.
    Script {
        /// Its bytes, never empty.
        text: Bytes,
        /// Name or absolute path; else the `#!` line; else `sh`.
        interpreter: Option<String>,
        /// Arguments of the script.
        args: Vec<String>,
        /// File name at the caller, for messages.
        name: String,
    },
}

impl Kind for ShellSpec {
    type Wire = pb::ShellSpec;

    const NAME: &'static str = "shell";

    /// The command, or the script's name, or the first line of it that says something.
    fn summary(&self) -> String {
        match &self.program {
            ShellProgram::Argv(argv) => argv.join(" "),
            ShellProgram::Script { name, .. } if !name.is_empty() => name.clone(),
            ShellProgram::Script { text, .. } => {
                let text = String::from_utf8_lossy(text);
                let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                let telling = lines.clone().find(|line| !line.starts_with('#'));
                telling.or_else(|| lines.next()).unwrap_or_default().to_owned()
            }
        }
    }

    /// The environment.
    fn take_maps(spec: &mut pb::ShellSpec) -> Vec<u8> {
        let env: BTreeMap<_, _> = mem::take(&mut spec.env).into_iter().collect();
        let mut bytes = Vec::new();
        for text in env.into_iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
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
                return Err(script::empty("spec.shell.script", &shell.script_name));
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
            script::check("spec.shell.script", &shell.script_name, &shell.script)?;
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

fn without_nul(field: &str, text: &str) -> Result<(), InvalidMessage> {
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return Err(InvalidMessage::new(field, "must not contain a NUL byte"));
    }
    Ok(())
}
