//! What is told of requests: INFO under Redis's names, LATENCY, SLOWLOG.
//!
//! In: requests, right and wrong, alone and in pipelines. Out: nothing but the verdict.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::resp::Resp;
use crate::support::server::{TestClient, TestServer};

/// The fields of INFO, by name; those of `sections`.
fn info(client: &mut TestClient, sections: &str) -> BTreeMap<String, String> {
    let answer = client.ask(&format!("INFO {sections}"));
    let text: String = serde_json::from_str(answer.strip_prefix("VALUE ").expect("a text"))
        .expect("a JSON string");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let fields = lines.filter_map(|line| line.split_once(':'));
    fields
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The numbers of a line such as `calls=1,usec=2`, by name.
fn numbers(line: &str) -> BTreeMap<&str, f64> {
    let fields = line.split(',').filter_map(|field| field.split_once('='));
    fields
        .map(|(name, value)| (name, value.parse().expect("a number")))
        .collect()
}

#[test]
fn info_counts_the_requests_of_each_command_and_subcommand_as_redis_does() {
    let server = TestServer::start();
    let mut client = server.client();
    for request in [
        "PUT a x",
        "GET a",
        "GET a",
        "GET",
        "INCR a",
        "CONFIG GET port",
        "CONFIG SET port 1",
        "CONFIG FROB",
    ] {
        client.send(request);
    }
    client.send("ECHO end");
    while client.reply() != "VALUE \"end\"" {}
    let told = info(&mut client, "all");
    let of = |name: &str| numbers(&told[&*format!("cmdstat_{name}")]);
    let counts = |name: &str| {
        let line = of(name);
        ["calls", "rejected_calls", "failed_calls"].map(|field| line[field].to_string())
    };
    assert_eq!(counts("get"), ["2", "1", "0"]);
    assert_eq!(counts("incr"), ["1", "0", "1"]);
    assert_eq!(counts("config|get"), ["1", "0", "0"]);
    assert_eq!(counts("config|set"), ["1", "0", "1"]);
    assert!(!told.contains_key("cmdstat_config"), "{told:?}");
    let get = of("get");
    assert!(
        (get["usec_per_call"] - get["usec"] / 2.0).abs() < 1.0,
        "{get:?}"
    );
    assert!(get["usec"] < 10e6, "{get:?}");
    let percentiles = numbers(&told["latency_percentiles_usec_get"]);
    assert!(0.0 < percentiles["p50"] && percentiles["p50"] <= percentiles["p99.9"]);
    // `GET` without a key, INCR of a text, CONFIG SET of a port, CONFIG FROB.
    assert_eq!(told["errorstat_ERR"], "count=4");
    assert_eq!(told["total_error_replies"], "4");
}

/// Goal: a pipeline of many requests takes the time that it takes, however many share it.
#[test]
fn the_time_of_a_pipeline_is_divided_among_its_requests() {
    let server = TestServer::start();
    let mut client = server.client();
    client.send_bytes("PUT a 1\n".repeat(50_000).as_bytes());
    let started = std::time::Instant::now();
    for _ in 0..50_000 {
        assert_eq!(client.reply(), "OK");
    }
    let took = started.elapsed().as_secs_f64() * 1e6;
    let told = info(&mut client, "commandstats");
    let put = numbers(&told["cmdstat_put"]);
    assert_eq!(put["calls"].to_string(), "50000");
    // With a margin for what was executed before the clock was read.
    assert!(put["usec"] < took + 2e6, "{put:?} in {took} us");
}

#[test]
fn latency_histogram_counts_requests_by_their_time() {
    let server = TestServer::start();
    let mut client = server.client();
    for request in ["PUT a 1", "GET a", "GET a", "CONFIG GET port"] {
        client.send(request);
    }
    client.send("ECHO end");
    while client.reply() != "VALUE \"end\"" {}
    let mut histogram = |names: &str| -> Vec<String> {
        client.send(&format!("LATENCY HISTOGRAM {names}"));
        client.send("ECHO end");
        let mut rows = Vec::new();
        loop {
            match client.reply() {
                end if end == "VALUE \"end\"" => return rows,
                row => rows.push(row),
            }
        }
    };
    let of_get = histogram("get frob");
    assert_eq!(
        of_get[..5],
        [
            "MAP 1",
            "VALUE \"get\"",
            "MAP 2",
            "VALUE \"calls\"",
            "COUNT 2"
        ]
    );
    assert_eq!(of_get[5], "VALUE \"histogram_usec\"");
    assert_eq!(
        of_get.last().map(String::as_str),
        Some("COUNT 2"),
        "all of them, in the last bucket"
    );
    assert_eq!(histogram("config")[1], "VALUE \"config|get\"");
    let all = histogram("");
    for name in ["put", "get", "config|get", "echo"] {
        assert!(all.contains(&format!("VALUE \"{name}\"")), "{name}");
    }
}

#[test]
fn config_resetstat_lets_the_counters_begin_at_0_and_prometheus_goes_on() {
    let server = TestServer::start();
    let mut client = server.client();
    for request in ["PUT a 1", "GET a", "GET b", "FROB", "SLOWLOG GET"] {
        client.send(request);
    }
    client.send("ECHO end");
    while client.reply() != "VALUE \"end\"" {}
    assert_eq!(server.stat("hits"), 1);
    assert_eq!(client.ask("CONFIG RESETSTAT"), "OK");
    let told = info(&mut client, "all");
    for (name, value) in [
        ("keyspace_hits", "0"),
        ("keyspace_misses", "0"),
        ("total_error_replies", "0"),
        ("expired_keys", "0"),
        // INFO itself.
        ("total_commands_processed", "1"),
    ] {
        assert_eq!(told[name], value, "{name}");
    }
    assert!(!told.contains_key("cmdstat_put") && !told.contains_key("errorstat_ERR"));
    assert!(!told.contains_key("latency_percentiles_usec_put"));
    assert!(told.contains_key("cmdstat_info"));
    assert_eq!(client.ask("GET a"), "VALUE \"1\"");
    assert_eq!(info(&mut client, "stats")["keyspace_hits"], "1");
    assert_eq!(server.stat("hits"), 1, "since the reset");
    let metrics = crate::support::http::Http::connect(&server).ask("GET /metrics");
    let metrics = metrics.text().lines();
    let hits: Vec<&str> = metrics
        .filter(|line| line.starts_with("pykv_keyspace_hits_total "))
        .collect();
    assert_eq!(hits, ["pykv_keyspace_hits_total 2"]);
}

/// The fields of INFO that redis_exporter makes metrics of, as far as they are of a Redis without modules. Source:
/// <https://github.com/oliver006/redis_exporter/blob/master/exporter/exporter.go>.
const EXPORTED: &str = "uptime_in_seconds process_id connected_clients blocked_clients tracking_clients \
    client_recent_max_output_buffer client_recent_max_input_buffer cluster_connections clients_in_timeout_table pubsub_clients \
    maxclients used_memory used_memory_rss used_memory_peak used_memory_lua used_memory_overhead used_memory_dataset \
    used_memory_scripts number_of_cached_scripts maxmemory mem_fragmentation_ratio mem_fragmentation_bytes mem_clients_slaves \
    mem_clients_normal mem_cluster_links mem_not_counted_for_evict total_system_memory lazyfree_pending_objects \
    active_defrag_running migrate_cached_sockets active_defrag_hits active_defrag_misses active_defrag_key_hits \
    active_defrag_key_misses expired_time_cap_reached_count loading async_loading rdb_changes_since_last_save \
    rdb_bgsave_in_progress rdb_last_save_time rdb_last_bgsave_status rdb_last_bgsave_time_sec rdb_current_bgsave_time_sec \
    rdb_last_cow_size aof_enabled aof_rewrite_in_progress aof_rewrite_scheduled aof_last_rewrite_time_sec \
    aof_current_rewrite_time_sec aof_last_cow_size aof_current_size aof_last_bgrewrite_status aof_last_write_status \
    module_fork_in_progress module_fork_last_cow_size pubsub_channels pubsub_patterns latest_fork_usec total_forks \
    tracking_total_keys instantaneous_ops_per_sec instantaneous_input_kbps instantaneous_output_kbps connected_slaves \
    repl_backlog_size repl_backlog_active repl_backlog_first_byte_offset repl_backlog_histlen master_repl_offset \
    second_repl_offset slave_expires_tracked_keys sync_full sync_partial_ok sync_partial_err total_connections_received \
    total_commands_processed rejected_connections total_net_input_bytes total_net_output_bytes total_net_repl_input_bytes \
    total_net_repl_output_bytes expired_keys evicted_keys evicted_clients keyspace_hits keyspace_misses used_cpu_sys \
    used_cpu_user used_cpu_sys_children used_cpu_user_children unexpected_error_replies total_error_replies \
    role redis_version redis_build_id redis_mode os maxmemory_policy tcp_port run_id master_replid cluster_enabled";

/// Those that it knows and that have no meaning here: docs/operating.md says why.
const NOT_EXPORTED: &str = "used_memory_startup allocator_active allocator_allocated allocator_resident allocator_frag_ratio \
    allocator_frag_bytes allocator_rss_ratio allocator_rss_bytes expired_stale_perc aof_base_size aof_pending_rewrite \
    aof_buffer_length aof_rewrite_buffer_length aof_pending_bio_fsync aof_delayed_fsync hz configured_hz";

#[test]
fn info_has_the_fields_that_redis_exporter_reads_and_operating_md_names_those_that_it_has_not() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("PUT a 1"), "OK");
    assert_eq!(client.ask("SAVE"), "OK");
    let told = info(&mut client, "all");
    let missing: Vec<&str> = EXPORTED
        .split_whitespace()
        .filter(|name| !told.contains_key(*name))
        .collect();
    assert_eq!(missing, [""; 0]);
    let operating = include_str!("../../docs/operating.md");
    for name in NOT_EXPORTED.split_whitespace() {
        assert!(!told.contains_key(name), "{name} is told");
        assert!(
            operating.contains(&format!("`{name}`")),
            "{name} is not in docs/operating.md"
        );
    }
    let number = |name: &str| -> f64 { told[name].parse().expect("a number") };
    assert!(number("used_memory_peak") >= number("used_memory_rss"));
    assert!(number("total_system_memory") > number("used_memory_peak"));
    assert_eq!(told["run_id"].len(), 40);
    assert_eq!(told["db0"], "keys=1,expires=0,avg_ttl=0");
    assert!(told["os"].starts_with("Linux ") && told["os"].split(' ').count() == 3);
    // What this client has sent and been sent so far.
    assert_eq!(
        told["total_net_input_bytes"], "22",
        "PUT a 1, SAVE, INFO all"
    );
    assert_eq!(told["total_net_output_bytes"], "6", "OK, OK");
    let other = info(&mut TestServer::start().client(), "server");
    assert_ne!(told["run_id"], other["run_id"]);
}

