//! What tasks may do on this machine: `policy.toml`. The machine's owner writes it; the cloud cannot change it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use opslink::{
    reason::Reason,
    task::{Action, ShellProgram, ShellSpec, TaskSpec},
};
use serde::Deserialize;

use crate::{
    executor,
    programs::{self, Resolved},
};

/// Name of the file in the state folder.
pub const FILE_NAME: &str = "policy.toml";

/// What a fresh join writes.
pub const TEMPLATE: &str = "\
# What tasks may do on this machine. Only this file decides; the cloud cannot change it.
# Kinds of task that are allowed.
allow = [\"shell\", \"sql\"]
# Users that shell tasks may run as, beside the agent's own; leave out to allow every user.
# run_as = [\"deploy\"]
# Programs (and script interpreters) that shell tasks may start, as names in the agent's PATH, paths or globs of paths
# (`*` does not match `/`, links are followed first); leave out to allow every program.
# programs = [\"systemctl\", \"/opt/tools/*\", \"bash\"]
# Variables that tasks may set, as globs; counts only while programs is set, and then nothing else may be set.
# env = [\"DEPLOY_*\"]
# Variables of the agent's own environment that tasks get, as globs, beside PATH, HOME, USER, LOGNAME, SHELL, LANG,
# LANGUAGE, LC_*, TZ, TMPDIR. Nothing else of it reaches a task.
# inherit = [\"HTTPS_PROXY\", \"NO_PROXY\"]
# Connections (connections.toml) that SQL tasks may use, as globs; each task then has to name one. Leave out to allow all.
# connections = [\"reports\", \"shop-*\"]
";

/// Why `policy.toml` cannot be used. Without a policy nothing is allowed, so the agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is missing or cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{path} is not a policy: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Somebody else could change it.
    #[error("{path} must belong to root or to the agent's user and be writable by nobody else")]
    Unsafe {
        /// The file.
        path: PathBuf,
    },
}

/// What tasks may do on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Kinds of task.
    allow: Vec<String>,
    /// Users; absent means any.
    #[serde(default)]
    run_as: Option<Vec<String>>,
    /// Names, paths and globs of programs; absent means any.
    #[serde(default)]
    programs: Option<Vec<String>>,
    /// Variables that tasks may set while `programs` is set.
    #[serde(default)]
    env: Vec<String>,
    /// Variables of the agent that tasks get.
    #[serde(default)]
    inherit: Vec<String>,
    /// Globs of connections; absent means any.
    #[serde(default)]
    connections: Option<Vec<String>>,
    /// Whether the pretence of work for tests is allowed.
    #[serde(default)]
    allow_fake: bool,
}

/// What a policy lets a task use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permit {
    /// The one file that it may execute; absent when any may be.
    pub program: Option<PathBuf>,
    /// Variables of the agent's own environment that it gets, as globs.
    pub inherit: Vec<String>,
}

/// A policy's no. Its text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Denied {
    /// `POLICY_DENIED` or `FAKE_DENIED`.
    pub reason: Reason,
    message: String,
}

impl Denied {
    fn new(message: String) -> Self {
        Self {
            reason: Reason::PolicyDenied,
            message,
        }
    }
}

