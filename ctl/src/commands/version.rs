//! `cloudctl version`: this program, and the cloud when there is one in reach.

use std::sync::Arc;

use opslink::pb::GetSystemInfoRequest;
use serde::Serialize;

use crate::{
    app::App,
    connect::{Client, Dialer},
    exit::Exit,
    failure::Failure,
    output::Column,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    client: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

/// Runs `version`. A cloud out of reach is no failure: the question was about this program first.
pub(crate) async fn run(app: &App) -> Result<Exit, Failure> {
    let mut version = Version {
        client: env!("CARGO_PKG_VERSION"),
        server: None,
        url: None,
    };
    if let Ok(target) = app.target() {
        version.url = Some(target.endpoint.url());
        if let Ok(client) = Client::connect(Arc::new(Dialer::new(target.endpoint, target.pin)), None).await {
            let answer = client.system().get_system_info(GetSystemInfoRequest {}).await;
            version.server = answer.ok().map(|info| info.into_inner().version);
        }
    }
    let columns: [Column<Version>; 3] = [
        Column::new("CLOUDCTL", |version| version.client.to_owned()),
        Column::new("CLOUD", |version| {
            version.server.clone().unwrap_or_else(|| "–".to_owned())
        }),
        Column::new("URL", |version| version.url.clone().unwrap_or_else(|| "–".to_owned())),
    ];
    app.listing()
        .object(&version, |version| version.client.to_owned(), &columns)?;
    Ok(Exit::Done)
}
