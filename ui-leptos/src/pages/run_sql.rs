//! Composing an SQL task.

use leptos::prelude::*;
use leptos_router::hooks::use_query_map;
use opslink::pb::{SqlOnError, SqlSpec, SqlTransaction, task_spec::Action};

use crate::{
    components::{
        composer::{Composer, ComposerPage},
        danger_hints::DangerHints,
        draft::{self, Fields},
        field::{Field, TextField},
        run_options::{Choice, RunOptionFields, bad_number, bad_time},
        script_editor::ScriptEditor,
        toast,
    },
    dom,
    i18n::{Arg, t, ta},
    logic::{danger, limits, order},
};

const TRANSACTIONS: &[(&str, &str)] = &[("each", "sql-tx-each"), ("single", "sql-tx-single")];
const ON_ERROR: &[(&str, &str)] = &[("stop", "sql-error-stop"), ("continue", "sql-error-continue")];

/// The page.
#[component]
pub(crate) fn RunSql() -> impl IntoView {
    let composer = Composer::new("/run/sql");
    let query = use_query_map().get_untracked();
    let script = RwSignal::new(query.get("sql").unwrap_or_default());
    let connection = RwSignal::new(query.get("conn").unwrap_or_default());
    let transaction = RwSignal::new(String::from("each"));
    let on_error = RwSignal::new(String::from("stop"));
    let max_rows = RwSignal::new(String::from("10000"));
    let statement_timeout = RwSignal::new(String::new());
    let read_only = RwSignal::new(false);
    draft::keep(
        composer,
        Fields {
            shown: vec![script, connection],
            folded: vec![transaction, on_error, max_rows, statement_timeout],
            flags: vec![read_only],
            whole: Signal::stored(true),
        },
    );
    composer.prefill(move |spec| {
        let Some(Action::Sql(sql)) = spec.action else { return };
        if sql.transaction() == SqlTransaction::Single {
            transaction.set("single".into());
        }
        if sql.on_error() == SqlOnError::Continue {
            on_error.set("continue".into());
        }
        match String::from_utf8(sql.script.to_vec()) {
            Ok(text) => {
                script.set(text);
                composer.name_file(sql.script_name);
            }
            // Shown as text it would be another script.
            Err(_) => toast::complain(ta("file-binary", &[("name", Arg::from(t("sql-statements")))])),
        }
        connection.set(sql.connection);
        max_rows.set(if sql.max_rows == 0 {
            String::new()
        } else {
            sql.max_rows.to_string()
        });
        let seconds = sql.statement_timeout_secs;
        statement_timeout.set(if seconds == 0 {
            String::new()
        } else {
            format!("{seconds}s")
        });
        read_only.set(sql.read_only);
    });

    let request = Signal::derive(move || {
        let sql = SqlSpec {
            script: script.get().into_bytes().into(),
            connection: connection.get(),
            transaction: match transaction.get().as_str() {
                "single" => SqlTransaction::Single.into(),
                _ => SqlTransaction::Unspecified.into(),
            },
            on_error: match on_error.get().as_str() {
                "continue" => SqlOnError::Continue.into(),
                _ => SqlOnError::Unspecified.into(),
            },
            max_rows: limits::number(&max_rows.get()).unwrap_or_default(),
            statement_timeout_secs: limits::seconds(&statement_timeout.get()).unwrap_or_default(),
            read_only: read_only.get(),
            script_name: composer.file.get().unwrap_or_default(),
        };
        composer.request(Action::Sql(sql))
    });
    let missing = Signal::derive(move || {
        if script.with(|script| script.trim().is_empty()) {
            return t("sql-empty");
        }
        let rows = max_rows.with(|text| bad_number::<u64>("sql-max-rows", text));
        rows.or_else(|| statement_timeout.with(|text| bad_time("sql-statement-timeout", text)))
            .unwrap_or_default()
    });
    let hints = Signal::derive(move || {
        if read_only.get() {
            Vec::new()
        } else {
            danger::sql(&script.get())
        }
    });

    view! {
        <ComposerPage composer=composer heading=t("run-sql-heading") request=request missing=missing hints=hints>
            <section class="card" aria-label=t("what")>
                <ScriptEditor text=script file=composer.file label=t("sql-statements") placeholder="select * from orders limit 10;" accept=".sql,text/*" />
                <DangerHints hints=hints />
                <div class="option-grid">
                    <Connection composer=composer connection=connection />
                    <label class="check check-field">
                        <input id="opt-read-only" type="checkbox" prop:checked=move || read_only.get() on:change=move |event| read_only.set(event_target_checked(&event)) />
                        <span>{t("sql-read-only")}<span class="hint block">{t("sql-read-only-hint")}</span></span>
                    </label>
                </div>
            </section>
            <RunOptionFields options=composer.options>
                <Choice id="opt-tx" label=t("sql-tx") value=transaction words=TRANSACTIONS />
                <Choice id="opt-on-error" label=t("sql-error") value=on_error words=ON_ERROR />
                <TextField id="opt-max-rows" label=t("sql-max-rows") value=max_rows hint=t("sql-max-rows-hint") />
                <TextField id="opt-statement-timeout" label=t("sql-statement-timeout") value=statement_timeout placeholder="–" />
            </RunOptionFields>
        </ComposerPage>
    }
}

/// The connections that the matched agents have; those that not all have say so.
#[component]
fn Connection(composer: Composer, connection: RwSignal<String>) -> impl IntoView {
    let offers = Memo::new(move |_| {
        composer.preview.with(|preview| {
            let offered = preview
                .agents
                .iter()
                .flat_map(|agent| agent.connections.iter().map(|connection| connection.name.clone()));
            let chosen = Some(connection.get()).filter(|name| !name.is_empty());
            let names = order::distinct(offered.chain(chosen));
            let total = preview.agents.len();
            let having = |name: &str| {
                preview
                    .agents
                    .iter()
                    .filter(|agent| agent.connections.iter().any(|connection| connection.name == name))
                    .count()
            };
            names
                .into_iter()
                .map(|name| {
                    let having = having(&name);
                    (name, having, total)
                })
                .collect::<Vec<_>>()
        })
    });
    view! {
        <Field id="opt-conn" label=t("sql-connection") hint=t("sql-connection-hint")>
            <select id="opt-conn" class="input" prop:value=move || connection.get() on:change=move |event| connection.set(dom::value(&event))>
                <option value="">{t("sql-connection-default")}</option>
                {move || offers.get().into_iter().map(|(name, having, total)| {
                    let text = if having == total { name.clone() } else { ta("sql-connection-some", &[("name", Arg::from(name.clone())), ("having", Arg::from(having)), ("total", Arg::from(total))]) };
                    let chosen = connection.get_untracked() == name;
                    view! { <option value=name selected=chosen>{text}</option> }
                }).collect_view()}
            </select>
        </Field>
    }
}
