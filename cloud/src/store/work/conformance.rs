//! What every engine promises.

use std::time::Duration;

use crate::store::{Error, conformance::*};

const LEASE: Duration = Duration::from_secs(30);

fn new(kind: &str, key: &str, seconds: i64) -> NewWork {
    NewWork {
        kind: kind.to_owned(),
        key: key.to_owned(),
        due_at: later(seconds),
    }
}

async fn add(store: &Shared, work: &[NewWork]) {
    store.work_add(work.to_vec()).await.expect("work is added");
}

async fn claim(store: &Shared, kinds: &[&str], seconds: i64, limit: u32) -> Vec<Claim> {
    let claims = store.work_claim(kinds, later(seconds), LEASE, limit).await;
    claims.expect("claims")
}

fn keys(claims: &[Claim]) -> Vec<&str> {
    claims.iter().map(|claim| claim.key.as_str()).collect()
}

async fn next(store: &Shared) -> Option<UnixMicros> {
    store
        .work_next(&["a".to_owned(), "b".to_owned()])
        .await
        .expect("a time")
}

pub(in crate::store) async fn work_is_claimed_when_due_by_one_and_again_when_its_lease_ends(store: Shared) {
    assert_eq!(next(&store).await, None);
    add(
        &store,
        &[
            new("a", "two", 2),
            new("a", "one", 1),
            new("a", "late", 50),
            new("b", "other", 0),
        ],
    )
    .await;
    assert_eq!(next(&store).await, Some(NOW));
    assert!(
        claim(&store, &["a"], 0, 10).await.is_empty(),
        "none of this kind is due"
    );
    assert!(claim(&store, &[], 10, 10).await.is_empty());
    assert_eq!(
        keys(&claim(&store, &["a", "b"], 2, 1).await),
        ["other"],
        "the longest due first"
    );
    let claims = claim(&store, &["a"], 2, 10).await;
    assert_eq!(keys(&claims), ["one", "two"]);
    assert_eq!(
        (claims[0].tries, claims[0].due_at, claims[0].lease_until),
        (1, later(1), later(32))
    );
    assert!(claim(&store, &["a"], 31, 10).await.is_empty(), "the lease holds");
    let again = claim(&store, &["a"], 32, 10).await;
    assert_eq!((keys(&again), again[0].tries), (vec!["one", "two"], 2));
    // The one who was too slow changes nothing.
    store.work_done(claims[0].clone()).await.expect("an answer");
    store
        .work_park(claims[1].clone(), "x".to_owned())
        .await
        .expect("an answer");
    for claim in again {
        store.work_done(claim).await.expect("done");
    }
    assert_eq!(keys(&claim(&store, &["a"], 1_000, 10).await), ["late"]);
}

pub(in crate::store) async fn of_racing_claims_each_work_goes_to_one(store: Shared) {
    let work: Vec<_> = (0..40).map(|number| new("a", &format!("{number:02}"), 0)).collect();
    add(&store, &work).await;
    let race = (0..10).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { claim(&store, &["a"], 1, 7).await })
    });
    let claims = futures::future::try_join_all(race).await.expect("no panic").concat();
    let mut claimed = keys(&claims);
    claimed.sort_unstable();
    let unique = claimed.len();
    claimed.dedup();
    assert_eq!(claimed.len(), unique, "nobody gets what another has");
    assert_eq!(
        unique + claim(&store, &["a"], 1, 100).await.len(),
        40,
        "and nothing is lost"
    );
}

pub(in crate::store) async fn what_is_added_again_meanwhile_is_done_again(store: Shared) {
    add(&store, &[new("a", "one", 5)]).await;
    add(&store, &[new("a", "one", 9), new("a", "one", 3)]).await;
    assert_eq!(next(&store).await, Some(later(3)), "the earlier time wins");
    let first = claim(&store, &["a"], 3, 10).await;
    assert_eq!(first.len(), 1, "one row");
    add(&store, &[new("a", "one", 4)]).await;
    assert!(
        claim(&store, &["a"], 4, 10).await.is_empty(),
        "not beside the one who has it"
    );
    store.work_done(first[0].clone()).await.expect("done");
    let second = claim(&store, &["a"], 4, 10).await;
    assert_eq!((keys(&second), second[0].tries), (vec!["one"], 1));

    // The same with a wish to try again later: the earlier time wins.
    add(&store, &[new("a", "one", 6)]).await;
    store.work_again(second[0].clone(), later(60)).await.expect("again");
    assert_eq!(next(&store).await, Some(later(6)));
    let third = claim(&store, &["a"], 6, 10).await;
    assert_eq!(third[0].tries, 2, "a failure is counted");
    store.work_again(third[0].clone(), later(60)).await.expect("again");
    assert_eq!(next(&store).await, Some(later(60)));
    let fourth = claim(&store, &["a"], 60, 10).await;
    store.work_done(fourth[0].clone()).await.expect("done");
    assert_eq!(next(&store).await, None);
}

pub(in crate::store) async fn tries_are_counted_from_the_last_time_that_it_went_well(store: Shared) {
    add(&store, &[new("a", "one", 0)]).await;
    let rounds = [(1, false), (2, false), (3, true), (1, false), (2, true), (1, true)];
    for (seconds, (tries, goes_well)) in (1..).zip(rounds) {
        let claim = claim(&store, &["a"], seconds, 10).await.remove(0);
        assert_eq!(claim.tries, tries, "after {seconds} s");
        let told = match goes_well {
            true => store.work_rest(claim.clone(), later(seconds + 1)).await,
            false => store.work_again(claim.clone(), later(seconds + 1)).await,
        };
        told.expect("it is put off");
        assert_eq!(next(&store).await, Some(later(seconds + 1)));
        // Once is as good as twice, also when it is somebody else's by now.
        store.work_rest(claim, later(100)).await.expect("an answer");
        assert_eq!(next(&store).await, Some(later(seconds + 1)));
    }
    let last = claim(&store, &["a"], 7, 10).await.remove(0);
    add(&store, &[new("a", "one", 8)]).await;
    store.work_rest(last, later(60)).await.expect("it is put off");
    assert_eq!(next(&store).await, Some(later(8)), "it was added meanwhile");
}

