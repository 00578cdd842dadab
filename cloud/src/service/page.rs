//! Pages of a list: sizes within bounds, and tokens that say after which key to go on.

use std::str::FromStr;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use opslink::problem::Problem;

use crate::status::bad_field;

/// Returns the size of a page: `default` for 0, at most `most`.
pub(super) fn size(wanted: i32, default: usize, most: usize) -> Result<usize, Problem> {
    match usize::try_from(wanted) {
        Ok(0) => Ok(default),
        Ok(size) => Ok(size.min(most)),
        Err(_) => Err(bad_field("page_size", "must not be negative")),
    }
}

/// Returns the key after which the page begins.
pub(super) fn after(token: &str) -> Result<Option<String>, Problem> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| unreadable())?;
    String::from_utf8(bytes).map(Some).map_err(|_| unreadable())
}

/// The same in a list whose keys are ids.
pub(super) fn after_id<K: FromStr>(token: &str) -> Result<Option<K>, Problem> {
    let key = after(token)?.map(|key| key.parse::<K>());
    key.transpose().map_err(|_| unreadable())
}

/// Rows to read for a page: one more than it has tells whether there is another page.
pub(super) fn rows(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX).saturating_add(1)
}

/// What is said of a token that this cloud did not make.
pub(super) fn unreadable() -> Problem {
    bad_field("page_token", "must be the `next_page_token` of an earlier answer")
}

/// Makes the token of the page after this key.
pub(super) fn token(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

/// Takes one page out of `items`, which are in the order of the list and begin after the token's key already. Returns
/// it with the token of the next one.
pub(super) fn cut<T>(items: impl Iterator<Item = T>, size: usize, key: impl Fn(&T) -> String) -> (Vec<T>, String) {
    let mut items = items.peekable();
    let page: Vec<T> = items.by_ref().take(size).collect();
    let next = match (page.last(), items.peek()) {
        (Some(last), Some(_)) => token(&key(last)),
        (Some(_) | None, _) => String::new(),
    };
    (page, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_everything_once() {
        let all: Vec<String> = (0..7).map(|n| format!("k{n}")).collect();
        let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let from = after(&token).unwrap();
            let rest = all
                .iter()
                .filter(|key| from.as_ref().is_none_or(|from| *key > from))
                .cloned();
            let (page, next) = cut(rest, 3, Clone::clone);
            seen.extend(page);
            pages += 1;
            token = next;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!((seen, pages), (all, 3));
    }

    #[test]
    fn sizes_stay_in_bounds_and_foreign_tokens_are_refused() {
        assert_eq!(size(0, 100, 1000).unwrap(), 100);
        assert_eq!(size(5000, 100, 1000).unwrap(), 1000);
        assert!(size(-1, 100, 1000).is_err());
        assert!(after("%%%").is_err());
        let key = token("7");
        assert_eq!(after_id::<u64>(&key).unwrap(), Some(7));
        assert_eq!(after_id::<u64>("").unwrap(), None);
        assert!(after_id::<u64>(&token("seven")).is_err());
    }
}
