//! Which protocol version a link speaks: the highest that both ends know.

use crate::{problem::Problem, reason::Reason};

/// A range of protocol versions, both ends inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// Lowest.
    pub min: u32,
    /// Highest.
    pub max: u32,
}

/// The versions that this build speaks. A cloud keeps three (its own and two older), an agent its own and one older.
pub const SUPPORTED: Versions = Versions { min: 1, max: 1 };

/// Chooses the version of a link.
///
/// # Errors
/// `VERSION_UNSUPPORTED`, when the ranges do not meet. Trying again does not help until one end is upgraded.
pub fn choose(offered: Versions, supported: Versions) -> Result<u32, Problem> {
    let version = offered.max.min(supported.max);
    // An upside-down range offers nothing.
    if version >= offered.min.max(supported.min) && offered.min <= offered.max {
        return Ok(version);
    }
    let range = |versions: Versions| format!("{}..{}", versions.min, versions.max);
    let problem = Problem::new(Reason::VersionUnsupported);
    Err(problem
        .with("offered", range(offered))
        .with("supported", range(supported)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_highest_common_version_wins_and_none_is_an_error() {
        let choose = |a: (u32, u32), b: (u32, u32)| {
            choose(Versions { min: a.0, max: a.1 }, Versions { min: b.0, max: b.1 }).ok()
        };
        assert_eq!(choose((1, 1), (1, 1)), Some(1));
        assert_eq!(choose((1, 2), (2, 4)), Some(2));
        assert_eq!(choose((2, 9), (1, 4)), Some(4));
        assert_eq!(choose((1, 1), (2, 4)), None);
        assert_eq!(choose((5, 6), (2, 4)), None);
        assert_eq!(choose((4, 2), (1, 9)), None);
    }

    #[test]
    fn a_refusal_names_both_ranges() {
        let problem = choose(Versions { min: 7, max: 8 }, SUPPORTED).unwrap_err();
        assert_eq!(problem.reason, Reason::VersionUnsupported);
        assert_eq!(
            (problem.args["offered"].as_str(), problem.args["supported"].as_str()),
            ("7..8", "1..1")
        );
    }

    proptest! {
        #[test]
        fn both_ends_choose_the_same(a in 0..9_u32, b in 0..9_u32, c in 0..9_u32, d in 0..9_u32) {
            let one = Versions { min: a.min(b), max: a.max(b) };
            let other = Versions { min: c.min(d), max: c.max(d) };
            let chosen = choose(one, other).ok();
            prop_assert_eq!(chosen, choose(other, one).ok());
            let common = (0..9).filter(|v| one.min <= *v && *v <= one.max && other.min <= *v && *v <= other.max).max();
            prop_assert_eq!(chosen, common);
        }
    }
}
