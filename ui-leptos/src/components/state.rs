//! States: icon, word and colour, always all three.

use leptos::prelude::*;
use opslink::pb::{AgentStatus, TaskState};

use super::icon::Icon;
use crate::{i18n::t, logic::taskview::task_word};

/// A state's badge by its word.
#[component]
pub(crate) fn Badge(
    /// The stable word: icon, class and message id.
    word: &'static str,
) -> impl IntoView {
    view! {
        <span class=format!("state state-{word}") data-state=word>
            <Icon name=word />
            <span>{t(&format!("state-{}", word.replace('_', "-")))}</span>
        </span>
    }
}

/// The state of a task.
#[component]
pub(crate) fn TaskBadge(
    /// The state.
    state: TaskState,
) -> impl IntoView {
    view! { <Badge word=task_word(state) /> }
}

/// Whether an agent holds a link.
#[component]
pub(crate) fn AgentBadge(
    /// The status.
    status: AgentStatus,
) -> impl IntoView {
    view! { <Badge word=agent_word(status) /> }
}

/// The stable word of an agent's status.
pub(crate) const fn agent_word(status: AgentStatus) -> &'static str {
    match status {
        AgentStatus::Unspecified => "unknown",
        AgentStatus::Online => "online",
        AgentStatus::Offline => "offline",
    }
}
