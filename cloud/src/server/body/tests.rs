use std::{convert::Infallible, future::poll_fn};

use futures::{Stream, StreamExt, stream};

use super::{super::room::Room, *};

const MAX: usize = 2 << 20;
/// A message that has two megabytes of room, with what stands before it.
const LARGE: u32 = (2 << 20) - 64;

/// The rooms of one cloud.
pub(crate) struct Rooms(Room, Room);

impl Rooms {
    pub(crate) fn new() -> Self {
        Self(Room::of_beginnings(), Room::of_requests())
    }

    pub(crate) fn share(&self, actor: &str) -> Shares {
        Shares {
            first: self.0.share(actor),
            rest: self.1.share(actor),
        }
    }
}

fn body(shares: &Shares, tab: &Tab, frames: impl Stream<Item = Bytes> + Send + 'static) -> Impatient {
    let body = Body::from_stream(frames.map(Ok::<_, Infallible>));
    let measure = Measure::new(shares.clone(), tab.clone(), MAX);
    Impatient::new(body, KNOWN, None, Some(measure), Language::En)
}

/// The beginning of a message of so many bytes.
fn begun(message: u32, here: usize) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend(message.to_be_bytes());
    bytes.resize(PREFIX + here, b'x');
    bytes.into()
}

/// Reads a whole request with a message of so many bytes; says whether there was room for it.
pub(crate) async fn read(share: &Shares, bytes: u32) -> bool {
    let size = usize::try_from(bytes).unwrap();
    let mut body = body(share, &Tab::default(), stream::iter([begun(bytes, size)]));
    while let Some(read) = next(&mut body).await {
        if read.is_err() {
            return false;
        }
    }
    true
}

async fn next(body: &mut Impatient) -> Option<Result<usize, String>> {
    let frame = poll_fn(|ctx| http_body::Body::poll_frame(Pin::new(&mut *body), ctx)).await?;
    let frame = frame.map(|frame| frame.into_data().map_or(0, |data| data.len()));
    Some(frame.map_err(|error| error.to_string()))
}

/// R4: a hundred such bodies of a viewer, on each of its connections, were read as far as they came.
#[tokio::test(start_paused = true)]
async fn of_bodies_without_an_end_as_many_are_read_as_an_actor_has_room_for() {
    let room = Rooms::new();
    let share = room.share("token:a");
    let mut open = Vec::new();
    for _ in 0..3 {
        let tab = Tab::default();
        let frames = stream::iter([begun(LARGE, 100)]).chain(stream::pending());
        let mut body = body(&share, &tab, frames);
        assert_eq!(next(&mut body).await, Some(Ok(105)));
        open.push((body, tab));
    }
    let kept: usize = open.iter().map(|(_, tab)| tab.bytes()).sum();
    assert!(kept <= 7 << 20, "{kept}");
    // The fourth finds no room for all of its message, and is given up.
    let tab = Tab::default();
    let mut fourth = body(&share, &tab, stream::iter([begun(LARGE, 100)]));
    assert!(next(&mut fourth).await.unwrap().is_err());
    // Somebody else's passes meanwhile, and so does his own once they are given up.
    let other = room.share("token:b");
    let mut others = body(&other, &Tab::default(), stream::iter([begun(512 << 10, 512 << 10)]));
    assert_eq!(next(&mut others).await, Some(Ok(PREFIX + (512 << 10))));
    for (mut body, _) in open {
        assert!(next(&mut body).await.unwrap().is_err(), "too slow");
    }
    let mut own = body(&share, &Tab::default(), stream::iter([begun(100, 100)]));
    assert_eq!(next(&mut own).await, Some(Ok(105)));
    assert_eq!(next(&mut own).await, None);
}

/// Some beginnings were all that an actor might have, and each waited for more of it.
#[tokio::test(start_paused = true)]
async fn bodies_that_come_together_wait_for_each_other_and_are_read() {
    let room = Rooms::new();
    let began = Instant::now();
    let mut bodies = tokio::task::JoinSet::new();
    for _ in 0..150 {
        let shares = room.share("token:a");
        bodies.spawn(async move { read(&shares, 100 << 10).await });
    }
    let read = bodies.join_all().await;
    assert!(read.iter().all(|read| *read), "{read:?}");
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody waited for the time to pass");
}

#[tokio::test(start_paused = true)]
async fn a_request_holds_what_it_has_until_its_handler_answered_and_no_more_than_it_may_have() {
    let room = Rooms::new();
    let share = room.share("token:a");
    let tab = Tab::default();
    // The prefix in pieces.
    let whole = begun(3_000, 3_000);
    let frames = stream::iter([whole.slice(..2), whole.slice(2..)]);
    let mut pieces = body(&share, &tab, frames);
    assert_eq!(next(&mut pieces).await, Some(Ok(2)));
    assert_eq!(next(&mut pieces).await, Some(Ok(3_003)));
    assert_eq!(next(&mut pieces).await, None);
    drop(pieces);
    assert_eq!(tab.bytes(), 3 << 10);
    let mut large = body(&share, &tab, stream::iter([begun(LARGE + 65, 10)]));
    let refused = next(&mut large).await.unwrap().unwrap_err();
    assert!(refused.contains("2097153"), "{refused}");
    let mut longer_than_it_says = body(&share, &tab, stream::repeat(begun(10, 60_000)));
    let refused = loop {
        if let Err(refused) = next(&mut longer_than_it_says).await.unwrap() {
            break refused;
        }
    };
    assert!(refused.contains("2097152"), "{refused}");
}
