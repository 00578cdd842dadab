//! From a URL to a session that is ready: socket, TLS, password. Sends user, database, name and encoding, no settings:
//! a script finds the session that psql would give it.

use std::collections::BTreeMap;

use fallible_iterator::FallibleIterator as _;
use postgres_protocol::{
    authentication::{
        md5_hash,
        sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    },
    message::{backend::Message, frontend},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

use super::{
    super::error::Error,
    options::{Host, Options, SslMode},
    said::said,
    tls,
    wire::{Incoming, Io, Wire},
};
use crate::connections::Secret;

/// A session, and what its server told at its start.
pub(super) struct Login {
    pub(super) wire: Wire,
    /// What CancelRequest needs.
    pub(super) key: Option<(i32, i32)>,
    /// The port of this side, by which the server knows the session too.
    pub(super) local_port: Option<u16>,
    pub(super) is_tls: bool,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) status: u8,
}

/// A socket to the server.
pub(super) struct Socket {
    pub(super) io: Box<dyn Io>,
    pub(super) is_tls: bool,
    local_port: Option<u16>,
}

/// Logs in.
pub(super) async fn login(options: &Options) -> Result<Login, Error> {
    match options.ssl_mode {
        SslMode::Disable => login_on(options, connect(options, false).await?).await,
        // First without; a server that wants TLS says so as a refused login.
        SslMode::Allow => match login_on(options, connect(options, false).await?).await {
            Err(Error::Lost(said)) if said.code == "28000" => login_on(options, connect(options, true).await?).await,
            plain => plain,
        },
        SslMode::Prefer | SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
            login_on(options, connect(options, true).await?).await
        }
    }
}

/// Opens a socket; with `tls`, a secure one as far as the mode asks for it.
pub(super) async fn connect(options: &Options, tls: bool) -> Result<Socket, Error> {
    let host = match &options.host {
        Host::Folder(folder) => {
            let path = folder.join(format!(".s.PGSQL.{}", options.port));
            let socket = UnixStream::connect(&path).await.map_err(|error| {
                Error::Io(std::io::Error::new(
                    error.kind(),
                    format!("{}: {error}", path.display()),
                ))
            })?;
            return Ok(Socket {
                io: Box::new(socket),
                is_tls: false,
                local_port: None,
            });
        }
        Host::Tcp(host) => host,
    };
    let mut socket = TcpStream::connect((host.as_str(), options.port)).await?;
    // A statement is one small packet, and its answer is waited for.
    socket.set_nodelay(true)?;
    let local_port = socket.local_addr().ok().map(|address| address.port());
    if !tls {
        return Ok(Socket {
            io: Box::new(socket),
            is_tls: false,
            local_port,
        });
    }
    let mut request = bytes::BytesMut::new();
    frontend::ssl_request(&mut request);
    socket.write_all(&request).await?;
    // One byte and no more: what came with it would not be protected.
    match socket.read_u8().await? {
        b'S' => Ok(Socket {
            io: Box::new(tls::handshake(socket, host, options).await?),
            is_tls: true,
            local_port,
        }),
        b'N' if matches!(options.ssl_mode, SslMode::Prefer | SslMode::Allow) => Ok(Socket {
            io: Box::new(socket),
            is_tls: false,
            local_port,
        }),
        b'N' => Err(Error::Tls("the server does not offer TLS".to_owned())),
        _ => Err(Error::Protocol(
            "the server does not answer as PostgreSQL does; see host and port".to_owned(),
        )),
    }
}

