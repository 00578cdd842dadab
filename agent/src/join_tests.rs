//! Token parsing, and the check of the authority before the secret is sent.

use super::*;

fn token(ca_sha256: &[u8]) -> String {
    format!(
        "olj1.{}.0192f0c1-7b1a-7c3e-9f00-0123456789ab.c2VjcmV0_-",
        hex::encode(ca_sha256)
    )
}

#[test]
fn a_good_token_is_taken_apart() {
    let token = JoinToken::parse(&format!("  {}\n", token(&[5; 32]))).unwrap();
    assert_eq!(token.ca_sha256, [5; 32]);
    assert_eq!(token.secret, "c2VjcmV0_-");
    assert!(!format!("{token:?}").contains("c2VjcmV0"));
}

#[test]
fn whatever_is_no_token_is_malformed_and_not_repeated() {
    let good = token(&[5; 32]);
    let cases = [
        String::new(),
        good.replace("olj1", "olj2"),
        good.replacen("05", "5", 1),
        good.replacen("05", "zz", 1),
        format!("{good}.more"),
        good.rsplit_once('.').unwrap().0.to_owned(),
        format!("{}.", good.rsplit_once('.').unwrap().0),
        format!("{good} x"),
    ];
    for text in cases {
        let problem = JoinToken::parse(&text).unwrap_err();
        assert_eq!(problem.reason, Reason::JoinTokenMalformed, "{text}");
        assert!(!problem.to_string().contains("c2VjcmV0"), "{problem}");
    }
}

#[test]
fn a_token_is_the_first_line_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let good = token(&[5; 32]);
    for text in [good.clone(), format!("{good}\n"), format!("{good}\r\nmade for web-1\n")] {
        std::fs::write(&file, text).unwrap();
        let read = read_token(&file).unwrap();
        assert_eq!(JoinToken::parse(&read).unwrap().secret, "c2VjcmV0_-");
    }
    let problem = read_token(&folder.path().join("none")).unwrap_err();
    assert_eq!(problem.reason, Reason::ConfigInvalid);
    assert_eq!(problem.args["setting"], "--token-file");
}

struct Ca {
    issuer: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self {
            issuer: rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap(),
        }
    }

    fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    fn server(&self, name: &str) -> CertificateDer<'static> {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }
}

fn check(
    pinned: &Ca,
    leaf: &CertificateDer<'_>,
    chain: &[CertificateDer<'_>],
    name: &str,
) -> Result<(), rustls::Error> {
    let verifier = PinnedCa {
        sha256: sha256(&pinned.der()),
    };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier
        .verify_server_cert(leaf, chain, &name, &[], UnixTime::now())
        .map(drop)
}

#[test]
fn a_server_of_the_pinned_authority_is_accepted_under_its_own_name_only() {
    let ca = Ca::new();
    let leaf = ca.server("127.0.0.1");
    check(&ca, &leaf, &[ca.der()], "127.0.0.1").unwrap();
    let error = check(&ca, &leaf, &[ca.der()], "127.0.0.2").unwrap_err();
    assert!(ca_mismatch(&error).is_none());
}

#[test]
fn a_server_of_another_authority_is_a_mismatch_that_names_both() {
    let (ours, other) = (Ca::new(), Ca::new());
    let error = check(&ours, &other.server("c"), &[other.der()], "c").unwrap_err();
    let mismatch = ca_mismatch(&error).unwrap();
    assert_eq!(mismatch.expected, sha256(&ours.der()));
    assert_eq!(mismatch.found, Some(sha256(&other.der())));
}

#[test]
fn showing_the_pinned_authority_beside_a_foreign_leaf_does_not_help() {
    let (ours, other) = (Ca::new(), Ca::new());
    assert!(check(&ours, &other.server("c"), &[other.der(), ours.der()], "c").is_err());
    assert!(check(&ours, &other.server("c"), &[ours.der()], "c").is_err());
}

#[test]
fn the_start_line_repeats_a_state_folder_of_ones_own() {
    assert_eq!(start_line(&StateDir::default_for_user()), "opslink-agent run");
    assert_eq!(
        start_line(&StateDir::new("/srv/a-1")),
        "opslink-agent run --state /srv/a-1"
    );
    assert_eq!(
        start_line(&StateDir::new("/my agent's")),
        r"opslink-agent run --state '/my agent'\''s'"
    );
}
