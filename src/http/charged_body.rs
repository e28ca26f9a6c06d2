//! Bodies that are in memory as a whole, and their charge to the client.
//!
//! In: the body of a request, as it arrives; a response that a handler has built. Out: the received bytes, charged until they are
//! dropped; the response, charged until the client has read it. Promise: a client that holds too much gets 503 with the reason, and
//! is disconnected.

use std::future::poll_fn;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use http_body::{Frame, SizeHint};

use super::listener::HttpClient;
use super::problem::Problem;
use crate::command::{Account, Charge, OverBudget};
use crate::receive_buffer::ReceiveBuffer;

/// Size in bytes of the pieces of a response: the memory of the whole is charged until the last of them is sent.
const PIECE_BYTES: usize = 64 << 10;

/// Body of a request that has arrived whole.
#[derive(Debug)]
pub struct ReceivedBody {
    bytes: ReceiveBuffer,
    _charge: Charge,
}

impl Deref for ReceivedBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reason for which a body is not received.
#[derive(Debug)]
pub enum BodyError {
    /// It is longer than allowed.
    TooLong,
    /// The connection has ended before.
    Partial,
    /// The client holds too much.
    OverBudget(OverBudget),
}

/// Receives a body of at most `bytes_max` bytes. Twice its length is charged: as much again is made of it.
///
/// # Errors
/// [`BodyError`].
pub async fn receive(
    account: &Arc<Account>,
    body: Body,
    bytes_max: usize,
) -> Result<ReceivedBody, BodyError> {
    // A body that announces too great a length need not be read to be refused.
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(BodyError::TooLong);
    }
    let mut charge = account.charge();
    let mut body = body;
    let mut bytes = ReceiveBuffer::default();
    loop {
        let frame = poll_fn(|context| {
            if account.is_ended() {
                return Poll::Ready(Err(BodyError::OverBudget(account.over_budget())));
            }
            Pin::new(&mut body).poll_frame(context).map(Ok)
        });
        let Some(frame) = frame.await? else {
            break;
        };
        let frame = frame.map_err(|_| BodyError::Partial)?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > bytes_max {
            return Err(BodyError::TooLong);
        }
        let held = 2 * (bytes.len() + data.len());
        charge.set(held).map_err(BodyError::OverBudget)?;
        if account.memory().is_over() {
            account.room().await;
        }
        let appended = bytes.append(&data);
        appended.map_err(|_| BodyError::OverBudget(account.over_budget()))?;
    }
    Ok(ReceivedBody {
        bytes,
        _charge: charge,
    })
}

/// Charges a response that is in memory as a whole until the client has read it. On a reserved connection, closes it afterwards.
pub fn charge_response(client: &HttpClient, response: Response) -> Response {
    let size = response.body().size_hint().exact();
    let size = size.and_then(|bytes| usize::try_from(bytes).ok());
    let mut response = match size.filter(|bytes| *bytes > PIECE_BYTES) {
        None => response,
        Some(bytes) => {
            let mut charge = client.account.charge();
            match charge.set(bytes) {
                Ok(()) => response.map(|body| {
                    Body::new(ChargedBody {
                        body,
                        piece: Bytes::new(),
                        left: bytes as u64,
                        _charge: charge,
                    })
                }),
                Err(error) => Problem::from(error).into_response(),
            }
        }
    };
    if client.is_reserved || client.account.is_ended() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Checks that the connection is not a reserved one, unless the endpoint is one for operators.
///
/// # Errors
/// 503.
pub fn refuse_on_reserved(client: &HttpClient, uri: &Uri) -> Result<(), Problem> {
    if client.is_reserved && !OPERATORS_PATHS.contains(&uri.path()) {
        let reason = "there are as many HTTP connections as the server takes; try again later";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason));
    }
    Ok(())
}

/// Paths of the endpoints that reserved connections serve.
const OPERATORS_PATHS: [&str; 6] = [
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/stats",
    "/api/v1/stats",
];

/// Body that is sent in pieces.
struct ChargedBody {
    body: Body,
    /// Bytes of the last frame that are not sent.
    piece: Bytes,
    /// Number of bytes that are not sent.
    left: u64,
    _charge: Charge,
}

impl HttpBody for ChargedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.piece.is_empty() {
            let frame = match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error.into()))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            };
            match frame.into_data() {
                Ok(data) => self.piece = data,
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
        let length = self.piece.len().min(PIECE_BYTES);
        let piece = self.piece.split_to(length);
        self.left = self.left.saturating_sub(length as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
