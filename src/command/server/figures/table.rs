//! The table of figures. To add a figure is to add its row.
//!
//! STATS shows its figures in the order of the table, and INFO those of each section. A new figure of STATS stands after the
//! others and before `command_*`, so that programs which read by position still work.
//! INFO's fields are those of <https://redis.io/docs/latest/commands/info/>, with Redis's meaning; features that PyKV lacks show 0.

use std::time::{SystemTime, UNIX_EPOCH};

use super::spec::Kind::{CommandCounter, CommandLatencies, NamedCounter, Quantile, Share};
use super::spec::{FigureInputs, FigureSpec, data_memory, keys};
use crate::command::clients::Client;
use crate::command::counts::Usage;
use crate::command::version::REDIS_VERSION;
use crate::engine::{DatabaseSize, Engine};
use crate::metrics::process;
use crate::model::now_ms;
use crate::persistence::Durability;
use crate::replication::{LinkState, MemberState, host_and_port};

/// Every figure of the server.
pub static FIGURES: &[FigureSpec] = &[
    // The server.
    FigureSpec::redis("Server", "redis_version", |_| text(REDIS_VERSION)),
    FigureSpec::text("version", |_| text(env!("CARGO_PKG_VERSION")))
        .help("Version of the server.")
        .stats()
        .info("Server", "pykv_version")
        .metric("pykv_build_info"),
    FigureSpec::redis("Server", "redis_build_id", |_| {
        text(env!("CARGO_PKG_VERSION"))
    }),
    FigureSpec::redis("Server", "redis_mode", |_| text("standalone")),
    FigureSpec::redis("Server", "os", |_| Some(process::system_name())),
    FigureSpec::redis("Server", "arch_bits", |_| text(usize::BITS)),
    FigureSpec::redis("Server", "multiplexing_api", |_| text("epoll")),
    FigureSpec::count("pid", |_| Some(std::process::id().into()))
        .help("Process id of the server.")
        .stats()
        .info("Server", "process_id"),
    FigureSpec::redis("Server", "process_supervised", |_| text("no")),
    FigureSpec::redis("Server", "run_id", |now| Some(now.service.run_id.clone())),
    FigureSpec::redis("Server", "tcp_port", |now| {
        text(now.service.setup.text.port(false))
    }),
    FigureSpec::redis("Server", "server_time_usec", |_| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        text(now.map_or(0, |now| now.as_micros()))
    }),
    FigureSpec::count("time_ms", |_| Some(now_ms()))
        .unit("milliseconds")
        .help("Time at which the figures were read, since 1970.")
        .live("time_ms"),
    FigureSpec::count("uptime_seconds", |now| Some(now.stats().uptime_seconds()))
        .unit("seconds")
        .help("Whole seconds since the start.")
        .stats()
        .info("Server", "uptime_in_seconds")
        .live("uptime_seconds"),
    FigureSpec::redis("Server", "uptime_in_days", |now| {
        text(now.stats().uptime_seconds() / 86_400)
    }),
    FigureSpec::redis("Server", "executable", |_| {
        let path = std::env::current_exe().ok()?;
        Some(path.display().to_string())
    }),
    FigureSpec::redis("Server", "config_file", |now| {
        let path = now.service.setup.config.file().unwrap_or_default();
        Some(path.display().to_string())
    }),
    FigureSpec::time("start_time", |now| {
        Some(now_ms().saturating_sub(now.stats().uptime_seconds() * 1000))
    })
    .help("Time at which the process was started.")
    .metric("process_start_time_seconds"),
    FigureSpec::real("cpu_seconds", |now| {
        let (user, system) = now.cpu_time?;
        Some((user + system).as_secs_f64())
    })
    .unit("seconds")
    .help("Processor time of the process, in user mode and in system mode.")
    .metric("process_cpu_seconds_total"),
    FigureSpec::redis("CPU", "used_cpu_sys", |now| {
        let (_, system) = now.cpu_time?;
        text(format_args!("{:.6}", system.as_secs_f64()))
    }),
    FigureSpec::redis("CPU", "used_cpu_user", |now| {
        let (user, _) = now.cpu_time?;
        text(format_args!("{:.6}", user.as_secs_f64()))
    }),
    // No child process is made.
    FigureSpec::redis("CPU", "used_cpu_sys_children", |_| text("0.000000")),
    FigureSpec::redis("CPU", "used_cpu_user_children", |_| text("0.000000")),
    // The data, and the memory that it takes.
    FigureSpec::flag("loading", |now| {
        Some(now.engine.is_none() && now.cluster.is_none())
    })
        .help("1 while the data is being loaded.")
        .info("Persistence", "loading")
        .metric("pykv_loading"),
    FigureSpec::count("keys", keys)
        .unit("keys")
        .help("Keys in the store.")
        .stats()
        .metric("pykv_keys")
        .live("keys"),
    FigureSpec::redis("Keyspace", "db0", |now| {
        let engine = now.engine.filter(|engine| engine.keys() > 0)?;
        let (keys, expires) = (engine.keys(), engine.keys_expiring());
        text(format_args!("keys={keys},expires={expires},avg_ttl=0"))
    }),
    FigureSpec::redis_lines("Keyspace", "db*", |now| {
        let sizes = now.engine.into_iter().flat_map(Engine::databases);
        let lines = sizes.map(|(database, DatabaseSize { keys, expiring })| {
            let size = format!("keys={keys},expires={expiring},avg_ttl=0");
            (database.number().to_string(), size)
        });
        lines.collect()
    }),
    FigureSpec::redis("Memory", "used_memory_human", |now| {
        Some(human(now.used_bytes()))
    }),
    FigureSpec::count("data_bytes", |now| now.engine.map(Engine::data_bytes))
        .unit("bytes")
        .help("Bytes of all keys and values.")
        .stats()
        .info("Memory", "used_memory_dataset")
        .metric("pykv_data_bytes")
        .live("data_bytes"),
    FigureSpec::count("memory_bytes", |now| now.memory_bytes)
        .unit("bytes")
        .help("Resident memory of the process.")
        .stats()
        .info("Memory", "used_memory_rss")
        .metric("process_resident_memory_bytes")
        .live("memory_bytes"),
    FigureSpec::redis("Memory", "used_memory_rss_human", |now| {
        Some(human(now.memory_bytes.unwrap_or(0)))
    }),
    FigureSpec::redis("Memory", "used_memory_peak", |_| text(memory_peak())),
    FigureSpec::redis("Memory", "used_memory_peak_human", |_| {
        Some(human(memory_peak()))
    }),
    FigureSpec::redis("Memory", "used_memory_peak_perc", |now| {
        percent(now.memory_bytes.unwrap_or(0), memory_peak())
    }),
    FigureSpec::redis("Memory", "used_memory_overhead", |now| {
        let data = now.engine.map_or(0, Engine::data_bytes);
        text(now.used_bytes().saturating_sub(data))
    }),
    FigureSpec::redis("Memory", "used_memory_dataset_perc", |now| {
        let data = now.engine.map_or(0, Engine::data_bytes);
        percent(data, now.used_bytes())
    }),
    FigureSpec::redis("Memory", "total_system_memory", |_| {
        text(process::system_memory_bytes())
    }),
    FigureSpec::redis("Memory", "total_system_memory_human", |_| {
        Some(human(process::system_memory_bytes()))
    }),
    // There are no scripts, no replicas and no cluster.
    FigureSpec::redis("Memory", "used_memory_lua", |_| text(0)),
    FigureSpec::redis("Memory", "used_memory_scripts", |_| text(0)),
    FigureSpec::redis("Memory", "number_of_cached_scripts", |_| text(0)),
    FigureSpec::redis("Memory", "mem_replication_backlog", |_| text(0)),
    FigureSpec::redis("Memory", "mem_clients_slaves", |_| text(0)),
    FigureSpec::redis("Memory", "mem_cluster_links", |_| text(0)),
    FigureSpec::redis("Memory", "mem_not_counted_for_evict", |_| text(0)),
    FigureSpec::redis("Memory", "maxmemory_human", |now| {
        Some(human(now.service.memory_cap().bytes()))
    }),
    FigureSpec::redis("Memory", "mem_fragmentation_ratio", |now| {
        let share = ratio(now.memory_bytes?, now.used_bytes())?;
        text(format_args!("{share:.2}"))
    }),
    FigureSpec::redis("Memory", "mem_allocator", |_| text("jemalloc")),
    FigureSpec::redis("Memory", "active_defrag_running", |now| {
        text(u8::from(now.engine?.compaction().0))
    }),
    FigureSpec::redis("Memory", "lazyfree_pending_objects", |_| text(0)),
    // Clients and their requests.
    FigureSpec::count("connections", |now| Some(now.stats().connections()))
        .unit("connections")
        .help("Clients that are connected to the text port.")
        .stats()
        .info("Clients", "connected_clients")
        .metric("pykv_connections")
        .live("connections"),
    FigureSpec::redis("Clients", "maxclients", |now| {
        text(now.service.setup.connections_max)
    }),
    FigureSpec::redis("Clients", "cluster_connections", |_| text(0)),
    FigureSpec::redis("Clients", "client_recent_max_input_buffer", |now| {
        text(now.service.clients.largest_buffers().0)
    }),
    FigureSpec::redis("Clients", "client_recent_max_output_buffer", |now| {
        text(now.service.clients.largest_buffers().1)
    }),
    FigureSpec::redis("Clients", "blocked_clients", |now| {
        text(now.service.clients.count(Client::is_blocked))
    }),
    FigureSpec::redis("Clients", "tracking_clients", |now| {
        text(now.service.notices.tracking.clients())
    }),
    FigureSpec::redis("Clients", "pubsub_clients", |now| {
        text(now.service.clients.count(Client::is_subscribed))
    }),
    FigureSpec::redis("Clients", "clients_in_timeout_table", |_| text(0)),
    FigureSpec::counter("connections_total", |now| Some(now.counts.connections))
    .unit("connections")
    .help("Clients that have connected to the text port.")
    .stats()
    .info("Stats", "total_connections_received")
    .metric("pykv_connections_total"),
    FigureSpec::counter("requests_total", |now| Some(now.counts.requests))
        .unit("requests")
        .help("Requests, those that were no command included.")
        .stats()
        .info("Stats", "total_commands_processed")
        .live("requests_per_second"),
    FigureSpec::real("requests_per_second", |now| Some(now.rates.requests))
    .unit("requests/s")
    .help("Requests per second over the last five seconds.")
    .stats(),
    FigureSpec::redis("Stats", "instantaneous_ops_per_sec", |now| {
        text(now.rates.requests.round())
    }),
    FigureSpec::counter("received_bytes_total", |now| {
        Some(now.counts.traffic.received)
    })
    .unit("bytes")
    .help("Bytes that clients of the text port have sent.")
    .info("Stats", "total_net_input_bytes")
    .metric("pykv_received_bytes_total"),
    FigureSpec::counter("sent_bytes_total", |now| Some(now.counts.traffic.sent))
        .unit("bytes")
        .help("Bytes that clients of the text port have been sent.")
        .info("Stats", "total_net_output_bytes")
        .metric("pykv_sent_bytes_total"),
    FigureSpec::redis("Stats", "instantaneous_input_kbps", |now| {
        text(format_args!("{:.2}", now.rates.received / 1024.0))
    }),
    FigureSpec::redis("Stats", "instantaneous_output_kbps", |now| {
        text(format_args!("{:.2}", now.rates.sent / 1024.0))
    }),
    FigureSpec::counter("connections_refused_total", |now| {
        Some(now.counts.connections_refused)
    })
    .unit("connections")
    .help("Connections that were refused, as there were too many.")
    .info("Stats", "rejected_connections")
    .metric("pykv_connections_refused_total"),
    FigureSpec::redis("Stats", "expired_time_cap_reached_count", |_| text(0)),
    // There are no replicas, no forks, no slots that move.
    FigureSpec::redis("Stats", "total_net_repl_input_bytes", |_| text(0)),
    FigureSpec::redis("Stats", "total_net_repl_output_bytes", |_| text(0)),
    FigureSpec::redis("Stats", "instantaneous_input_repl_kbps", |_| text("0.00")),
    FigureSpec::redis("Stats", "instantaneous_output_repl_kbps", |_| text("0.00")),
    FigureSpec::redis("Stats", "sync_full", |_| text(0)),
    FigureSpec::redis("Stats", "sync_partial_ok", |_| text(0)),
    FigureSpec::redis("Stats", "sync_partial_err", |_| text(0)),
    FigureSpec::redis("Stats", "slave_expires_tracked_keys", |_| text(0)),
    FigureSpec::redis("Stats", "latest_fork_usec", |_| text(0)),
    FigureSpec::redis("Stats", "total_forks", |_| text(0)),
    FigureSpec::redis("Stats", "migrate_cached_sockets", |_| text(0)),
    FigureSpec::redis("Stats", "active_defrag_hits", |now| text(now.engine?.compaction().1)),
    FigureSpec::redis("Stats", "active_defrag_misses", |_| text(0)),
    FigureSpec::redis("Stats", "active_defrag_key_hits", |now| {
        text(now.engine?.compaction().1)
    }),
    FigureSpec::redis("Stats", "active_defrag_key_misses", |_| text(0)),
    FigureSpec::redis("Stats", "tracking_total_keys", |now| {
        text(now.service.notices.tracking.sizes().0)
    }),
    FigureSpec::redis("Stats", "tracking_total_items", |now| {
        text(now.service.notices.tracking.sizes().1)
    }),
    FigureSpec::redis("Stats", "tracking_total_prefixes", |now| {
        text(now.service.notices.tracking.prefixes())
    }),
    FigureSpec::redis("Stats", "unexpected_error_replies", |_| text(0)),
    FigureSpec::counter("hits", |now| Some(now.counts.hits))
        .unit("keys")
        .help("Reads that found their key.")
        .stats()
        .info("Stats", "keyspace_hits")
        .metric("pykv_keyspace_hits_total"),
    FigureSpec::counter("misses", |now| Some(now.counts.misses))
        .unit("keys")
        .help("Reads that did not find their key.")
        .stats()
        .info("Stats", "keyspace_misses")
        .metric("pykv_keyspace_misses_total"),
    FigureSpec::redis("Stats", "pubsub_channels", |now| {
        text(now.service.channels.counts().0)
    }),
    FigureSpec::redis("Stats", "pubsub_patterns", |now| {
        text(now.service.channels.counts().1)
    }),
    FigureSpec::counter("errors", |now| Some(now.counts.error_count()))
        .unit("requests")
        .help("Requests that were answered with an error.")
        .stats()
        .info("Stats", "total_error_replies")
        .metric("pykv_errors_total")
        .live("errors_per_second"),
    FigureSpec::redis_lines("Errorstats", "errorstat_*", |now| {
        let errors = now.counts.errors.iter();
        let lines = errors.map(|(prefix, count)| ((*prefix).to_owned(), format!("count={count}")));
        lines.collect()
    }),
    FigureSpec::new("p50_us", Quantile(0.5))
        .unit("microseconds")
        .help("Time within which half of the requests were executed.")
        .live("p50_us"),
    FigureSpec::new("p99_us", Quantile(0.99))
        .unit("microseconds")
        .help("Time within which 99 of 100 requests were executed.")
        .live("p99_us"),
    FigureSpec::new(
        "hit_ratio",
        Share(|now| {
            let (hits, misses) = (now.counts.hits, now.counts.misses);
            (hits, hits + misses)
        }),
    )
    .help("Share of reads that found their key.")
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
    // No fork copies memory, and no journal is rewritten.
    FigureSpec::redis("Persistence", "async_loading", |_| text(0)),
    FigureSpec::redis("Persistence", "rdb_current_bgsave_time_sec", |now| {
        text(now.service.saving_seconds().map_or(-1, u64::cast_signed))
    }),
    FigureSpec::redis("Persistence", "rdb_last_cow_size", |_| text(0)),
    FigureSpec::redis("Persistence", "aof_rewrite_scheduled", |_| text(0)),
    FigureSpec::redis("Persistence", "aof_last_rewrite_time_sec", |_| text(-1)),
    FigureSpec::redis("Persistence", "aof_current_rewrite_time_sec", |_| text(-1)),
    FigureSpec::redis("Persistence", "aof_last_bgrewrite_status", |_| text("ok")),
    FigureSpec::redis("Persistence", "aof_last_cow_size", |_| text(0)),
    FigureSpec::redis("Persistence", "module_fork_in_progress", |_| text(0)),
    FigureSpec::redis("Persistence", "module_fork_last_cow_size", |_| text(0)),
    FigureSpec::redis("Persistence", "aof_enabled", |now| {
        let durability = now.disk.as_ref()?.durability;
        text(u8::from(durability != Durability::Off))
    }),
    FigureSpec::redis("Persistence", "aof_rewrite_in_progress", |_| text(0)),
    FigureSpec::redis("Persistence", "aof_last_write_status", |now| {
        status(now.disk.as_ref()?.fault.is_none())
    }),
    FigureSpec::text("durability", |now| {
        now.service.check_ready().ok()?;
        text(now.service.setup.config.durability_name())
    })
        .help("What is promised of a change when its client reads OK.")
        .stats()
        .live("disk.durability"),
    FigureSpec::text("disk", |now| {
        let fault = now.disk.as_ref()?.fault.as_ref();
        fault.cloned().or_else(|| text("ok"))
    })
    .help("`ok`, or the reason for which changes are refused.")
    .stats(),
    FigureSpec::flag("disk_fault", |now| Some(now.disk.as_ref()?.fault.is_some()))
        .help("1 while changes are refused because of the disk.")
        .metric("pykv_disk_fault"),
    FigureSpec::text("disk_fault_reason", |now| now.disk.as_ref()?.fault.clone())
        .help("Reason for which changes are refused, if they are.")
        .live("disk.fault"),
    FigureSpec::real("unsynced_seconds", |now| {
        Some(now.disk.as_ref()?.unsynced.as_secs_f64())
    })
    .unit("seconds")
    .help("Age of the oldest change that is not on the disk: what a power cut would take.")
    .stats()
    .info("Persistence", "unsynced_seconds")
    .metric("pykv_unsynced_seconds")
    .live("disk.unsynced_seconds"),
    FigureSpec::real("unsynced_seconds_max", |now| {
        Some(now.disk.as_ref()?.unsynced_longest.as_secs_f64())
    })
    .unit("seconds")
    .help("Longest time that any change has waited for the disk since the start.")
    .stats()
    .info("Persistence", "unsynced_seconds_max")
    .metric("pykv_unsynced_seconds_max")
    .live("disk.unsynced_seconds_max"),
    FigureSpec::count("journal_bytes", |now| {
        Some(now.disk.as_ref()?.journal_bytes)
    })
    .unit("bytes")
    .help("Bytes of all journals.")
    .stats()
    .info("Persistence", "aof_current_size")
    .metric("pykv_journal_bytes")
    .live("disk.journal_bytes"),
    FigureSpec::count("journal_segments", |now| {
        Some(now.disk.as_ref()?.journal_segments)
    })
    .unit("files")
    .help("Number of journals.")
    .stats()
    .info("Persistence", "journal_segments")
    .metric("pykv_journal_segments")
    .live("disk.journal_segments"),
    FigureSpec::time("last_save_time", |now| Some(now.last_save()?.ended_at))
        .help("Time at which the last save ended.")
        .stats()
        .metric("pykv_last_save_timestamp_seconds")
        .live("disk.last_save_at"),
    FigureSpec::real("last_save_seconds", |now| Some(now.last_save()?.seconds))
        .unit("seconds")
        .help("Duration of the last save.")
        .stats()
        .metric("pykv_last_save_duration_seconds")
        .live("disk.last_save_seconds"),
    FigureSpec::text("last_save_result", |now| {
        let save = now.last_save();
        text(save.map_or("none yet", |save| &save.result))
    })
    .help("`ok`, why the last save failed, or `none yet`.")
    .stats(),
    FigureSpec::text("last_save_outcome", |now| {
        Some(now.last_save()?.result.clone())
    })
    .help("`ok`, or why the last save failed, if there was one.")
    .live("disk.last_save_result"),
    FigureSpec::flag("last_save_success", |now| {
        Some(now.last_save()?.result == "ok")
    })
    .help("1 if the last save succeeded.")
    .metric("pykv_last_save_success"),
    FigureSpec::count("unsaved_changes", |now| {
        now.engine.map(Engine::unsaved_changes)
    })
    .unit("changes")
    .help("Changes that are in the journal and not in store.json.")
    .stats()
    .info("Persistence", "rdb_changes_since_last_save")
    .metric("pykv_unsaved_changes")
    .live("disk.unsaved_changes"),
    FigureSpec::counter("expired", |now| now.engine.map(|_| now.counts.expired))
        .unit("keys")
        .help("Keys that have expired.")
        .stats()
        .info("Stats", "expired_keys")
        .metric("pykv_expired_keys_total")
        .live("expired_per_second"),
    FigureSpec::count("keys_expiring", |now| now.engine.map(Engine::keys_expiring))
        .unit("keys")
        .help("Keys in the store that have an expiry.")
        .stats()
        .metric("pykv_keys_expiring")
        .live("keys_expiring"),
    FigureSpec::count("client_memory_bytes", |now| {
        now.service.client_memory.count_replaced();
        Some(now.service.client_memory.bytes() as u64)
    })
    .unit("bytes")
    .help("Memory held for clients beside the data: half-sent requests, unread replies, queues, messages.")
    .stats()
    .info("Memory", "mem_clients_normal")
    .metric("pykv_client_memory_bytes")
    .live("client_memory_bytes"),
    FigureSpec::count("client_memory_limit_bytes", |now| {
        Some(now.service.client_memory.limit_bytes() as u64)
    })
    .unit("bytes")
    .help("Limit of client_memory_bytes: --client-memory.")
    .stats()
    .info("Memory", "client_memory_limit")
    .metric("pykv_client_memory_limit_bytes"),
    FigureSpec::counter("clients_ended_total", |now| {
        Some(now.service.client_memory.ended())
    })
    .unit("connections")
    .help("Clients that were disconnected as they held most of the memory for clients, and others needed some.")
    .stats()
    .info("Stats", "evicted_clients")
    .metric("pykv_clients_ended_total"),
    FigureSpec::count("users", |now| Some(now.service.users.count() as u64))
        .unit("users")
        .help("Users, the default one included.")
        .stats()
        .metric("pykv_users"),
    FigureSpec::counter("sign_ins_refused_total", |now| {
        Some(now.service.users.refused())
    })
    .unit("attempts")
    .help("Attempts to sign in with a wrong user, password or token.")
    .stats()
    .metric("pykv_sign_ins_refused_total"),
    FigureSpec::flag("open_to_all", |now| Some(now.service.is_open_to_all()))
        .help("1 if anybody who reaches the server from another machine may do everything.")
        .stats()
        .metric("pykv_open_to_all"),
    FigureSpec::count("tls_certificate_expires_in_days", |now| {
        let tls = now.service.setup.tls.as_ref()?;
        Some(tls.expires_in_days().max(0).unsigned_abs())
    })
    .unit("days")
    .help("Whole days until the certificate of the server ends; none without TLS.")
    .stats()
    .info("Server", "tls_certificate_expires_in_days")
    .metric("pykv_tls_certificate_expires_in_days"),
    FigureSpec::count("used_memory_bytes", data_memory)
        .unit("bytes")
        .help("Memory that the data takes: pairs, tables and indexes, as --max-memory counts it.")
        .stats()
        .info("Memory", "used_memory")
        .metric("pykv_used_memory_bytes")
        .live("used_memory_bytes"),
    FigureSpec::count("max_memory_bytes", |now| {
        Some(now.service.memory_cap().bytes())
    })
    .unit("bytes")
    .help("Cap on used_memory_bytes: --max-memory; 0 if there is none.")
    .stats()
    .info("Memory", "maxmemory")
    .metric("pykv_max_memory_bytes")
    .live("max_memory_bytes"),
    FigureSpec::text("eviction", |now| {
        text(now.service.memory_cap().eviction().name())
    })
    .help("Policy by which pairs are evicted: --eviction.")
    .stats()
    .info("Memory", "maxmemory_policy")
    .live("eviction"),
    FigureSpec::counter("evicted", |now| now.engine.map(|_| now.counts.evicted))
        .unit("keys")
        .help("Pairs that were evicted, as --max-memory left no room for others.")
        .stats()
        .info("Stats", "evicted_keys")
        .metric("pykv_evicted_keys_total")
        .live("evicted_per_second"),
    FigureSpec::count("cluster_slots", |now| Some(now.cluster?.slots))
        .unit("slots")
        .help("Slots of the cluster (--engine) that have a primary, of 16384.")
        .stats()
        .metric("pykv_cluster_slots")
        .live("cluster_slots"),
    FigureSpec::count("cluster_primaries", |now| Some(now.cluster?.primaries))
        .unit("nodes")
        .help("Primaries of the cluster that own slots.")
        .stats()
        .metric("pykv_cluster_primaries")
        .live("cluster_primaries"),
    FigureSpec::count("cluster_replicas", |now| Some(now.cluster?.replicas))
        .unit("nodes")
        .help("Their replicas that have not failed.")
        .stats()
        .metric("pykv_cluster_replicas")
        .live("cluster_replicas"),
    FigureSpec::count("cluster_replicas_failed", |now| {
        Some(now.cluster?.replicas_failed)
    })
    .unit("nodes")
    .help("Their replicas that have failed.")
    .stats()
    .metric("pykv_cluster_replicas_failed")
        .live("cluster_replicas_failed"),
    FigureSpec::count("cluster_lag_bytes", |now| Some(now.cluster?.lag_bytes))
        .unit("bytes")
        .help("Most bytes of changes that a replica of the cluster has not received yet.")
        .stats()
        .metric("pykv_cluster_lag_bytes")
        .live("cluster_lag_bytes"),
    FigureSpec::count("uncounted_memory_bytes", |now| {
        let used = now.engine.map(Engine::memory_bytes)?;
        Some(now.memory_bytes?.saturating_sub(used))
    })
    .unit("bytes")
    .help("Resident memory that is not counted: that of the clients, and what the allocator keeps.")
    .stats()
    .info("Memory", "mem_fragmentation_bytes")
    .metric("pykv_uncounted_memory_bytes"),
    FigureSpec::real("keyspace_hit_ratio", |now| {
        ratio(now.counts.hits, now.counts.hits + now.counts.misses)
    })
    .help("Share of the reads that found their key.")
    .metric("pykv_keyspace_hit_ratio"),
    // Replicas.
    FigureSpec::text("role", |now| {
        text(match (&now.members, &now.primary) {
            (Some(view), _) if view.state == MemberState::Leading => "leader",
            (Some(_), _) => "follower",
            (None, Some(_)) => "replica",
            (None, None) => "primary",
        })
    })
    .help("Role of the server: primary or replica; in a cluster with --etcd, leader or follower.")
    .stats(),
    FigureSpec::text("redis_role", |now| {
        let follows = now.members.as_ref().is_some_and(|view| view.state != MemberState::Leading);
        text(if follows || now.primary.is_some() { "slave" } else { "master" })
    })
    .help("As in Redis's INFO.")
    .info("Replication", "role"),
    FigureSpec::count("revision", |now| now.engine.map(Engine::revision))
        .unit("revisions")
        .help("Newest revision: the number of the last change.")
        .stats()
        .info("Replication", "master_repl_offset")
        .metric("pykv_revision")
        .live("revision"),
    FigureSpec::count("replicas", |now| Some(now.replicas.len() as u64))
        .unit("servers")
        .help("Replicas that are connected.")
        .stats()
        .info("Replication", "connected_slaves")
        .metric("pykv_replicas")
        .live("replicas"),
    FigureSpec::text("replica_link", |now| text(now.primary.as_ref()?.state.as_str()))
        .help("Connection of a replica to its primary: connecting, copying or following.")
        .stats()
        .live("replica_link"),
    FigureSpec::real("replica_lag_seconds", |now| Some(now.primary.as_ref()?.lag.as_secs_f64()))
        .unit("seconds")
        .help("Time for which a replica has not had all changes that its primary has told of.")
        .stats()
        .metric("pykv_replica_lag_seconds")
        .live("replica_lag_seconds"),
    FigureSpec::count("replica_lag_revisions", |now| {
        let newest = now.primary.as_ref()?.newest;
        Some(newest.saturating_sub(now.engine?.revision()))
    })
    .unit("revisions")
    .help("Changes that the primary has told of and that are not here.")
    .stats()
    .metric("pykv_replica_lag_revisions")
    .live("replica_lag_revisions"),
    FigureSpec::count("replica_copies", |now| {
        now.primary.as_ref().map(|_| now.service.replication.copies())
    })
    .unit("copies")
    .help("Times that a replica has copied all pairs since the start.")
    .stats()
    .metric("pykv_replica_copies")
    .live("replica_copies"),
    // A cluster whose log etcd keeps.
    FigureSpec::text("leader", |now| {
        now.members.as_ref()?.leader.as_ref().map(|leader| leader.address.clone())
    })
    .help("Address of the member of the cluster that leads.")
    .stats()
    .live("leader"),
    FigureSpec::text("member_state", |now| text(now.members.as_ref()?.state.as_str()))
        .help("State of a member: joining, copying, following, leading, or waiting for its lease.")
        .stats()
        .live("member_state"),
    FigureSpec::flag("is_leader", |now| Some(now.members.as_ref()?.state == MemberState::Leading))
        .help("1 on the member that leads.")
        .metric("pykv_member_is_leader"),
    FigureSpec::count("members", |now| Some(now.members.as_ref()?.members.len() as u64))
        .unit("servers")
        .help("Members of the cluster that are there.")
        .stats()
        .metric("pykv_member_count")
        .live("members"),
    FigureSpec::count("member_lag_revisions", |now| {
        let members = now.members.as_ref()?.members.iter();
        let newest = members.map(|member| member.revision).max()?;
        Some(newest.saturating_sub(now.engine?.revision()))
    })
    .unit("revisions")
    .help("Changes that other members have told of and that are not here.")
    .stats()
    .metric("pykv_member_lag_revisions")
    .live("member_lag_revisions"),
    FigureSpec::count("log_bytes", |now| {
        let view = now.members.as_ref()?;
        (view.state == MemberState::Leading).then_some(view.log_bytes)
    })
    .unit("bytes")
    .help("Length of the log in etcd that this leader has appended and not trimmed.")
    .stats()
    .metric("pykv_member_log_bytes")
    .live("log_bytes"),
    FigureSpec::count("failovers", |now| Some(now.members.as_ref()?.failovers))
        .unit("times")
        .help("Changes of the leader that this server has seen.")
        .stats()
        .metric("pykv_member_failovers")
        .live("failovers"),
    FigureSpec::redis("Replication", "master_host", |now| Some(primary_of(now)?.0)),
    FigureSpec::redis("Replication", "master_port", |now| Some(primary_of(now)?.1)),
    FigureSpec::redis("Replication", "master_link_status", |now| {
        let is_up = now.primary.as_ref()?.state == LinkState::Following;
        text(if is_up { "up" } else { "down" })
    }),
    FigureSpec::redis("Replication", "master_last_io_seconds_ago", |now| {
        let silence = now.primary.as_ref()?.silence;
        silence.map_or_else(|| text(-1), |silence| text(silence.as_secs()))
    }),
    FigureSpec::redis("Replication", "master_sync_in_progress", |now| {
        text(u8::from(now.primary.as_ref()?.state == LinkState::Copying))
    }),
    FigureSpec::redis("Replication", "slave_read_repl_offset", |now| text(now.primary.as_ref()?.newest)),
    FigureSpec::redis("Replication", "slave_repl_offset", |now| {
        now.primary.as_ref()?;
        text(now.engine.map_or(0, Engine::revision))
    }),
    FigureSpec::redis("Replication", "slave_priority", |now| {
        now.primary.as_ref().and_then(|_| text(100))
    }),
    FigureSpec::redis("Replication", "slave_read_only", |now| {
        now.primary.as_ref().and_then(|_| text(1))
    }),
    FigureSpec::redis_lines("Replication", "slave*", |now| {
        let replicas = now.replicas.iter().enumerate();
        let lines = replicas.map(|(place, replica)| {
            let (host, port) = host_and_port(&replica.address);
            let (offset, lag) = (replica.revision, replica.told_at.elapsed().as_secs());
            let line = format!("ip={host},port={port},state=online,offset={offset},lag={lag}");
            (place.to_string(), line)
        });
        lines.collect()
    }),
    FigureSpec::redis("Replication", "master_failover_state", |_| text("no-failover")),
    FigureSpec::redis("Replication", "master_replid", |now| {
        let timelines = now.engine.map(Engine::timelines).unwrap_or_default();
        let newest = timelines.last().map(|timeline| format!("{:0<40}", timeline.id));
        newest.or_else(|| Some(now.service.run_id.clone()))
    }),
    FigureSpec::redis("Replication", "master_replid2", |_| Some("0".repeat(40))),
    // What PyKV lacks: the journal is the backlog.
    FigureSpec::redis("Replication", "second_repl_offset", |_| text(-1)),
    FigureSpec::redis("Replication", "repl_backlog_active", |_| text(0)),
    FigureSpec::redis("Replication", "repl_backlog_size", |_| text(0)),
    FigureSpec::redis("Replication", "repl_backlog_first_byte_offset", |_| text(0)),
    FigureSpec::redis("Replication", "repl_backlog_histlen", |_| text(0)),
    FigureSpec::redis("Cluster", "cluster_enabled", |_| text(0)),
    FigureSpec::new("unknown_command_*", NamedCounter(|now| {
        let all = now.stats().unknown.all().into_iter();
        let all = all.map(|(name, requests)| Usage { name, requests, ..Usage::default() });
        all.collect()
    }))
        .unit("requests")
        .help("Requests of Redis clients for commands that are not here, by name.")
        .stats()
        .metric("pykv_unknown_requests_total"),
    // For each command.
    FigureSpec::new("command_*", CommandCounter(|usage| usage.requests))
        .unit("requests")
        .help("Requests, by their command.")
        .stats()
        .metric("pykv_requests_total")
        .live("by_command"),
    FigureSpec::redis_lines("Commandstats", "cmdstat_*", |now| {
        let used = now.counts.parts.iter().filter(|usage| usage.requests > 0);
        used.map(|usage| (usage.name.clone(), cmdstat(usage))).collect()
    }),
    FigureSpec::redis_lines("Latencystats", "latency_percentiles_usec_*", |now| {
        let parts = now.counts.parts.iter();
        let lines = parts.filter_map(|usage| {
            let of = |share| Some(usage.latencies.quantile(share)?.as_secs_f64() * 1e6);
            let (half, most, nearly_all) = (of(0.5)?, of(0.99)?, of(0.999)?);
            let shown = format!("p50={half:.3},p99={most:.3},p99.9={nearly_all:.3}");
            Some((usage.name.clone(), shown))
        });
        lines.collect()
    }),
    FigureSpec::new("latency_*", CommandLatencies)
        .unit("seconds")
        .help("Time from taking up a request, with its batch, until its reply could leave.")
        .metric("pykv_request_duration_seconds"),
];

