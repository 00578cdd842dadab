//! What the composers share: the target, the options, the twins, and the run itself.

use leptos::{ev, prelude::*, task::spawn_local};
use leptos_router::hooks::{use_navigate, use_query_map};
use opslink::pb::{CreateTaskRequest, ExpectedAgents, Task, TaskSpec, task_spec::Action};

use super::{
    draft,
    icon::Icon,
    page::PageHead,
    problem::ProblemBox,
    run_options::RunOptions,
    target_picker::{self, Preview, TargetPicker},
    twin_panel::TwinPanel,
};
use crate::{
    api::{self, Failure, spawn_scoped},
    dom,
    i18n::{Arg, t, ta, tn},
    logic::{danger::Hint, target::Target},
    session::session,
};

/// The state that the composers share.
#[derive(Clone, Copy)]
pub(crate) struct Composer {
    /// Which agents.
    pub target: RwSignal<Target>,
    /// Which they are now.
    pub preview: RwSignal<Preview>,
    /// Options of every task.
    pub options: RunOptions,
    /// Script's file, when it is as the file has it.
    pub file: RwSignal<Option<String>>,
    /// Why the last run was refused.
    pub problem: RwSignal<Option<Failure>>,
    /// The page.
    pub path: &'static str,
    busy: RwSignal<bool>,
}

impl Composer {
    /// From the URL.
    pub(crate) fn new(path: &'static str) -> Self {
        let query = use_query_map().get_untracked();
        let target = RwSignal::new(Target::from_query(|name| query.get(name)));
        let composer = Self {
            target,
            preview: target_picker::preview(target),
            options: RunOptions::new(),
            file: RwSignal::new(None),
            problem: RwSignal::new(None),
            path,
            busy: RwSignal::new(false),
        };
        target_picker::keep_in_url(path, target);
        composer
    }

    /// The message of what is composed now.
    pub(crate) fn request(self, action: Action) -> CreateTaskRequest {
        CreateTaskRequest {
            spec: Some(TaskSpec {
                action: Some(action),
                timeout_secs: self.options.timeout_secs(),
                grace_secs: 0,
            }),
            selector: Some(self.target.get().selector()),
            rollout: self.options.rollout(),
            queueing: self.options.queueing(),
            request_id: String::new(),
            reason: self.options.reason.get().trim().to_owned(),
            dry_run: false,
            // Added by the press of 'Run': the twins do not carry it.
            expected_agents: None,
        }
    }

    /// Takes the name that a script was run under.
    pub(crate) fn name_file(self, name: String) {
        self.file.set(Some(name).filter(|name| !name.is_empty()));
    }

    /// True when the list that is shown is the answer to this very choice, and not to the one before.
    fn is_answered(self) -> bool {
        let target = self.target.read();
        self.preview.with(|preview| preview.answers(&target))
    }

    /// Reads the task that `?from=` names and fills in what the composers share; `rest` does the rest.
    pub(crate) fn prefill(self, rest: impl Fn(TaskSpec) + 'static) {
        let Some(id) = use_query_map().get_untracked().get("from") else {
            return;
        };
        spawn_scoped(async move {
            match api::get_task(id).await {
                Ok(Some(Task {
                    spec: Some(spec),
                    selector,
                    rollout,
                    queueing,
                    reason,
                    ..
                })) => {
                    self.target.set(Target::from_selector(&selector.unwrap_or_default()));
                    self.options
                        .fill(spec.timeout_secs, rollout.as_ref(), queueing.as_ref(), &reason);
                    rest(spec);
                }
                Ok(_) => {}
                Err(failure) => self.problem.set(Some(failure)),
            }
        });
    }
}

/// The frame of a composer.
#[component]
pub(crate) fn ComposerPage(
    /// Shared state.
    composer: Composer,
    /// Name of the page.
    #[prop(into)]
    heading: String,
    /// The message that 'Run' sends.
    #[prop(into)]
    request: Signal<CreateTaskRequest>,
    /// Why it cannot be run yet; empty when it can.
    #[prop(into)]
    missing: Signal<String>,
    /// What in it one wants to look at twice: said again beside the button.
    #[prop(into)]
    hints: Signal<Vec<Hint>>,
    /// Editor and options of the kind.
    children: Children,
) -> impl IntoView {
    let navigate = use_navigate();
    let missing = Signal::derive(move || {
        if !session().may_operate() {
            t("run-not-allowed")
        } else if composer.target.with(Target::is_empty) {
            t("target-empty")
        } else if !composer.is_answered() {
            t("target-asking")
        } else if composer.preview.with(|preview| preview.agents.is_empty()) {
            t("target-nobody")
        } else {
            let problem = composer.options.problem();
            if problem.is_empty() { missing.get() } else { problem }
        }
    });
    let run = Callback::new(move |()| {
        if composer.busy.get_untracked() || !missing.get_untracked().is_empty() {
            return;
        }
        composer.busy.set(true);
        composer.problem.set(None);
        let navigate = navigate.clone();
        // What is shown is what runs: the cloud refuses the task when others are meant by now.
        let agents = composer.preview.with_untracked(Preview::ids);
        // One id per press: a repeated answer is the first one.
        let request = CreateTaskRequest {
            request_id: api::request_id(),
            expected_agents: Some(ExpectedAgents { agents }),
            ..request.get_untracked()
        };
        spawn_local(async move {
            let answer = api::create_task(request).await;
            let _ = composer.busy.try_set(false);
            match answer {
                Ok(created) => {
                    draft::forget(composer.path);
                    let id = created.task.map(|task| task.id).unwrap_or_default();
                    navigate(&format!("/tasks/{id}"), Default::default());
                }
                // Whoever has to log in again is asked to; that is all there is to say.
                Err(_) if session().expired.get_untracked() => {}
                Err(failure) => drop(composer.problem.try_set(Some(failure))),
            }
        });
    });
    let keys = window_event_listener(ev::keydown, move |event| {
        if event.key() == "Enter" && (event.ctrl_key() || event.meta_key()) {
            event.prevent_default();
            run.run(());
        }
    });
    // A file that misses the editor would take the place of the page.
    let over = window_event_listener(ev::dragover, dom::hold_file);
    let dropped = window_event_listener(ev::drop, dom::hold_file);
    on_cleanup(move || {
        for listener in [keys, over, dropped] {
            listener.remove();
        }
    });
    let count = move || {
        if composer.is_answered() {
            composer.preview.with(|preview| preview.agents.len())
        } else {
            0
        }
    };
    view! {
        <PageHead heading=heading />
        <div class="columns composer">
            <div class="stack">{children()}</div>
            <div class="stack composer-target">
                <TargetPicker target=composer.target preview=composer.preview />
            </div>
            <div class="stack">
                <ProblemBox problem=composer.problem />
                <div class="run-bar">
                    <button type="button" id="run" class="button button-primary" disabled=move || composer.busy.get() || !missing.get().is_empty() on:click=move |_| run.run(())>
                        <Icon name="play" />
                        <span>{move || if composer.busy.get() { t("run-busy") } else { match count() { 0 => t("run"), n => ta("run-on", &[("n", Arg::from(n))]) } }}</span>
                        <kbd>"Ctrl ↵"</kbd>
                    </button>
                    <span class="muted">{missing}</span>
                    {move || hints.with(|hints| (!hints.is_empty()).then(|| view! { <span class="run-warning"><Icon name="warning" />{tn("danger-count", hints.len() as u64)}</span> }))}
                </div>
                <TwinPanel request=request file=composer.file />
            </div>
        </div>
    }
}
