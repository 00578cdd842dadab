//! Copying text.

use std::time::Duration;

use leptos::{prelude::*, task::spawn_local};

use super::{icon::Icon, toast};
use crate::{dom, i18n::t};

/// A button that puts text on the clipboard and says so.
#[component]
pub(crate) fn CopyButton(
    /// The text.
    #[prop(into)]
    text: Signal<String>,
    /// What is copied, for its name.
    #[prop(into)]
    label: String,
    /// The word beside the icon, if any.
    #[prop(optional, into)]
    word: String,
) -> impl IntoView {
    let (done, set_done) = signal(false);
    let bare = word.is_empty();
    let copy = move |_| {
        spawn_local(async move {
            if dom::copy(&text.get_untracked()).await {
                set_done.set(true);
                set_timeout(
                    move || {
                        let _ = set_done.try_set(false);
                    },
                    Duration::from_secs(2),
                );
            } else {
                toast::complain(t("copy-refused"));
            }
        });
    };
    view! {
        <button type="button" class="button button-quiet" class:button-icon=bare on:click=copy aria-label=label.clone() title=label.clone()>
            {move || if done.get() { view! { <Icon name="check" /> } } else { view! { <Icon name="copy" /> } }}
            {(!bare).then(|| view! { <span>{move || if done.get() { t("copied") } else { word.clone() }}</span> })}
            <span class="sr-only" role="status">{move || done.get().then(|| t("copied"))}</span>
        </button>
    }
}

/// A line for a terminal, with its button.
#[component]
pub(crate) fn CodeLine(
    /// The text.
    #[prop(into)]
    text: Signal<String>,
    /// What it is, for the button's name.
    #[prop(into)]
    label: String,
    /// Name for tests and for anchors.
    #[prop(optional)]
    id: Option<&'static str>,
) -> impl IntoView {
    view! {
        <div class="code-line">
            <pre tabindex="0" id=id aria-label=label.clone()><code>{move || text.get()}</code></pre>
            <CopyButton text=text label=label word=t("copy") />
        </div>
    }
}
