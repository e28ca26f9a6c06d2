//! `pykv-server`: flags, signals, exit status.
//!
//! In: the command line. Out: a line for each address on standard output once the data is loaded, logs on standard error, and an exit status: 0
//! after a clean shutdown, 1 if the server could not start or save, 2 for invalid flags. Promise: connections are accepted while
//! the data is being loaded, and a shutdown does not wait for the load.

use std::env;
use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use pykv::cluster::Cluster;
use pykv::command::{COMMANDS, Service, Users};
use pykv::config::{
    Action, BoundEndpoints, Config, Endpoint, LogFormat, PeerAddress, Setup, TextEndpoint,
};
use pykv::engine::{Engine, MemoryCap};
use pykv::error::{error_chain, without_numbers};
use pykv::http::{self, HTTP_CONNECTIONS_MAX, RESERVED_CONNECTIONS};
use pykv::persistence::{DiskFault, Files as _, Options, Progress, System};
#[cfg(feature = "etcd")]
use pykv::replication::Member;
use pykv::replication::{self, MemberInfo, MemberOptions};
use pykv::server::listener::listen;
use pykv::server::{CONNECTIONS_MAX, FILES_MAX, Server};
use pykv::stdout::{StdoutError, print};
use pykv::supervisor::Supervisor;
use pykv::tls::Tls;
use pykv::{backup, check, health};

/// Maximum number of attempts of the last save.
const LAST_SAVES_MAX: usize = 3;
/// Interval between two logs of the progress of the load.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let config = Config::parse();
    // `check` and `repair` report on standard output, which logs would only repeat.
    let level = if config.action.is_none() {
        LevelFilter::INFO
    } else {
        LevelFilter::ERROR
    };
    let asked = env::var("PYKV_LOG").ok().and_then(|text| text.parse().ok());
    let filter = asked.unwrap_or_else(|| Targets::new().with_default(level));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_target(false)
        .log_internal_errors(false);
    let log = match config.get::<LogFormat>("log-format") {
        LogFormat::Text => {
            // <https://no-color.org>: an empty variable forbids nothing.
            let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let is_coloured = io::stderr().is_terminal() && !is_plain;
            lines.with_ansi(is_coloured).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(log).with(filter).init();
    let verdict = match &config.action {
        Some(Action::Config) => return print_only(&config.in_force()),
        Some(Action::Man) => {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(Config::command()).render(&mut page);
            rendered.expect("memory takes everything");
            return print_only(&String::from_utf8_lossy(&page));
        }
        Some(Action::Completions { shell }) => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Config::command(), "pykv-server", &mut script);
            return print_only(&String::from_utf8_lossy(&script));
        }
        Some(Action::Backup { to }) => {
            let made = backup::back_up(&config.store(), to);
            return made.unwrap_or_else(|error| fail(&error));
        }
        Some(Action::Health { timeout }) => {
            let mut listen = config.list("listen").into_iter();
            let TextEndpoint(text) = listen.next().expect("the flag has a default");
            let looked = health::health(&text, Duration::from_secs(*timeout));
            return looked.unwrap_or_else(|error| fail(&error));
        }
        Some(Action::Check { folder }) => check::check(folder),
        Some(Action::Repair { folder }) => check::repair(folder),
        None => return serve(&config),
    };
    verdict.unwrap_or_else(|error| fail(&error))
}

fn serve(config: &Config) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let ended = runtime.block_on(run(config));
    // A load that is still running must not delay the end of the process.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error),
    }
}

