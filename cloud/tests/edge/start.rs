//! Starting and stopping: what is on disk, and what a wrong start is told.

use std::os::unix::fs::PermissionsExt;

use opslink::{locale::Language, pb, reason::Reason};
use opslink_cloud::{config::Serve, server};
use pb::{auth_service_client::AuthServiceClient, system_service_client::SystemServiceClient};

use crate::harness::with_bearer;

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_leaves_a_password_that_goes_away_with_its_change_and_a_second_start_works() {
    let folder = tempfile::tempdir().unwrap();
    let config = Serve {
        dev_admin_password: None,
        ..Serve::for_tests(folder.path().join("data"))
    };
    let running = server::run(&config).await.unwrap();
    let first = running.first_password.clone().expect("a generated password");
    let file = config.data.join("initial-password");
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), first.password);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        std::fs::metadata(&config.data).unwrap().permissions().mode() & 0o777,
        0o700
    );

    let plain = running.plain_url.clone().unwrap();
    let channel = || async {
        tonic::transport::Endpoint::from_shared(plain.clone())
            .unwrap()
            .connect()
            .await
            .unwrap()
    };
    let info = SystemServiceClient::new(channel().await)
        .get_system_info(pb::GetSystemInfoRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(info.ca_sha256, running.ca_sha256);
    assert_eq!(info.public_url, running.url);
    assert_eq!(
        info.ca_pem,
        std::fs::read_to_string(config.data.join("ca.pem")).unwrap()
    );

    let mut auth = AuthServiceClient::new(channel().await);
    let login = pb::LoginRequest {
        username: first.name.to_owned(),
        password: first.password.clone(),
        use_cookie: false,
    };
    let session = auth.login(login).await.unwrap().into_inner().session_token;
    let change = pb::ChangePasswordRequest {
        current_password: first.password,
        new_password: "a-much-longer-one".to_owned(),
    };
    auth.change_password(with_bearer(change, &session)).await.unwrap();
    assert!(!file.exists());

    // A second cloud on the same folder, then, after the first has ended, again.
    let problem = server::run(&config).await.unwrap_err();
    assert_eq!(problem.reason, Reason::DataFolderLocked);
    assert_eq!(problem.lines(Language::En).lines().count(), 3);
    drop(auth);
    let ca = running.ca_sha256.clone();
    running.shutdown().await;
    let again = restart(&config).await;
    assert_eq!(again.ca_sha256, ca, "the same authority");
    assert!(again.first_password.is_none());
    again.shutdown().await;
}

/// Starts as soon as the one before has let go of the folder: its last tasks end a moment after its connections.
async fn restart(config: &Serve) -> server::Running {
    let deadline = tokio::time::Instant::now() + crate::harness::LIMIT;
    loop {
        match server::run(config).await {
            Ok(running) => return running,
            Err(problem) => {
                assert_eq!(problem.reason, Reason::DataFolderLocked, "{problem}");
                assert!(tokio::time::Instant::now() < deadline, "the folder stays locked");
                tokio::task::yield_now().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_start_says_what_is_wrong_in_three_lines() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = || Serve::for_tests(folder.path().join("data"));
    for (config, reason) in [
        (
            Serve {
                listen: taken.local_addr().unwrap(),
                ..base()
            },
            Reason::PortInUse,
        ),
        (
            Serve {
                plain_listen: Some("0.0.0.0:0".parse().unwrap()),
                ..base()
            },
            Reason::ConfigInvalid,
        ),
        (
            Serve {
                data: file.join("below"),
                ..base()
            },
            Reason::DataFolderUnwritable,
        ),
        (
            Serve {
                database_url: Some("oracle://x".to_owned()),
                ..base()
            },
            Reason::DatabaseUrlInvalid,
        ),
    ] {
        let problem = server::run(&config).await.unwrap_err();
        assert_eq!(problem.reason, reason, "{problem}");
        for language in Language::ALL {
            let lines = problem.lines(language);
            assert_eq!(lines.lines().count(), 3, "{lines}");
            assert!(!lines.contains('?'), "every argument is given: {lines}");
        }
        assert_ne!(problem.reason.exit_code(), 0);
    }
}

/// D2: a folder that others could read stayed so, and `nobody` read the keys of both authorities.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_others_could_read_is_closed_at_every_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = Serve::for_tests(folder.path().join("data"));
    let open = |path: &std::path::Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let modes = || -> Vec<(String, u32)> {
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let mut found = vec![(".".to_owned(), mode(&config.data))];
        for entry in std::fs::read_dir(&config.data).unwrap() {
            let entry = entry.unwrap();
            found.push((entry.file_name().to_string_lossy().into_owned(), mode(&entry.path())));
        }
        found
    };
    std::fs::create_dir(&config.data).unwrap();
    open(&config.data, 0o755);
    let running = server::run(&config).await.unwrap();
    let found = modes();
    assert!(found.iter().any(|(name, _)| name == "main.db-wal"), "{found:?}");
    assert!(found.iter().all(|(_, mode)| mode & 0o077 == 0), "{found:?}");
    running.shutdown().await;

    open(&config.data, 0o755);
    open(&config.data.join("main.db"), 0o644);
    restart(&config).await.shutdown().await;
    let found = modes();
    assert!(found.iter().all(|(_, mode)| mode & 0o077 == 0), "{found:?}");
}
