//! What in a script one wants to look at twice.

use leptos::prelude::*;

use super::icon::Icon;
use crate::{
    i18n::{Arg, t, ta},
    logic::danger::Hint,
};

/// The hints, if there are any.
#[component]
pub(crate) fn DangerHints(
    /// In order of lines.
    #[prop(into)]
    hints: Signal<Vec<Hint>>,
) -> impl IntoView {
    move || {
        let hints = hints.get();
        (!hints.is_empty()).then(|| {
            view! {
                <div class="danger" role="status">
                    <Icon name="warning" />
                    <ul>
                        {hints.into_iter().take(6).map(|hint| view! {
                            <li>
                                <strong>{ta("danger-line", &[("line", Arg::from(hint.line))])}</strong>" "{t(hint.message)}
                                <code>{hint.excerpt}</code>
                            </li>
                        }).collect_view()}
                    </ul>
                </div>
            }
        })
    }
}