/// Returns the most memory that has been resident, in bytes; 0 if it is not known.
/// Returns host and port of the primary of a replica.
fn primary_of(now: &FigureInputs<'_>) -> Option<(String, String)> {
    let primary = now.primary.as_ref()?;
    let (host, port) = host_and_port(&primary.primary);
    Some((host.to_owned(), port.to_owned()))
}

fn memory_peak() -> u64 {
    process::resident_bytes_max().unwrap_or(0)
}

fn text(value: impl ToString + Copy) -> Option<String> {
    Some(value.to_string())
}

/// Returns a line of Redis's statistics of commands, without the name.
fn cmdstat(usage: &Usage) -> String {
    let (calls, us) = (usage.calls(), usage.spent().as_micros());
    #[expect(
        clippy::cast_precision_loss,
        reason = "two digits after the point are shown"
    )]
    let us_per_call = if calls > 0 {
        us as f64 / calls as f64
    } else {
        0.0
    };
    let (rejected, failed) = (usage.rejected, usage.failed);
    format!(
        "calls={calls},usec={us},usec_per_call={us_per_call:.2},rejected_calls={rejected},failed_calls={failed}"
    )
}

/// Formats a share as Redis's `_perc` fields do.
fn percent(part: u64, whole: u64) -> Option<String> {
    Some(format!("{:.2}%", ratio(part, whole)? * 100.0))
}

/// Returns a number as a part of another; `None` if that is 0.
fn ratio(part: u64, whole: u64) -> Option<f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "some digits after the point are shown"
    )]
    let ratio = (whole > 0).then(|| part as f64 / whole as f64)?;
    Some(ratio)
}

/// Returns Redis's word for the state of the disk.
fn status(is_well: bool) -> Option<String> {
    text(if is_well { "ok" } else { "err" })
}

/// Formats a number of bytes as Redis's `_human` fields do.
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
