//! Sorting. One sort for everything that is not in a hurry: the standard one is compiled anew for each type, 3 kB a piece.

use std::cmp::Ordering;

/// Sorts by a comparison; equal ones keep their order.
pub fn by<T>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) {
    let mut order: Vec<u32> = (0_u32..).take(items.len()).collect();
    indexes(
        &mut order,
        &|a, b| match (items.get(a as usize), items.get(b as usize)) {
            (Some(a), Some(b)) => compare(a, b),
            _ => Ordering::Equal,
        },
    );
    let mut taken: Vec<Option<T>> = items.drain(..).map(Some).collect();
    items.extend(order.iter().filter_map(|at| taken.get_mut(*at as usize)?.take()));
}

/// The different ones, in order.
pub fn distinct<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut items: Vec<T> = items.into_iter().collect();
    by(&mut items, T::cmp);
    items.dedup();
    items
}

/// Sorts numbers of items by a comparison of the items; equal ones keep their order.
pub fn indexes(order: &mut [u32], compare: &dyn Fn(u32, u32) -> Ordering) {
    order.sort_by(|a, b| compare(*a, *b));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_ones_keep_their_order() {
        let mut items = vec!["bb", "a", "cc", "d", ""];
        by(&mut items, |a, b| a.len().cmp(&b.len()));
        assert_eq!(items, ["", "a", "d", "bb", "cc"]);
        assert_eq!(distinct([3, 1, 3, 2, 1]), [1, 2, 3]);
    }
}
