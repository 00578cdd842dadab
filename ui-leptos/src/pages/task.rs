//! stub
use leptos::prelude::*;
/// stub
#[component]
pub(crate) fn TaskPage() -> impl IntoView { "stub" }
