//! `cloudctl doctor`: step by step from here to an answer of the cloud, and what to do about the first step that fails.

use std::{sync::Arc, time::SystemTime};

use anstyle::AnsiColor;
use opslink::pb::{GetCurrentUserRequest, GetSystemInfoRequest};
use serde::Serialize;

use crate::{
    app::{App, Target},
    commands::login::shown_name,
    connect::{Client, Dialer, tls},
    exit::Exit,
    failure::Failure,
    output::{self, Column, Format},
    terminal::{fg, styled},
    text::text,
};

/// Clocks further apart than this confuse people and short-lived tokens.
const TOLERATED_SKEW_SECS: u64 = 30;

#[derive(Debug, Serialize)]
struct Check {
    ok: bool,
    name: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    fix: String,
}

/// Collects the checks.
#[derive(Default)]
struct Report {
    checks: Vec<Check>,
    exit: Option<Exit>,
}

impl Report {
    fn good(&mut self, name: &'static str, detail: String) {
        self.checks.push(Check {
            ok: true,
            name,
            detail,
            fix: String::new(),
        });
    }

    fn bad(&mut self, name: &'static str, failure: Failure) {
        self.exit.get_or_insert(failure.exit);
        let detail = if failure.why.is_empty() {
            failure.what
        } else {
            format!("{} {}", failure.what, failure.why)
        };
        self.checks.push(Check {
            ok: false,
            name,
            detail,
            fix: failure.fix,
        });
    }
}

/// Runs `doctor`. Its exit code is that of the first thing that is wrong.
pub(crate) async fn run(app: &App) -> Result<Exit, Failure> {
    let mut report = Report::default();
    match app.target() {
        Ok(target) => {
            let context = target.context.clone().unwrap_or_else(|| "–".to_owned());
            report.good("context", format!("{context} → {}", target.endpoint.url()));
            network(&target, &mut report).await;
        }
        Err(failure) => report.bad("context", failure),
    }
    print(&report, app)?;
    Ok(report.exit.unwrap_or(Exit::Done))
}

async fn network(target: &Target, report: &mut Report) {
    let dialer = Arc::new(Dialer::new(target.endpoint.clone(), target.pin));
    match dialer.resolve().await {
        Ok(addresses) => {
            let shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
            report.good("dns", shown.join(", "));
        }
        Err(error) => return report.bad("dns", error.to_failure()),
    }
    match dialer.tcp().await {
        Ok(stream) => report.good(
            "tcp",
            stream
                .peer_addr()
                .map(|address| address.to_string())
                .unwrap_or_default(),
        ),
        Err(error) => return report.bad("tcp", error.to_failure()),
    }
    if target.endpoint.tls() {
        match (dialer.dial().await, target.pin) {
            (Ok(_), Some(pin)) => report.good("tls", text("doctor-pinned", &[("ca", &pin.to_string())])),
            (Ok(_), None) => {}
            (Err(error), _) => {
                report.bad("tls", error.to_failure());
                if let Ok(found) = tls::fetch_ca(&target.endpoint).await {
                    report.good("tls", text("doctor-offered", &[("ca", &found.to_string())]));
                }
                return;
            }
        }
    }
    let client = match Client::connect(Arc::clone(&dialer), target.token.as_deref()).await {
        Ok(client) => client,
        Err(failure) => return report.bad("http/2", failure),
    };
    match client.system().get_system_info(GetSystemInfoRequest {}).await {
        Ok(answer) => {
            let date = answer
                .metadata()
                .get("date")
                .and_then(|date| date.to_str().ok())
                .map(str::to_owned);
            report.good(
                "http/2",
                text("doctor-cloud", &[("version", &answer.into_inner().version)]),
            );
            clock(date.as_deref(), report);
        }
        Err(status) => return report.bad("http/2", Failure::from_status(&status)),
    }
    if target.token.is_none() {
        return report.bad("login", Failure::local(Exit::NotAllowed, "NOT_LOGGED_IN", &[]));
    }
    match client.auth().get_current_user(GetCurrentUserRequest {}).await {
        Ok(answer) => {
            let user = answer.into_inner().user.unwrap_or_default();
            report.good("login", format!("{} ({})", shown_name(&user), output::role(user.role)));
        }
        Err(status) => report.bad("login", Failure::from_status(&status)),
    }
}

/// Compares clocks by the `date` header of an answer; a cloud that sends none is no fault.
fn clock(date: Option<&str>, report: &mut Report) {
    let Some(there) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) else {
        return;
    };
    let Ok(here) = jiff::Timestamp::try_from(SystemTime::now()) else {
        return;
    };
    let skew = here.as_second().abs_diff(there.timestamp().as_second());
    let shown = format!("{skew} s");
    if skew <= TOLERATED_SKEW_SECS {
        report.good("clock", text("doctor-clock", &[("skew", &shown)]));
    } else {
        report.bad(
            "clock",
            Failure::local(Exit::Precondition, "CLOCK_SKEW", &[("skew", &shown)]),
        );
    }
}

fn print(report: &Report, app: &App) -> Result<(), Failure> {
    let listing = app.listing();
    if listing.format != Format::Table {
        let columns: [Column<Check>; 4] = [
            Column::new("OK", |check| check.ok.to_string()),
            Column::new("CHECK", |check| check.name.to_owned()),
            Column::new("DETAIL", |check| check.detail.clone()),
            Column::new("FIX", |check| check.fix.clone()),
        ];
        return listing.list(&report.checks, |check| check.name.to_owned(), &columns);
    }
    let mut out = String::new();
    for check in &report.checks {
        let sign = if check.ok {
            styled(fg(AnsiColor::Green), "✔")
        } else {
            styled(fg(AnsiColor::Red).bold(), "✖")
        };
        out.push_str(&format!("{sign} {:<8} {}\n", check.name, check.detail));
        if !check.fix.is_empty() {
            out.push_str(&format!("           → {}\n", check.fix));
        }
    }
    output::print(out.as_bytes())
}
