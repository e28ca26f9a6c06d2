//! The client of etcd: the few transactions that a cluster needs of it.
//!
//! In: keys, values, a lease. Out: what etcd says, in bounded time. Promises: a request goes to one of etcd's members at a time, and the next one
//! is asked once it does not answer; an error says whether the request may have been executed.

use std::error::Error as StdError;
use std::time::Duration;

use etcd_client::{
    Certificate, Client, Compare, CompareOp, ConnectOptions, DeleteOptions, Error, GetOptions,
    Identity, KeyValue, PutOptions, TlsOptions, Txn, TxnOp, TxnOpResponse, TxnResponse,
};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::log_entry::Keys;
use crate::replication::options::MemberOptions;

/// Time for a connection to one of etcd's members.
const CONNECT_WAIT_MAX: Duration = Duration::from_millis(300);
/// Least time for a request.
const ANSWER_WAIT_MIN: Duration = Duration::from_millis(500);
/// Pause after a request that was not answered.
pub const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Interval of looks at a connection on which nothing arrives.
const KEEP_ALIVE: Duration = Duration::from_millis(500);
/// Entries that are read at one time, and the longest answer in bytes: as many entries of the largest kind.
pub const ENTRIES_PER_LOOK: u32 = 48;
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A request was not executed, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    /// There is no answer: it may have been executed.
    #[error("etcd does not answer: {0}")]
    Unanswered(String),
    /// It was refused: it has not been executed.
    #[error("etcd refuses it: {0}")]
    Refused(String),
}

/// A leader, as etcd has it.
#[derive(Debug, Clone)]
pub struct LeaderEntry {
    /// The revision at which its key was created.
    pub fence: i64,
    /// The value of the key.
    pub value: Vec<u8>,
}

/// The moment of which a look is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After the call.
    Now,
    /// Any before, but for a member of etcd that is cut off from the others, which refuses.
    Recent,
}

/// What one look has found.
#[derive(Debug)]
pub struct Look {
    /// The leader, if there is one.
    pub leader: Option<LeaderEntry>,
    /// The revision of the last renewal of its lease; `None` if renewals cannot be seen.
    pub renewed: Option<i64>,
    /// Entries: first record, part, value; the first ones of those that were asked for.
    pub entries: Vec<(u64, u32, Vec<u8>)>,
}

/// A lead that was won.
#[derive(Debug, Clone, Copy)]
pub struct Lead {
    /// The fence.
    pub fence: i64,
    /// The lease.
    pub lease: i64,
}

/// A client of etcd, with a connection of its own.
pub struct Etcd {
    options: MemberOptions,
    keys: Keys,
    answer_wait: Duration,
    current: usize,
    client: Option<Client>,
}

impl Etcd {
    /// Makes a client, which connects when it is asked first. `place` is that of the member of etcd which it asks first.
    #[must_use]
    pub fn new(options: &MemberOptions, place: usize) -> Self {
        Self {
            keys: Keys::of(&options.cluster),
            answer_wait: (options.lease / 3).max(ANSWER_WAIT_MIN),
            current: place % options.endpoints.len(),
            options: options.clone(),
            client: None,
        }
    }

    /// Asks, and leaves the member of etcd that does not answer.
    async fn ask<T, A>(&mut self, ask: impl FnOnce(Client) -> A + Send) -> Result<T, EtcdError>
    where
        A: Future<Output = Result<T, Error>> + Send,
    {
        let connected = match &self.client {
            Some(client) => Ok(client.clone()),
            None => Box::pin(self.connect()).await,
        };
        let wait = self.answer_wait;
        let asked = async { Ok(timeout(wait, Box::pin(ask(connected?))).await) };
        let reason = match asked.await {
            Ok(Ok(Ok(answer))) => return Ok(answer),
            Ok(Ok(Err(error))) | Err(error) if is_refusal(&error) => {
                return Err(EtcdError::Refused(text_of(&error)));
            }
            Ok(Ok(Err(error))) | Err(error) => text_of(&error),
            Ok(Err(_)) => format!("nothing for {} ms", wait.as_millis()),
        };
        let endpoint = &self.options.endpoints[self.current];
        let reason = format!("{endpoint}: {reason}");
        self.client = None;
        self.current = (self.current + 1) % self.options.endpoints.len();
        Err(EtcdError::Unanswered(reason))
    }

