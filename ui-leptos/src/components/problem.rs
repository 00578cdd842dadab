//! A failed call: what, why, do this.

use leptos::prelude::*;

use super::icon::Icon;
use crate::api::Failure;

/// Shows a failure, or nothing.
#[component]
pub(crate) fn ProblemBox(
    /// The failure, if there is one.
    #[prop(into)]
    problem: Signal<Option<Failure>>,
) -> impl IntoView {
    move || {
        problem.get().map(|problem| {
            // Several lines are a drawing (a selector with its caret): they need a fixed-width font.
            let (first, drawing) = match problem.what.split_once('\n') {
                Some((first, drawing)) => (first.to_owned(), Some(drawing.to_owned())),
                None => (problem.what, None),
            };
            view! {
                <div class="problem" role="alert">
                    <Icon name="warning" />
                    <div class="problem-text">
                        <p class="problem-what">{first}</p>
                        {drawing.map(|drawing| view! { <pre class="problem-drawing">{drawing}</pre> })}
                        {(!problem.why.is_empty()).then(|| view! { <p>{problem.why}</p> })}
                        {(!problem.fix.is_empty()).then(|| view! { <p class="problem-fix">{problem.fix}</p> })}
                        <p class="problem-reason">{problem.reason}</p>
                    </div>
                </div>
            }
        })
    }
}
