//! `GET /api/v1/console`: the line protocol over a WebSocket (RFC 6455), the only socket that a browser can open.
//!
//! In: text messages, each of one or more lines. Out: replies, in binary messages. Promises: the console is a client like those of
//! the text port, with the browser's address, so that all of protocol.md holds here, but for the length of lines; a browser that does not read is not read
//! from.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, Extension, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;

use crate::command::{Identity, Service};
use crate::http::listener::HttpClient;
use crate::http::problem::Problem;
use crate::server::connection;
use crate::server::transport::{self, ClientEnd};

/// Path of the endpoint.
pub const PATH: &str = "/api/v1/console";
/// Maximum length of a message in bytes, as it is received as a whole: a person types less, and programs have the text port.
pub const CONSOLE_MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Memory charged for a console in bytes, beside that of its client: a message that is arriving, and one that waits to be executed.
const CONSOLE_BYTES: usize = 2 * CONSOLE_MESSAGE_BYTES_MAX;
/// Interval of pings to the browser, as the listener closes an idle connection.
const PING_EVERY: Duration = Duration::from_secs(30);

/// Upgrades to a WebSocket with the line protocol of the text port: requests are text messages, replies are binary messages.
///
/// # Errors
/// 400 or 426 if the request does not ask for a WebSocket; 503 if the server holds too much for its clients.
pub async fn console(
    State(service): State<Arc<Service>>,
    ConnectInfo(client): ConnectInfo<HttpClient>,
    Extension(identity): Extension<Identity>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|rejection| {
        let reason = format!("{}; open it as a WebSocket", rejection.body_text());
        Problem::new(rejection.status(), reason)
    })?;
    let upgrade = upgrade
        .max_message_size(CONSOLE_MESSAGE_BYTES_MAX)
        .max_frame_size(CONSOLE_MESSAGE_BYTES_MAX);
    let mut charge = client.account.charge();
    charge.set(CONSOLE_BYTES)?;
    let peer = connection::Peer {
        addresses: (client.address, client.local_address),
        is_inline: false,
        identity,
    };
    Ok(upgrade.on_upgrade(move |browser| async move {
        let (transport, end) = transport::channel();
        let connections = service.connections.clone();
        connections.spawn(connection::serve(transport, peer, service, None));
        // An error means that one side has closed: nobody is left to report it to.
        let _ = forward(browser, end).await;
        drop(charge);
    }))
}

/// Forwards lines and replies until one of the two sides closes.
///
/// # Errors
/// A failure of the WebSocket, or a connection that takes no more requests.
async fn forward(browser: WebSocket, end: ClientEnd) -> Result<(), axum::Error> {
    let (replies, lines) = browser.split();
    // Both channels are bounded: while the browser reads no replies, its lines are not read.
    tokio::select! {
        ended = forward_lines(lines, end.requests) => ended,
        ended = forward_replies(end.replies, replies) => ended,
    }
}

async fn forward_lines(
    mut lines: SplitStream<WebSocket>,
    requests: mpsc::Sender<Bytes>,
) -> Result<(), axum::Error> {
    while let Some(message) = lines.next().await {
        match message? {
            Message::Text(line) => {
                let sent = requests.send(line.into()).await;
                sent.map_err(axum::Error::new)?;
            }
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}

async fn forward_replies(
    mut replies: mpsc::Receiver<Bytes>,
    mut browser: SplitSink<WebSocket, Message>,
) -> Result<(), axum::Error> {
    let mut pings = tokio::time::interval(PING_EVERY);
    loop {
        tokio::select! {
            bytes = replies.recv() => match bytes {
                None => return browser.send(Message::Close(None)).await,
                Some(bytes) => browser.send(Message::Binary(bytes)).await?,
            },
            _ = pings.tick() => browser.send(Message::Ping(Bytes::new())).await?,
        }
    }
}