pub(in crate::store) async fn a_claim_that_is_kept_holds_longer(store: Shared) {
    add(&store, &[new("a", "one", 0)]).await;
    let mut first = claim(&store, &["a"], 1, 10).await.remove(0);
    let late = first.clone();
    store.work_keep(first.clone(), later(90)).await.expect("kept");
    first.lease_until = later(90);
    assert!(claim(&store, &["a"], 89, 10).await.is_empty());
    store.work_done(late).await.expect("an answer");
    assert_eq!(
        next(&store).await,
        Some(later(90)),
        "a claim is known by its newest lease"
    );
    store.work_done(first).await.expect("done");
    assert_eq!(next(&store).await, None);
}

pub(in crate::store) async fn what_the_dead_claimed_is_due_at_once(store: Shared) {
    add(&store, &[new("a", "one", 0), new("b", "two", 0), new("a", "late", 50)]).await;
    let claims = claim(&store, &["a", "b"], 1, 10).await;
    assert_eq!(keys(&claims), ["one", "two"]);
    store.work_let_go("a".to_owned(), later(2)).await.expect("let go");
    let again = claim(&store, &["a", "b"], 2, 10).await;
    assert_eq!(
        (keys(&again), again[0].tries),
        (vec!["one"], 2),
        "of this kind only, and what waits still waits"
    );
    store.work_done(claims[0].clone()).await.expect("an answer");
    store.work_again(again[0].clone(), later(3)).await.expect("an answer");
    assert_eq!(
        keys(&claim(&store, &["a"], 3, 10).await),
        ["one"],
        "the dead one's word counts no more"
    );
}

pub(in crate::store) async fn parked_work_is_set_aside_by_itself_until_it_is_added_again(store: Shared) {
    add(&store, &[new("a", "bad", 0), new("a", "good", 0), new("b", "bad", 0)]).await;
    for claim in claim(&store, &["a", "b"], 1, 10).await {
        match claim.key.as_str() {
            "bad" => store.work_park(claim, "broken".to_owned()).await.expect("parked"),
            _ => store.work_again(claim, later(2)).await.expect("again"),
        }
    }
    assert_eq!(keys(&claim(&store, &["a", "b"], 1_000, 10).await), ["good"]);
    add(&store, &[new("a", "bad", 1_001)]).await;
    let again = claim(&store, &["a"], 1_001, 10).await;
    assert_eq!((keys(&again), again[0].tries), (vec!["bad"], 1));

    // Parked while it was added again: it is due, not set aside.
    add(&store, &[new("a", "bad", 1_002)]).await;
    store
        .work_park(again[0].clone(), "broken".to_owned())
        .await
        .expect("an answer");
    assert_eq!(keys(&claim(&store, &["a"], 1_002, 10).await), ["bad"]);
}

pub(in crate::store) async fn work_is_added_with_its_cause_or_not_at_all(store: Shared) {
    let task = new_task();
    let executions = vec![queued(&task, "web-1")];
    let input = (task.clone(), executions, vec![new("a", "one", 0)]);
    let created = store
        .write(input, |tx, (task, executions, work)| {
            Box::pin(async move {
                let created = tx.task_create(task, executions, &audit("task.create")).await?;
                tx.work_add(work).await?;
                let seen = tx.task_get(task.id).await?;
                assert_eq!(seen.as_ref(), Some(task), "a transaction sees what it did");
                Ok(created)
            })
        })
        .await;
    assert_eq!(created.expect("a task"), TaskCreated::New);
    assert_eq!(next(&store).await, Some(NOW));

    let other = new_task();
    let input = (other.clone(), vec![new("b", "two", 0)]);
    let failed = store
        .write(input, |tx, (task, work)| {
            Box::pin(async move {
                tx.work_add(work).await?;
                tx.task_create(task, &Vec::new(), &audit("task.create")).await?;
                tx.task_request_cancel(&TaskId::new(), &Vec::new(), &audit("task.cancel"))
                    .await
            })
        })
        .await;
    assert!(
        matches!(failed, Err(Error::NotFound { what: "task", .. })),
        "{failed:?}"
    );
    assert_eq!(store.task_get(other.id).await.expect("a read"), None);
    assert!(claim(&store, &["b"], 10, 10).await.is_empty());
    assert_eq!(audited(&store, "task.create").await, 1);
}

pub(in crate::store) async fn a_failure_that_is_passed_over_undoes_the_transaction_all_the_same(store: Shared) {
    let answer = store
        .write(new("a", "one", 0), |tx, work| {
            Box::pin(async move {
                tx.work_add(&vec![work.clone()]).await?;
                let cancel = tx.task_request_cancel(&TaskId::new(), &Vec::new(), &audit("x")).await;
                assert!(cancel.is_err());
                Ok(())
            })
        })
        .await;
    assert!(
        matches!(answer, Err(Error::Unavailable { maybe_done: false, .. })),
        "{answer:?}"
    );
    assert_eq!(next(&store).await, None);
}
