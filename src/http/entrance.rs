//! The way of every request into the router and of its response out, in one place: a layer of its own for each step would cost each
//! request an allocation and a copy of all layers below it.
//!
//! In: a request. Out: its response. Promises: every request, whatever its path, is checked in the same order, and every response has
//! the protective headers: other sites' requests are refused first, then connections beyond the maximum number, then clients that
//! have not signed in.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::BoxFuture;
use tower::{Service, service_fn};
use tower_http::CompressionLevel;
use tower_http::compression::Compression;

use super::listener::HttpClient;
use super::problem::{NotLeader, Problem};
use super::sessions::Sessions;
use super::{charged_body, guard, protective_headers, sign_in};
use crate::command;

/// The service of one connection.
#[derive(Clone)]
pub struct Entrance {
    /// Endpoints.
    pub router: Router,
    /// State that all sessions share.
    pub service: Arc<command::Service>,
    /// Names of this server, in lower case.
    pub own_names: Arc<[String]>,
    /// Sessions of browsers.
    pub sessions: Arc<Sessions>,
}

impl Service<Request> for Entrance {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(pass(self.clone(), request))
    }
}

/// Checks a request, gives it to the router, and completes its response.
async fn pass(mut entrance: Entrance, mut request: Request) -> Result<Response, Infallible> {
    let client = request.extensions().get::<ConnectInfo<HttpClient>>();
    let client = client.expect("the listener gives one to every request");
    let client = client.0.clone();
    let is_browser = request.headers().contains_key(guard::SEC_FETCH_SITE);
    let elsewhere = at_leader(&entrance.service, request.uri());
    let mut response = match admit(&entrance, &client, &mut request).await {
        Err(problem) => problem.at(request.uri()),
        // The compression looks at the header in full.
        Ok(()) if request.headers().contains_key(header::ACCEPT_ENCODING) => {
            // What is charged is what the handler has built.
            let charged = service_fn(|request| {
                let (routed, client) = (entrance.router.call(request), client.clone());
                async move {
                    let response = routed.await?;
                    Ok::<_, Infallible>(charged_body::charge_response(&client, response))
                }
            });
            let compressed = Compression::new(charged).gzip(true);
            let mut compressed = compressed.quality(CompressionLevel::Fastest);
            compressed.call(request).await?.into_response()
        }
        Ok(()) => {
            let response = entrance.router.call(request).await?;
            charged_body::charge_response(&client, response)
        }
    };
    if response.extensions().get::<NotLeader>().is_some()
        && let Some(url) = elsewhere
    {
        // With the same method and body (RFC 9110, section 15.4.8).
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        response.headers_mut().insert(header::LOCATION, url);
    }
    if response.status() == StatusCode::UNAUTHORIZED {
        sign_in::add_challenge(&mut response, is_browser);
    }
    protective_headers::add(&mut response);
    Ok(response)
}

/// Returns the URL of a request at the leader of the cluster, if there is one and it is another server.
fn at_leader(service: &command::Service, uri: &Uri) -> Option<HeaderValue> {
    let membership = service.replication.membership.as_ref()?;
    let base = membership.leader_elsewhere()?.http?;
    let path = uri.path_and_query()?;
    HeaderValue::from_str(&format!("{base}{path}")).ok()
}

/// Checks a request, and adds the identity to it.
///
/// # Errors
/// 403 for a request of another site; 503 on a reserved connection; those of [`sign_in::authenticate`].
async fn admit(
    entrance: &Entrance,
    client: &HttpClient,
    request: &mut Request,
) -> Result<(), Problem> {
    guard::refuse_other_sites(request, &entrance.own_names)?;
    charged_body::refuse_on_reserved(client, request.uri())?;
    let identity = sign_in::authenticate(
        &entrance.service,
        &entrance.sessions,
        client,
        request.headers(),
        request.uri().path(),
    )
    .await?;
    request.extensions_mut().insert(identity);
    Ok(())
}
