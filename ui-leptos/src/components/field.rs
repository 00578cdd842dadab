//! A labelled field.

use leptos::prelude::*;

/// Label, field and a hint, tied together.
#[component]
pub(crate) fn Field(
    /// Id of the field inside.
    id: &'static str,
    /// Its label.
    #[prop(into)]
    label: String,
    /// A word on what goes in.
    #[prop(optional, into)]
    hint: Option<String>,
    /// The field.
    children: Children,
) -> impl IntoView {
    view! {
        <div class="field">
            <label for=id>{label}</label>
            {children()}
            {hint.filter(|hint| !hint.is_empty()).map(|hint| view! { <p class="hint" id=format!("{id}-hint")>{hint}</p> })}
        </div>
    }
}

/// A one-line text field bound to a signal.
#[component]
pub(crate) fn TextField(
    /// Its id.
    id: &'static str,
    /// Its label.
    #[prop(into)]
    label: String,
    /// Its value.
    value: RwSignal<String>,
    /// A word on what goes in.
    #[prop(optional, into)]
    hint: Option<String>,
    /// An example.
    #[prop(optional, into)]
    placeholder: String,
    /// `text`, `password`, `number`.
    #[prop(default = "text")]
    kind: &'static str,
    /// What the browser may fill in.
    #[prop(default = "off")]
    autocomplete: &'static str,
    /// Fixed-width letters.
    #[prop(optional)]
    mono: bool,
    /// Has the keyboard when it appears.
    #[prop(optional)]
    autofocus: bool,
) -> impl IntoView {
    let described = hint.is_some().then(|| format!("{id}-hint"));
    view! {
        <Field id=id label=label hint=hint.unwrap_or_default()>
            <input
                id=id
                class="input"
                class:mono=mono
                type=kind
                spellcheck="false"
                autocapitalize="off"
                autocomplete=autocomplete
                autofocus=autofocus
                placeholder=placeholder
                aria-describedby=described
                prop:value=move || value.get()
                on:input=move |event| value.set(event_target_value(&event))
            />
        </Field>
    }
}