/// The words of the entries of SLOWLOG, the latest first, each joined by blanks.
fn slow(client: &mut TestClient) -> Vec<String> {
    client.send("SLOWLOG GET -1");
    let next_count = |client: &mut TestClient| -> usize {
        let reply = client.reply();
        let count = reply.strip_prefix("ARRAY ").expect("an array");
        count.parse().expect("a number")
    };
    let entries = next_count(client);
    let entry = |client: &mut TestClient| {
        assert_eq!(next_count(client), 6);
        let numbers = [client.reply(), client.reply(), client.reply()];
        assert!(
            numbers.iter().all(|number| number.starts_with("COUNT ")),
            "{numbers:?}"
        );
        let words = next_count(client);
        let words: Vec<String> = (0..words)
            .map(|_| client.reply().replace("VALUE ", ""))
            .collect();
        let (_address, _name) = (client.reply(), client.reply());
        words.join(" ").replace('"', "")
    };
    (0..entries).map(|_| entry(client)).collect()
}

#[test]
fn the_slow_log_has_every_command_as_it_was_sent() {
    let server = TestServer::start();
    let mut client = server.client();
    assert_eq!(client.ask("CONFIG SET slowlog-log-slower-than 0"), "OK");
    for request in ["Put a 1", "get a", "incr a", "ping", "del a b", "GET"] {
        client.send(request);
    }
    client.send("ECHO end");
    while client.reply() != "VALUE \"end\"" {}
    // One after the other, too.
    for request in ["PUT c 1", "TTL c", "EXISTS c"] {
        client.ask(request);
    }
    for request in ["MULTI", "strlen c", "append c 2"] {
        client.ask(request);
    }
    assert_eq!(client.ask_array("EXEC").len(), 2);
    assert_eq!(client.ask("CONFIG SET slowlog-log-slower-than -1"), "OK");
    let mut seen = slow(&mut client);
    seen.reverse();
    assert_eq!(
        seen,
        [
            "PUT a 1",
            "GET a",
            "INCR a",
            "PING",
            "DEL a b",
            "ECHO end",
            "PUT c 1",
            "TTL c",
            "EXISTS c",
            "MULTI",
            "STRLEN c",
            "APPEND c 2",
            "EXEC",
        ]
    );
}

