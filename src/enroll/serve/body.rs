//! Reading a body that may be as long, and as slow, as whoever sends it likes.

use hyper::body::Body;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

/// The longest body.
pub(super) const LONGEST: u64 = 64 * 1024;
/// It must have come by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    /// It is, or says that it is, too long.
    TooLong,
    /// It did not come in time.
    TooSlow,
    /// It broke off.
    Broken,
}

/// Reads a body; one that says that it is too long is not read at all.
pub(super) async fn read<B>(body: B) -> Result<Vec<u8>, BodyError>
where
    B: Body + Unpin,
    B::Data: AsRef<[u8]>,
{
    if body.size_hint().lower() > LONGEST {
        return Err(BodyError::TooLong);
    }
    let read = tokio::time::timeout(PATIENCE, whole(body)).await;
    read.unwrap_or(Err(BodyError::TooSlow))
}

async fn whole<B>(mut body: B) -> Result<Vec<u8>, BodyError>
where
    B: Body + Unpin,
    B::Data: AsRef<[u8]>,
{
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let data = data.as_ref();
        if (bytes.len() + data.len()) as u64 > LONGEST {
            return Err(BodyError::TooLong);
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes)
}
