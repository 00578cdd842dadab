//! The palette: every page, agent, recent task and action, by a few typed letters.

use leptos::{ev, html, prelude::*, task::spawn_local};
use leptos_router::hooks::use_navigate;
use opslink::pb;

use super::{
    agents_live::use_agents,
    help::Help,
    icon::Icon,
    palette_choices::{self, Act, Choice},
    switches,
};
use crate::{
    api, dom,
    i18n::{self, t, tn},
    logic::palette,
    session::session,
};

/// Most entries that are shown: whoever wants another types more.
const MOST: usize = 60;
/// Tasks that are offered.
const TASKS: i32 = 20;

/// Whether the palette is open.
#[derive(Clone, Copy)]
pub(crate) struct PaletteOpen(pub RwSignal<bool>);

/// The button that opens it, for those who do not know the key.
#[component]
pub(crate) fn PaletteButton() -> impl IntoView {
    let PaletteOpen(open) = expect_context();
    let key = if dom::is_apple() { "⌘K" } else { "Ctrl K" };
    view! {
        <button type="button" class="palette-open" aria-haspopup="dialog" aria-keyshortcuts="Control+K Meta+K" on:click=move |_| open.set(true)>
            <Icon name="search" />
            <span>{t("palette-open")}</span>
            <kbd aria-hidden="true">{key}</kbd>
        </button>
    }
}

/// The dialog, and the key that opens it everywhere.
#[component]
pub(crate) fn Palette() -> impl IntoView {
    let PaletteOpen(open) = expect_context();
    let node = NodeRef::<html::Dialog>::new();
    Effect::new(move |_| {
        let Some(dialog) = node.get() else { return };
        if open.get() && !dialog.open() {
            let _ = dialog.show_modal();
        } else if !open.get() && dialog.open() {
            dialog.close();
        }
    });
    let handle = window_event_listener(ev::keydown, move |event| {
        let wanted = (event.ctrl_key() || event.meta_key()) && !event.shift_key() && !event.alt_key();
        if !wanted || !event.key().eq_ignore_ascii_case("k") {
            return;
        }
        event.prevent_default();
        // Another dialog wants its answer first.
        let busy = document()
            .query_selector("dialog[open]")
            .is_ok_and(|dialog| dialog.is_some());
        if open.get_untracked() {
            open.set(false);
        } else if !busy {
            open.set(true);
        }
    });
    on_cleanup(move || handle.remove());
    // A click beside it lands on the dialog itself.
    let beside = move |event: ev::MouseEvent| {
        let dialog = node.get_untracked().map(web_sys::EventTarget::from);
        if event.target() == dialog {
            open.set(false);
        }
    };
    view! {
        <dialog class="palette" node_ref=node aria-label=t("palette") on:close=move |_| open.set(false) on:click=beside>
            <Show when=move || open.get()><Search open=open /></Show>
        </dialog>
    }
}

#[component]
fn Search(open: RwSignal<bool>) -> impl IntoView {
    let live = use_agents();
    let typed = RwSignal::new(String::new());
    let at = RwSignal::new(0_usize);
    let tasks = RwSignal::new(Vec::<pb::Task>::new());
    spawn_local(async move {
        // Without them the rest is still of use.
        if let Ok(page) = api::list_tasks(TASKS, String::new(), String::new(), &[]).await {
            let _ = tasks.try_set(page.tasks);
        }
    });
    let found = Memo::new(move |_| {
        let typed = typed.get();
        let choices = live
            .agents
            .with(|agents| tasks.with(|tasks| palette_choices::all(agents, tasks, &typed)));
        let mut found: Vec<Choice> = palette::find(&typed, choices.iter().map(|choice| &choice.words))
            .into_iter()
            .take(MOST)
            .filter_map(|at| choices.get(at).cloned())
            .collect();
        palette_choices::group(&mut found);
        found
    });
    let act = run(open);
    let choose = move |at: usize| {
        if let Some(choice) = found.with_untracked(|found| found.get(at).cloned()) {
            act.run(choice.act);
        }
    };
    let keys = move |event: ev::KeyboardEvent| {
        // The keys of an input method are its own.
        if event.is_composing() {
            return;
        }
        let count = found.with_untracked(Vec::len);
        let now = at.get_untracked();
        let next = match event.key().as_str() {
            "ArrowDown" if now + 1 < count => now + 1,
            "ArrowDown" => 0,
            "ArrowUp" if now > 0 => now - 1,
            "ArrowUp" => count.saturating_sub(1),
            "PageDown" => (now + 8).min(count.saturating_sub(1)),
            "PageUp" => now.saturating_sub(8),
            "Enter" => {
                event.prevent_default();
                return choose(now);
            }
            _ => return,
        };
        event.prevent_default();
        at.set(next);
        request_animation_frame(move || dom::show(&option_id(next)));
    };
    let rows = move || {
        let mut group = "";
        found
            .get()
            .into_iter()
            .enumerate()
            .map(|(number, choice)| {
                let heading = (choice.group != group).then(|| view! { <li class="palette-group" role="presentation">{t(choice.group)}</li> });
                group = choice.group;
                view! {
                    {heading}
                    <li id=option_id(number) class="palette-option" role="option" aria-selected=move || (at.get() == number).to_string()
                        on:mousemove=move |_| if at.get_untracked() != number { at.set(number) }
                        on:click=move |_| choose(number)
                    >
                        <Icon name=choice.icon />
                        <span class="palette-label">{choice.words.label}</span>
                        <span class="palette-note">{choice.note}</span>
                    </li>
                }
            })
            .collect_view()
    };
    view! {
        <div class="palette-field">
            <Icon name="search" />
            <input id="palette-input" type="text" role="combobox" aria-expanded="true" aria-controls="palette-list" aria-autocomplete="list"
                aria-activedescendant=move || found.with(|found| (!found.is_empty()).then(|| option_id(at.get())))
                aria-label=t("palette") placeholder=t("palette-hint") spellcheck="false" autocomplete="off" autocapitalize="off"
                on:input=move |event| { typed.set(dom::value(&event)); at.set(0) } on:keydown=keys />
            <button type="button" class="palette-close" aria-label=t("close") on:click=move |_| open.set(false)><kbd aria-hidden="true">"Esc"</kbd></button>
        </div>
        <ul id="palette-list" class="palette-list" role="listbox" aria-label=t("palette")>{rows}</ul>
        <Show when=move || found.with(Vec::is_empty)><p class="palette-none">{t("palette-none")}</p></Show>
        <p class="sr-only" role="status">{move || tn("palette-count", found.with(Vec::len) as u64)}</p>
    }
}

fn option_id(at: usize) -> String {
    format!("palette-{at}")
}

/// Does what was chosen.
fn run(open: RwSignal<bool>) -> Callback<Act> {
    let navigate = use_navigate();
    let Help(help) = expect_context();
    Callback::new(move |act: Act| {
        open.set(false);
        let navigate = navigate.clone();
        // The dialog closes first: what is done can take away the page that it belongs to.
        request_animation_frame(move || match act {
            Act::Go(path) => {
                navigate(&path, Default::default());
                // The dialog gave the keyboard back to where it was, which is not on the new page.
                request_animation_frame(|| dom::focus("main"));
            }
            Act::Theme(name) => switches::choose_theme(name),
            Act::Language(chosen) => i18n::choose(chosen),
            Act::Help => {
                let _ = help.try_set(true);
            }
            Act::Leave => session().leave(),
        });
    })
}
