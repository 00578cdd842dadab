//! The same task as a line for the terminal, updating as the form does.

use leptos::prelude::*;
use opslink::pb::CreateTaskRequest;

use super::copy::CodeLine;
use crate::{
    dom,
    i18n::t,
    logic::twin::{self, Place},
};

/// `cloudctl` and `grpcurl`.
#[component]
pub(crate) fn TwinPanel(
    /// The message that 'Run' sends.
    #[prop(into)]
    request: Signal<CreateTaskRequest>,
    /// File that the script came from.
    #[prop(into)]
    file: Signal<Option<String>>,
) -> impl IntoView {
    let place = move || Place {
        origin: dom::origin(),
        file: file.get(),
    };
    let cloudctl = Signal::derive(move || twin::cloudctl(&request.get(), &place()));
    let grpcurl = Signal::derive(move || twin::grpcurl(&request.get(), &place()));
    view! {
        <section class="card" aria-labelledby="twin-heading">
            <h2 id="twin-heading">{t("twin")}</h2>
            <p class="twin-name">"cloudctl"</p>
            <CodeLine id="twin-cloudctl" text=cloudctl label=t("twin-cloudctl") />
            <details>
                <summary class="twin-name">"grpcurl"</summary>
                <CodeLine id="twin-grpcurl" text=grpcurl label=t("twin-grpcurl") />
                <p class="hint">{t("twin-grpcurl-hint")}</p>
            </details>
        </section>
    }
}
