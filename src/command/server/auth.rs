//! Signing in: AUTH, and HELLO, which also chooses the version of RESP.
//!
//! In: a user and a password. Out: a session with the permissions of that user. Promises: a wrong password changes nothing; its refusal
//! is delayed, and the requests behind it wait.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::command::acl::{DEFAULT_USER, DenialReason, Identity, User};
use crate::command::audit;
use crate::command::call::{Answer, Arguments, Call, Outcome, stream};
use crate::command::clients::{Client, describe_origin};
use crate::command::refusals::bad_argument;
use crate::command::reply_sink::Replies;
use crate::command::row::Row;
use crate::command::server::client::{bad_name, printable};
use crate::command::service::Service;
use crate::command::spec::ANY;
use crate::command::spec::Flag::{LoadingOk, NoAuth, NoMonitor, NotInMulti, Secret};
use crate::command::stream::{Pull, Pulled, Source};
use crate::command::version::REDIS_VERSION;
use crate::protocol::resp::whole_number;
use crate::protocol::{Dialect, ErrorCode, ErrorReply, Reply};

pub(in crate::command) const ROWS: &[Row] = &[
    Row::connection(
        "HELLO",
        "[2 | 3] [AUTH <user> <password>] [SETNAME <name>]",
        0..=ANY,
        hello,
    )
    .flags(&[LoadingOk, NotInMulti, Secret, NoMonitor, NoAuth])
    .example("HELLO 4")
    .summary("Describe the server, sign in, and choose the version of RESP; for Redis clients."),
    Row::connection("AUTH", "[<user>] <password>", 1..=ANY, auth)
        .flags(&[LoadingOk, Secret, NoMonitor, NoAuth])
        .example("AUTH default any")
        .summary("Sign in as a user; without a name, as the user \"default\"."),
];

