//! The HTTP port: the older contract, the API, operations and the dashboard.

mod api; // expiry, ETags and conditions
mod batches; // several operations in one step
mod browser; // the dashboard in a real Chromium
mod console; // the line protocol over a WebSocket
mod dashboard; // the page in the browser, as it is served
mod figures; // what is told of the server itself: metrics, the live feed
mod listing; // pairs page by page, and namespaces
mod openapi; // the documentation for programs, tried by schemathesis
mod shim; // the contract, the guard, the documentation
mod sign_in; // users, tokens, and the session of the page
mod transfer; // export, import, and the end of all keys with a prefix
