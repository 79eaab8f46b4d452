//! A request's body that tells when it is whole.

use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// See the module.
pub(super) struct Watched<F> {
    body: Incoming,
    whole: F,
}

impl<F: Fn() + Unpin> Watched<F> {
    pub(super) fn new(body: Incoming, whole: F) -> Self {
        Watched { body, whole }
    }
}

impl<F: Fn() + Unpin> Body for Watched<F> {
    type Data = <Incoming as Body>::Data;
    type Error = <Incoming as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if self.body.is_end_stream() {
            (self.whole)();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
