//! Two servers before one cluster: what is done through one holds for the other.
//!
//! In: how the scenario is run. Out: the figures, or a change that is lost, a message that is not heard, or listings that differ.

use std::collections::BTreeSet;
use std::thread;

use crate::faults::Setup;
use crate::front::Kind;
use crate::pykv::Pykv;
use crate::wait::wait_for;

/// Clients of each server.
const CLIENTS: usize = 4;
/// Changes of each kind that each client makes.
const CHANGES: usize = 100;
const LONG_CHANGES: usize = 2_000;
/// Keys of each kind: few, so that many want the same one.
const KEYS: usize = 3;
const MESSAGES: usize = 100;

/// A kind of change, which adds one to a counter: what is done by a client with a name, again and again until it is made. Returns how
/// often others were first.
type Change = fn(&mut redis::Connection, &str, &str) -> Result<usize, redis::RedisError>;

const CHANGES_OF_EACH_KIND: [(&str, Change); 3] = [
    ("INCR", increment),
    ("EXEC", increment_watched),
    ("DELIFEQ", increment_locked),
];

/// No change is lost, messages are heard, and listings are the same.
pub fn two_fronts(setup: &Setup) -> Result<String, String> {
    if setup.front != Kind::Pykv {
        return Ok("only the server is asked".to_owned());
    }
    let cluster = setup.cluster(3, 1);
    let fronts = [0, 1].map(|_| Pykv::start(&cluster, &["--durability", "replicated"]));
    let changes = if setup.is_long { LONG_CHANGES } else { CHANGES };
    let late = work(&fronts, changes)?;
    let mut failures = Vec::new();
    let expected = 2 * CLIENTS * changes;
    for (kind, _) in CHANGES_OF_EACH_KIND {
        for front in &fronts {
            let mut link = front.redis_connection();
            let counters = (0..KEYS).map(|number| {
                let get = redis::cmd("GET").arg(counter(kind, number)).to_owned();
                query::<Option<usize>>(&get, &mut link).unwrap_or(0)
            });
            let sum: usize = counters.sum();
            if sum != expected {
                failures.push(format!("{kind}: the sum is {sum}, not {expected}"));
            }
        }
    }
    let [first, second] = &fronts;
    for (from, to) in [(first, second), (second, first)] {
        exchange_messages(from, to, &mut failures);
    }
    let lists = ["KEYS", "ALL", "NAMESPACES", r#"COUNT """#, "DBSIZE"];
    for request in lists {
        let [one, other] = [first, second].map(|front| listing(front, request));
        if one != other {
            failures.push(format!("{request}: {one:?} on one, {other:?} on the other"));
        }
    }
    let keys = listing(first, "KEYS").len() - 1;
    if keys != KEYS * CHANGES_OF_EACH_KIND.len() {
        failures.push(format!("there are {keys} keys at the end"));
    }
    let figures = format!(
        "{} changes, {late} of them anew as others were first; {MESSAGES} messages to and fro; {keys} keys; {} failures",
        expected * CHANGES_OF_EACH_KIND.len(),
        failures.len()
    );
    let is_well = failures.is_empty() && late > 0;
    if is_well
        && !fronts
            .iter()
            .any(|front| front.log().contains("panicked at"))
    {
        return Ok(figures);
    }
    let logs = fronts.iter().map(Pykv::log).collect::<String>();
    Err(format!("{figures}\n{}\n{logs}", failures.join("\n")))
}

/// Lets clients of both make changes at the same time. Returns how often others were first.
fn work(fronts: &[Pykv; 2], changes: usize) -> Result<usize, String> {
    thread::scope(|scope| {
        let clients = (0..2 * CLIENTS).map(|client| {
            let front = &fronts[client % 2];
            scope.spawn(move || -> Result<usize, String> {
                let mut link = front.redis_connection();
                let name = format!("client-{client}");
                let mut late = 0;
                for number in 0..changes {
                    for (kind, change) in CHANGES_OF_EACH_KIND {
                        let key = counter(kind, number % KEYS);
                        let done = change(&mut link, &key, &name);
                        late += done.map_err(|error| format!("{kind} of {name}: {error}"))?;
                    }
                }
                Ok(late)
            })
        });
        let clients: Vec<_> = clients.collect();
        let results = clients.into_iter();
        let results = results.map(|client| client.join().expect("a client does not panic"));
        results.sum()
    })
}

fn counter(kind: &str, number: usize) -> String {
    format!("{kind}:{{{number}}}")
}

fn increment(link: &mut redis::Connection, key: &str, _: &str) -> redis::RedisResult<usize> {
    let () = redis::cmd("INCR").arg(key).query(link)?;
    Ok(0)
}

fn increment_watched(
    link: &mut redis::Connection,
    key: &str,
    _: &str,
) -> redis::RedisResult<usize> {
    for late in 0.. {
        let () = redis::cmd("WATCH").arg(key).query(link)?;
        let before: Option<usize> = redis::cmd("GET").arg(key).query(link)?;
        let after = before.unwrap_or(0) + 1;
        let mut transaction = redis::pipe();
        let done: Option<(String,)> = transaction
            .atomic()
            .cmd("SET")
            .arg(key)
            .arg(after)
            .query(link)?;
        if done.is_some() {
            return Ok(late);
        }
    }
    unreachable!("it is tried until it is done")
}

/// Reads and writes while nobody else does: who has made the lock deletes it, if it is still the own one.
fn increment_locked(
    link: &mut redis::Connection,
    key: &str,
    name: &str,
) -> redis::RedisResult<usize> {
    let lock = format!("lock:{key}");
    let mut late = 0;
    loop {
        let made: Option<String> = redis::cmd("SET").arg(&[&lock, name, "NX"]).query(link)?;
        if made.is_some() {
            break;
        }
        late += 1;
        // This lock is of somebody else.
        let deleted: usize = redis::cmd("DELIFEQ").arg(&[&lock, "nobody"]).query(link)?;
        assert_eq!(deleted, 0, "the lock of another is not deleted");
    }
    let before: Option<usize> = redis::cmd("GET").arg(key).query(link)?;
    let after = before.unwrap_or(0) + 1;
    let () = redis::cmd("SET").arg(key).arg(after).query(link)?;
    let deleted: usize = redis::cmd("DELIFEQ").arg(&[&lock, name]).query(link)?;
    assert_eq!(deleted, 1, "the own lock is deleted once");
    Ok(late)
}

/// Publishes on one server, and listens on the other: each message is heard once, in order.
fn exchange_messages(from: &Pykv, to: &Pykv, failures: &mut Vec<String>) {
    let mut link = from.redis_connection();
    let mut listener = to.redis_connection();
    let mut channel = listener.as_pubsub();
    channel.subscribe("news").expect("it is subscribed to");
    let timeout = Some(std::time::Duration::from_millis(100));
    channel.set_read_timeout(timeout).expect("a timeout");
    let mut publish = |payload: usize| {
        let publish = redis::cmd("PUBLISH").arg("news").arg(payload).to_owned();
        let _: usize = query(&publish, &mut link);
    };
    // A server may have just begun to listen to the cluster.
    wait_for("a message is heard", || {
        publish(MESSAGES);
        channel
            .get_message()
            .map(drop)
            .map_err(|error| error.to_string())
    });
    (0..MESSAGES).for_each(&mut publish);
    let mut heard = Vec::new();
    let patience = Some(std::time::Duration::from_secs(5));
    channel.set_read_timeout(patience).expect("a timeout");
    while heard.last() != Some(&(MESSAGES - 1)) {
        match channel
            .get_message()
            .and_then(|message| message.get_payload())
        {
            Ok(MESSAGES) => {}
            Ok(number) => heard.push(number),
            Err(error) => {
                failures.push(format!("{} messages are heard, then {error}", heard.len()));
                return;
            }
        }
    }
    if !heard.iter().copied().eq(0..MESSAGES) {
        failures.push(format!("messages are heard as {heard:?}"));
    }
}

/// The lines of a listing.
fn listing(front: &Pykv, request: &str) -> BTreeSet<String> {
    let mut client = front.line_connection();
    let first = client.ask(request);
    let mut lines = BTreeSet::from([first.clone()]);
    if !first.starts_with("COUNT ") && !first.starts_with("END ") {
        lines.extend(client.rows());
    }
    lines
}

fn query<T: redis::FromRedisValue>(command: &redis::Cmd, link: &mut redis::Connection) -> T {
    command.query(link).expect("a reply")
}