    async fn connect(&mut self) -> Result<Client, Error> {
        let endpoint = self.options.endpoints[self.current].clone();
        // Known sooner than by the client, which tries to connect as long as it is asked.
        let (scheme, address) = endpoint.split_once("://").unwrap_or(("http", &endpoint));
        timeout(
            CONNECT_WAIT_MAX,
            TcpStream::connect(address.trim_end_matches('/')),
        )
        .await
        .map_err(|_| Error::EndpointError("no connection in time".to_owned()))??;
        let mut options = ConnectOptions::new()
            .with_connect_timeout(CONNECT_WAIT_MAX)
            .with_keep_alive(KEEP_ALIVE, self.answer_wait)
            .with_require_leader(true)
            .with_auto_token_refresh(self.options.sign_in.is_some());
        if let Some((user, password)) = &self.options.sign_in {
            options = options.with_user(user, password);
        }
        if scheme == "https" {
            options = options.with_tls(self.tls()?);
        }
        let connecting = Client::connect([endpoint], Some(options));
        let connected = timeout(self.answer_wait, connecting).await;
        let client =
            connected.map_err(|_| Error::EndpointError("no connection in time".to_owned()))??;
        self.client = Some(client.clone());
        Ok(client)
    }

    /// Returns the options of TLS: the system's authorities are trusted, or those of the file that SSL_CERT_FILE names.
    fn tls(&self) -> Result<TlsOptions, Error> {
        let mut tls = TlsOptions::new().with_native_roots();
        if let Some(file) = std::env::var_os("SSL_CERT_FILE") {
            tls = tls.ca_certificate(Certificate::from_pem(std::fs::read(file)?));
        }
        if let Some((certificate, key)) = &self.options.certificate {
            let (certificate, key) = (std::fs::read(certificate)?, std::fs::read(key)?);
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        Ok(tls)
    }

    async fn transact(&mut self, transaction: Txn) -> Result<TxnResponse, EtcdError> {
        self.ask(async |mut client| client.txn(transaction).await)
            .await
    }

    /// Returns what the members share; `proposal`, if nobody has put anything yet.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn secret(&mut self, proposal: &str) -> Result<String, EtcdError> {
        let key = self.keys.secret();
        let putting = Txn::new()
            .when([Compare::create_revision(key.clone(), CompareOp::Equal, 0)])
            .and_then([TxnOp::put(key.clone(), proposal, None)])
            .or_else([TxnOp::get(key, None)]);
        let put = self.transact(putting).await?;
        let there = put.op_responses().into_iter().flat_map(pairs_of).next();
        let there = there.map(|pair| String::from_utf8_lossy(pair.value()).into_owned());
        Ok(there.unwrap_or_else(|| proposal.to_owned()))
    }

