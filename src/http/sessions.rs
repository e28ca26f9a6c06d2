//! `/api/v1/session`: signing in and out of the page.
//!
//! In: a user and a password, or the cookie. Out: a cookie that scripts cannot read and other sites cannot send, and the user of a request.
//! Promises: a session ends when its time is over, its user signs out, is deleted or disabled, or changes its passwords; sessions are kept in
//! memory, so that they end with the server; their number is bounded.
//! Source: RFC 6265.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{ConnectInfo, Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::api::body;
use super::input::{self, NoParameters, Parameters};
use super::listener::HttpClient;
use super::problem::Problem;
use crate::command::{Identity, Service, User, Users, audit};

/// Path of the endpoint.
pub const PATH: &str = "/api/v1/session";
/// Maximum number of sessions: they are kept. Past it, the oldest ends.
pub const SESSIONS_MAX: usize = 10_000;
/// Maximum length of the body of a sign-in in bytes: anybody may send one.
const SIGN_IN_BYTES_MAX: usize = 16 << 10;
/// Duration of a session: a working day.
const SESSION_TIME: Duration = Duration::from_secs(12 * 60 * 60);
/// Beginning of the name of the cookie; the port follows, as browsers send the cookies of a host to all of its ports.
const COOKIE: &str = "pykv-session-";

/// Session of a browser.
#[derive(Debug)]
struct BrowserSession {
    user: Arc<User>,
    began: Instant,
}

/// Sessions of browsers, by their secrets.
#[derive(Debug)]
pub struct Sessions {
    /// Name of the cookie.
    cookie: String,
    by_secret: Mutex<HashMap<String, BrowserSession>>,
}

impl Sessions {
    /// Makes the sessions of the page at this port.
    #[must_use]
    pub fn new(port: u16) -> Self {
        Self {
            cookie: format!("{COOKIE}{port}"),
            by_secret: Mutex::default(),
        }
    }

    fn by_secret(&self) -> MutexGuard<'_, HashMap<String, BrowserSession>> {
        self.by_secret
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the name of the cookie.
    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Returns the secret in the cookie of a request.
    fn secret_in<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let cookies = headers.get_all(header::COOKIE).into_iter();
        let cookies = cookies.filter_map(|value| value.to_str().ok());
        let mut cookies = cookies.flat_map(|value| value.split(';'));
        cookies.find_map(|cookie| {
            let (name, value) = cookie.trim().split_once('=')?;
            (name == self.cookie).then_some(value)
        })
    }

    /// Returns the user of the session of a request, as it is now.
    pub fn user_of(&self, users: &Users, headers: &HeaderMap) -> Option<Arc<User>> {
        let secret = self.secret_in(headers)?;
        let mut sessions = self.by_secret();
        let session = sessions.get(secret)?;
        let user = users.get(&session.user.name);
        let user = user.filter(|user| {
            user.is_on()
                && user.has_same_passwords(&session.user)
                && session.began.elapsed() < SESSION_TIME
        });
        if user.is_none() {
            sessions.remove(secret);
        }
        user
    }

    fn begin(&self, user: Arc<User>) -> String {
        let mut random = [0; 32];
        getrandom::fill(&mut random).expect("the system has random bytes");
        let secret = URL_SAFE_NO_PAD.encode(random);
        let mut sessions = self.by_secret();
        if sessions.len() >= SESSIONS_MAX {
            sessions.retain(|_, session| session.began.elapsed() < SESSION_TIME);
        }
        if sessions.len() >= SESSIONS_MAX {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.began);
            let oldest = oldest.map(|(secret, _)| secret.clone());
            oldest.and_then(|secret| sessions.remove(&secret));
        }
        let began = Instant::now();
        sessions.insert(secret.clone(), BrowserSession { user, began });
        secret
    }

    /// Returns the header that sets the cookie, for so many seconds.
    fn cookie_header(&self, secret: &str, seconds: u64, is_secure: bool) -> HeaderValue {
        let secure = if is_secure { "; Secure" } else { "" };
        let text = format!(
            "{}={secret}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}",
            self.cookie
        );
        text.parse().expect("a header of plain characters")
    }
}

