//! Everything that can be wrong with the machine or the options, found before the doors open.

use std::{
    io::{self, ErrorKind, Write},
    net::{IpAddr, SocketAddr},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use opslink::{problem::Problem, reason::Reason};

use crate::{
    config::Serve,
    pki::Authority,
    store::{
        Store,
        sql::{DatabaseLock, OpenError, Options, SqlStore, without_password},
    },
    tls::TcpAcceptor,
};

/// Refuses options that make no sense together.
pub(super) fn check(config: &Serve) -> Result<(), Problem> {
    if let Some(plain) = config.plain_listen
        && !plain.ip().is_loopback()
    {
        return Err(setting(
            "--plain-listen",
            format!(
                "{plain} is reachable from other machines, and passwords would cross the network unencrypted; use 127.0.0.1"
            ),
        ));
    }
    if let Some(url) = &config.public_url {
        let parsed: Result<http::Uri, _> = url.parse();
        let good = parsed.is_ok_and(|uri| uri.scheme_str() == Some("https") && uri.authority().is_some());
        if !good {
            return Err(setting(
                "--public-url",
                format!("`{url}` is not a URL such as https://ops.example:7443"),
            ));
        }
    }
    Ok(())
}

/// Makes the data folder and proves that it can be written.
pub(super) fn data_folder(data: &Path) -> Result<(), Problem> {
    let made = || -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data)?;
        // Room for a page of the database, or the disk is full.
        let probe = data.join(".probe");
        let mut file = std::fs::File::create(&probe)?;
        let written = file.write_all(&[0; 4096]).and_then(|()| file.sync_all());
        std::fs::remove_file(&probe)?;
        written
    };
    made().map_err(|error| folder_problem(data, &error))
}

/// Says what is wrong with the data folder.
pub(super) fn folder_problem(data: &Path, error: &io::Error) -> Problem {
    let path = data.display();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Problem::new(Reason::DiskFull).with("path", path),
        // Every other kind says itself why.
        _ => Problem::new(Reason::DataFolderUnwritable)
            .with("path", path)
            .with("detail", error),
    }
}

/// Listens on an address.
pub(super) fn bind(address: SocketAddr) -> Result<TcpAcceptor, Problem> {
    TcpAcceptor::bind(address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => Problem::new(Reason::PortInUse).with("address", address),
        // Not our address, not allowed below 1024, …: the system's words say it.
        _ => setting("--listen", format!("cannot listen on {address}: {error}")),
    })
}

/// Opens the store that the options name, for this cloud alone.
pub(super) async fn store(config: &Serve) -> Result<(Store, Option<DatabaseLock>), Problem> {
    let url = match &config.database_url {
        Some(url) => url.clone(),
        None => {
            let data = std::path::absolute(&config.data).map_err(|error| folder_problem(&config.data, &error))?;
            format!("sqlite://{}", data.display())
        }
    };
    let problem = |error| open_problem(config, error);
    let lock = DatabaseLock::take(&url).await.map_err(problem)?;
    let options = Options {
        tenure: lock.as_ref().map(DatabaseLock::tenure),
        ..Options::default()
    };
    let store = SqlStore::open(&url, options).await.map_err(problem)?;
    Ok((store, lock))
}

fn open_problem(config: &Serve, error: OpenError) -> Problem {
    match error {
        OpenError::Url { url, why } => Problem::new(Reason::DatabaseUrlInvalid)
            .with("url", url)
            .with("detail", why),
        OpenError::Locked { folder } => Problem::new(Reason::DataFolderLocked).with("path", folder.display()),
        OpenError::InUse { url } => Problem::new(Reason::DatabaseInUse).with("url", url),
        OpenError::Folder { folder, why } => Problem::new(Reason::DataFolderUnwritable)
            .with("path", folder.display())
            .with("detail", why),
        OpenError::Database { reason, why, .. } => {
            let url = config.database_url.as_deref().map(without_password);
            let path = config.data.display().to_string();
            let reason = match Reason::from_code(reason) {
                // What is said of a cloud that runs (try again, tasks go on) is no help at its start.
                None | Some(Reason::DatabaseUnavailable) => Reason::DatabaseNotOpened,
                Some(reason) => reason,
            };
            Problem::new(reason)
                .with("detail", why.trim_end_matches('.'))
                .with("url", url.unwrap_or_else(|| path.clone()))
                .with("path", path)
        }
    }
}

