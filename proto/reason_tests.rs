//! Tests of the catalogue itself.

use std::collections::BTreeSet;

use super::*;

#[test]
fn codes_are_upper_snake_unique_and_spell_their_variant() {
    let mut seen = BTreeSet::new();
    for reason in Reason::ALL {
        let code = reason.code();
        assert!(seen.insert(code), "{code} is there twice");
        assert!(
            code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'),
            "{code}"
        );
        assert_eq!(
            code.replace('_', "").to_lowercase(),
            format!("{reason:?}").to_lowercase()
        );
        assert_eq!(Reason::from_code(code), Some(*reason));
    }
    assert_eq!(Reason::from_code("NO_SUCH_REASON"), None);
}

#[test]
fn what_the_caller_did_wrong_is_never_retryable() {
    for reason in Reason::ALL {
        if matches!(
            reason.grpc(),
            Code::InvalidArgument | Code::PermissionDenied | Code::AlreadyExists
        ) {
            assert!(!reason.retryable(), "{reason}");
        }
        if reason.grpc() == Code::Unavailable {
            assert!(reason.retryable(), "{reason}");
        }
    }
}