/// Goal: without a look at the clock for each request, a slow one is found at any threshold.
/// Method: APPEND to a value of many megabytes takes longer than a millisecond.
#[test]
fn the_slow_log_has_a_slow_request_on_one_key_alone_and_in_a_pipeline() {
    let server = TestServer::start();
    let mut client = server.client();
    let long = format!("PUT long {}\n", "x".repeat(48 << 20));
    client.send_bytes(long.as_bytes());
    assert_eq!(client.reply(), "OK");
    assert_eq!(client.ask("CONFIG SET slowlog-log-slower-than 1000"), "OK");
    assert_eq!(client.ask("SLOWLOG RESET"), "OK");
    let length = (48 << 20) + 4;
    assert_eq!(client.ask("APPEND long tail"), format!("COUNT {length}"));
    let after_one = slow(&mut client);
    client.send_bytes(b"PUT a 1\nGET a\nAPPEND long more\nGET a\nGET a\n");
    let replies: Vec<String> = (0..5).map(|_| client.reply()).collect();
    assert_eq!(replies[2], format!("COUNT {}", length + 4));
    let after_two = slow(&mut client);
    assert!(
        after_one.contains(&"APPEND long tail".to_owned()),
        "{after_one:?}"
    );
    assert!(
        after_two.contains(&"APPEND long more".to_owned()),
        "{after_two:?}"
    );
    let names: BTreeSet<&str> = after_two
        .iter()
        .filter_map(|entry| entry.split(' ').next())
        .collect();
    assert!(!names.contains("SLOWLOG"), "{after_two:?}");
    // HTTP is no way around it.
    assert_eq!(client.ask("CONFIG SET slowlog-log-slower-than 0"), "OK");
    let mut http = crate::support::http::Http::connect(&server);
    assert_eq!(http.ask("POST /put?key=b&value=1").status, 200);
    let seen = slow(&mut client);
    assert!(
        seen.iter().any(|entry| entry.starts_with("PUT b")),
        "{seen:?}"
    );
}

#[test]
fn commands_that_are_not_here_are_counted_by_name_and_logged_once() {
    let server = TestServer::start();
    let mut client = Resp::connect(server.addr());
    for request in [
        "LPUSH list 1",
        "lpush list 2",
        "HSET hash a 1",
        "SADD",
        "LPUSH list 3",
    ] {
        let reply = client.ask(request);
        assert!(reply.starts_with("ERR unknown command "), "{reply}");
    }
    for (name, requests) in [("lpush", 3), ("hset", 1), ("sadd", 1)] {
        assert_eq!(server.stat(&format!("unknown_command_{name}")), requests);
    }
    let log = server.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("a command that is not here"));
    let named: Vec<&str> = lines
        .filter_map(|line| line.split("command=").nth(1))
        .collect();
    assert_eq!(named, ["\"lpush\"", "\"hset\"", "\"sadd\""]);
    client.ask("CONFIG RESETSTAT");
    client.ask("HSET hash a 1");
    assert_eq!(server.stat("unknown_command_hset"), 1);
}
