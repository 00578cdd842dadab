//! Who is logged in. One per tab.

use leptos::{ev, prelude::*, task::spawn_local};
use opslink::pb::{CurrentUser, Role};

use crate::{api, dom, prefs};

/// When a tab of this browser logged out.
const LEFT: &str = "left";

/// The session's state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum State {
    /// Not asked yet.
    Unknown,
    /// Nobody.
    Out,
    /// Somebody.
    In(CurrentUser),
}

/// The session of this tab.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    /// Who.
    pub state: RwSignal<State>,
    /// The session ended while somebody was at work: ask again, keep the page.
    pub expired: RwSignal<bool>,
}

thread_local! {
    static SESSION: Session = Session { state: RwSignal::new(State::Unknown), expired: RwSignal::new(false) };
}

/// The session of this tab.
pub(crate) fn session() -> Session {
    SESSION.with(|session| *session)
}

impl Session {
    /// Takes note that the cloud does not know us (any more).
    pub(crate) fn lost(self) {
        match self.state.get_untracked() {
            State::In(_) => self.expired.set(true),
            State::Unknown | State::Out => self.state.set(State::Out),
        }
    }

    /// Takes note of a login.
    pub(crate) fn entered(self, user: CurrentUser) {
        self.expired.set(false);
        let same = matches!(self.state.get_untracked(), State::In(known) if known == user);
        if !same {
            self.state.set(State::In(user));
        }
    }

    /// Logs out.
    pub(crate) fn leave(self) {
        spawn_local(async move {
            // Whether or not the cloud heard it, this tab forgets, and so do the others.
            let _ = api::logout().await;
            prefs::set(LEFT, &dom::now_us().to_string());
            self.forget();
        });
    }

    /// Shows nothing more of the session: pages go, and their streams with them.
    fn forget(self) {
        if let Some(storage) = dom::tab_storage() {
            let _ = storage.clear();
        }
        self.state.set(State::Out);
    }

    /// Leaves with the other tabs. They have one cookie, so it was this session that ended.
    pub(crate) fn leave_with_others(self) {
        // The browser tells of what another tab has kept.
        window_event_listener(ev::storage, move |event| {
            if event.key().is_some_and(|key| key == prefs::key(LEFT)) {
                self.forget();
            }
        });
    }

    /// The user's role, with tracking.
    pub(crate) fn role(self) -> Role {
        match self.state.get() {
            State::In(user) => user.role(),
            State::Unknown | State::Out => Role::Unspecified,
        }
    }

    /// True when the user may run tasks.
    pub(crate) fn may_operate(self) -> bool {
        matches!(self.role(), Role::Operator | Role::Admin)
    }

    /// True when the user may change agents and tokens.
    pub(crate) fn may_administer(self) -> bool {
        self.role() == Role::Admin
    }
}
