//! Access control: users, their passwords and what each may do, in the terms of Redis's ACLs.
//!
//! In: rules, such as `on >secret ~shop:* +@read`, from `ACL SETUSER` and `users.json`; passwords; requests. Out: permissions and
//! refusals. Promises: a change takes effect for the next request of every connection; no password is kept or shown as it was typed;
//! where no user is defined, a request costs one comparison for it.
//! Source: <https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/>.

mod attempts;
mod catalog;
mod checks;
mod denials;
mod identity;
mod passwords;
mod permissions;
mod rules;
mod state;
mod tokens;
mod user;
mod users;
mod users_file;

pub use attempts::{ATTEMPTS_AT_ONCE_MAX, Origin};
pub(in crate::command) use checks::KeyFilter;
pub(in crate::command) use denials::DenialReason;
pub use identity::Identity;
pub use passwords::PASSWORD_BYTES_MAX;
pub(in crate::command) use passwords::hex;
pub(in crate::command) use permissions::Denial;
pub(in crate::command) use rules::merge_selectors;
pub use state::{DEFAULT_USER, USERS_MAX};
pub use tokens::TOKENS_MAX;
pub use user::{PASSWORDS_MAX, USER_RULES_BYTES_MAX, User};
pub use users::Users;
pub use users_file::UsersError;
