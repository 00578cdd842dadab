//! How fresh a live page is.

use leptos::prelude::*;

use super::{icon::Icon, problem::ProblemBox, time};
use crate::{
    api::Sync,
    dom,
    i18n::{Arg, ta},
};

/// Says so when a live view has lost its connection, or was refused.
#[component]
pub(crate) fn SyncBanner(
    /// The view's state.
    sync: RwSignal<Sync>,
) -> impl IntoView {
    let now = time::every_second();
    let refused = Signal::derive(move || match sync.get() {
        Sync::Refused(failure) => Some(failure),
        Sync::Opening | Sync::Live | Sync::Ended | Sync::Lost(_) => None,
    });
    view! {
        {move || match sync.get() {
            Sync::Lost(since) => Some(view! {
                <div class="banner" role="status">
                    <Icon name="warning" />
                    <span>
                        {move || ta("sync-lost", &[
                            ("at", Arg::from(dom::local_time(since))),
                            ("ago", Arg::from(time::ago(since, now.get()))),
                        ])}
                    </span>
                </div>
            }),
            Sync::Opening | Sync::Live | Sync::Ended | Sync::Refused(_) => None,
        }}
        <ProblemBox problem=refused />
    }
}
