//! What goes on beside the calls: the server's certificate is renewed, and health follows the database.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::HealthReporter,
};

use super::Cloud;
use crate::{authz::Rpc, pki};

/// Longest sleep: a suspended machine must not sleep past the end of its certificate.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// Between two looks at the database, for health.
const PING_EVERY: Duration = Duration::from_secs(10);

/// Replaces the server's certificate at half of its life, for as long as the cloud runs.
pub(super) async fn renew_certificate(cloud: Arc<Cloud>, names: Vec<String>, mut renew_at: SystemTime) {
    loop {
        let now = SystemTime::now();
        let left = renew_at.duration_since(now).unwrap_or_default();
        if left.is_zero() {
            match issue(&cloud, &names, now) {
                Ok(next) => {
                    tracing::info!("the server's certificate was renewed");
                    renew_at = next;
                    continue;
                }
                Err(error) => tracing::error!(%error, "the server's certificate was not renewed"),
            }
        }
        let pause = if left.is_zero() {
            Duration::from_secs(60)
        } else {
            left.min(LOOK_EVERY)
        };
        tokio::select! {
            () = cloud.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn issue(cloud: &Cloud, names: &[String], now: SystemTime) -> Result<SystemTime, pki::Error> {
    let made = cloud.authority.issue_server(names, now)?;
    let renew_at = made.renew_at;
    if let Err(error) = cloud.certificate.replace(made) {
        // We made the key a line above; the old certificate is good for its other half.
        tracing::error!(%error, "a new server certificate was not acceptable");
    }
    Ok(renew_at)
}

/// Returns the health service; a task of its own keeps it true until the cloud stops.
pub(super) fn health(cloud: &Arc<Cloud>) -> HealthServer<impl Health> {
    let (reporter, service) = tonic_health::server::health_reporter();
    tokio::spawn(follow_database(Arc::clone(cloud), reporter));
    service
}

async fn follow_database(cloud: Arc<Cloud>, reporter: HealthReporter) {
    loop {
        let alive = matches!(tokio::time::timeout(PING_EVERY, cloud.store.ping()).await, Ok(Ok(())));
        let status = if alive {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        reporter.set_service_status("", status).await;
        for rpc in Rpc::ALL {
            reporter
                .set_service_status(format!("opslink.v1.{}", rpc.service()), status)
                .await;
        }
        tokio::select! {
            () = cloud.stop.cancelled() => return,
            () = tokio::time::sleep(PING_EVERY) => {}
        }
    }
}
