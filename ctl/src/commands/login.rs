//! `cloudctl login URL`: pins the CA on first use, proves who is calling, keeps the context.

use std::sync::Arc;

use clap::Args;
use opslink::pb::{ChangePasswordRequest, CurrentUser, GetCurrentUserRequest, LoginRequest};

use crate::{
    app::{App, parse_pin},
    config::Context,
    connect::{
        Client, Dialer, Endpoint,
        tls::{self, Pin},
    },
    exit::Exit,
    failure::Failure,
    input::line_of_stdin,
    output, terminal,
    text::text,
};

/// Arguments of `login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// Address of the cloud: https://host:7443, or http:// on this machine
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// Read an API token from stdin instead of asking for a password
    #[arg(long, conflicts_with_all = ["username", "password_stdin"])]
    with_token: bool,
    /// User name
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from stdin; a second line is the new password where one must be chosen
    #[arg(long)]
    password_stdin: bool,
    /// Name of the context; else the host of the URL
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Runs `login`.
pub(crate) async fn run(args: LoginArgs, app: &App) -> Result<Exit, Failure> {
    let url = args
        .url
        .as_deref()
        .or(app.globals.server.as_deref())
        .unwrap_or_default();
    let endpoint = Endpoint::parse(url)?;
    let pin = pin(&endpoint, app).await?;
    let dialer = Arc::new(Dialer::new(endpoint.clone(), pin));

    let (token, user) = if args.with_token {
        let token = line_of_stdin("--with-token")?;
        let client = Client::connect(dialer, Some(&token)).await?;
        let answer = client
            .auth()
            .get_current_user(GetCurrentUserRequest {})
            .await?
            .into_inner();
        (token, answer.user.unwrap_or_default())
    } else {
        with_password(&args, dialer).await?
    };

    let name = args.name.unwrap_or_else(|| endpoint.host().to_owned());
    let context = Context {
        server: endpoint.url(),
        ca_sha256: pin.map(|pin| pin.to_string()),
        user: Some(shown_name(&user)),
    };
    app.config.save(&name, context, &token)?;
    let (who, role) = (shown_name(&user), output::role(user.role));
    terminal::say(&text(
        "login-done",
        &[
            ("user", &who),
            ("role", &role),
            ("url", &endpoint.url()),
            ("context", &name),
        ],
    ));
    Ok(Exit::Done)
}

/// Settles which CA to trust: given, known from before, or asked for on first use.
async fn pin(endpoint: &Endpoint, app: &App) -> Result<Option<Pin>, Failure> {
    if !endpoint.tls() {
        return Ok(None);
    }
    if let Some(text) = &app.globals.ca_sha256 {
        return Ok(Some(parse_pin(text)?));
    }
    let contexts = app.config.contexts()?;
    let known = contexts
        .contexts
        .values()
        .find(|context| context.server == endpoint.url());
    if let Some(text) = known.and_then(|context| context.ca_sha256.as_deref()) {
        return Ok(Some(parse_pin(text)?));
    }
    let found = tls::fetch_ca(endpoint).await.map_err(|error| error.to_failure())?;
    let shown = found.to_string();
    terminal::say_always(&text("login-first-use", &[("url", &endpoint.url())]));
    terminal::say_always(&format!("  SHA-256 {shown}"));
    if app.globals.yes || terminal::confirm(&text("login-trust", &[]), "--ca-sha256 FINGERPRINT, or --yes")? {
        Ok(Some(found))
    } else {
        Err(Failure::local(
            Exit::Unreachable,
            "CA_NOT_TRUSTED",
            &[("url", &endpoint.url()), ("fingerprint", &shown)],
        ))
    }
}

async fn with_password(args: &LoginArgs, dialer: Arc<Dialer>) -> Result<(String, CurrentUser), Failure> {
    let username = match &args.username {
        Some(name) => name.clone(),
        None if args.password_stdin => return Err(Failure::usage("NO_TERMINAL", &[("flag", "--username NAME")])),
        None => terminal::ask(
            &text("login-username", &[]),
            "--with-token, or --username NAME --password-stdin",
        )?,
    };
    let password = if args.password_stdin {
        line_of_stdin("--password-stdin")?
    } else {
        terminal::ask_password(&text("login-password", &[]), "--with-token, or --password-stdin")?
    };
    let client = Client::connect(Arc::clone(&dialer), None).await?;
    let request = LoginRequest {
        username: username.clone(),
        password: password.clone(),
        use_cookie: false,
    };
    let answer = client.auth().login(request).await?.into_inner();
    let user = answer.user.unwrap_or_default();
    let token = answer.session_token;
    if user.must_change_password {
        change_password(args, dialer, &token, password).await?;
    }
    Ok((token, user))
}

/// The first password was made by the cloud and printed somewhere: it must go.
async fn change_password(
    args: &LoginArgs,
    dialer: Arc<Dialer>,
    token: &str,
    current_password: String,
) -> Result<(), Failure> {
    let new_password = if args.password_stdin {
        line_of_stdin("--password-stdin")
            .map_err(|_| Failure::local(Exit::NotAllowed, "PASSWORD_CHANGE_REQUIRED", &[]))?
    } else {
        terminal::say_always(&text("login-must-change", &[]));
        ask_new_password()?
    };
    let client = Client::connect(dialer, Some(token)).await?;
    client
        .auth()
        .change_password(ChangePasswordRequest {
            current_password,
            new_password,
        })
        .await?;
    terminal::say(&text("login-changed", &[]));
    Ok(())
}

fn ask_new_password() -> Result<String, Failure> {
    let flag = "--password-stdin";
    loop {
        let first = terminal::ask_password(&text("login-new-password", &[]), flag)?;
        if first.chars().count() < 12 {
            terminal::say_always(&text("login-too-short", &[]));
            continue;
        }
        if terminal::ask_password(&text("login-again", &[]), flag)? == first {
            return Ok(first);
        }
        terminal::say_always(&text("login-differ", &[]));
    }
}

/// Returns how the caller is named: a user, or a token.
pub(crate) fn shown_name(user: &CurrentUser) -> String {
    match (user.username.as_str(), user.token_name.as_str()) {
        ("", token) => format!("token:{token}"),
        (name, _) if name.starts_with("token:") => name.to_owned(),
        (name, "") => name.to_owned(),
        (name, token) => format!("{name} (token:{token})"),
    }
}