    /// Returns the value of what the log continues, if the cluster has begun.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn origin(&mut self) -> Result<Option<Vec<u8>>, EtcdError> {
        let key = self.keys.origin();
        let got = self.ask(async |mut client| client.get(key, None).await);
        Ok(got.await?.kvs().first().map(|pair| pair.value().to_vec()))
    }

    /// Returns the leader, and entries from a part on, all of one moment: of now, or as one of etcd's members has them, which costs less.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn look(&mut self, (seq, part): (u64, u32), at: Moment) -> Result<Look, EtcdError> {
        let options = match at {
            Moment::Now => GetOptions::new(),
            Moment::Recent => GetOptions::new().with_serializable(),
        };
        let range = options.clone().with_range(self.keys.end());
        let range = range.with_limit(ENTRIES_PER_LOOK.into());
        let looking = Txn::new().and_then([
            TxnOp::get(self.keys.leader(), Some(options.clone())),
            TxnOp::get(self.keys.renewed(), Some(options)),
            TxnOp::get(self.keys.entry(seq, part), Some(range)),
        ]);
        let asking = self.ask(async |client| {
            let mut kv = client
                .kv_client()
                .max_decoding_message_size(ANSWER_BYTES_MAX);
            kv.txn(looking).await
        });
        let mut found = asking.await?.op_responses().into_iter().map(pairs_of);
        let leader = found.next().unwrap_or_default().into_iter().next();
        let renewed = found.next().unwrap_or_default().into_iter().next();
        let entries = found.next().unwrap_or_default().into_iter();
        let entries = entries.filter_map(|pair| {
            let (key, value) = pair.into_key_value();
            let (seq, part) = self.keys.parse(std::str::from_utf8(&key).ok()?)?;
            Some((seq, part, value))
        });
        Ok(Look {
            leader: leader.map(|pair| LeaderEntry {
                fence: pair.create_revision(),
                value: pair.value().to_vec(),
            }),
            renewed: renewed.map(|pair| pair.mod_revision()),
            entries: entries.collect(),
        })
    }

    /// Stands for election: puts the key of the leader, with a new lease, if there is none.
    ///
    /// # Errors
    /// [`EtcdError`]; if there is no answer, the lease ends by itself.
    pub async fn claim(&mut self, value: &[u8]) -> Result<Option<Lead>, EtcdError> {
        let seconds = self.options.lease.as_secs().cast_signed();
        let granting = self.ask(async |mut client| client.lease_grant(seconds, None).await);
        let lease = granting.await?.id();
        let key = self.keys.leader();
        let claim = Txn::new()
            .when([Compare::create_revision(key.clone(), CompareOp::Equal, 0)])
            .and_then([
                put_with(key, value, lease),
                put_with(self.keys.renewed(), b"", lease),
            ]);
        let claimed = self.transact(claim).await?;
        if !claimed.succeeded() {
            let _ = self.revoke(lease).await;
            return Ok(None);
        }
        Ok(claimed.header().map(|header| Lead {
            fence: header.revision(),
            lease,
        }))
    }

    /// Puts what the log continues, if the leader with this fence leads and nobody has.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn found(&mut self, fence: i64, value: &[u8]) -> Result<bool, EtcdError> {
        let key = self.keys.origin();
        let founding = Txn::new()
            .when([
                self.is_led_by(fence),
                Compare::create_revision(key.clone(), CompareOp::Equal, 0),
            ])
            .and_then([TxnOp::put(key, value, None)]);
        Ok(self.transact(founding).await?.succeeded())
    }

    fn is_led_by(&self, fence: i64) -> Compare {
        Compare::create_revision(self.keys.leader(), CompareOp::Equal, fence)
    }

    /// Puts a part of an entry, if the leader with this fence leads and the part is not there. Returns whether it has been put.
    ///
    /// # Errors
    /// [`EtcdError`]; if there is no answer, [`Self::entry`] tells whether it has.
    pub async fn append(
        &mut self,
        fence: i64,
        (seq, part): (u64, u32),
        value: &[u8],
    ) -> Result<bool, EtcdError> {
        let key = self.keys.entry(seq, part);
        let mut conditions = vec![Compare::create_revision(key.clone(), CompareOp::Equal, 0)];
        if !is_fence_off() {
            conditions.push(self.is_led_by(fence));
        }
        let appending = Txn::new()
            .when(conditions)
            .and_then([TxnOp::put(key, value, None)]);
        Ok(self.transact(appending).await?.succeeded())
    }

    /// Returns the value of a part of an entry, and the fence of the leader.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn entry(
        &mut self,
        (seq, part): (u64, u32),
    ) -> Result<(Option<Vec<u8>>, Option<i64>), EtcdError> {
        let looking = Txn::new().and_then([
            TxnOp::get(self.keys.entry(seq, part), None),
            TxnOp::get(self.keys.leader(), None),
        ]);
        let found = self.transact(looking).await?;
        let mut found = found.op_responses().into_iter().map(pairs_of);
        let mut first = || found.next().unwrap_or_default().into_iter().next();
        let value = first().map(|pair| pair.value().to_vec());
        Ok((value, first().map(|pair| pair.create_revision())))
    }

    /// Removes the entries that begin with records of this range, if the leader with this fence leads, and lets etcd forget them. Returns
    /// whether it leads.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn remove(
        &mut self,
        fence: i64,
        from: u64,
        to: Option<u64>,
    ) -> Result<bool, EtcdError> {
        let end = to.map_or_else(|| self.keys.end(), |to| self.keys.from(to));
        let range = DeleteOptions::new().with_range(end);
        let removing = Txn::new()
            .when([self.is_led_by(fence)])
            .and_then([TxnOp::delete(self.keys.from(from), Some(range))]);
        let removed = self.transact(removing).await?;
        if removed.succeeded()
            && let Some(header) = removed.header()
        {
            // Without that they would still take their place. A failure is made up for by the next one.
            let revision = header.revision();
            let _ = self
                .ask(async |mut client| client.compact(revision, None).await)
                .await;
        }
        Ok(removed.succeeded())
    }

    /// Ends the lead of whoever has not renewed its lease since the renewal of this revision. Returns whether it has.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn depose(&mut self, renewed: i64) -> Result<bool, EtcdError> {
        let (leader, renewal) = (self.keys.leader(), self.keys.renewed());
        let deposing = Txn::new()
            .when([Compare::mod_revision(
                renewal.clone(),
                CompareOp::Equal,
                renewed,
            )])
            .and_then([TxnOp::delete(leader, None), TxnOp::delete(renewal, None)]);
        Ok(self.transact(deposing).await?.succeeded())
    }

    /// Renews the lease of a lead, so that the other members see it. Returns whether it still is the lead.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn renew(&mut self, lead: Lead) -> Result<bool, EtcdError> {
        let key = self.keys.renewed();
        let showing = Txn::new()
            .when([self.is_led_by(lead.fence)])
            .and_then([put_with(key.clone(), b"", lead.lease)]);
        let shown = match self.transact(showing).await {
            // Where its quota is met etcd takes removals alone. Without the key nobody goes by when it was put.
            Err(EtcdError::Refused(_)) => {
                let hiding = Txn::new()
                    .when([self.is_led_by(lead.fence)])
                    .and_then([TxnOp::delete(key, None)]);
                self.transact(hiding).await
            }
            shown => shown,
        };
        Ok(shown?.succeeded() && self.keep_alive(lead.lease).await?)
    }

    /// Lets a lease begin anew. Returns whether there still is one.
    async fn keep_alive(&mut self, lease: i64) -> Result<bool, EtcdError> {
        let renewing = self.ask(
            async |mut client| match client.lease_keep_alive(lease).await {
                Ok(_) => Ok(true),
                Err(Error::LeaseKeepAliveError(_)) => Ok(false),
                Err(error) => Err(error),
            },
        );
        renewing.await
    }

    /// Ends a lease.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn revoke(&mut self, lease: i64) -> Result<(), EtcdError> {
        let revoking = self.ask(async |mut client| client.lease_revoke(lease).await);
        revoking.await.map(drop)
    }

    /// Returns whether the leader with this fence leads: as of a moment after the call.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn leads(&mut self, fence: i64) -> Result<bool, EtcdError> {
        let key = self.keys.leader();
        let got = self
            .ask(async |mut client| client.get(key, None).await)
            .await?;
        Ok(got
            .kvs()
            .first()
            .is_some_and(|pair| pair.create_revision() == fence))
    }

    /// Lets etcd forget what was replaced or removed until now, which would take its place else.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn forget(&mut self) -> Result<(), EtcdError> {
        let key = self.keys.leader();
        let got = self.ask(async |mut client| client.get(key, None).await);
        if let Some(revision) = got
            .await?
            .header()
            .map(etcd_client::ResponseHeader::revision)
        {
            self.ask(async |mut client| client.compact(revision, None).await)
                .await?;
        }
        Ok(())
    }

    /// Tells of a member, with its lease, if there is anything new, and returns what all tell. `lease` is replaced if it has ended.
    ///
    /// # Errors
    /// [`EtcdError`].
    pub async fn tell(
        &mut self,
        address: &str,
        value: &[u8],
        is_new: bool,
        lease: &mut Option<i64>,
    ) -> Result<Vec<Vec<u8>>, EtcdError> {
        let is_new = is_new || lease.is_none();
        let id = match *lease {
            Some(id) => id,
            None => {
                let seconds = MEMBER_LEASE.as_secs().cast_signed();
                let granting = self.ask(async |mut client| client.lease_grant(seconds, None).await);
                let id = granting.await?.id();
                *lease = Some(id);
                id
            }
        };
        if !self.keep_alive(id).await? {
            *lease = None;
            return Err(EtcdError::Refused("the lease has ended".to_owned()));
        }
        let members = self.keys.members();
        let key = format!("{members}{address}");
        let listing = TxnOp::get(members, Some(GetOptions::new().with_prefix()));
        let telling = is_new.then(|| put_with(key, value, id));
        let telling: Vec<TxnOp> = telling.into_iter().chain([listing]).collect();
        let telling = Txn::new().and_then(telling);
        let told = self
            .transact(telling)
            .await
            .inspect_err(|_| *lease = None)?;
        let pairs = told.op_responses().into_iter().flat_map(pairs_of);
        Ok(pairs.map(|pair| pair.value().to_vec()).collect())
    }
}

