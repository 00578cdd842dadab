//! Who did what.

use opslink::{id::AgentId, time::UnixMicros};

use crate::store::record::Role;

/// Characters of a detail that are kept and shown: whoever writes more cannot make the list unreadable.
pub(super) const DETAIL_MAX: u16 = 4_096;
/// Characters of an actor, a resource or a peer that are kept and shown.
pub(super) const NAME_MAX: u16 = 512;
/// Text of one answer: far below what a message may hold.
const ANSWER_MAX: usize = 1 << 20;

/// Who did what to what; written in the same transaction as its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// When.
    pub time: UnixMicros,
    /// User name, `token:<name>`, `agent:<id>` or `system`.
    pub actor: String,
    /// Role at that time; absent for agents and the system.
    pub actor_role: Option<Role>,
    /// `task.create`, `agent.join`, …
    pub action: &'static str,
    /// Kind and id: `task/0192…`.
    pub resource: String,
    /// One line; never a secret.
    pub detail: String,
    /// Address of the caller; empty for the system.
    pub peer: String,
}

/// A stored audit row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Grows by one per row.
    pub id: i64,
    /// What was written; `action` as text.
    pub time: UnixMicros,
    /// See [`Audit::actor`].
    pub actor: String,
    /// See [`Audit::actor_role`].
    pub actor_role: Option<Role>,
    /// See [`Audit::action`].
    pub action: String,
    /// See [`Audit::resource`].
    pub resource: String,
    /// See [`Audit::detail`].
    pub detail: String,
    /// See [`Audit::peer`].
    pub peer: String,
}

impl Audit {
    /// What the cloud did by itself, now.
    pub fn system(action: &'static str, resource: String, detail: String) -> Self {
        Self {
            time: UnixMicros::now(),
            actor: "system".to_owned(),
            actor_role: None,
            action,
            resource,
            detail,
            peer: String::new(),
        }
    }

    /// What an agent did to itself, now, from this address.
    pub fn agent(agent: AgentId, peer: String, action: &'static str, detail: String) -> Self {
        Self {
            actor: format!("agent:{agent}"),
            peer,
            ..Self::system(action, format!("agent/{agent}"), detail)
        }
    }

    /// The same with texts that are cut where they are too long: somebody else may have chosen them.
    pub(crate) fn cut(self) -> Self {
        Self {
            actor: shortened(self.actor, NAME_MAX),
            resource: shortened(self.resource, NAME_MAX),
            detail: shortened(self.detail, DETAIL_MAX),
            peer: shortened(self.peer, NAME_MAX),
            ..self
        }
    }
}

fn shortened(text: String, chars_max: u16) -> String {
    if text.len() <= chars_max.into() {
        return text;
    }
    let mut short: String = text.chars().take(chars_max.into()).collect();
    if short.len() < text.len() {
        short.pop();
        short.push('…');
    }
    short
}

/// Cuts a list of rows where their text becomes too much for one answer.
pub(super) fn bounded(rows: Vec<AuditRow>) -> Vec<AuditRow> {
    let mut total = 0;
    let fits = |row: &AuditRow| {
        let first = total == 0;
        total += 64 + row.detail.len() + row.resource.len() + row.actor.len() + row.peer.len();
        first || total <= ANSWER_MAX
    };
    rows.into_iter().take_while(fits).collect()
}
