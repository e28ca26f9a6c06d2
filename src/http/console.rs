//! `GET /api/v1/console`: the line protocol for a browser, which can open no socket but a WebSocket (RFC 6455).
//!
//! In: messages of text, each a line or some. Out: what the text port answers, in messages of bytes as they come. Promises: it is the
//! text port that answers, so that all holds here that protocol.md says; who does not read is not read from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::docs::OTHER_SITE;
use super::problem::Problem;
use crate::command::Service;
use crate::protocol::line::QUOTED_LINE_BYTES_MAX;

/// What is sent at a time.
const ANSWER_BYTES: usize = 64 << 10;
/// How often a silent browser is shown that the server is there; a connection on which nothing moves is ended.
const PING_EVERY: Duration = Duration::from_secs(30);

/// Speak the line protocol.
///
/// A WebSocket that is a client of the text port: it takes lines as text, and answers with bytes as they come.
#[utoipa::path(get, path = "/api/v1/console", tag = "Server",
    responses(
        (status = 101, description = "From now on it is a WebSocket."),
        (status = 400, description = "The request does not ask for a WebSocket.", body = Problem,
            content_type = "application/problem+json"),
        (status = 403, description = OTHER_SITE, body = Problem, content_type = "application/problem+json"),
        (status = 426, description = "The connection cannot become a WebSocket.", body = Problem,
            content_type = "application/problem+json")))]
pub async fn console(
    State(service): State<Arc<Service>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|rejection| {
        let reason = format!("{}; open it as a WebSocket", rejection.body_text());
        Problem::new(rejection.status(), reason)
    })?;
    let address = within_reach(service.setup.address);
    let upgrade = upgrade
        .max_message_size(QUOTED_LINE_BYTES_MAX)
        .max_frame_size(QUOTED_LINE_BYTES_MAX);
    Ok(upgrade.on_upgrade(move |browser| async move {
        // One of the two has gone: there is nobody to be told.
        let _ = carry(browser, address).await;
    }))
}

/// Where a port can be reached from here that listens at every address, or at one.
fn within_reach(address: SocketAddr) -> SocketAddr {
    let host = match address.ip() {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    SocketAddr::new(host, address.port())
}

/// Carries lines and answers until one of the two goes.
async fn carry(mut browser: WebSocket, address: SocketAddr) -> Result<(), axum::Error> {
    let text = match TcpStream::connect(address).await {
        Ok(text) => text,
        Err(error) => {
            let reason = format!("ERR BUSY the text port cannot be reached: {error}\n");
            return browser.send(Message::Binary(reason.into())).await;
        }
    };
    let (answers, lines) = browser.split();
    let (reader, writer) = text.into_split();
    // Side by side: the text port reads no more where its answers are not read.
    tokio::select! {
        ended = carry_lines(lines, writer) => ended,
        ended = carry_answers(reader, answers) => ended,
    }
}

async fn carry_lines(
    mut lines: SplitStream<WebSocket>,
    mut text: OwnedWriteHalf,
) -> Result<(), axum::Error> {
    while let Some(message) = lines.next().await {
        match message? {
            Message::Text(line) => {
                let written = text.write_all(line.as_bytes()).await;
                written.map_err(axum::Error::new)?;
            }
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}

async fn carry_answers(
    mut text: OwnedReadHalf,
    mut answers: SplitSink<WebSocket, Message>,
) -> Result<(), axum::Error> {
    let mut answer = vec![0; ANSWER_BYTES];
    let mut pings = tokio::time::interval(PING_EVERY);
    loop {
        tokio::select! {
            count = text.read(&mut answer) => match count.map_err(axum::Error::new)? {
                0 => return answers.send(Message::Close(None)).await,
                count => {
                    let bytes = answer[..count].to_vec();
                    answers.send(Message::Binary(bytes.into())).await?;
                }
            },
            _ = pings.tick() => answers.send(Message::Ping(Bytes::new())).await?,
        }
    }
}
