//! No such page.

use leptos::prelude::*;
use leptos_router::components::A;

use crate::{
    components::{empty::Empty, page::PageHead},
    i18n::t,
};

/// The page.
#[component]
pub(crate) fn NotFound() -> impl IntoView {
    view! {
        <PageHead heading=t("not-found") />
        <Empty icon="search" heading=t("not-found-why")>
            <A href="/" attr:class="button">{t("home")}</A>
        </Empty>
    }
}
