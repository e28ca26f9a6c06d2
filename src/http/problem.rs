//! What is said of a request that cannot be done: a problem document (RFC 9457), or the older program's form of it.
//!
//! In: a status, and what is wrong, where, and what to do. Out: a response in the form of the interface that was asked.

use axum::Json;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::compat::bodies;
use crate::model::PairError;
use crate::protocol::{ErrorCode, ErrorReply};

/// Below this path problems are told as RFC 9457 has them; elsewhere as the older program did.
const API: &str = "/api/";

/// Why a request has not been done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is no such key"}))]
pub struct Problem {
    /// `about:blank`: the status says what kind of problem it is.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status.
    status: u16,
    /// What is wrong, where, and what to do.
    detail: String,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            r#type: "about:blank",
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: detail.into(),
        }
    }

    /// The same, and where it is.
    pub fn of(mut self, place: &str) -> Self {
        self.detail = format!("{place}: {}", self.detail);
        self
    }

    /// The same, and what else is to be known.
    pub fn and(mut self, addition: &str) -> Self {
        self.detail = format!("{}; {addition}", self.detail);
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).expect("it was one")
    }

    /// The response of the interface that this was asked for by.
    pub fn at(self, uri: &Uri) -> Response {
        if uri.path().starts_with(API) {
            self.into_response()
        } else {
            self.into_older()
        }
    }

    /// The response in the older program's form.
    pub fn into_older(self) -> Response {
        bodies::detail(self.status(), self.detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        (self.status(), content_type, Json(self)).into_response()
    }
}

impl From<ErrorReply> for Problem {
    fn from(error: ErrorReply) -> Self {
        let status = match error.code {
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::Text => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorCode::Disk | ErrorCode::Busy | ErrorCode::Full => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, error.message)
    }
}

impl From<PairError> for Problem {
    fn from(error: PairError) -> Self {
        ErrorReply::from(error).into()
    }
}
