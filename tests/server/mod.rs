//! How connections are served: what has arrived together, and what comes before the data is there.

mod addresses; // several addresses, Unix sockets, Redis's inline commands
mod client_memory; // the budget of the memory that is held for clients
mod eviction; // the cap on the memory of the data, and what is evicted
mod loading; // what is answered while the data is being loaded, and how that ends
mod pipelines; // requests that arrive together, and are done one after the other
mod supervisor; // what systemd is told
mod tls; // certificates, versions, and clients that speak it where nobody does
