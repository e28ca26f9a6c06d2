//! The table of figures. To add a figure is to add its row.
//!
//! STATS shows its figures in the order of the table, and INFO those of each section. A new figure of STATS stands after the
//! others and before `command_*`, so that those who read by position are not misled.
//! INFO's fields are those of <https://redis.io/docs/latest/commands/info/>, with Redis's meaning; what PyKV has nothing of is 0.

use std::time::{SystemTime, UNIX_EPOCH};

use super::FigureSpec;
use super::Kind::{
    CommandCounter, CommandLatencies, Count, Counter, Flag, Quantile, Real, Share, Text, Time,
};
use crate::engine::Engine;
use crate::model::now_ms;
use crate::persistence::Durability;

/// Version of Redis whose commands and replies these are.
pub const REDIS_VERSION: &str = "7.0.15";

/// Every figure of the server.
pub static FIGURES: &[FigureSpec] = &[
    // The server.
    FigureSpec::redis("Server", "redis_version", |_| text(REDIS_VERSION)),
    FigureSpec::new(
        "version",
        "",
        "Version of the server.",
        Text(|_| text(env!("CARGO_PKG_VERSION"))),
    )
    .stats()
    .info("Server", "pykv_version")
    .metric("pykv_build_info"),
    FigureSpec::redis("Server", "redis_mode", |_| text("standalone")),
    FigureSpec::redis("Server", "os", |_| text(std::env::consts::OS)),
    FigureSpec::redis("Server", "arch_bits", |_| text(usize::BITS)),
    FigureSpec::redis("Server", "multiplexing_api", |_| text("epoll")),
    FigureSpec::new(
        "pid",
        "",
        "Process id of the server.",
        Count(|_| Some(std::process::id().into())),
    )
    .stats()
    .info("Server", "process_id"),
    FigureSpec::redis("Server", "tcp_port", |now| {
        text(now.service.setup.address.port())
    }),
    FigureSpec::redis("Server", "server_time_usec", |_| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        text(now.map_or(0, |now| now.as_micros()))
    }),
    FigureSpec::new(
        "time_ms",
        "milliseconds",
        "Time at which the figures were read, since 1970.",
        Count(|_| Some(now_ms())),
    )
    .live("time_ms"),
    FigureSpec::new(
        "uptime_seconds",
        "seconds",
        "Whole seconds since the start.",
        Count(|now| Some(now.stats().uptime_seconds())),
    )
    .stats()
    .info("Server", "uptime_in_seconds")
    .live("uptime_seconds"),
    FigureSpec::redis("Server", "uptime_in_days", |now| {
        text(now.stats().uptime_seconds() / 86_400)
    }),
    FigureSpec::new(
        "start_time",
        "",
        "Time at which the process was started.",
        Time(|now| Some(now_ms().saturating_sub(now.stats().uptime_seconds() * 1000))),
    )
    .metric("process_start_time_seconds"),
    FigureSpec::new(
        "cpu_seconds",
        "seconds",
        "Processor time of the process, in user mode and in system mode.",
        Real(|now| {
            let (user, system) = now.cpu_time?;
            Some((user + system).as_secs_f64())
        }),
    )
    .metric("process_cpu_seconds_total"),
    FigureSpec::redis("CPU", "used_cpu_sys", |now| {
        let (_, system) = now.cpu_time?;
        text(format_args!("{:.6}", system.as_secs_f64()))
    }),
    FigureSpec::redis("CPU", "used_cpu_user", |now| {
        let (user, _) = now.cpu_time?;
        text(format_args!("{:.6}", user.as_secs_f64()))
    }),
    // The data, and the memory that it takes.
    FigureSpec::new(
        "loading",
        "",
        "1 while the data is being loaded.",
        Flag(|now| Some(now.engine.is_none())),
    )
    .info("Persistence", "loading")
    .metric("pykv_loading"),
    FigureSpec::new(
        "keys",
        "keys",
        "Keys in the store.",
        Count(|now| now.engine.map(Engine::keys)),
    )
    .stats()
    .metric("pykv_keys")
    .live("keys"),
    FigureSpec::redis("Keyspace", "db0", |now| {
        let engine = now.engine.filter(|engine| engine.keys() > 0)?;
        let (keys, expires) = (engine.keys(), engine.keys_expiring());
        text(format_args!("keys={keys},expires={expires},avg_ttl=0"))
    }),
    FigureSpec::redis("Memory", "used_memory", |now| {
        text(now.memory_bytes.unwrap_or(0))
    }),
    FigureSpec::redis("Memory", "used_memory_human", |now| {
        Some(human(now.memory_bytes.unwrap_or(0)))
    }),
    FigureSpec::new(
        "data_bytes",
        "bytes",
        "Bytes of all keys and values.",
        Count(|now| now.engine.map(Engine::data_bytes)),
    )
    .stats()
    .info("Memory", "used_memory_dataset")
    .metric("pykv_data_bytes")
    .live("data_bytes"),
    FigureSpec::new(
        "memory_bytes",
        "bytes",
        "Resident memory of the process.",
        Count(|now| now.memory_bytes),
    )
    .stats()
    .info("Memory", "used_memory_rss")
    .metric("process_resident_memory_bytes")
    .live("memory_bytes"),
    FigureSpec::redis("Memory", "used_memory_rss_human", |now| {
        Some(human(now.memory_bytes.unwrap_or(0)))
    }),
    FigureSpec::redis("Memory", "maxmemory", |_| text(0)),
    FigureSpec::redis("Memory", "maxmemory_human", |_| Some(human(0))),
    FigureSpec::redis("Memory", "maxmemory_policy", |_| text("noeviction")),
    FigureSpec::redis("Memory", "mem_fragmentation_ratio", |_| text("1.00")),
    FigureSpec::redis("Memory", "mem_allocator", |_| text("mimalloc")),
    // Clients and their requests.
    FigureSpec::new(
        "connections",
        "connections",
        "Clients that are connected to the text port.",
        Count(|now| Some(now.stats().connections())),
    )
    .stats()
    .info("Clients", "connected_clients")
    .metric("pykv_connections")
    .live("connections"),
    FigureSpec::redis("Clients", "maxclients", |now| {
        text(now.service.setup.connections_max)
    }),
    FigureSpec::redis("Clients", "blocked_clients", |_| text(0)),
    FigureSpec::new(
        "connections_total",
        "connections",
        "Clients that have connected to the text port.",
        Counter(|now| Some(now.stats().connections_total())),
    )
    .stats()
    .info("Stats", "total_connections_received")
    .metric("pykv_connections_total"),
    FigureSpec::new(
        "requests_total",
        "requests",
        "Requests, those that were no command included.",
        Counter(|now| Some(now.stats().requests())),
    )
    .stats()
    .info("Stats", "total_commands_processed")
    .live("requests_per_second"),
    FigureSpec::new(
        "requests_per_second",
        "requests/s",
        "Requests per second over the last five seconds.",
        Real(|now| Some(now.stats().requests_per_second())),
    )
    .stats(),
    FigureSpec::redis("Stats", "instantaneous_ops_per_sec", |now| {
        text(now.stats().requests_per_second().round())
    }),
    FigureSpec::redis("Stats", "rejected_connections", |_| text(0)),
    FigureSpec::redis("Stats", "evicted_keys", |_| text(0)),
    FigureSpec::new(
        "hits",
        "keys",
        "Reads that found their key.",
        Counter(|now| Some(now.stats().hits())),
    )
    .stats()
    .info("Stats", "keyspace_hits")
    .metric("pykv_keyspace_hits_total"),
    FigureSpec::new(
        "misses",
        "keys",
        "Reads that did not find their key.",
        Counter(|now| Some(now.stats().misses())),
    )
    .stats()
    .info("Stats", "keyspace_misses")
    .metric("pykv_keyspace_misses_total"),
    FigureSpec::redis("Stats", "pubsub_channels", |now| {
        text(now.service.channels.counts().0)
    }),
    FigureSpec::redis("Stats", "pubsub_patterns", |now| {
        text(now.service.channels.counts().1)
    }),
    FigureSpec::new(
        "errors",
        "requests",
        "Requests that were answered with an error.",
        Counter(|now| Some(now.stats().errors())),
    )
    .stats()
    .info("Stats", "total_error_replies")
    .metric("pykv_errors_total")
    .live("errors_per_second"),
    FigureSpec::redis("Errorstats", "errorstat_ERR", |now| {
        let errors = now.stats().errors();
        (errors > 0).then(|| format!("count={errors}"))
    }),
    FigureSpec::new(
        "p50_us",
        "microseconds",
        "Time within which half of the requests were executed.",
        Quantile(0.5),
    )
    .live("p50_us"),
    FigureSpec::new(
        "p99_us",
        "microseconds",
        "Time within which 99 of 100 requests were executed.",
        Quantile(0.99),
    )
    .live("p99_us"),
    FigureSpec::new(
        "hit_ratio",
        "",
        "Share of reads that found their key.",
        Share(|now| {
            let (hits, misses) = (now.stats().hits(), now.stats().misses());
            (hits, hits + misses)
        }),
    )
    .live("hit_ratio"),
    // The disk.
    FigureSpec::redis("Persistence", "rdb_bgsave_in_progress", |now| {
        text(u8::from(now.service.is_saving()))
    }),
    FigureSpec::redis("Persistence", "rdb_last_save_time", |now| {
        text(now.service.last_save_seconds())
    }),
    FigureSpec::redis("Persistence", "rdb_last_bgsave_status", |now| {
        status(now.last_save().is_none_or(|save| save.result == "ok"))
    }),
    FigureSpec::redis("Persistence", "rdb_last_bgsave_time_sec", |now| {
        text(now.last_save().map_or(-1.0, |save| save.seconds.round()))
    }),
    FigureSpec::redis("Persistence", "aof_enabled", |now| {
        let durability = now.disk.as_ref()?.durability;
        text(u8::from(durability != Durability::Off))
    }),
    FigureSpec::redis("Persistence", "aof_rewrite_in_progress", |_| text(0)),
    FigureSpec::redis("Persistence", "aof_last_write_status", |now| {
        status(now.disk.as_ref()?.fault.is_none())
    }),
    FigureSpec::new(
        "durability",
        "",
        "What is promised of a change when its client reads OK.",
        Text(|now| text(now.disk.as_ref()?.durability)),
    )
    .stats()
    .live("disk.durability"),
    FigureSpec::new(
        "disk",
        "",
        "`ok`, or the reason for which changes are refused.",
        Text(|now| {
            let fault = now.disk.as_ref()?.fault.as_ref();
            fault.cloned().or_else(|| text("ok"))
        }),
    )
    .stats(),
    FigureSpec::new(
        "disk_fault",
        "",
        "1 while changes are refused because of the disk.",
        Flag(|now| Some(now.disk.as_ref()?.fault.is_some())),
    )
    .metric("pykv_disk_fault"),
    FigureSpec::new(
        "disk_fault_reason",
        "",
        "Reason for which changes are refused, if they are.",
        Text(|now| now.disk.as_ref()?.fault.clone()),
    )
    .live("disk.fault"),
    FigureSpec::new(
        "unsynced_seconds",
        "seconds",
        "Age of the oldest change that is not on the disk: what a power cut would take.",
        Real(|now| Some(now.disk.as_ref()?.unsynced.as_secs_f64())),
    )
    .stats()
    .info("Persistence", "unsynced_seconds")
    .metric("pykv_unsynced_seconds")
    .live("disk.unsynced_seconds"),
    FigureSpec::new(
        "unsynced_seconds_max",
        "seconds",
        "Longest time that any change has waited for the disk since the start.",
        Real(|now| Some(now.disk.as_ref()?.unsynced_longest.as_secs_f64())),
    )
    .stats()
    .info("Persistence", "unsynced_seconds_max")
    .metric("pykv_unsynced_seconds_max")
    .live("disk.unsynced_seconds_max"),
    FigureSpec::new(
        "journal_bytes",
        "bytes",
        "Bytes of all journals.",
        Count(|now| Some(now.disk.as_ref()?.journal_bytes)),
    )
    .stats()
    .info("Persistence", "aof_current_size")
    .metric("pykv_journal_bytes")
    .live("disk.journal_bytes"),
    FigureSpec::new(
        "journal_segments",
        "files",
        "Number of journals.",
        Count(|now| Some(now.disk.as_ref()?.journal_segments)),
    )
    .stats()
    .info("Persistence", "journal_segments")
    .metric("pykv_journal_segments")
    .live("disk.journal_segments"),
    FigureSpec::new(
        "last_save_time",
        "",
        "Time at which the last save ended.",
        Time(|now| Some(now.last_save()?.ended_at)),
    )
    .stats()
    .metric("pykv_last_save_timestamp_seconds")
    .live("disk.last_save_at"),
    FigureSpec::new(
        "last_save_seconds",
        "seconds",
        "Duration of the last save.",
        Real(|now| Some(now.last_save()?.seconds)),
    )
    .stats()
    .metric("pykv_last_save_duration_seconds")
    .live("disk.last_save_seconds"),
    FigureSpec::new(
        "last_save_result",
        "",
        "`ok`, why the last save failed, or `none yet`.",
        Text(|now| {
            let save = now.last_save();
            text(save.map_or("none yet", |save| &save.result))
        }),
    )
    .stats(),
    FigureSpec::new(
        "last_save_outcome",
        "",
        "`ok`, or why the last save failed, if there was one.",
        Text(|now| Some(now.last_save()?.result.clone())),
    )
    .live("disk.last_save_result"),
    FigureSpec::new(
        "last_save_success",
        "",
        "1 if the last save succeeded.",
        Flag(|now| Some(now.last_save()?.result == "ok")),
    )
    .metric("pykv_last_save_success"),
    FigureSpec::new(
        "unsaved_changes",
        "changes",
        "Changes that are in the journal and not in store.json.",
        Count(|now| now.engine.map(Engine::unsaved_changes)),
    )
    .stats()
    .info("Persistence", "rdb_changes_since_last_save")
    .metric("pykv_unsaved_changes")
    .live("disk.unsaved_changes"),
    FigureSpec::new(
        "expired",
        "keys",
        "Keys that have expired.",
        Counter(|now| now.engine.map(Engine::expired)),
    )
    .stats()
    .info("Stats", "expired_keys")
    .metric("pykv_expired_keys_total")
    .live("expired_per_second"),
    FigureSpec::new(
        "keys_expiring",
        "keys",
        "Keys in the store that have an expiry.",
        Count(|now| now.engine.map(Engine::keys_expiring)),
    )
    .stats()
    .metric("pykv_keys_expiring")
    .live("keys_expiring"),
    // What there is nothing of.
    FigureSpec::redis("Replication", "role", |_| text("master")),
    FigureSpec::redis("Replication", "connected_slaves", |_| text(0)),
    FigureSpec::redis("Cluster", "cluster_enabled", |_| text(0)),
    // For each command.
    FigureSpec::new(
        "command_*",
        "requests",
        "Requests, by their command.",
        CommandCounter(|usage| usage.requests),
    )
    .stats()
    .info("Commandstats", "cmdstat_*")
    .metric("pykv_requests_total")
    .live("by_command"),
    FigureSpec::new(
        "latency_*",
        "seconds",
        "Time from taking up a request, with those that came with it, until its reply could leave.",
        CommandLatencies,
    )
    .metric("pykv_request_duration_seconds"),
];

fn text(value: impl ToString + Copy) -> Option<String> {
    Some(value.to_string())
}

/// Redis's word for a state of the disk.
fn status(is_well: bool) -> Option<String> {
    text(if is_well { "ok" } else { "err" })
}

/// Formats bytes as Redis does for people.
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
