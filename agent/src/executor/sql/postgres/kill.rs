//! Ending a statement of PostgreSQL from outside: CancelRequest first, which needs no log-in and means exactly this
//! connection, also behind a pooler. The session is ended only when the server itself says that it is this one.

use std::time::Duration;

use async_trait::async_trait;
use postgres_protocol::message::frontend;

use super::{
    super::{
        error::Error,
        session::{Killer, Sent, Session as _, timed},
        table::Tables,
    },
    Postgres, login,
    options::Options,
    wire::Wire,
};

/// How long one try may take: two of them and a wait end before the runner's own hard end.
const LIMIT: Duration = Duration::from_secs(2);

pub(super) struct Kill {
    pub(super) options: Options,
    pub(super) key: Option<(i32, i32)>,
    pub(super) local_port: Option<u16>,
    pub(super) is_tls: bool,
}

#[async_trait]
impl Killer for Kill {
    async fn ask(&self) -> Result<(), Error> {
        let Some((process, secret)) = self.key else {
            return Err(Error::Protocol("the server gave no key to cancel with".to_owned()));
        };
        timed(LIMIT, async {
            let socket = login::connect(&self.options, self.is_tls).await?;
            if self.is_tls && !socket.is_tls {
                // The key would be readable on the way.
                return Err(Error::Tls("the server does not offer TLS any more".to_owned()));
            }
            let mut wire = Wire::new(socket.io);
            frontend::cancel_request(process, secret, wire.output());
            wire.send().await?;
            // The server closes when it has passed the request on.
            wire.closed().await;
            Ok(())
        })
        .await
    }

    async fn end_session(&self) -> Result<(), Error> {
        let (Some((process, _)), Some(port)) = (self.key, self.local_port) else {
            return Err(Error::Protocol(
                "the server does not say which session this is".to_owned(),
            ));
        };
        timed(LIMIT, async {
            let login = login::login(&self.options).await?;
            let mut session = Postgres {
                wire: login.wire,
                options: self.options.clone(),
                parameters: login.parameters,
                status: login.status,
                key: login.key,
                local_port: login.local_port,
                is_tls: login.is_tls,
            };
            // Behind a pooler the number is the pooler's own and may be that of somebody else's backend: the client's
            // port must be ours too.
            let sql = format!(
                "SELECT 1 / count(*) FROM pg_stat_activity WHERE pid = {process} AND client_port = {port} \
                 AND usename = current_user AND pg_terminate_backend(pid)"
            );
            let ended = session.execute(Sent::sql(&sql), &mut Tables::silent()).await.map(drop);
            Box::new(session).close().await;
            ended
        })
        .await
    }
}
