//! `cloudctl login URL`: pins the CA on first use, proves who is calling, keeps the context.

use std::sync::Arc;

use clap::Args;
use opslink::pb::{ChangePasswordRequest, CurrentUser, GetCurrentUserRequest, LoginRequest};

use crate::{
    app::{App, parse_pin},
    cli::Globals,
    config::{self, Context, Contexts},
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
    /// Address of the cloud: https://host:7443, or http:// on this machine; else that of the context in use
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
    /// Name of the context; else --context, else the host of the URL, with its port where that is another cloud's name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Runs `login`.
pub(crate) async fn run(args: LoginArgs, app: &App) -> Result<Exit, Failure> {
    // What cannot be kept is found out before anybody is asked for a password.
    app.config.folder()?;
    let contexts = app.config.contexts()?;
    let (name, endpoint) = place(&args, &app.globals, &contexts)?;
    let pin = pin(&endpoint, &contexts, app).await?;
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

/// Settles which cloud is meant, and under which name it is kept. `--context` chooses a name and makes one; only `--name` may
/// put another cloud in a context's place.
fn place(args: &LoginArgs, globals: &Globals, contexts: &Contexts) -> Result<(String, Endpoint), Failure> {
    let chosen = globals.context.as_deref();
    let Some(url) = args.url.as_deref().or(globals.server.as_deref()) else {
        let Some(name) = chosen.or(contexts.current.as_deref()) else {
            return Err(Failure::usage("SERVER_URL_INVALID", &[("url", "")]));
        };
        let known = contexts.contexts.get(name);
        let context = known.ok_or_else(|| config::unknown(name, contexts))?;
        let name = args.name.as_deref().unwrap_or(name);
        return Ok((name.to_owned(), Endpoint::parse(&context.server)?));
    };
    let endpoint = Endpoint::parse(url)?;
    let name = match (&args.name, chosen) {
        (Some(name), _) => name.clone(),
        (None, Some(name)) => {
            let url = endpoint.url();
            match contexts.contexts.get(name) {
                Some(context) if context.server != url => {
                    let server = context.server.as_str();
                    let told = [("name", name), ("server", server), ("url", url.as_str())];
                    return Err(Failure::usage("CONTEXT_OF_ANOTHER_CLOUD", &told));
                }
                Some(_) | None => name.to_owned(),
            }
        }
        (None, None) => contexts.name_for(&endpoint),
    };
    Ok((name, endpoint))
}

/// Settles which CA to trust: given, known from before, or asked for on first use.
async fn pin(endpoint: &Endpoint, contexts: &Contexts, app: &App) -> Result<Option<Pin>, Failure> {
    if !endpoint.tls() {
        return Ok(None);
    }
    if let Some(text) = &app.globals.ca_sha256 {
        return Ok(Some(parse_pin(text)?));
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};

    fn contexts() -> Contexts {
        let context = |server: &str| Context {
            server: server.to_owned(),
            ca_sha256: None,
            user: None,
        };
        Contexts {
            current: Some("h".to_owned()),
            contexts: [("h", "https://h:8443"), ("prod", "https://prod:7443")]
                .map(|(name, server)| (name.to_owned(), context(server)))
                .into(),
        }
    }

    fn placed(line: &str) -> Result<(String, String), String> {
        let cli = Cli::read(["cloudctl", "login"].into_iter().chain(line.split_whitespace())).unwrap();
        let Command::Login(args) = cli.command else {
            panic!("{line} is a login");
        };
        place(&args, &cli.globals, &contexts())
            .map(|(name, endpoint)| (name, endpoint.url()))
            .map_err(|failure| failure.reason)
    }

    #[test]
    fn a_login_is_kept_under_the_name_that_was_given_and_never_in_anothers_place() {
        for (line, name, url) in [
            ("https://new", "new", "https://new:7443"),
            ("https://h:8443", "h", "https://h:8443"),
            ("https://h:7443", "h:7443", "https://h:7443"),
            ("https://new --context mine", "mine", "https://new:7443"),
            ("https://prod --context prod", "prod", "https://prod:7443"),
            ("https://new --name prod", "prod", "https://new:7443"),
            ("--context prod", "prod", "https://prod:7443"),
            ("", "h", "https://h:8443"),
        ] {
            assert_eq!(placed(line), Ok((name.to_owned(), url.to_owned())), "{line}");
        }
        let told = placed("https://new --context prod");
        assert_eq!(told, Err("CONTEXT_OF_ANOTHER_CLOUD".to_owned()));
        assert_eq!(placed("--context gone"), Err("CONTEXT_NOT_FOUND".to_owned()));
    }
}
