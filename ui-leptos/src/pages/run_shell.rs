//! Composing a shell task: a command passed as words, or a script.

use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use opslink::pb::{ShellSpec, task_spec::Action};

use crate::{
    components::{
        composer::{Composer, ComposerPage},
        danger_hints::DangerHints,
        draft::{self, Fields},
        field::TextField,
        run_options::RunOptionFields,
        script_editor::ScriptEditor,
        toast,
    },
    i18n::{Arg, t, ta},
    logic::{
        danger, format, limits, order,
        quote::{self, SplitError},
    },
};

/// The page.
#[component]
pub(crate) fn RunShell() -> impl IntoView {
    let composer = Composer::new("/run/shell");
    let query = use_query_map().get_untracked();
    let is_script = RwSignal::new(false);
    let command = RwSignal::new(query.get("cmd").unwrap_or_default());
    let script = RwSignal::new(String::new());
    let arguments = RwSignal::new(String::new());
    let interpreter = RwSignal::new(String::new());
    let cwd = RwSignal::new(String::new());
    let run_as = RwSignal::new(String::new());
    let env = RwSignal::new(String::new());
    // Of the task that is run again; there is no field for it.
    let stdin = StoredValue::new(bytes::Bytes::new());
    let stdin_size = RwSignal::new(0_u64);
    draft::keep(
        composer,
        Fields {
            shown: vec![command, script, arguments],
            folded: vec![interpreter, cwd, run_as, env],
            flags: vec![is_script],
            whole: Signal::derive(move || stdin_size.get() == 0),
        },
    );
    composer.prefill(move |spec| {
        let Some(Action::Shell(shell)) = spec.action else {
            return;
        };
        let words = |words: &[String]| words.iter().map(|word| quote::word(word)).collect::<Vec<_>>().join(" ");
        if shell.script.is_empty() {
            match shell.argv.as_slice() {
                // What was a line for a shell is shown as that line again.
                [sh, flag, line] if sh == "sh" && flag == "-c" && command_words(line).as_ref() == Ok(&shell.argv) => {
                    command.set(line.clone());
                }
                argv => command.set(words(argv)),
            }
        } else {
            is_script.set(true);
            match String::from_utf8(shell.script.to_vec()) {
                Ok(text) => {
                    script.set(text);
                    composer.name_file(shell.script_name);
                }
                // Shown as text it would be another script.
                Err(_) => toast::complain(ta("file-binary", &[("name", Arg::from(t("script")))])),
            }
            arguments.set(words(&shell.argv));
        }
        stdin_size.set(shell.stdin.len() as u64);
        stdin.set_value(shell.stdin);
        interpreter.set(shell.interpreter);
        cwd.set(shell.cwd);
        run_as.set(shell.run_as);
        let mut pairs: Vec<_> = shell
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        order::by(&mut pairs, |a, b| a.cmp(b));
        env.set(pairs.join("\n"));
    });

    let argv = Memo::new(move |_| command_words(&command.get()));
    let request = Signal::derive(move || {
        let mut shell = ShellSpec {
            interpreter: String::new(),
            env: limits::environment(&env.get())
                .unwrap_or_default()
                .into_iter()
                .collect(),
            stdin: stdin.get_value(),
            cwd: cwd.get().trim().to_owned(),
            run_as: run_as.get().trim().to_owned(),
            ..ShellSpec::default()
        };
        if is_script.get() {
            shell.script = script.get().into_bytes().into();
            shell.argv = quote::split(&arguments.get()).unwrap_or_default();
            shell.interpreter = interpreter.get().trim().to_owned();
            shell.script_name = composer.file.get().unwrap_or_default();
        } else {
            shell.argv = argv.get().unwrap_or_default();
        }
        composer.request(Action::Shell(shell))
    });
    let missing = Signal::derive(move || {
        if let Err(line) = env.with(|env| limits::environment(env)) {
            return ta("bad-env", &[("text", Arg::from(line))]);
        }
        if is_script.get() {
            if script.with(|script| script.trim().is_empty()) {
                return t("script-empty");
            }
            // Arguments go to the script as they are: no shell is between, so what only a shell reads is quoted or refused.
            return match arguments.with(|arguments| quote::split(arguments)) {
                Ok(_) => String::new(),
                Err(SplitError::OpenQuote) => t("command-quote"),
                Err(SplitError::NeedsShell) => t("arguments-shell"),
            };
        }
        match argv.get() {
            Ok(argv) if argv.is_empty() => t("command-empty"),
            Ok(_) => String::new(),
            Err(_) => t("command-quote"),
        }
    });
    let hints = Signal::derive(move || {
        if is_script.get() {
            danger::shell(&script.get())
        } else {
            danger::shell(&command.get())
        }
    });
    let through_shell = move || matches!(quote::split(&command.get()), Err(SplitError::NeedsShell));
    let file = composer.file;

    view! {
        <ComposerPage composer=composer heading=t("run-shell-heading") request=request missing=missing hints=hints>
            <section class="card" aria-label=t("what")>
                <div class="card-head">
                    <h2>{t("what")}</h2>
                    <div class="segments segments-small" role="group" aria-label=t("what")>
                        <button type="button" aria-pressed=move || (!is_script.get()).to_string() on:click=move |_| { is_script.set(false); file.set(None) }>{t("command")}</button>
                        <button type="button" aria-pressed=move || is_script.get().to_string() on:click=move |_| is_script.set(true)>{t("script")}</button>
                    </div>
                </div>
                {move || if is_script.get() {
                    view! {
                        <ScriptEditor text=script file=file label=t("script") placeholder="#!/bin/sh\nset -eu\nuname -a\ndf -h /" accept=".sh,.bash,.py,.pl,.rb,text/*" />
                        <TextField id="arguments" label=t("script-arguments") value=arguments mono=true />
                    }.into_any()
                } else {
                    view! {
                        <TextField id="command" label=t("command") value=command placeholder="uname -a" mono=true />
                        <p class="hint">{move || if through_shell() { t("command-through-shell") } else { t("command-words") }}</p>
                    }.into_any()
                }}
                <Show when=move || stdin_size.get() != 0>
                    <p class="hint">{move || ta("stdin-kept", &[("size", Arg::from(format::bytes(stdin_size.get())))])}</p>
                </Show>
                <DangerHints hints=hints />
            </section>
            <RunOptionFields options=composer.options>
                <Show when=move || is_script.get()>
                    <TextField id="opt-interpreter" label=t("opt-interpreter") value=interpreter hint=t("opt-interpreter-hint") placeholder="bash" mono=true />
                </Show>
                <TextField id="opt-cwd" label=t("opt-cwd") value=cwd placeholder="/srv/app" mono=true />
                <TextField id="opt-run-as" label=t("opt-run-as") value=run_as hint=t("opt-run-as-hint") placeholder="deploy" mono=true />
                <div class="field">
                    <label for="opt-env">{t("opt-env")}</label>
                    <textarea id="opt-env" class="input mono" rows="2" spellcheck="false" placeholder="LEVEL=debug" prop:value=move || env.get() on:input=move |event| env.set(event_target_value(&event))></textarea>
                    <p class="hint">{t("opt-env-hint")}</p>
                </div>
            </RunOptionFields>
        </ComposerPage>
    }
}

/// The words of a command line; what only a shell understands goes through `sh -c`.
fn command_words(line: &str) -> Result<Vec<String>, SplitError> {
    match quote::split(line) {
        Err(SplitError::NeedsShell) => Ok(vec!["sh".into(), "-c".into(), line.trim().to_owned()]),
        words => words,
    }
}
