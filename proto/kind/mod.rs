//! Kinds of work: what both ends know of each, and the one list of them.
//!
//! A kind is a file here: its spec, the limits and defaults that the comments of its .proto message name, its one line for
//! people, and what its executor needs. Whoever has an [`Action`] asks it and never which kind it is; the match over the
//! wire's `oneof` is made from the list, here and nowhere else. Another kind is its message and its line in the `oneof`,
//! its file here, and its line in [`kinds`](crate::kinds).

use crate::{convert::InvalidMessage, pb};

mod fake;
mod script;
mod shell;
mod sql;

pub use fake::{FakeSpec, FakeStep};
pub use script::SCRIPT_MAX;
pub use shell::{STDIN_MAX, ShellProgram, ShellSpec};
pub use sql::{SqlOnError, SqlSpec, SqlTransaction};

/// Longest summary, in characters: what the console has room for.
pub const SUMMARY_MAX: usize = 160;

/// What both ends know of one kind of work.
///
/// Beside this a spec converts from and to its wire message; `kinds!` holds it to that.
pub trait Kind: Arm {
    /// Its message in the wire's `oneof`.
    type Wire;

    /// The word for it in tasks, capabilities, policies and the command line.
    const NAME: &'static str;

    /// Says in one line what it does, for people.
    fn summary(&self) -> String;

    /// What its executor is given beside the spec.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// Takes the maps out of a spec, see [`take_maps`].
    fn take_maps(_spec: &mut Self::Wire) -> Vec<u8> {
        Vec::new()
    }
}

/// A spec's place among the kinds; made from the list.
pub trait Arm: Sized {
    /// Returns the spec of this kind, when the action is of this kind.
    fn of(action: &Action) -> Option<&Self>;
}

/// What an executor is given beside its spec. Nothing that it has no use for: it holds credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// The named endpoints of the machine.
    pub connections: bool,
}

/// The one list of kinds: calls the macro of this name with `/// What it is. Arm(Spec),` for each, where `Arm` is that of
/// the wire's `oneof` and of [`Action`](crate::kind::Action), and `Spec` a type of [`kind`](crate::kind).
#[macro_export]
macro_rules! kinds {
    ($then:ident) => {
        $then! {
            /// A command or a script.
            Shell(ShellSpec),
            /// SQL statements.
            Sql(SqlSpec),
            /// A scripted pretence of work.
            Fake(FakeSpec),
        }
    };
}

macro_rules! action {
    ($($(#[$about:meta])* $arm:ident($spec:ident),)+) => {
        /// What a task does: one variant per kind.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Action {
            $($(#[$about])* $arm($spec),)+
        }

        /// The names of all kinds, in the order of the list.
        pub const NAMES: &[&str] = &[$(<$spec as Kind>::NAME),+];

        impl Action {
            /// Returns the kind: the word in tasks, capabilities, policies and the command line.
            pub const fn kind(&self) -> &'static str {
                match self {
                    $(Self::$arm(_) => <$spec as Kind>::NAME,)+
                }
            }

            /// Says in one line of at most [`SUMMARY_MAX`] characters what it does, for people.
            pub fn summary(&self) -> String {
                let whole = match self {
                    $(Self::$arm(spec) => spec.summary(),)+
                };
                whole.chars().take(SUMMARY_MAX).collect()
            }

            /// What its executor is given beside it.
            pub fn needs(&self) -> Needs {
                match self {
                    $(Self::$arm(spec) => spec.needs(),)+
                }
            }
        }

        impl TryFrom<pb::task_spec::Action> for Action {
            type Error = InvalidMessage;

            fn try_from(action: pb::task_spec::Action) -> Result<Self, InvalidMessage> {
                match action {
                    $(pb::task_spec::Action::$arm(spec) => $spec::try_from(spec).map(Self::$arm),)+
                }
            }
        }

        impl From<Action> for pb::task_spec::Action {
            fn from(action: Action) -> Self {
                match action {
                    $(Action::$arm(spec) => Self::$arm(spec.into()),)+
                }
            }
        }

        /// Takes the maps out of a spec and returns their entries in one order, each text after its length. A map has no
        /// order on the wire: whoever compares or hashes a spec takes these bytes, and then those of what is left.
        pub fn take_maps(spec: &mut pb::TaskSpec) -> Vec<u8> {
            match &mut spec.action {
                None => Vec::new(),
                $(Some(pb::task_spec::Action::$arm(wire)) => <$spec as Kind>::take_maps(wire),)+
            }
        }

        $(impl Arm for $spec {
            fn of(action: &Action) -> Option<&Self> {
                if let Action::$arm(spec) = action { Some(spec) } else { None }
            }
        })+
    };
}

kinds!(action);

#[cfg(test)]
mod tests;