/// Prints a text, which is all that there is to do.
fn print_only(text: &str) -> ExitCode {
    print(text).map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

/// Prints an error with its causes.
fn fail(error: &dyn Error) -> ExitCode {
    let text = without_numbers(&error_chain(error));
    // If it fails, there is nowhere else to report it.
    let _ = writeln!(io::stderr(), "pykv-server: {text}");
    ExitCode::FAILURE
}

async fn run(config: &Config) -> Result<(), Box<dyn Error>> {
    let files = raise_file_limit()?;
    // Listen before the load, so that a port in use is reported at once.
    let tls = config
        .tls_files()?
        .map(Tls::load)
        .transpose()?
        .map(Arc::new);
    let (text, http) = config.endpoints();
    let text = listen(&text, "--listen").await?;
    let http = listen(&http, "--http").await?;
    let folder: PathBuf = config.get("data");
    let users = Users::open(&COMMANDS, &folder, config.password()?.as_deref())?;
    let mut addresses = text.endpoints().into_iter().chain(http.endpoints());
    let reachable = addresses.find(|endpoint| !endpoint.place.is_local());
    if let Some(address) = &reachable {
        check_exposure(config, &users, address)?;
    }
    let shutdown = stop_on_signal()?;
    let supervisor = Supervisor::from_environment();
    let progress = Arc::new(Progress::new());
    let setup = Setup::new(
        config.clone(),
        BoundEndpoints(text.endpoints()),
        reachable.is_some(),
        tls,
        connections_max(files),
        shutdown.clone(),
    );
    let service = Arc::new(Service::new(&COMMANDS, users, Arc::clone(&progress), setup));
    let server = Server::new(Arc::clone(&service), text, connections_max(files));
    let http_endpoints = http.endpoints();
    // From here on connections are accepted, and requests are answered with the progress of the load.
    let http = {
        let (service, shutdown) = (Arc::clone(&service), shutdown.clone());
        async move {
            if !http.endpoints().is_empty() {
                http::serve(http, service, shutdown).await;
            }
        }
    };
    let mut serving = pin!(server.run(shutdown.clone(), http));
    if let Some(options) = config.cluster() {
        // For users.json.
        if let Err(error) = System.make_folder(&folder)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(format!("--data {}: {error}", folder.display()).into());
        }
        let connecting = supervisor.during(
            || "connecting to the cluster".to_owned(),
            Cluster::open(options),
        );
        let connected = tokio::select! {
            connected = connecting => Some(connected?),
            () = shutdown.cancelled() => None,
            () = &mut serving => None,
        };
        let Some(cluster) = connected else {
            tracing::info!("stopped before the cluster answered");
            return Ok(());
        };
        service.begin_on_cluster(cluster);
        serve_until_stopped(&service, &http_endpoints, &supervisor, &shutdown, serving).await?;
        tracing::info!("stopped");
        return Ok(());
    }
    let member = config.member(&service.setup.text.0, &http_endpoints)?;
    let loading = supervisor.during(
        || format!("loading: {progress}"),
        open(
            config.store(),
            member.as_ref(),
            &service,
            Arc::clone(&progress),
        ),
    );
    let loaded = tokio::select! {
        loaded = loading => Some(loaded?),
        () = shutdown.cancelled() => None,
        () = &mut serving => None,
    };
    let Some(engine) = loaded else {
        tracing::info!("stopped before the data was loaded");
        return Ok(());
    };
    follow_others(config, &service, &engine, member, &folder, &shutdown).await?;
    service.begin(Arc::clone(&engine));
    serve_until_stopped(&service, &http_endpoints, &supervisor, &shutdown, serving).await?;
    // What a replica has not copied whole is not saved: it copies it again.
    if !service.replication.is_closed() {
        supervisor
            .during(|| "saving".to_owned(), save_all(&engine))
            .await?;
    }
    tracing::info!("stopped");
    Ok(())
}

/// Announces the addresses, and serves until the shutdown.
async fn serve_until_stopped(
    service: &Service,
    http: &[Endpoint<PeerAddress>],
    supervisor: &Supervisor,
    shutdown: &CancellationToken,
    serving: impl Future<Output = ()>,
) -> Result<(), StdoutError> {
    announce(&service.setup.text.0, http)?;
    supervisor.ready();
    let told = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = supervisor.prove_alive(&service.setup.text.0[0]) => shutdown.cancelled().await,
        }
        supervisor.stopping();
        tracing::info!(
            "stopping: answering what has been received, then saving; once more to stop without"
        );
    };
    tokio::join!(serving, told);
    Ok(())
}

/// Refuses an address that other machines can reach, if no user has a password; warns where everybody is let in.
fn check_exposure(
    config: &Config,
    users: &Users,
    address: &Endpoint<PeerAddress>,
) -> Result<(), String> {
    if config.get("allow-anonymous") {
        if users.is_open() {
            tracing::warn!(
                "anybody who reaches {address} may do everything, as --allow-anonymous is given and the user `default` has no password"
            );
        }
        return Ok(());
    }
    if users.has_password() {
        return Ok(());
    }
    Err(format!(
        "other machines can reach {address}, and no user has a password: give one with --password-file FILE or PYKV_PASSWORD, \
         or let anybody do everything with --allow-anonymous; nothing was changed"
    ))
}

