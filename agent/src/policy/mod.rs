//! What tasks may do on this machine: `policy.toml`. The machine's owner writes it; the cloud cannot change it.
//!
//! What the file may say of one kind of work, and how a task is held to it, is in that kind's file here ([`Ruled`]).

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use opslink::{
    kind::{Action, Kind},
    reason::Reason,
    task::TaskSpec,
};
use serde::Deserialize;

mod fake;
mod shell;
mod sql;

/// Name of the file in the state folder.
pub const FILE_NAME: &str = "policy.toml";

/// What the machine's owner may say of one kind of work.
trait Ruled: Kind {
    /// Whether `allow` of a fresh policy has it.
    const IS_ALLOWED_AT_FIRST: bool;

    /// Its keys in a fresh policy, each explained and none in force.
    const TEMPLATE: &'static str;

    /// The reason of a no to the whole kind.
    const DENIED: Reason = Reason::PolicyDenied;

    /// Says whether tasks of this kind may run at all.
    fn is_allowed(policy: &Policy) -> bool {
        policy.allow.iter().any(|allowed| allowed == Self::NAME)
    }

    /// Says whether a task of an allowed kind may run.
    ///
    /// # Errors
    /// The no, with what to change in the policy.
    fn permit(&self, policy: &Policy) -> Result<Permit, Denied>;
}

/// What is known of a kind without a task.
struct Row {
    kind: &'static str,
    is_allowed_at_first: bool,
    template: &'static str,
    is_allowed: fn(&Policy) -> bool,
}

const fn row<K: Ruled>() -> Row {
    Row {
        kind: K::NAME,
        is_allowed_at_first: K::IS_ALLOWED_AT_FIRST,
        template: K::TEMPLATE,
        is_allowed: K::is_allowed,
    }
}

/// Made from the one list: a new kind of work shall not compile until its owner was thought of.
macro_rules! by_kind {
    ($($(#[$about:meta])* $arm:ident($spec:ident),)+) => {
        /// Every kind, in the order of the list.
        const ROWS: &[Row] = &[$(row::<opslink::kind::$spec>()),+];

        /// Asks the rules of the action's own kind.
        fn permit(action: &Action, policy: &Policy) -> Result<Permit, Denied> {
            match action {
                $(Action::$arm(spec) => permit_spec(spec, policy),)+
            }
        }
    };
}

opslink::kinds!(by_kind);

fn permit_spec<K: Ruled>(spec: &K, policy: &Policy) -> Result<Permit, Denied> {
    if !K::is_allowed(policy) {
        let kind = K::NAME;
        return Err(Denied {
            reason: K::DENIED,
            message: format!("the policy of this agent does not allow {kind} tasks ({FILE_NAME}: allow)"),
        });
    }
    spec.permit(policy)
}

/// The kinds that a fresh policy allows.
fn allowed_at_first() -> Vec<&'static str> {
    let rows = ROWS.iter().filter(|row| row.is_allowed_at_first);
    rows.map(|row| row.kind).collect()
}

/// What a fresh join writes.
pub fn template() -> String {
    let mut text = format!(
        "# What tasks may do on this machine. Only this file decides; the cloud cannot change it.\n\
         # Kinds of task that are allowed.\n\
         allow = {:?}\n",
        allowed_at_first()
    );
    text.extend(ROWS.iter().map(|row| row.template));
    text
}

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
        Self {
            allow: allowed_at_first().into_iter().map(str::to_owned).collect(),
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
        let row = ROWS.iter().find(|row| row.kind == kind);
        row.is_some_and(|row| (row.is_allowed)(self))
    }

    /// Says whether this machine's owner lets the task run.
    ///
    /// # Errors
    /// The no, with what to change in the policy.
    pub fn permit(&self, spec: &TaskSpec) -> Result<Permit, Denied> {
        permit(&spec.action, self)
    }
}

#[cfg(test)]
mod tests;
