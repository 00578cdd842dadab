//! What tasks may do on this machine: `policy.toml`. The machine's owner writes it; the cloud cannot change it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use opslink::{
    reason::Reason,
    task::{Action, ShellProgram, TaskSpec},
};
use serde::Deserialize;

/// Name of the file in the state folder.
pub const FILE_NAME: &str = "policy.toml";

/// What a fresh join writes.
pub const TEMPLATE: &str = "\
# What tasks may do on this machine. Only this file decides; the cloud cannot change it.
# Kinds of task that are allowed.
allow = [\"shell\", \"sql\"]
# Users that shell tasks may run as, beside the agent's own; leave out to allow every user.
# run_as = [\"deploy\"]
# Programs (or script interpreters) that shell tasks may start, as globs; leave out to allow every program.
# programs = [\"/usr/bin/systemctl\", \"bash\", \"sh\"]
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
    /// Globs of programs; absent means any.
    #[serde(default)]
    programs: Option<Vec<String>>,
    /// Whether the pretence of work for tests is allowed.
    #[serde(default)]
    allow_fake: bool,
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
    pub fn permit(&self, spec: &TaskSpec) -> Result<(), Denied> {
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
        let Action::Shell(shell) = &spec.action else {
            return Ok(());
        };
        if let (Some(users), Some(user)) = (&self.run_as, &shell.run_as)
            && !users.contains(user)
        {
            return Err(Denied::new(format!(
                "the policy of this agent does not allow tasks to run as `{user}` ({FILE_NAME}: run_as)"
            )));
        }
        let Some(globs) = &self.programs else { return Ok(()) };
        let program = program_of(&shell.program);
        if globs
            .iter()
            .any(|glob| glob_matches(glob.as_bytes(), program.as_bytes()))
        {
            return Ok(());
        }
        Err(Denied::new(format!(
            "the policy of this agent does not allow the program `{program}` ({FILE_NAME}: programs)"
        )))
    }
}

/// The program that a shell action starts, as the task names it.
fn program_of(program: &ShellProgram) -> String {
    match program {
        ShellProgram::Argv(argv) => argv.first().cloned().unwrap_or_default(),
        ShellProgram::Script {
            interpreter: Some(interpreter),
            ..
        } => interpreter.clone(),
        ShellProgram::Script {
            text,
            interpreter: None,
            ..
        } => {
            let first_line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let named = first_line
                .strip_prefix(b"#!")
                .map(|rest| String::from_utf8_lossy(rest).into_owned());
            let word = named.as_deref().and_then(|rest| rest.split_whitespace().next());
            word.unwrap_or("sh").to_owned()
        }
    }
}

/// `*` is any run of bytes, `?` any one byte.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(t) {
        match glob.get(g) {
            Some(b'*') => {
                star = Some((g, t));
                g += 1;
            }
            Some(b'?') => (g, t) = (g + 1, t + 1),
            Some(want) if want == byte => (g, t) = (g + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (g, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    glob.get(g..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opslink::task::{FakeSpec, ShellSpec};

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
        let policy = policy("allow=['shell']\nrun_as=['deploy']\nprograms=['/usr/bin/*ctl','bash']\n");
        assert!(
            policy
                .permit(&shell(argv("/usr/bin/systemctl"), Some("deploy")))
                .is_ok()
        );
        assert!(policy.permit(&shell(argv("/usr/bin/systemctl"), Some("root"))).is_err());
        assert!(policy.permit(&shell(argv("systemctl"), None)).is_err());
        assert!(policy.permit(&shell(script("#!/bin/sh\nx"), None)).is_err());
        assert!(policy.permit(&shell(script("#! bash -e\nx"), None)).is_ok());
        assert!(
            policy.permit(&shell(script("echo no line"), None)).is_err(),
            "runs under sh"
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
    fn globs() {
        for (glob, text, matches) in [
            ("*", "", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2", false),
            ("?", "", false),
            ("a?", "ab", true),
        ] {
            assert_eq!(
                glob_matches(glob.as_bytes(), text.as_bytes()),
                matches,
                "{glob} on {text}"
            );
        }
    }
}