async fn login_on(options: &Options, socket: Socket) -> Result<Login, Error> {
    let mut login = Login {
        wire: Wire::new(socket.io),
        key: None,
        local_port: socket.local_port,
        is_tls: socket.is_tls,
        parameters: BTreeMap::new(),
        status: b'I',
    };
    let named = [("user", options.user.as_str()), ("database", options.database.as_str())];
    let further = options
        .parameters
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    frontend::startup_message(named.into_iter().chain(further), login.wire.output()).map_err(unsendable)?;
    login.wire.send().await?;
    authenticate(&mut login.wire, options).await?;
    loop {
        match message(&mut login.wire).await? {
            Message::ParameterStatus(body) => {
                login
                    .parameters
                    .insert(body.name()?.to_owned(), body.value()?.to_owned());
            }
            Message::BackendKeyData(body) => login.key = Some((body.process_id(), body.secret_key())),
            Message::ReadyForQuery(body) => {
                login.status = body.status();
                return Ok(login);
            }
            Message::ErrorResponse(body) => return Err(Error::Lost(Box::new(said(body.fields(), "")?.0))),
            Message::NoticeResponse(_) => {}
            _ => return Err(unexpected()),
        }
    }
}

async fn authenticate(wire: &mut Wire, options: &Options) -> Result<(), Error> {
    let mut scram: Option<ScramSha256> = None;
    loop {
        match message(wire).await? {
            Message::AuthenticationOk => return Ok(()),
            Message::AuthenticationCleartextPassword => {
                frontend::password_message(password(options)?.expose().as_bytes(), wire.output())
                    .map_err(unsendable)?;
            }
            Message::AuthenticationMd5Password(body) => {
                let hash = md5_hash(
                    options.user.as_bytes(),
                    password(options)?.expose().as_bytes(),
                    body.salt(),
                );
                frontend::password_message(hash.as_bytes(), wire.output()).map_err(unsendable)?;
            }
            Message::AuthenticationSasl(body) => {
                if !body.mechanisms().any(|name| Ok(name == SCRAM_SHA_256))? {
                    return Err(unknown_method());
                }
                let begun = ScramSha256::new(password(options)?.expose().as_bytes(), ChannelBinding::unsupported());
                frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), wire.output()).map_err(unsendable)?;
                scram = Some(begun);
            }
            Message::AuthenticationSaslContinue(body) => {
                let begun = scram.as_mut().ok_or_else(unexpected)?;
                begun.update(body.data()).map_err(not_proven)?;
                frontend::sasl_response(begun.message(), wire.output()).map_err(unsendable)?;
            }
            Message::AuthenticationSaslFinal(body) => {
                // The server proves that it knows the password too.
                scram
                    .as_mut()
                    .ok_or_else(unexpected)?
                    .finish(body.data())
                    .map_err(not_proven)?;
                continue;
            }
            Message::ErrorResponse(body) => return Err(Error::Lost(Box::new(said(body.fields(), "")?.0))),
            Message::NoticeResponse(_) => continue,
            Message::AuthenticationGss
            | Message::AuthenticationGssContinue(_)
            | Message::AuthenticationKerberosV5
            | Message::AuthenticationScmCredential
            | Message::AuthenticationSspi => return Err(unknown_method()),
            _ => return Err(unexpected()),
        }
        wire.send().await?;
    }
}

async fn message(wire: &mut Wire) -> Result<Message, Error> {
    match wire.next().await? {
        Incoming::Message(message) => Ok(message),
        Incoming::CopyPiece(_) | Incoming::RowTooLarge(_) => Err(unexpected()),
    }
}

fn password(options: &Options) -> Result<&Secret, Error> {
    options.password.as_ref().ok_or_else(|| {
        Error::said(
            "28000",
            "the server wants a password, and neither the url nor a password_file of the connection gives one",
        )
    })
}

/// The server could not show that it knows the password: it may be another one than it says.
fn not_proven(error: std::io::Error) -> Error {
    Error::said("28000", format!("the server failed the password exchange: {error}"))
}

fn unknown_method() -> Error {
    Error::said(
        "28000",
        "the server wants a log-in method other than a password (GSSAPI, SSPI, …); these are not known here",
    )
}

fn unexpected() -> Error {
    Error::Protocol("the server said something that is not expected at a log-in".to_owned())
}

fn unsendable(error: std::io::Error) -> Error {
    Error::Config(format!("user, password or database cannot be sent: {error}"))
}
