//! Keys: `g` and a letter goes somewhere, `/` filters, `?` lists them all. Never inside a field.

use leptos::{ev, prelude::*};
use leptos_router::hooks::use_navigate;

use super::dialog::Dialog;
use crate::{dom, i18n::t};

const PLACES: [(&str, &str, &str); 7] = [
    ("h", "/", "home"),
    ("a", "/agents", "agents"),
    ("n", "/agents/new", "add-agent"),
    ("t", "/tasks", "tasks"),
    ("r", "/run/shell", "run-shell"),
    ("s", "/run/sql", "run-sql"),
    ("u", "/audit", "audit"),
];

const KEYS: [(&str, &str); 13] = [
    ("Ctrl K", "palette"),
    ("/", "key-filter"),
    ("Ctrl Enter", "key-run"),
    ("f", "key-follow"),
    ("w", "key-wrap"),
    ("t", "key-times"),
    ("n", "key-next"),
    ("N", "key-previous"),
    ("y", "key-link"),
    ("Shift ↓", "key-extend"),
    ("End", "key-end"),
    ("Esc", "key-close"),
    ("?", "key-help"),
];

/// Whether the list is open.
#[derive(Clone, Copy)]
pub(crate) struct Help(pub RwSignal<bool>);

/// Listens to the keys and shows the list.
#[component]
pub(crate) fn KeyboardHelp() -> impl IntoView {
    let Help(open) = expect_context();
    let going = StoredValue::new(0.0_f64);
    let navigate = use_navigate();
    let handle = window_event_listener(ev::keydown, move |event| {
        if event.ctrl_key() || event.meta_key() || event.alt_key() || dom::in_field(&event) {
            return;
        }
        let key = event.key();
        let after_g = dom::tick_ms() - going.get_value() < 1_500.0;
        going.set_value(0.0);
        match key.as_str() {
            "?" => open.set(true),
            "/" if document().get_element_by_id("filter").is_some() => {
                event.prevent_default();
                dom::focus("filter");
            }
            "g" => going.set_value(dom::tick_ms()),
            key if after_g => {
                if let Some((_, path, _)) = PLACES.iter().find(|(letter, ..)| *letter == key) {
                    event.prevent_default();
                    // Pages have keys of their own: this one was for going.
                    event.stop_immediate_propagation();
                    navigate(path, Default::default());
                }
            }
            _ => {}
        }
    });
    on_cleanup(move || handle.remove());
    view! {
        <Dialog open=open heading=t("keyboard")>
            <dl class="keys">
                {KEYS.iter().map(|(key, label)| view! { <div><dt>{key.split(' ').map(|key| view! { <kbd>{key}</kbd> }).collect_view()}</dt><dd>{t(label)}</dd></div> }).collect_view()}
                {PLACES.iter().map(|(key, _, label)| view! { <div><dt><kbd>"g"</kbd><kbd>{*key}</kbd></dt><dd>{t(label)}</dd></div> }).collect_view()}
            </dl>
        </Dialog>
    }
}
