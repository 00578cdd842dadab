//! Labels as small words; each can be a way to filter.

use std::collections::HashMap;

use leptos::prelude::*;
use leptos_router::components::A;

use crate::{i18n::t, logic::labels};

/// The labels of an agent, sorted.
#[component]
pub(crate) fn Labels(
    /// The labels.
    of: HashMap<String, String>,
    /// Each leads to the agents that have it too.
    #[prop(optional)]
    linked: bool,
) -> impl IntoView {
    let pairs = labels::pairs(&of);
    if pairs.is_empty() {
        return view! { <span class="muted">{t("none")}</span> }.into_any();
    }
    view! {
        <span class="labels">
            {pairs
                .into_iter()
                .map(|(name, value)| {
                    let inside = view! { <span class="label-name">{name.clone()}</span><span class="label-value">{value.clone()}</span> };
                    if linked {
                        let href = format!("/agents?l={}", String::from(js_sys::encode_uri_component(&format!("{name}={value}"))));
                        view! { <A href=href attr:class="label">{inside}</A> }.into_any()
                    } else {
                        view! { <span class="label">{inside}</span> }.into_any()
                    }
                })
                .collect_view()}
        </span>
    }
    .into_any()
}