impl Policy {
    /// Allows everything, also the fake: for simulations.
    pub fn permissive() -> Self {
        let allow = ["shell", "sql"].map(str::to_owned).to_vec();
        Self {
            allow,
            run_as: None,
            programs: None,
            env: Vec::new(),
            inherit: Vec::new(),
            connections: None,
            allow_fake: true,
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it is missing, unreadable, malformed, or writable by others.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let read = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let metadata = fs::metadata(path).map_err(read)?;
        let own = nix::unistd::geteuid().as_raw();
        if (metadata.uid() != own && metadata.uid() != 0) || metadata.mode() & 0o022 != 0 {
            return Err(Error::Unsafe { path: path.to_owned() });
        }
        let text = fs::read_to_string(path).map_err(read)?;
        Self::parse(&text, path)
    }

    /// Reads the text of a policy; `path` is for messages.
    ///
    /// # Errors
    /// When the text is malformed.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        toml::from_str(text).map_err(|error| Error::Syntax {
            path: path.to_owned(),
            message: error.to_string(),
        })
    }

    /// Says whether tasks of this kind may run at all.
    pub fn allows_kind(&self, kind: &str) -> bool {
        if kind == "fake" {
            self.allow_fake
        } else {
            self.allow.iter().any(|allowed| allowed == kind)
        }
    }

    /// Says whether this machine's owner lets the task run.
    ///
    /// # Errors
    /// The no, with what to change in the policy.
    pub fn permit(&self, spec: &TaskSpec) -> Result<Permit, Denied> {
        let kind = spec.action.kind();
        if !self.allows_kind(kind) {
            let message = format!("the policy of this agent does not allow {kind} tasks ({FILE_NAME}: allow)");
            return Err(match &spec.action {
                Action::Fake(_) => Denied {
                    reason: Reason::FakeDenied,
                    message,
                },
                Action::Shell(_) | Action::Sql(_) => Denied::new(message),
            });
        }
        let shell = match &spec.action {
            Action::Shell(shell) => shell,
            Action::Sql(sql) => return self.permit_connection(sql.connection.as_deref()),
            Action::Fake(_) => return Ok(Permit::default()),
        };
        if let (Some(users), Some(user)) = (&self.run_as, &shell.run_as)
            && !users.contains(user)
        {
            return Err(Denied::new(format!(
                "the policy of this agent does not allow tasks to run as `{user}` ({FILE_NAME}: run_as)"
            )));
        }
        let program = match &self.programs {
            Some(list) => Some(self.permit_program(list, shell)?),
            None => None,
        };
        Ok(Permit {
            program,
            inherit: self.inherit.clone(),
        })
    }

    /// The default connection may change without this file: with a list, tasks have to name theirs.
    fn permit_connection(&self, name: Option<&str>) -> Result<Permit, Denied> {
        let Some(globs) = &self.connections else {
            return Ok(Permit::default());
        };
        let allows = |glob: &String, name: &str| programs::glob_matches(glob.as_bytes(), name.as_bytes());
        match name {
            Some(name) if globs.iter().any(|glob| allows(glob, name)) => Ok(Permit::default()),
            Some(name) => Err(Denied::new(format!(
                "the policy of this agent does not allow the connection `{name}` ({FILE_NAME}: connections)"
            ))),
            None => Err(Denied::new(format!(
                "the policy of this agent limits connections: name one with --conn ({FILE_NAME}: connections)"
            ))),
        }
    }

    /// Finds the program as the agent finds it, whatever the task's own PATH says.
    fn permit_program(&self, list: &[String], shell: &ShellSpec) -> Result<PathBuf, Denied> {
        let is_forbidden = |name: &&String| {
            let mut globs = self.env.iter();
            !globs.any(|glob| programs::glob_matches(glob.as_bytes(), name.as_bytes()))
        };
        if let Some(name) = shell.env.keys().find(is_forbidden) {
            return Err(Denied::new(format!(
                "the policy of this agent limits programs and does not allow tasks to set `{name}` ({FILE_NAME}: env)"
            )));
        }
        let name = match &shell.program {
            ShellProgram::Argv(argv) => argv.first().cloned().unwrap_or_default(),
            ShellProgram::Script { text, interpreter, .. } => executor::interpreter_of(text, interpreter.as_deref())
                .map_err(|failure| Denied::new(failure.message))?,
        };
        let denied = |what: &str| {
            Denied::new(format!(
                "the policy of this agent does not allow the program `{name}`{what} ({FILE_NAME}: programs)"
            ))
        };
        let path = programs::own_path();
        let cwd = shell.cwd.as_deref().map(Path::new);
        let found = programs::find(&name, cwd, &path).map_err(|unusable| denied(&format!(": {unusable}")))?;
        let found = Resolved::of(&found).map_err(|error| denied(&format!(": {error}")))?;
        if !found.is_among(list, &path) {
            return Err(denied(&format!(", which is {}", found.target.display())));
        }
        Ok(found.target)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opslink::task::FakeSpec;

    use super::*;

    fn policy(text: &str) -> Policy {
        Policy::parse(text, Path::new(FILE_NAME)).unwrap()
    }

    fn shell(program: ShellProgram, run_as: Option<&str>) -> TaskSpec {
        let action = Action::Shell(ShellSpec {
            program,
            env: Default::default(),
            cwd: None,
            stdin: Default::default(),
            run_as: run_as.map(str::to_owned),
        });
        TaskSpec {
            action,
            timeout: Duration::from_secs(1),
            grace: Duration::from_secs(1),
        }
    }

    fn argv(program: &str) -> ShellProgram {
        ShellProgram::Argv(vec![program.to_owned()])
    }

    fn script(text: &'static str) -> ShellProgram {
        ShellProgram::Script {
            text: text.into(),
            interpreter: None,
            args: vec![],
            name: String::new(),
        }
    }

    #[test]
    fn a_fresh_policy_allows_shell_and_no_fake() {
        let policy = policy(TEMPLATE);
        assert!(policy.permit(&shell(argv("ls"), Some("nobody"))).is_ok());
        let fake = TaskSpec {
            action: Action::Fake(FakeSpec::default()),
            ..shell(argv("ls"), None)
        };
        assert!(policy.permit(&fake).unwrap_err().to_string().contains("fake"));
    }

    #[test]
    fn users_and_programs_are_held_to_their_lists() {
        let policy = policy("allow=['shell']\nrun_as=['deploy']\nprograms=['/bin/s*','env']\nenv=['A_*']\n");
        let permit = policy.permit(&shell(argv("/bin/sleep"), Some("deploy"))).unwrap();
        assert_eq!(permit.program, Some(fs::canonicalize("/bin/sleep").unwrap()));
        assert!(policy.permit(&shell(argv("/bin/sleep"), Some("root"))).is_err());
        assert!(policy.permit(&shell(argv("sleep"), None)).is_ok(), "found in the PATH");
        assert!(policy.permit(&shell(argv("/bin/../bin/sleep"), None)).is_ok());
        assert!(policy.permit(&shell(argv("/bin/../bin/cat"), None)).is_err());
        assert!(policy.permit(&shell(argv("no-such-program"), None)).is_err());
        assert!(policy.permit(&shell(script("#!/usr/bin/perl\nx"), None)).is_err());
        assert!(policy.permit(&shell(script("#! /usr/bin/env -S x\nx"), None)).is_ok());
        // A byte order mark hides no interpreter.
        assert!(policy.permit(&shell(script("\u{feff}#!/bin/cat\nx"), None)).is_err());
    }

    #[test]
    fn a_limit_of_programs_limits_the_environment() {
        let limited = policy("allow=['shell']\nprograms=['sleep']\nenv=['A_*']\ninherit=['HTTPS_PROXY']\n");
        let with = |name: &str| {
            let mut task = shell(argv("sleep"), None);
            if let Action::Shell(shell) = &mut task.action {
                shell.env.insert(name.to_owned(), "x".to_owned());
            }
            task
        };
        for name in [
            "BASH_ENV",
            "LD_PRELOAD",
            "BASH_FUNC_echo%%",
            "PATH",
            "IFS",
            "ENV",
            "PYTHONPATH",
            "PERL5OPT",
            "anything",
        ] {
            let denied = limited.permit(&with(name)).unwrap_err();
            assert!(denied.to_string().contains(name), "{denied}");
        }
        assert_eq!(limited.permit(&with("A_B")).unwrap().inherit, ["HTTPS_PROXY"]);
        assert!(
            policy(TEMPLATE).permit(&with("PATH")).is_ok(),
            "without a limit anything may be set"
        );
    }

    #[test]
    fn a_policy_that_others_can_write_or_with_an_unknown_key_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        fs::write(&path, TEMPLATE).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Policy::load(&path).is_ok());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(matches!(Policy::load(&path), Err(Error::Unsafe { .. })));
        assert!(matches!(
            Policy::parse("allow=[]\nalow=[]", &path),
            Err(Error::Syntax { .. })
        ));
    }

    #[test]
    fn connections_are_held_to_their_list() {
        use opslink::task::{SqlOnError, SqlSpec, SqlTransaction};
        let sql = |connection: Option<&str>| TaskSpec {
            action: Action::Sql(SqlSpec {
                script: "SELECT 1".to_owned(),
                connection: connection.map(str::to_owned),
                transaction: SqlTransaction::PerStatement,
                on_error: SqlOnError::Stop,
                max_rows: None,
                statement_timeout: None,
                read_only: false,
                name: String::new(),
            }),
            timeout: Duration::from_secs(1),
            grace: Duration::from_secs(1),
        };
        let all = policy("allow=['sql']\n");
        assert!(all.permit(&sql(None)).is_ok() && all.permit(&sql(Some("main"))).is_ok());
        let some = policy("allow=['sql']\nconnections=['shop-*']\n");
        assert!(some.permit(&sql(Some("shop-eu"))).is_ok());
        assert!(some.permit(&sql(Some("main"))).is_err());
        assert!(some.permit(&sql(None)).unwrap_err().to_string().contains("--conn"));
    }
}