/// Time after which a member that says nothing is not listed.
const MEMBER_LEASE: Duration = Duration::from_secs(10);

/// A fault on purpose, for the test that shows that such a fault is found.
pub fn is_fence_off() -> bool {
    cfg!(debug_assertions) && std::env::var_os("PYKV_BREAK").is_some_and(|how| how == "no-fence")
}

fn put_with(key: String, value: &[u8], lease: i64) -> TxnOp {
    TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease)))
}

fn pairs_of(response: TxnOpResponse) -> Vec<KeyValue> {
    match response {
        TxnOpResponse::Get(mut got) => got.take_kvs(),
        _ => Vec::new(),
    }
}

/// Returns true if the error says that the request was not executed.
fn is_refusal(error: &Error) -> bool {
    let Error::GRpcStatus(status) = error else {
        return matches!(error, Error::InvalidArgs(_));
    };
    // gRPC's codes: InvalidArgument, NotFound, PermissionDenied, ResourceExhausted, FailedPrecondition, OutOfRange, Unimplemented,
    // Unauthenticated.
    matches!(status.code() as i32, 3 | 5 | 7 | 8 | 9 | 11 | 12 | 16)
}

fn text_of(error: &Error) -> String {
    match error {
        // Its own words are but "transport error" if there is a cause.
        Error::GRpcStatus(status) => match status.source() {
            Some(source) => innermost(source).to_string(),
            None => status.message().to_owned(),
        },
        Error::TransportError(error) => innermost(error).to_string(),
        error => error.to_string(),
    }
}

fn innermost<'e>(error: &'e (dyn StdError + 'static)) -> &'e (dyn StdError + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}