/// Writes the CA certificate for people and scripts on this machine.
pub(super) fn publish_ca(data: &Path, authority: &Authority) -> Result<(), Problem> {
    std::fs::write(data.join("ca.pem"), authority.server_root_pem()).map_err(|error| folder_problem(data, &error))
}

/// Returns a URL that reaches this address from this machine.
pub(super) fn url(scheme: &str, address: SocketAddr) -> String {
    match (address.ip(), address.port()) {
        (IpAddr::V4(ip), port) if ip.is_unspecified() => format!("{scheme}://127.0.0.1:{port}"),
        (IpAddr::V6(ip), port) if ip.is_unspecified() => format!("{scheme}://[::1]:{port}"),
        (IpAddr::V4(ip), port) => format!("{scheme}://{ip}:{port}"),
        (IpAddr::V6(ip), port) => format!("{scheme}://[{ip}]:{port}"),
    }
}

/// Returns the names and addresses that the server's certificate shall have, each once.
pub(super) fn certificate_names(config: &Serve) -> Vec<String> {
    let mut names: Vec<String> = config
        .names
        .iter()
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    if let Some(uri) = config
        .public_url
        .as_deref()
        .and_then(|url| url.parse::<http::Uri>().ok())
        && let Some(host) = uri.host()
    {
        names.push(host.trim_matches(['[', ']']).to_ascii_lowercase());
    }
    if !config.listen.ip().is_unspecified() {
        names.push(config.listen.ip().to_string());
    }
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    if let Ok(host) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        names.push(host.trim().to_ascii_lowercase());
    }
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| is_host(name) && seen.insert(name.clone()));
    names
}

fn is_host(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok() || rustls_pki_types::DnsName::try_from(name).is_ok()
}

fn setting(name: &str, detail: String) -> Problem {
    Problem::new(Reason::ConfigInvalid)
        .with("setting", name)
        .with("detail", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Serve {
        Serve::for_tests("/nonexistent".into())
    }

    #[test]
    fn a_plain_listener_beyond_loopback_is_refused() {
        for (address, good) in [
            ("127.0.0.1:0", true),
            ("[::1]:0", true),
            ("0.0.0.0:0", false),
            ("10.1.2.3:80", false),
            ("[::]:0", false),
        ] {
            let config = Serve {
                plain_listen: Some(address.parse().unwrap()),
                ..config()
            };
            match check(&config) {
                Ok(()) => assert!(good, "{address}"),
                Err(problem) => {
                    assert!(!good, "{address}");
                    assert_eq!(problem.reason, Reason::ConfigInvalid);
                    assert!(problem.args["detail"].contains(address));
                }
            }
        }
    }

    #[test]
    fn a_public_url_must_be_https() {
        for (url, good) in [
            ("https://a:7443", true),
            ("http://a:7443", false),
            ("a:7443", false),
            ("", false),
        ] {
            let config = Serve {
                public_url: Some(url.to_owned()),
                ..config()
            };
            assert_eq!(check(&config).is_ok(), good, "{url}");
        }
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let problem = bind(address).unwrap_err();
        assert_eq!(problem.reason, Reason::PortInUse);
        assert_eq!(problem.args["address"], address.to_string());
    }

    #[test]
    fn a_data_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let problem = data_folder(&file.path().join("data")).unwrap_err();
        assert_eq!(problem.reason, Reason::DataFolderUnwritable);
        let fresh = tempfile::tempdir().unwrap();
        data_folder(&fresh.path().join("a/b")).unwrap();
        assert!(
            std::fs::read_dir(fresh.path().join("a/b")).unwrap().next().is_none(),
            "the probe is gone"
        );
    }

    #[test]
    fn the_certificate_has_every_name_once() {
        let config = Serve {
            public_url: Some("https://Ops.Example:7443".to_owned()),
            names: vec!["ops.example".to_owned(), "not a name".to_owned(), "10.0.0.1".to_owned()],
            ..config()
        };
        let names = certificate_names(&config);
        for name in ["ops.example", "10.0.0.1", "localhost", "127.0.0.1", "::1"] {
            assert_eq!(
                names.iter().filter(|one| *one == name).count(),
                1,
                "{name} in {names:?}"
            );
        }
        assert!(!names.iter().any(|name| name.contains(' ')));
    }

    #[test]
    fn urls_are_usable_from_this_machine() {
        assert_eq!(url("https", "0.0.0.0:1".parse().unwrap()), "https://127.0.0.1:1");
        assert_eq!(url("https", "[::]:1".parse().unwrap()), "https://[::1]:1");
        assert_eq!(url("http", "[::1]:1".parse().unwrap()), "http://[::1]:1");
    }
}