/// Returns true if the browser uses TLS, up to here or to a proxy.
fn is_secure(client: &HttpClient, headers: &HeaderMap) -> bool {
    let forwarded = headers.get("x-forwarded-proto");
    client.is_tls || forwarded.is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"))
}

/// Signs in by a password.
///
/// # Errors
/// 401, after a delay.
pub async fn sign_in(
    service: &Service,
    client: &HttpClient,
    name: &str,
    password: &[u8],
    way: &'static str,
) -> Result<Arc<User>, Problem> {
    let users = &service.users;
    let found = users.sign_in(client.origin(), name, password, client.allows_anonymous);
    found.await.ok_or_else(|| {
        audit::not_signed_in(name, &client.address, way);
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "the user or the password is wrong, or the user is disabled",
        )
    })
}

/// User and password of the form.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    /// Name of the user.
    #[schema(example = "ann")]
    user: String,
    /// Password.
    #[schema(example = "correct horse")]
    password: String,
}

/// User of the page.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignedIn {
    /// Name of the user; null if it has to sign in.
    #[schema(example = "ann")]
    user: Option<String>,
    /// True if the user has signed in, so that it can sign out.
    has_session: bool,
    /// True if anybody who reaches the server may do everything, on an address that other machines can reach.
    is_open_to_all: bool,
}

/// Sign in.
///
/// Sets a cookie that the page sends with each request, for twelve hours.
#[utoipa::path(post, path = "/api/v1/session", operation_id = "sign_in", tag = "Server",
    request_body = SignIn,
    responses(
        (status = 200, description = "Signed in; the cookie is set.", body = SignedIn),
        (status = 400, description = "The body is not JSON or has not arrived whole.", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "The user or the password is wrong.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is longer than a user and a password.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The body is not a user and a password.", body = Problem, content_type = "application/problem+json")))]
pub async fn begin(
    _: Parameters<NoParameters>,
    State(service): State<Arc<Service>>,
    ConnectInfo(client): ConnectInfo<HttpClient>,
    Extension(sessions): Extension<Arc<Sessions>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let body = input::body_up_to(SIGN_IN_BYTES_MAX, request).await?;
    let given: SignIn = body::object(&body)?;
    let user = sign_in(
        &service,
        &client,
        &given.user,
        given.password.as_bytes(),
        "page",
    )
    .await?;
    audit::signed_in(&user.name, &client.address, "page");
    let shown = SignedIn {
        user: Some(user.name.to_string()),
        has_session: true,
        is_open_to_all: service.is_open_to_all(),
    };
    let secret = sessions.begin(user);
    let seconds = SESSION_TIME.as_secs();
    let cookie = sessions.cookie_header(&secret, seconds, is_secure(&client, &headers));
    Ok(([(header::SET_COOKIE, cookie)], Json(shown)).into_response())
}

/// Read who is signed in.
#[utoipa::path(get, path = "/api/v1/session", operation_id = "read_session", tag = "Server",
    responses(
        (status = 200, description = "The user of this request.", body = SignedIn)))]
pub async fn read(
    _: Parameters<NoParameters>,
    State(service): State<Arc<Service>>,
    Extension(identity): Extension<Identity>,
    Extension(sessions): Extension<Arc<Sessions>>,
    headers: HeaderMap,
) -> Json<SignedIn> {
    Json(SignedIn {
        user: identity.name().map(ToString::to_string),
        has_session: sessions.user_of(&service.users, &headers).is_some(),
        is_open_to_all: service.is_open_to_all(),
    })
}

/// Sign out.
#[utoipa::path(delete, path = "/api/v1/session", operation_id = "sign_out", tag = "Server",
    responses(
        (status = 204, description = "Signed out; the cookie is deleted.")))]
pub async fn end(
    _: Parameters<NoParameters>,
    ConnectInfo(client): ConnectInfo<HttpClient>,
    Extension(sessions): Extension<Arc<Sessions>>,
    headers: HeaderMap,
) -> Response {
    if let Some(secret) = sessions.secret_in(&headers)
        && let Some(session) = sessions.by_secret().remove(secret)
    {
        audit::signed_out(&session.user.name, &client.address);
    }
    let cookie = sessions.cookie_header("", 0, is_secure(&client, &headers));
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response()
}