/// Begins to follow another server, or others, if this one is a replica or a member of a cluster.
#[cfg_attr(
    not(feature = "etcd"),
    expect(clippy::unused_async, reason = "etcd is what is waited for")
)]
async fn follow_others(
    config: &Config,
    service: &Service,
    engine: &Arc<Engine>,
    member: Option<(MemberOptions, MemberInfo)>,
    folder: &Path,
    shutdown: &CancellationToken,
) -> Result<(), Box<dyn Error>> {
    let (engine, folder) = (Arc::clone(engine), folder.to_owned());
    let (status, shutdown) = (Arc::clone(&service.replication), shutdown.clone());
    #[cfg(feature = "etcd")]
    if let Some((options, info)) = member {
        let member = Member::join(engine, status, options, info, folder).await?;
        service.connections.spawn(member.run(shutdown));
        return Ok(());
    }
    #[cfg(not(feature = "etcd"))]
    let _ = member;
    if let Some(options) = config.primary() {
        replication::check_folder(&engine, &status, &folder)?;
        let following = replication::run(engine, status, options, folder, shutdown);
        service.connections.spawn(following);
    }
    Ok(())
}

/// Loads the data; that of a member of a cluster once etcd has told what it shares with the others.
async fn open(
    options: Options,
    member: Option<&(MemberOptions, MemberInfo)>,
    service: &Service,
    progress: Arc<Progress>,
) -> Result<Arc<Engine>, Box<dyn Error>> {
    #[cfg(feature = "etcd")]
    let options = match (member, &service.replication.membership) {
        (Some((member, _)), Some(membership)) => Options {
            order: Some(replication::share_secret(member, membership).await?),
            ..options
        },
        _ => options,
    };
    #[cfg(not(feature = "etcd"))]
    let _ = member;
    load(options, Arc::clone(&service.setup.memory_cap), progress).await
}

/// Loads the data on a blocking thread, and logs the progress once a second.
async fn load(
    options: Options,
    cap: Arc<MemoryCap>,
    progress: Arc<Progress>,
) -> Result<Arc<Engine>, Box<dyn Error>> {
    let started = Instant::now();
    let told = Arc::clone(&progress);
    let mut loading = tokio::task::spawn_blocking(move || Engine::open(&options, cap, &told));
    let mut seconds = interval_at(started + PROGRESS_INTERVAL, PROGRESS_INTERVAL);
    loop {
        tokio::select! {
            biased;
            loaded = &mut loading => return Ok(loaded??),
            _ = seconds.tick() => {
                tracing::info!("loading: {progress}, {:.1} s", started.elapsed().as_secs_f64());
            }
        }
    }
}

/// Saves all changes. A failed save is repeated, as the fault may be temporary.
async fn save_all(engine: &Engine) -> Result<(), DiskFault> {
    engine.save_at_full_speed();
    let mut saved = Ok(());
    for _ in 0..LAST_SAVES_MAX {
        if !engine.is_unsaved() {
            break;
        }
        saved = engine.save().await;
        if saved.is_ok() {
            break;
        }
    }
    saved
}

/// Prints the addresses. A reader that has gone does not stop a server.
fn announce(
    text: &[Endpoint<PeerAddress>],
    http: &[Endpoint<PeerAddress>],
) -> Result<(), StdoutError> {
    let text = text.iter();
    let lines = text.map(|endpoint| format!("pykv listening on {endpoint}\n"));
    let http = http.iter();
    let lines = lines.chain(http.map(|endpoint| format!("pykv http on {endpoint}\n")));
    print(&lines.collect::<String>())
}

/// Returns a token that the first SIGTERM or SIGINT cancels; the second ends the process at once.
fn stop_on_signal() -> io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        token.cancel();
        next().await;
        tracing::warn!("stopped without saving; the journal holds the changes");
        std::process::exit(1);
    });
    Ok(shutdown)
}

/// Number of file descriptors that are not clients': the listeners, the journals, a snapshot, the terminal.
const OTHER_FILES: usize = 100;
/// Number of file descriptors for the maximum number of clients.
const FILES_WANTED: usize = FILES_MAX + HTTP_CONNECTIONS_MAX + RESERVED_CONNECTIONS + OTHER_FILES;

/// Returns the maximum number of clients with that many file descriptors.
fn connections_max(files: usize) -> usize {
    // Keep a quarter free: without a free descriptor a client could not even be refused.
    if files >= FILES_WANTED {
        CONNECTIONS_MAX
    } else {
        files / 4 * 3
    }
}

/// Raises the soft limit of file descriptors as far as needed and allowed. Returns it.
fn raise_file_limit() -> io::Result<usize> {
    let files = rlimit::increase_nofile_limit(FILES_WANTED as u64)?;
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    if files < FILES_WANTED {
        let clients = connections_max(files);
        tracing::warn!(
            "the system allows {files} open files, so {clients} clients can be served at one time; \
             `ulimit -n {FILES_WANTED}` before the start makes room for all"
        );
    }
    Ok(files)
}
