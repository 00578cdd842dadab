//! Newtypes for every id. All are UUIDs; new ones are version 7, so that they sort by time of making.

use std::{cell::Cell, fmt, str::FromStr};

use uuid::Uuid;

use crate::time::UnixMicros;

/// A text that is not a UUID where an id is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an id (a UUID such as 0192f0c1-7b1a-7c3e-9f00-0123456789ab)")]
pub struct InvalidId {
    /// The text that was given, cut to 64 characters.
    pub text: String,
}

thread_local! {
    static MADE: Cell<u32> = const { Cell::new(0) };
}

/// A new id. Where the clock is fixed its time is that of the clock, and its place among those of one millisecond that of
/// its making: a simulation repeats itself.
fn fresh() -> Uuid {
    let Some(time) = UnixMicros::fixed() else {
        return Uuid::now_v7();
    };
    let number = MADE.get().wrapping_add(1);
    MADE.set(number);
    let mut rest = [0; 10];
    let random = Uuid::new_v4();
    for (to, from) in rest
        .iter_mut()
        .skip(3)
        .zip(number.to_be_bytes().iter().chain(random.as_bytes()))
    {
        *to = *from;
    }
    let millis = u64::try_from(time.0 / 1_000).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &rest).into_uuid()
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Makes a new id, later than every one made before it on this machine.
            pub fn new() -> Self {
                Self(fresh())
            }

            /// Wraps a UUID.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Returns the UUID inside.
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // Only the canonical form: one id has one spelling, in logs, URLs and certificates.
                match Uuid::try_parse(text) {
                    Ok(uuid) if uuid.to_string() == text => Ok(Self(uuid)),
                    _ => Err(InvalidId { text: text.chars().take(64).collect() }),
                }
            }
        }
    };
}

id_type!(
    /// An enrolled machine. Never reused.
    AgentId
);
id_type!(
    /// One action asked of a set of agents.
    TaskId
);
id_type!(
    /// One try of an execution; the fencing token of its start.
    AttemptId
);
id_type!(
    /// A person.
    UserId
);
id_type!(
    /// A join token or an API token (its public part).
    TokenId
);

#[cfg(test)]
mod tests {
    use super::*;

    /// They had the time of the day, and runs of a simulation that were to be equal differed.
    #[test]
    fn ids_have_the_time_of_a_fixed_clock_and_the_order_of_their_making() {
        UnixMicros::fix_clock(Some(UnixMicros(1_700_000_000_123_456)));
        let ids: Vec<_> = (0..1_000).map(|_| TaskId::new()).collect();
        UnixMicros::fix_clock(None);
        assert!(ids.is_sorted_by(|one, next| one < next));
        let time = ids[0].uuid().get_timestamp().unwrap().to_unix();
        assert_eq!(time, (1_700_000_000, 123_000_000));
    }
}
