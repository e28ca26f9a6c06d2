//! INFO: the server's figures under the names that Redis's tools read.
//!
//! In: the counters, the engine's figures, the setup. Out: text, `name:value` line by line, by section. Promise: every figure is
//! true; what there is nothing of is 0 or left out.
//! Source: <https://redis.io/docs/latest/commands/info/>.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::command::call::{Answer, Arguments, Call};
use crate::command::service::Service;
use crate::command::spec::{ANY, Command, Flag, Group};
use crate::command::table::COMMANDS;
use crate::engine::Engine;
use crate::metrics::process;
use crate::persistence::Durability;
use crate::protocol::Reply;

pub(in crate::command) const ROWS: &[Command] =
    &[
        Command::connection("INFO", "[<section> ...]", 0..=ANY, info)
            .group(Group::Server)
            .flags(&[Flag::LoadingOk])
            .example("INFO replication cluster")
            .summary("Show the server's figures, under the names that Redis's tools read."),
    ];

/// The version of Redis whose commands and replies these are.
pub(in crate::command) const REDIS_VERSION: &str = "7.0.15";

type Section = fn(&Service, &mut String);

/// The sections, and whether they are shown without being asked for.
const SECTIONS: &[(&str, bool, Section)] = &[
    ("Server", true, server),
    ("Clients", true, clients),
    ("Memory", true, memory),
    ("Persistence", true, persistence),
    ("Stats", true, stats),
    ("Replication", true, replication),
    ("CPU", true, cpu),
    ("Commandstats", false, commandstats),
    ("Errorstats", true, errorstats),
    ("Cluster", true, cluster),
    ("Keyspace", true, keyspace),
];

fn info(call: &mut Call<'_, '_>, words: &Arguments<'_>) -> Answer {
    // What this batch has counted so far belongs to the truth.
    call.service.stats.add(call.tally);
    let asked = |name: &str, is_default: bool| {
        let is_meant = |word: &[u8]| match &*word.to_ascii_lowercase() {
            b"all" | b"everything" => true,
            b"default" => is_default,
            word => word == name.to_lowercase().as_bytes(),
        };
        (words.is_empty() && is_default) || words.iter().any(|word| is_meant(word))
    };
    let mut text = String::new();
    for (name, is_default, write) in SECTIONS {
        if asked(name, *is_default) {
            if !text.is_empty() {
                text += "\r\n";
            }
            text += &format!("# {name}\r\n");
            write(call.service, &mut text);
        }
    }
    call.done(Reply::Text(&text))
}

macro_rules! lines {
    ($out:expr, $($name:literal: $value:expr),+ $(,)?) => {
        $(write!($out, concat!($name, ":{}\r\n"), $value).expect("writing to memory cannot fail");)+
    };
}

fn engine(service: &Service) -> Option<&Engine> {
    service.engine().ok().map(|engine| &**engine)
}

fn server(service: &Service, out: &mut String) {
    let setup = &service.setup;
    let uptime = service.stats.uptime_seconds();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    lines!(out,
        "redis_version": REDIS_VERSION,
        "pykv_version": env!("CARGO_PKG_VERSION"),
        "redis_mode": "standalone",
        "os": std::env::consts::OS,
        "arch_bits": usize::BITS,
        "multiplexing_api": "epoll",
        "process_id": std::process::id(),
        "tcp_port": setup.address.port(),
        "server_time_usec": now.map_or(0, |now| now.as_micros()),
        "uptime_in_seconds": uptime,
        "uptime_in_days": uptime / 86_400,
    );
}

fn clients(service: &Service, out: &mut String) {
    lines!(out,
        "connected_clients": service.stats.connections(),
        "maxclients": service.setup.connections_max,
        "blocked_clients": 0,
    );
}

