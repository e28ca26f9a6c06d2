//! Error responses: a problem document (RFC 9457), or the older program's form of it.
//!
//! In: a status, and a detail: the error, its place and its remedy. Out: a response in the form of the API that was requested.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::compat::bodies;
use crate::command::OverBudget;
use crate::model::PairError;
use crate::protocol::{ErrorCode, ErrorReply};

/// Path below which errors are problem documents (RFC 9457); elsewhere they have the older program's form.
const API: &str = "/api/";

/// Time after which a client may repeat a request that was answered 503, in seconds.
const RETRY_AFTER_SECONDS: &str = "1";

/// Kinds of problems: that of the status; a change that may have been made; a server that does not lead.
const BLANK: &str = "about:blank";
const IN_DOUBT: &str = "urn:pykv:in-doubt";
const NOT_LEADER: &str = "urn:pykv:not-leader";

/// Extension of the response to a request that another server answers.
#[derive(Debug, Clone)]
pub struct NotLeader;

/// Problem document: the error of a request.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is no such key"}))]
pub struct Problem {
    /// `about:blank`: the status is the kind of the problem; or a kind that programs tell apart.
    r#type: &'static str,
    /// Status as text.
    title: &'static str,
    /// HTTP status code.
    status: u16,
    /// Error, its place and its remedy.
    detail: String,
    /// What an import has done before the error.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    import: Option<BrokenImport>,
}

/// Members of the problem of an import.
#[derive(Debug, Serialize)]
pub struct BrokenImport {
    /// Number of pairs stored before the error.
    pub stored: u64,
    /// Number of pairs skipped before it because they had expired.
    pub expired: u64,
    /// Line at which the file is broken, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Byte of that line, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
}

/// Returns true if errors at this path are problem documents.
pub fn is_of_api(path: &str) -> bool {
    path.starts_with(API)
}

impl Problem {
    /// Makes a problem with this status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            r#type: BLANK,
            title: status.canonical_reason().unwrap_or_default(),
            status: status.as_u16(),
            detail: detail.into(),
            import: None,
        }
    }

    /// Adds what an import has done.
    pub fn of_import(mut self, import: BrokenImport) -> Self {
        self.import = Some(import);
        self
    }

    /// Puts the place of the error before the detail.
    pub fn of(mut self, place: &str) -> Self {
        self.detail = format!("{place}: {}", self.detail);
        self
    }

    /// Appends a remark to the detail.
    pub fn and(mut self, addition: &str) -> Self {
        self.detail = format!("{}; {addition}", self.detail);
        self
    }

    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).expect("it was one")
    }

    /// Makes the response in the form of the API to which this URI belongs.
    pub fn at(self, uri: &Uri) -> Response {
        if is_of_api(uri.path()) {
            self.into_response()
        } else {
            self.into_older()
        }
    }

    /// Makes the response in the older program's form.
    pub fn into_older(self) -> Response {
        let mut response = bodies::detail(self.status(), self.detail);
        if self.r#type == NOT_LEADER {
            response.extensions_mut().insert(NotLeader);
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let content_type = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status(), content_type, Json(&self)).into_response();
        if self.r#type == NOT_LEADER {
            response.extensions_mut().insert(NotLeader);
        }
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            let retry_after = HeaderValue::from_static(RETRY_AFTER_SECONDS);
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, retry_after);
        }
        response
    }
}

impl From<ErrorReply> for Problem {
    fn from(error: ErrorReply) -> Self {
        let status = match error.code {
            ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorCode::Text | ErrorCode::Args | ErrorCode::CrossSlot | ErrorCode::Script => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            ErrorCode::NoAuth => StatusCode::UNAUTHORIZED,
            ErrorCode::Denied | ErrorCode::ReadOnly => StatusCode::FORBIDDEN,
            ErrorCode::Disk | ErrorCode::Busy | ErrorCode::Full | ErrorCode::NotLeader => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ErrorCode::InDoubt => StatusCode::GATEWAY_TIMEOUT,
            ErrorCode::NoFeed => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            r#type: match error.code {
                ErrorCode::InDoubt => IN_DOUBT,
                ErrorCode::NotLeader => NOT_LEADER,
                _ => BLANK,
            },
            ..Self::new(status, error.message)
        }
    }
}

/// Makes the problem of a request that can be read, but is not valid: 422.
pub fn unfit(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

impl From<OverBudget> for Problem {
    fn from(error: OverBudget) -> Self {
        ErrorReply::from(error).into()
    }
}

impl From<PairError> for Problem {
    fn from(error: PairError) -> Self {
        ErrorReply::from(error).into()
    }
}
