//! Nothing here yet: what it means and what to do next.

use leptos::prelude::*;

use super::icon::Icon;

/// An empty list.
#[component]
pub(crate) fn Empty(
    /// Icon.
    icon: &'static str,
    /// What it means.
    #[prop(into)]
    heading: String,
    /// What to do next.
    #[prop(optional)]
    children: Option<Children>,
) -> impl IntoView {
    view! {
        <div class="empty">
            <Icon name=icon />
            <p class="empty-heading">{heading}</p>
            <div class="empty-next">{children.map(|children| children())}</div>
        </div>
    }
}

/// Placeholder rows while something is on its way.
#[component]
pub(crate) fn Skeleton(
    /// How many rows.
    #[prop(default = 4)]
    rows: usize,
) -> impl IntoView {
    view! {
        <div class="skeleton" aria-hidden="true">
            {(0..rows).map(|_| view! { <div class="skeleton-row"></div> }).collect_view()}
        </div>
    }
}