fn memory(service: &Service, out: &mut String) {
    let resident = process::resident_bytes().unwrap_or(0);
    let data_bytes = engine(service).map_or(0, Engine::data_bytes);
    lines!(out,
        "used_memory": resident,
        "used_memory_human": human(resident),
        "used_memory_rss": resident,
        "used_memory_rss_human": human(resident),
        "used_memory_dataset": data_bytes,
        "maxmemory": 0,
        "maxmemory_human": human(0),
        "maxmemory_policy": "noeviction",
        "mem_fragmentation_ratio": "1.00",
        "mem_allocator": "mimalloc",
    );
}

/// Bytes as Redis shows them to people.
fn human(bytes: u64) -> String {
    #[expect(
        clippy::cast_precision_loss,
        reason = "two digits after the point are shown"
    )]
    let bytes_shown = bytes as f64;
    match bytes {
        0..1024 => format!("{bytes}B"),
        1024..0x10_0000 => format!("{:.2}K", bytes_shown / 1024.0),
        0x10_0000..0x4000_0000 => format!("{:.2}M", bytes_shown / 1_048_576.0),
        _ => format!("{:.2}G", bytes_shown / 1_073_741_824.0),
    }
}

fn persistence(service: &Service, out: &mut String) {
    let Some(engine) = engine(service) else {
        lines!(out, "loading": 1);
        return;
    };
    let disk = engine.disk();
    let state = |is_well: bool| if is_well { "ok" } else { "err" };
    let save = disk.last_save.as_ref();
    lines!(out,
        "loading": 0,
        "rdb_changes_since_last_save": engine.unsaved_changes(),
        "rdb_bgsave_in_progress": u8::from(service.is_saving()),
        "rdb_last_save_time": service.last_save_seconds(),
        "rdb_last_bgsave_status": state(save.is_none_or(|save| save.result == "ok")),
        "rdb_last_bgsave_time_sec": save.map_or(-1.0, |save| save.seconds.round()),
        "aof_enabled": u8::from(disk.durability != Durability::Off),
        "aof_rewrite_in_progress": 0,
        "aof_last_write_status": state(disk.fault.is_none()),
        "aof_current_size": disk.journal_bytes,
    );
}

fn stats(service: &Service, out: &mut String) {
    let stats = &service.stats;
    let (channels, patterns) = service.channels.counts();
    lines!(out,
        "total_connections_received": stats.connections_total(),
        "total_commands_processed": stats.requests(),
        "instantaneous_ops_per_sec": stats.requests_per_second().round(),
        "rejected_connections": 0,
        "expired_keys": engine(service).map_or(0, Engine::expired),
        "evicted_keys": 0,
        "keyspace_hits": stats.hits(),
        "keyspace_misses": stats.misses(),
        "pubsub_channels": channels,
        "pubsub_patterns": patterns,
        "total_error_replies": stats.errors(),
    );
}

fn replication(_service: &Service, out: &mut String) {
    lines!(out, "role": "master", "connected_slaves": 0);
}

fn cpu(_service: &Service, out: &mut String) {
    let Some((user, system)) = process::cpu_time() else {
        return;
    };
    lines!(out,
        "used_cpu_sys": format!("{:.6}", system.as_secs_f64()),
        "used_cpu_user": format!("{:.6}", user.as_secs_f64()),
    );
}

fn commandstats(service: &Service, out: &mut String) {
    for (place, command) in COMMANDS.iter().enumerate() {
        let calls = service.stats.of_command(place);
        if calls > 0 {
            let name = command.name.to_lowercase();
            write!(out, "cmdstat_{name}:calls={calls}\r\n").expect("writing to memory cannot fail");
        }
    }
}

fn errorstats(service: &Service, out: &mut String) {
    let errors = service.stats.errors();
    if errors > 0 {
        write!(out, "errorstat_ERR:count={errors}\r\n").expect("writing to memory cannot fail");
    }
}

fn cluster(_service: &Service, out: &mut String) {
    lines!(out, "cluster_enabled": 0);
}

fn keyspace(service: &Service, out: &mut String) {
    let Some(engine) = engine(service).filter(|engine| engine.keys() > 0) else {
        return;
    };
    let (keys, expires) = (engine.keys(), engine.keys_expiring());
    lines!(out, "db0": format!("keys={keys},expires={expires},avg_ttl=0"));
}
