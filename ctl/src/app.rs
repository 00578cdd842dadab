//! What every command needs: the global flags, the configuration, a connection on demand.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

use crate::{
    cli::Globals,
    config::{self, Config, Context, Contexts},
    connect::{Client, Dialer, Endpoint, tls::Pin},
    failure::Failure,
    input,
    output::{Format, Listing},
};

/// Where to connect, and as whom.
#[derive(Clone)]
pub(crate) struct Target {
    /// Name of the context, when one is used.
    pub(crate) context: Option<String>,
    /// Address of the cloud.
    pub(crate) endpoint: Endpoint,
    /// Pinned CA.
    pub(crate) pin: Option<Pin>,
    /// Bearer token.
    pub(crate) token: Option<String>,
}

/// The state of one run of the program.
pub(crate) struct App {
    /// The flags that every command has.
    pub(crate) globals: Globals,
    /// The configuration folder.
    pub(crate) config: Config,
}

impl App {
    /// Finds the configuration folder; reads nothing yet.
    pub(crate) fn new(globals: Globals) -> Self {
        Self {
            config: Config::find(),
            globals,
        }
    }

    /// Settles where to connect: flag, then environment, then the context in use. A configuration that cannot be used stands
    /// in nobody's way who needs nothing of it.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        let server = self.globals.server.as_deref().map(Endpoint::parse).transpose()?;
        let pin = self.globals.ca_sha256.as_deref().map(parse_pin).transpose()?;
        let token = match (&self.globals.token_file, environment_token()) {
            (Some(path), _) => Some(read_token(path)?),
            (None, token) => token,
        };
        let is_whole = token.is_some() && server.as_ref().is_some_and(|server| pin.is_some() || !server.tls());
        let contexts = match self.config.contexts() {
            Err(_) if is_whole => Contexts::default(),
            read => read?,
        };
        let wanted = self.globals.context.as_deref().or(contexts.current.as_deref());
        let (context, server) = match (server, wanted) {
            (Some(server), wanted) => (known(&contexts, &server, wanted), server),
            (None, Some(name)) => {
                let context = contexts
                    .contexts
                    .get(name)
                    .ok_or_else(|| config::unknown(name, &contexts))?;
                (
                    Some((name.to_owned(), context.clone())),
                    Endpoint::parse(&context.server)?,
                )
            }
            (None, None) => return Err(Failure::local(crate::exit::Exit::NotAllowed, "NOT_LOGGED_IN", &[])),
        };
        let stored_pin = context.as_ref().and_then(|(_, context)| context.ca_sha256.as_deref());
        let pin = match (pin, stored_pin) {
            (None, Some(text)) => Some(parse_pin(text)?),
            (pin, _) => pin,
        };
        let token = match (token, &context) {
            (None, Some((name, _))) => self.config.token(name)?,
            (token, _) => token,
        };
        Ok(Target {
            context: context.map(|(name, _)| name),
            endpoint: server,
            pin,
            token,
        })
    }

    /// Connects as the caller. Without a token it fails before anything is sent.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        let target = self.target()?;
        let Some(token) = &target.token else {
            return Err(Failure::local(crate::exit::Exit::NotAllowed, "NOT_LOGGED_IN", &[]));
        };
        Client::connect(Arc::new(Dialer::new(target.endpoint.clone(), target.pin)), Some(token)).await
    }

    /// Returns how a list or an object is to be printed.
    pub(crate) fn listing(&self) -> Listing {
        Listing {
            format: self.globals.output.unwrap_or(Format::Table),
            headers: !self.globals.no_headers,
        }
    }
}

/// The context of a server. A token never goes to another server than the one it is for: the context must have this very
/// URL. Where several have it, it is the one in use.
fn known(contexts: &Contexts, server: &Endpoint, wanted: Option<&str>) -> Option<(String, Context)> {
    let url = server.url();
    let mut fitting = contexts.contexts.iter().filter(|(_, context)| context.server == url);
    let in_use = fitting.clone().find(|(name, _)| Some(name.as_str()) == wanted);
    let (name, context) = in_use.or_else(|| fitting.next())?;
    Some((name.clone(), context.clone()))
}

/// Reads a fingerprint given by the user.
pub(crate) fn parse_pin(text: &str) -> Result<Pin, Failure> {
    text.parse()
        .map_err(|detail: String| Failure::usage("CA_FINGERPRINT_INVALID", &[("detail", &detail)]))
}

fn environment_token() -> Option<String> {
    std::env::var("CLOUDCTL_TOKEN")
        .ok()
        .map(|token| token.trim().to_owned())
        .filter(|token| !token.is_empty())
}

fn read_token(path: &Path) -> Result<String, Failure> {
    if path == Path::new("-") {
        return token_of_stdin();
    }
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(
            "TOKEN_FILE_UNREADABLE",
            &[("path", &shown), ("detail", &error.to_string())],
        )
    })?;
    Ok(text.trim().to_owned())
}

/// The first line of stdin. It is there once, and a command may ask where to connect several times.
fn token_of_stdin() -> Result<String, Failure> {
    static TOKEN: OnceLock<String> = OnceLock::new();
    if let Some(token) = TOKEN.get() {
        return Ok(token.clone());
    }
    let token = input::line_of_stdin("--token-file -")?.trim().to_owned();
    Ok(TOKEN.get_or_init(|| token).clone())
}
