//! Reading a whole list page by page.

use crate::failure::Failure;

/// Asks for pages until the last one, or until `limit` items are there.
pub(crate) async fn collect<T, F>(limit: usize, mut page: impl FnMut(String) -> F) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<(Vec<T>, String), tonic::Status>>,
{
    let mut items = Vec::new();
    let mut token = String::new();
    loop {
        let (mut found, next) = page(token).await?;
        // A server that repeats an empty page for ever must not keep us here for ever.
        let stuck = found.is_empty();
        items.append(&mut found);
        if items.len() >= limit || next.is_empty() || stuck {
            items.truncate(limit);
            return Ok(items);
        }
        token = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn page(token: String) -> Result<(Vec<u32>, String), tonic::Status> {
        match token.as_str() {
            "" => Ok((vec![1, 2], "b".into())),
            "b" => Ok((vec![3], String::new())),
            other => Err(tonic::Status::internal(other.to_owned())),
        }
    }

    #[tokio::test]
    async fn pages_are_joined_in_order() {
        assert_eq!(collect(usize::MAX, page).await.unwrap(), [1, 2, 3]);
    }

    #[tokio::test]
    async fn a_limit_ends_early() {
        assert_eq!(collect(1, page).await.unwrap(), [1]);
    }

    #[tokio::test]
    async fn an_empty_page_ends_the_list_even_with_a_token() {
        let endless = |_| async { Ok((Vec::<u32>::new(), "again".to_owned())) };
        assert!(collect(usize::MAX, endless).await.unwrap().is_empty());
    }
}
