//! Changing the password.

use leptos::{ev, prelude::*, task::spawn_local};

use super::{field::TextField, problem::ProblemBox};
use crate::{
    api::{self, Failure},
    i18n::t,
};

/// Shortest password that the cloud takes.
const SHORTEST: usize = 12;

/// The old one once, the new one twice.
#[component]
pub(crate) fn PasswordForm(
    /// Called when it is done.
    done: Callback<()>,
) -> impl IntoView {
    let current = RwSignal::new(String::new());
    let fresh = RwSignal::new(String::new());
    let again = RwSignal::new(String::new());
    let problem = RwSignal::new(None);
    let (busy, set_busy) = signal(false);
    let submit = move |event: ev::SubmitEvent| {
        event.prevent_default();
        let refuse = |id: &str| {
            let failure = Failure {
                reason: String::new(),
                what: t(id),
                why: String::new(),
                fix: String::new(),
            };
            problem.set(Some(failure));
        };
        if fresh.get_untracked().chars().count() < SHORTEST {
            return refuse("password-short");
        }
        if fresh.get_untracked() != again.get_untracked() {
            return refuse("password-differs");
        }
        set_busy.set(true);
        problem.set(None);
        spawn_local(async move {
            let result = api::change_password(current.get_untracked(), fresh.get_untracked()).await;
            let _ = set_busy.try_set(false);
            match result {
                Ok(()) => {
                    for field in [current, fresh, again] {
                        let _ = field.try_set(String::new());
                    }
                    done.run(());
                }
                Err(failure) => {
                    let _ = problem.try_set(Some(failure));
                }
            }
        });
    };
    view! {
        <form class="form" on:submit=submit>
            <ProblemBox problem=problem />
            <TextField id="password-current" label=t("password-current") value=current kind="password" autocomplete="current-password" />
            <TextField id="password-new" label=t("password-new") value=fresh kind="password" autocomplete="new-password" hint=t("password-hint") />
            <TextField id="password-again" label=t("password-again") value=again kind="password" autocomplete="new-password" />
            <button type="submit" class="button button-primary button-wide" disabled=move || busy.get()>{t("password-change")}</button>
        </form>
    }
}
