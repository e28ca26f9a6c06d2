//! The same random requests on one machine and over a cluster.
//!
//! In: a seed. Out: how many replies were equal, of lines and of RESP. Promise: a reply that differs ends the run with the request, both
//! replies and the seed, unless it is one of those that the chapter on clusters names.

use std::collections::BTreeMap;

use fastrand::Rng;
use redis::ConnectionLike as _;

use crate::faults::Setup;
use crate::front::Kind;
use crate::pykv::Pykv;
use crate::random_requests;
use crate::server::TestServer;

const REQUESTS: usize = 6_000;
const LONG_REQUESTS: usize = 200_000;

/// Compares both.
pub fn compared(setup: &Setup) -> Result<String, String> {
    if setup.front != Kind::Pykv {
        return Ok("only the server is compared".to_owned());
    }
    let seed = fastrand::u64(..);
    let mut random = Rng::with_seed(seed);
    let cluster = setup.cluster(3, 1);
    let pykv = Pykv::start(&cluster, &[]);
    let alone = TestServer::start();
    let url = |addr| format!("redis://{addr}");
    let connect = |addr| {
        let client = redis::Client::open(url(addr)).expect("an address");
        client.get_connection().expect("the server takes a client")
    };
    let mut resp = [connect(pykv.addr()), connect(alone.addr())];
    let mut lines = [pykv.line_connection(), alone.client()];
    let mut counted: BTreeMap<String, u64> = BTreeMap::new();
    let requests = if setup.is_long {
        LONG_REQUESTS
    } else {
        REQUESTS
    };
    for number in 0..requests {
        let words = random_requests::request(&mut random);
        let replies = if number % 2 == 0 {
            let mut command = redis::cmd(&words[0]);
            words[1..].iter().for_each(|word| {
                command.arg(word);
            });
            let packed = command.get_packed_command();
            resp.each_mut()
                .map(|connection| format!("{:?}", connection.req_packed_command(&packed)))
        } else {
            let quoted = words[1..].iter().map(|word| format!("{word:?}"));
            let line = format!("{} {}", words[0], quoted.collect::<Vec<_>>().join(" "));
            lines.each_mut().map(|client| whole_reply(client, &line))
        };
        *counted.entry(words[0].clone()).or_default() += 1;
        if !are_equal(&words[0], &replies) {
            let [over, on_one] = replies;
            return Err(format!(
                "seed {seed}, request {number}: {words:?}\nover the cluster {over}\non one machine {on_one}\n{}",
                pykv.log()
            ));
        }
    }
    let mut figures = format!("{requests} replies equal, of {} commands", counted.len());
    if setup.is_long {
        let counted = counted
            .iter()
            .map(|(name, count)| format!("{name} {count}"));
        figures += &format!(": {}", counted.collect::<Vec<_>>().join(", "));
    }
    Ok(figures)
}

/// Returns a reply with its rows, if they are an array.
fn whole_reply(client: &mut crate::server::TestClient, line: &str) -> String {
    let mut reply = client.ask(line);
    let rows = reply
        .strip_prefix("ARRAY ")
        .and_then(|rows| rows.parse().ok());
    for _ in 0..rows.unwrap_or(0) {
        reply.push('\n');
        reply.push_str(&client.reply());
    }
    reply
}

/// Compares replies; times to live may differ by what passes between two requests.
fn are_equal(name: &str, [one, other]: &[String; 2]) -> bool {
    if one == other {
        return true;
    }
    let number = |reply: &String| {
        let digits: String = reply.chars().filter(char::is_ascii_digit).collect();
        digits.parse::<i64>().unwrap_or(0)
    };
    let tolerance = match name {
        "TTL" | "EXPIRETIME" => 1,
        "PTTL" | "PEXPIRETIME" => 2000,
        _ => return false,
    };
    (number(one) - number(other)).abs() <= tolerance
}
