//! The browser's own dialog: it keeps the keyboard inside and closes on Escape.

use leptos::{ev, html, prelude::*};

use super::icon::Icon;
use crate::i18n::t;

/// A modal dialog that is open while the signal says so.
#[component]
pub(crate) fn Dialog(
    /// Whether it is open.
    open: RwSignal<bool>,
    /// Its name.
    #[prop(into)]
    heading: String,
    /// Cannot be dismissed.
    #[prop(optional)]
    firm: bool,
    /// What is in it; made anew each time it opens.
    children: ChildrenFn,
) -> impl IntoView {
    let node = NodeRef::<html::Dialog>::new();
    Effect::new(move |_| {
        let Some(dialog) = node.get() else { return };
        if open.get() && !dialog.open() {
            let _ = dialog.show_modal();
        } else if !open.get() && dialog.open() {
            dialog.close();
        }
    });
    let name = heading.clone();
    let cancel = move |event: ev::Event| {
        if firm {
            event.prevent_default();
        }
    };
    view! {
        <dialog class="dialog" node_ref=node aria-label=name on:cancel=cancel on:close=move |_| open.set(false)>
            <Show when=move || open.get()>
                <div class="dialog-head">
                    <h2>{heading.clone()}</h2>
                    <Show when=move || !firm>
                        <button type="button" class="button button-quiet button-icon" aria-label=t("close") on:click=move |_| open.set(false)>
                            <Icon name="close" />
                        </button>
                    </Show>
                </div>
                {children()}
            </Show>
        </dialog>
    }
}
