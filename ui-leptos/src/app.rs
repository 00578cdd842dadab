//! The frame: language, session, navigation, routes.

use leptos::{mount::mount_to_body, prelude::*, task::spawn_local};
use leptos_router::{
    components::{FlatRoutes, Route, Router},
    path,
};

use crate::{
    api,
    components::{
        agents_live,
        help::{Help, KeyboardHelp},
        login_form::ExpiredDialog,
        nav::Nav,
        palette::{Palette, PaletteOpen},
        problem::ProblemBox,
        switches,
        toast::{self, Toasts},
    },
    i18n::{self, t},
    pages,
    session::{State, session},
};

/// Starts the console in the page.
pub fn start() {
    console_error_panic_hook::set_once();
    if let Some(boot) = document().get_element_by_id("boot") {
        boot.remove();
    }
    mount_to_body(Root);
}

/// What outlives every page.
#[component]
fn Root() -> impl IntoView {
    i18n::start();
    agents_live::provide();
    switches::provide();
    toast::provide();
    session().leave_with_others();
    ask_who();
    view! { <App /> }
}

/// Why it is not known who is logged in.
#[derive(Clone, Copy)]
struct StartFailure(RwSignal<Option<api::Failure>>);

fn ask_who() {
    let failure = RwSignal::new(None);
    provide_context(StartFailure(failure));
    spawn_local(async move {
        match api::current_user().await {
            Ok(Some(user)) => session().entered(user),
            Ok(None) => session().state.set(State::Out),
            // `Failure` has already noted that nobody is logged in.
            Err(_) if session().state.get_untracked() == State::Out => {}
            Err(problem) => failure.set(Some(problem)),
        }
    });
}

#[component]
fn App() -> impl IntoView {
    let StartFailure(failure) = expect_context();
    let state = session().state;
    let stage = Memo::new(move |_| match state.get() {
        State::Unknown => Stage::Unknown,
        State::Out => Stage::Out,
        State::In(user) if user.must_change_password => Stage::NewPassword,
        State::In(_) => Stage::In,
    });
    view! {
        <Router>
            {move || match stage.get() {
                Stage::Unknown => view! {
                    <div class="splash">
                        <ProblemBox problem=failure />
                    </div>
                }
                .into_any(),
                Stage::Out => view! { <pages::login::Login /> }.into_any(),
                Stage::NewPassword => view! { <pages::password::NewPassword /> }.into_any(),
                Stage::In => view! { <Console /> }.into_any(),
            }}
            <Toasts />
        </Router>
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Unknown,
    Out,
    NewPassword,
    In,
}

#[component]
fn Console() -> impl IntoView {
    provide_context(PaletteOpen(RwSignal::new(false)));
    provide_context(Help(RwSignal::new(false)));
    view! {
        <a class="skip-link" href="#main">{t("skip-to-content")}</a>
        <div class="frame">
            <Nav />
            <main id="main" class="main" tabindex="-1">
                <FlatRoutes fallback=|| view! { <pages::not_found::NotFound /> }>
                    <Route path=path!("/") view=pages::home::Home />
                    <Route path=path!("/login") view=pages::login::AlreadyIn />
                    <Route path=path!("/agents") view=pages::agents::Agents />
                    <Route path=path!("/agents/new") view=pages::agent_new::AgentNew />
                    <Route path=path!("/agents/:agent") view=pages::agent::AgentPage />
                    <Route path=path!("/run/shell") view=pages::run_shell::RunShell />
                    <Route path=path!("/run/sql") view=pages::run_sql::RunSql />
                    <Route path=path!("/tasks") view=pages::tasks::Tasks />
                    <Route path=path!("/tasks/:id") view=pages::task::TaskPage />
                    <Route path=path!("/tokens") view=pages::tokens::Tokens />
                    <Route path=path!("/audit") view=pages::audit::AuditPage />
                    <Route path=path!("/account") view=pages::password::Account />
                </FlatRoutes>
            </main>
        </div>
        <Palette />
        <KeyboardHelp />
        <ExpiredDialog />
    }
}
