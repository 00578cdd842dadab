//! The pretence of work: never by `allow`, by a key of its own only.

use opslink::{kind::FakeSpec, reason::Reason};

use super::{Denied, Permit, Policy, Ruled};

impl Ruled for FakeSpec {
    const IS_ALLOWED_AT_FIRST: bool = false;

    /// Nobody needs to know.
    const TEMPLATE: &'static str = "";

    const DENIED: Reason = Reason::FakeDenied;

    fn is_allowed(policy: &Policy) -> bool {
        policy.allow_fake
    }

    fn permit(&self, _policy: &Policy) -> Result<Permit, Denied> {
        Ok(Permit::default())
    }
}
