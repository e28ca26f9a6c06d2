//! The user of an HTTP request.
//!
//! In: the header `Authorization` (Basic, RFC 7617; Bearer, RFC 6750), the cookie of a page that has signed in, or a certificate. Out: the identity
//! of the request, or 401. Promises: a request without either has the rights of a client of the text port that has not signed in; all
//! but the page, its documentation, the health checks and the sign-in itself is refused where that is none.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::listener::HttpClient;
use super::problem::Problem;
use super::sessions::{Sessions, sign_in};
use crate::command::{Identity, Service, audit};

/// Paths that need no user: they show nothing of the data.
const OPEN_PATHS: &[&str] = &[
    "/",
    "/docs",
    "/openapi.json",
    "/health",
    "/health/live",
    "/health/ready",
    super::sessions::PATH,
];
/// Beginnings of such paths.
const OPEN_FOLDERS: &[&str] = &["/dashboard/", "/docs/"];

/// Way in which a client signs in.
enum Credentials {
    Basic(String, Vec<u8>),
    Bearer(String),
}

/// Returns the identity of a request for this path.
///
/// # Errors
/// 401 if the client has to sign in; those of [`identity_of`].
pub async fn authenticate(
    service: &Service,
    sessions: &Sessions,
    client: &HttpClient,
    headers: &HeaderMap,
    path: &str,
) -> Result<Identity, Problem> {
    let identity = identity_of(service, sessions, client, headers).await?;
    if identity.name().is_some() || is_open(path) {
        return Ok(identity);
    }
    Err(Problem::new(
        StatusCode::UNAUTHORIZED,
        "sign in: send a user and a password (Basic) or a token (Bearer) in the header Authorization, or open the page at /",
    ))
}

/// Returns true if a path needs no user.
pub fn is_open(path: &str) -> bool {
    OPEN_PATHS.contains(&path) || OPEN_FOLDERS.iter().any(|folder| path.starts_with(folder))
}

/// Adds the challenge to a response with status 401. A browser would ask for Basic in a window of its own, in place of the page's form.
pub fn add_challenge(response: &mut Response, is_browser: bool) {
    let challenges: &[&'static str] = if is_browser {
        &["Bearer realm=\"pykv\""]
    } else {
        &[
            "Basic realm=\"pykv\", charset=\"UTF-8\"",
            "Bearer realm=\"pykv\"",
        ]
    };
    for challenge in challenges {
        let challenge = HeaderValue::from_static(challenge);
        response
            .headers_mut()
            .append(header::WWW_AUTHENTICATE, challenge);
    }
}

/// Returns the identity of a request.
///
/// # Errors
/// 401 for a wrong user, password or token, after a delay, and for a header that cannot be read.
async fn identity_of(
    service: &Service,
    sessions: &Sessions,
    client: &HttpClient,
    headers: &HeaderMap,
) -> Result<Identity, Problem> {
    let users = &service.users;
    let allows_anonymous = client.allows_anonymous;
    if let Some(header) = headers.get(header::AUTHORIZATION) {
        let (user, way) = match parse(header)? {
            Credentials::Basic(name, password) => {
                let user = sign_in(service, client, &name, &password, "Basic").await?;
                (user, "Basic")
            }
            Credentials::Bearer(token) => {
                let found = users.sign_in_by_token(client.origin(), &token).await;
                let user = found.ok_or_else(|| {
                    audit::not_signed_in("", &client.address, "Bearer");
                    Problem::new(
                        StatusCode::UNAUTHORIZED,
                        "the token is wrong, deleted, or its time is over",
                    )
                })?;
                (user, "Bearer")
            }
        };
        if client.is_first_sign_in() {
            audit::signed_in(&user.name, &client.address, way);
        }
        return Ok(Identity::of(users, user, allows_anonymous));
    }
    if let Some(user) = sessions.user_of(users, headers) {
        return Ok(Identity::of(users, user, allows_anonymous));
    }
    let name = client.certificate_name.as_ref();
    if let Some(user) = name.and_then(|name| users.enabled(name)) {
        if client.is_first_sign_in() {
            audit::signed_in(&user.name, &client.address, "certificate");
        }
        return Ok(Identity::of(users, user, allows_anonymous));
    }
    Ok(Identity::anonymous(users, allows_anonymous))
}

fn parse(header: &HeaderValue) -> Result<Credentials, Problem> {
    let unreadable = || {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "the header Authorization is neither `Basic` with user:password in base64, nor `Bearer` with a token",
        )
    };
    let text = header.to_str().map_err(|_| unreadable())?;
    let (scheme, rest) = text.split_once(' ').ok_or_else(unreadable)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("Bearer") && !rest.is_empty() {
        return Ok(Credentials::Bearer(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("Basic") {
        return Err(unreadable());
    }
    let decoded = STANDARD.decode(rest).map_err(|_| unreadable())?;
    let colon = decoded.iter().position(|byte| *byte == b':');
    let (name, password) = decoded.split_at(colon.ok_or_else(unreadable)?);
    let name = std::str::from_utf8(name).map_err(|_| unreadable())?;
    Ok(Credentials::Basic(name.to_owned(), password[1..].to_vec()))
}
