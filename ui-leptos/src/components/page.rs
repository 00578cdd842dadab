//! The head of a page, and the title of its tab.

use leptos::prelude::*;

/// Sets the title of the tab for as long as the page is shown.
pub(crate) fn title(text: impl Fn() -> String + 'static) {
    Effect::new(move |_| {
        let text = text();
        document().set_title(&if text.is_empty() {
            "OpsLink".to_owned()
        } else {
            format!("{text} · OpsLink")
        });
    });
}

/// Title, and what can be done here.
#[component]
pub(crate) fn PageHead(
    /// The page's name.
    #[prop(into)]
    heading: String,
    /// A word below it.
    #[prop(optional, into)]
    sub: Option<String>,
    /// Buttons.
    #[prop(optional)]
    children: Option<Children>,
) -> impl IntoView {
    let text = heading.clone();
    title(move || text.clone());
    view! {
        <header class="page-head">
            <div class="page-title">
                <h1>{heading}</h1>
                {sub.map(|sub| view! { <p class="muted">{sub}</p> })}
            </div>
            <div class="page-actions">{children.map(|children| children())}</div>
        </header>
    }
}
