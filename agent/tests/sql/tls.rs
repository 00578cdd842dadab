//! TLS of PostgreSQL as `sslmode` means it, with certificates made here.

use std::path::Path;

use opslink::task::ExecutionState;
use opslink_harness::database::Database;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_util::sync::CancellationToken;

use crate::support::{run, run_with, spec};

fn authority(path: &Path) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(path, issuer.pem()).unwrap();
    issuer
}

/// Gives the server a certificate for `name` and makes it take TLS.
fn secure(database: &Database, issuer: &CertifiedIssuer<'static, KeyPair>, name: &str) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    // The server's user writes its own files: a key that others can read is refused.
    for (file, pem) in [("server.crt", certificate.pem()), ("server.key", key.serialize_pem())] {
        let write = format!("umask 077; printf %b \"$(cat)\" > {file}");
        database
            .client(&format!("COPY (SELECT $pem${pem}$pem$) TO PROGRAM '{write}'"))
            .unwrap();
    }
    database.client("ALTER SYSTEM SET ssl = on").unwrap();
    database.client("SELECT pg_reload_conf()").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_modes_check_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (folder.path().join("ours.crt"), folder.path().join("other.crt"));
    let issuer = authority(&ours);
    authority(&other);
    let database = Database::postgres().unwrap();
    let url = database.url();
    secure(&database, &issuer, "db.internal");
    let with = |mode: &str, root: Option<&Path>| {
        let root = root
            .map(|root| format!("&sslrootcert={}", root.display()))
            .unwrap_or_default();
        format!("{url}?sslmode={mode}{root}")
    };
    let is_tls = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    for (url, expected) in [
        (with("disable", None), Ok("f")),
        (with("allow", None), Ok("f")),
        (with("prefer", None), Ok("t")),
        (with("require", None), Ok("t")),
        (with("require", Some(&other)), Err("DATABASE_TLS")),
        (with("verify-ca", Some(&ours)), Ok("t")),
        (with("verify-ca", Some(&other)), Err("DATABASE_TLS")),
        (with("verify-full", Some(&ours)), Err("DATABASE_TLS")),
        (
            with("verify-full", Some(&folder.path().join("none"))),
            Err("CONNECTIONS_INVALID"),
        ),
    ] {
        let ran = run(&url, spec(is_tls)).await;
        match expected {
            Ok(value) => assert_eq!(
                (ran.state(), ran.last()),
                (ExecutionState::Succeeded, value),
                "{url}: {:?}",
                ran.result
            ),
            Err(reason) => assert_eq!(ran.reason(), reason, "{url}: {:?}", ran.result),
        }
    }

    secure(&database, &issuer, "127.0.0.1");
    let full = with("verify-full", Some(&ours));
    assert_eq!(run(&full, spec(is_tls)).await.last(), "t");
    let canceled = run_with(&full, spec("SELECT pg_sleep(60)"), Some(CancellationToken::new())).await;
    assert_eq!(canceled.reason(), "CANCELED", "the request to cancel goes over TLS too");
    assert!(
        canceled.error().message.contains("user request"),
        "{}",
        canceled.error().message
    );
}