fn auth(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let (user, password) = match words {
        [user, password] => (&**user, password),
        [password] if call.service.users.is_open() => {
            let _ = password;
            return Err(bad_argument(
                "AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            ));
        }
        [password] => (DEFAULT_USER.as_bytes(), password),
        _ => return Err(call.syntax_error()),
    };
    let client = call.client()?;
    let user = String::from_utf8_lossy(user).into_owned();
    if call.transaction.is_some() {
        return auth_in_transaction(call, &client, &user, password);
    }
    stream(SignIn {
        client,
        user,
        password: (**password).into(),
        hello: None,
    })
}

/// Signs in under the locks of a transaction, where nothing can be waited for: by a password that is known to be right.
fn auth_in_transaction(
    call: &mut Call<'_, '_>,
    client: &Client,
    user: &str,
    password: &[u8],
) -> Answer {
    let users = &call.service.users;
    let allows_anonymous = call.session.identity.allows_anonymous();
    let found = users.sign_in_fast(client.origin(), user, password, allows_anonymous);
    let Some(user) = found else {
        audit::not_signed_in(user, &client.address, "AUTH");
        return Err(wrong_password());
    };
    audit::signed_in(&user.name, &client.address, "AUTH");
    let identity = Identity::of(users, user, allows_anonymous);
    call.session.set_identity(identity);
    call.done(Reply::Ok)
}

/// A client that signs in, and the rest of its request.
struct SignIn {
    client: Arc<Client>,
    user: String,
    password: Box<[u8]>,
    /// What follows in HELLO.
    hello: Option<Hello>,
}

impl Source for SignIn {
    async fn pull(&mut self, pull: &mut Pull<'_>) -> Result<Pulled, ErrorReply> {
        let users = &pull.service.users;
        let allows_anonymous = pull.identity.allows_anonymous();
        let origin = self.client.origin();
        let found = match member(pull.service, &self.user, &self.password) {
            Some(member) => Some(member),
            None => {
                let found = users.sign_in(origin, &self.user, &self.password, allows_anonymous);
                found.await
            }
        };
        let Some(user) = found else {
            audit::not_signed_in(&self.user, &self.client.address, "AUTH");
            let reason = (DenialReason::Auth, false);
            let object: &[u8] = if self.hello.is_some() {
                b"HELLO"
            } else {
                b"AUTH"
            };
            let client = describe_origin(Some(&self.client));
            users.denials().add(reason, object, &self.user, client);
            return Err(wrong_password());
        };
        audit::signed_in(&user.name, &self.client.address, "AUTH");
        self.client.names_mut().user = Arc::clone(&user.name);
        *pull.identity = Identity::of(users, user, allows_anonymous);
        match &self.hello {
            Some(hello) => hello.say(pull.replies, &self.client),
            None => pull.replies.reply(Reply::Ok),
        }
        Ok(Pulled::End)
    }
}

/// Returns the user of another member of the cluster, if these are its name and password: it may copy the data and follow the records.
fn member(service: &Service, name: &str, password: &[u8]) -> Option<Arc<User>> {
    let membership = service.replication.membership.as_ref()?;
    if !membership.is_member(name, password) {
        return None;
    }
    let catalog = service.users.catalog();
    let mut user = User::new(name, catalog);
    for rule in ["on", "~*", "+replicate"] {
        user.apply(rule.as_bytes(), catalog).ok()?;
    }
    Some(Arc::new(user))
}

/// Returns the refusal of a user or a password, in Redis's words.
fn wrong_password() -> ErrorReply {
    let message = "invalid username-password pair or user is disabled.";
    ErrorReply::new(ErrorCode::NoAuth, message).with_prefix("WRONGPASS")
}

/// A HELLO whose client has signed in.
struct Hello {
    is_resp3: bool,
    /// Name for the client, if it gives itself one.
    name: Option<String>,
    /// True if the request came in RESP, whose version it sets.
    is_in_resp: bool,
}

fn hello(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    let client = call.client()?;
    let mut is_resp3 = call.session.resp() == Dialect::Resp3;
    let (mut name, mut sign_in) = (None, None);
    let mut words = words.iter();
    if let Some(version) = words.next() {
        is_resp3 = match whole_number(version) {
            Some(2) => false,
            Some(3) => true,
            Some(_) => {
                return Err(bad_argument("unsupported protocol version").with_prefix("NOPROTO"));
            }
            None => {
                return Err(bad_argument(
                    "Protocol version is not an integer or out of range",
                ));
            }
        };
    }
    while let Some(option) = words.next() {
        let upper = option.to_ascii_uppercase();
        match (&*upper, words.as_slice()) {
            (b"AUTH", [user, password, ..]) => {
                sign_in = Some((user, password));
                words.nth(1);
            }
            (b"SETNAME", [given, ..]) => {
                name = Some(printable(given).ok_or_else(bad_name)?);
                words.next();
            }
            _ => {
                let option = String::from_utf8_lossy(option);
                return Err(bad_argument(format!(
                    "Syntax error in HELLO option '{option}'"
                )));
            }
        }
    }
    let hello = Hello {
        is_resp3,
        name,
        is_in_resp: call.dialect.is_resp(),
    };
    if let Some((user, password)) = sign_in {
        return stream(SignIn {
            client,
            user: String::from_utf8_lossy(user).into_owned(),
            password: (**password).into(),
            hello: Some(hello),
        });
    }
    if call.session.identity.user(&call.service.users).is_none() {
        return Err(ErrorReply::new(
            ErrorCode::NoAuth,
            "HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> \
             option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    hello.say(call.replies, &client);
    Ok(Outcome::Done)
}

impl Hello {
    /// Sets the version and the name, and describes the server.
    fn say(&self, replies: &mut dyn Replies, client: &Client) {
        if let Some(name) = &self.name {
            client.names_mut().name.clone_from(name);
        }
        let (version, dialect) = if self.is_resp3 {
            (3, Dialect::Resp3)
        } else {
            (2, Dialect::Resp2)
        };
        client.resp.store(version, Relaxed);
        if self.is_in_resp {
            replies.set_dialect(dialect);
        }
        replies.reply(Reply::Map(8));
        let mut tell = |name: &str, value: Reply<'_>| {
            replies.reply(Reply::Value(name.as_bytes()));
            replies.reply(value);
        };
        tell("server", Reply::Value(b"redis"));
        tell("version", Reply::Value(REDIS_VERSION.as_bytes()));
        tell("proto", Reply::Count(version as u64));
        tell("id", Reply::Count(client.id));
        tell("mode", Reply::Value(b"standalone"));
        tell("role", Reply::Value(b"master"));
        tell("modules", Reply::Array(0));
        let own_version = env!("CARGO_PKG_VERSION").as_bytes();
        tell("pykv_version", Reply::Value(own_version));
    }
}
