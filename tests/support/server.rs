//! `TestServer` and `TestClient`: the real binary on a free port, in a folder of its own, and a socket to it.
//!
//! In: flags. Out: a running server, killed when dropped. It runs the built binary, not a task in this process: `kill -9`,
//! the exit code and what stands on standard error can then be tested like everything else. Nothing sleeps: the server
//! says when it serves, and every read has a limit after which the test fails.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A reply that has not come after this long will not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub struct TestServer {
    child: Child,
    addr: SocketAddr,
    http_addr: SocketAddr,
    /// The addresses that it has announced, text first.
    announced: Vec<String>,
    stopped: Option<Stopped>,
    /// Who holds it, if somebody does: see [`Stopped::held_at`].
    tracer: Option<u32>,
}

/// The folder of a server that does not run, and the flags that it ran with.
pub struct Stopped {
    dir: TempDir,
    data: PathBuf,
    flags: Vec<String>,
    listen: String,
    http: String,
    /// What the shell does before it becomes the server.
    setup: String,
    /// What the server is run by, if by anything.
    tracer: Vec<String>,
    /// Environment variables that the server is given besides ours.
    environment: Vec<(String, String)>,
}

impl TestServer {
    /// A server with an empty store.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server with an empty store, and these flags.
    pub fn start_with(flags: &[&str]) -> Self {
        Stopped::new(flags).restart()
    }

    /// A server that the system allows so many open files.
    pub fn start_with_files(files: u32) -> Self {
        Stopped::new(&[]).with_files(files).restart()
    }

    /// The address of the text port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of the HTTP port.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// The addresses that it has announced, as it says them, text first.
    pub fn announced(&self) -> &[String] {
        &self.announced
    }

    /// The address that it has announced with this scheme, such as `tls://`.
    pub fn addr_of(&self, scheme: &str) -> SocketAddr {
        let found = self.announced.iter().find_map(|said| {
            let (_, address) = said.split_once(scheme)?;
            address.parse().ok()
        });
        found.unwrap_or_else(|| panic!("no {scheme} in {:?}", self.announced))
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder().data()
    }

    /// What the server has said on standard error.
    pub fn log(&self) -> String {
        self.folder().log()
    }

    /// A connection to the text port.
    pub fn client(&self) -> TestClient {
        TestClient::connect(self.addr)
    }

    /// Kills the server as `kill -9` does.
    pub fn kill(mut self) -> Stopped {
        self.child.kill().expect("the server can be killed");
        self.child.wait().expect("the server has ended");
        self.stopped.take().expect("it is taken once")
    }

    /// Stops the server as `kill` does; it must end with status 0.
    pub fn stop(self) -> Stopped {
        let (stopped, code) = self.signal("TERM");
        assert_eq!(
            code,
            Some(0),
            "exit status after SIGTERM\n{}",
            stopped.log()
        );
        stopped
    }

    /// Waits until a server that was started by [`Stopped::start_loading`] says that it serves.
    pub fn wait_until_loaded(&mut self) {
        let said = announced(&mut self.child, 2).expect("it serves");
        assert_eq!(
            address(&said),
            (self.addr, self.http_addr),
            "{}",
            self.log()
        );
    }

    /// Lets a server that was held by [`Stopped::held_at`] go on: without its tracer, the call is made at once.
    pub fn let_go(&mut self) {
        if let Some(tracer) = self.tracer.take() {
            let kill = format!("kill -KILL {tracer}");
            let _ = Command::new("sh").args(["-c", &kill]).status();
        }
    }

    /// Waits for the end; the exit status, if it was not killed.
    pub fn ended(mut self) -> (Stopped, Option<i32>) {
        let stat = format!("/proc/{}/stat", self.pid());
        // While one of its threads is held, it has ended, but its status is kept back.
        wait_until("the server has ended", || {
            std::fs::read_to_string(&stat).is_ok_and(|stat| stat.contains(") Z "))
        });
        self.let_go();
        let status = self.child.wait().expect("the server has ended");
        (
            self.stopped.take().expect("it is taken once"),
            status.code(),
        )
    }

    /// Sends a signal and waits for the end; the exit status, if it was not killed.
    pub fn signal(mut self, signal: &str) -> (Stopped, Option<i32>) {
        self.send_signal(signal);
        let status = self.child.wait().expect("the server has ended");
        (
            self.stopped.take().expect("it is taken once"),
            status.code(),
        )
    }

    /// Sends a signal.
    pub fn send_signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.pid());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .expect("sh runs")
                .success()
        );
    }

    /// The resident memory of the server, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.stat("memory_bytes")
    }

    /// The peak of the resident memory of the server, in bytes.
    pub fn peak_memory_bytes(&self) -> u64 {
        self.figure_bytes("status", "VmHWM:")
    }

    /// The memory that a file of the system tells of the server under this name, in bytes.
    pub fn figure_bytes(&self, file: &str, name: &str) -> u64 {
        let figures = std::fs::read_to_string(format!("/proc/{}/{file}", self.pid()));
        let figures = figures.expect("the server runs");
        let line = figures.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib: Option<u64> = kib.and_then(|kib| kib.trim().parse().ok());
        kib.expect("Linux says so") << 10
    }

    /// A number of STATS.
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.client().ask_rows("STATS");
        let head = format!("STAT {name} ");
        let row = stats.iter().find_map(|row| row.strip_prefix(&head));
        row.and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("no number {name} in {stats:#?}"))
    }

    fn folder(&self) -> &Stopped {
        self.stopped
            .as_ref()
            .expect("a running server has its folder")
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if self.stopped.is_some() {
            let _ = self.child.kill();
            self.let_go();
            let _ = self.child.wait();
        }
    }
}

impl Stopped {
    /// An empty folder for a server with these flags.
    pub fn new(flags: &[&str]) -> Self {
        let dir = TempDir::new().expect("a folder for a test");
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let data = dir.path().join("data");
        Self {
            dir,
            data,
            flags,
            listen: "127.0.0.1:0".to_owned(),
            http: "127.0.0.1:0".to_owned(),
            setup: String::new(),
            tracer: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// A server on another's folder.
    pub fn at(mut self, data: &Path) -> Self {
        data.clone_into(&mut self.data);
        self
    }

    /// The text of a file in the data folder.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.data().join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The first journal without the marks that the clock may have written between its records.
    pub fn unmarked_journal(&self) -> String {
        self.read("journal-1.jsonl")
            .split_inclusive('\n')
            .filter(|line| !line.starts_with("{\"synced\""))
            .collect()
    }

    /// Puts a file into the data folder.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::create_dir_all(self.data()).expect("the data folder");
        std::fs::write(self.data().join(name), content).expect("a file in the data folder");
    }

    /// The names of the files in the data folder, but for the lock.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.data())
            .expect("the data folder")
            .map(|entry| {
                entry
                    .expect("a file")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .filter(|name| name != "lock")
            .collect();
        names.sort_unstable();
        names
    }

    /// The same folder, and a server one of whose calls of the system fails as `inject` says (`strace -e inject=...`).
    pub fn with_fault(self, inject: &str) -> Self {
        self.with_fault_on(inject, None)
    }

    /// The same folder, and a server that is held where it first reads one of its files, until it is let go: however fast it
    /// loads, a test has the time that it needs.
    pub fn held_at(self, name: &str) -> Self {
        self.with_fault_at("read,pread64:delay_enter=600000000", name)
    }

    /// As `with_fault`, for calls on this file of the data folder only.
    pub fn with_fault_at(self, inject: &str, name: &str) -> Self {
        let path = self.data().join(name);
        self.with_fault_on(inject, Some(&path))
    }

    fn with_fault_on(mut self, inject: &str, path: Option<&Path>) -> Self {
        self.tracer = if inject.is_empty() {
            Vec::new()
        } else {
            // -D: the process that is started is the server, and the tracer its child, so that a kill hits the right one.
            let only = path.map(|path| path.to_str().expect("the path is text"));
            let only = only.into_iter().flat_map(|path| ["-P", path]);
            let more = std::iter::once("-D").chain(only).map(str::to_owned);
            strace(inject).into_iter().chain(more).collect()
        };
        self
    }

    /// The same folder, and a server that the system allows so many open files.
    pub fn with_files(mut self, files: u32) -> Self {
        self.setup = format!("ulimit -n {files}; ");
        self
    }

    /// The same folder with other flags.
    pub fn with_flags(mut self, flags: &[&str]) -> Self {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self
    }

    /// The same folder, and a server that is given this environment variable.
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same folder on this address of the text port.
    pub fn on(mut self, addr: SocketAddr) -> Self {
        self.listen = addr.to_string();
        self
    }

    /// The same folder on this address of the HTTP port.
    pub fn http_on(mut self, addr: SocketAddr) -> Self {
        self.http = addr.to_string();
        self
    }

    /// What the server has said on standard error.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// A new server on the same folder.
    pub fn restart(self) -> TestServer {
        self.try_restart().unwrap_or_else(|stopped| {
            panic!("the server does not start; the log:\n{}", stopped.log())
        })
    }

    /// A new server on the same folder, or the folder if it does not start.
    pub fn try_restart(self) -> Result<TestServer, Box<Self>> {
        let mut child = self.spawn();
        let is_address = |flag: &&String| matches!(flag.as_str(), "--listen" | "--http");
        let count = 2 + self.flags.iter().filter(is_address).count();
        match announced(&mut child, count) {
            Some(announced) => {
                let (addr, http_addr) = address(&announced);
                Ok(TestServer {
                    child,
                    addr,
                    http_addr,
                    announced,
                    stopped: Some(self),
                    tracer: None,
                })
            }
            None => {
                let status = child.wait().expect("the server has ended");
                // It has said why and ended, or has been killed by a fault that was asked for.
                assert!(
                    matches!(status.code(), Some(1) | None),
                    "{status}\n{}",
                    self.log()
                );
                Err(Box::new(self))
            }
        }
    }

    /// A new server on the same folder, as soon as it listens: it may still be loading.
    pub fn start_loading(self) -> TestServer {
        let child = self.spawn();
        let pid = child.id();
        // From here on it is killed when it is dropped.
        let mut server = TestServer {
            child,
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            http_addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            announced: Vec::new(),
            stopped: Some(self),
            tracer: None,
        };
        wait_until("both ports are listened on", || {
            let found = listening(pid);
            if let [addr, http_addr] = found[..] {
                (server.addr, server.http_addr) = (addr, http_addr);
            }
            found.len() == 2
        });
        server.tracer = tracer_of(pid);
        server
    }

    /// A start that must fail: the exit status is 1, and this is what is said.
    pub fn start_fails(&self) -> String {
        let mut child = self.spawn();
        let mut said = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        stdout.read_line(&mut said).expect("the server writes text");
        if !said.is_empty() {
            child.kill().expect("the server can be killed");
        }
        let status = child.wait().expect("the server has ended");
        assert_eq!(said, "", "it starts; the log:\n{}", self.log());
        assert_eq!(status.code(), Some(1), "{}", self.log());
        self.log()
    }

    /// A start that is killed as `kill -9` does after this time, wherever it has come.
    pub fn start_killed_after(&self, time: Duration) {
        let mut child = self.spawn();
        std::thread::sleep(time);
        child.kill().expect("the server can be killed");
        child.wait().expect("the server has ended");
    }

    /// Keeps the folder, with the log beside the data, for somebody to look at.
    pub fn keep(self) -> PathBuf {
        self.dir.keep()
    }

    fn spawn(&self) -> Child {
        let log = std::fs::File::create(self.dir.path().join("log")).expect("a file for the log");
        // A write over the limit on the length of a file, which a test may set, shall fail and not kill.
        Command::new("sh")
            .args([
                "-c",
                &format!("{}trap '' XFSZ; exec \"$0\" \"$@\"", self.setup),
            ])
            .args(&self.tracer)
            .arg(env!("CARGO_BIN_EXE_pykv-server"))
            .args(["--listen", &self.listen, "--http", &self.http, "--data"])
            .arg(self.data())
            .args(&self.flags)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server starts")
    }
}

/// The lines in which a server says what it serves, so many, unless it ends before.
fn announced(child: &mut Child, count: usize) -> Option<Vec<String>> {
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let lines: Vec<String> = lines
        .take(count)
        .map(|line| line.expect("the server writes text"))
        .collect();
    (lines.len() == count).then_some(lines)
}

/// The first plain address of each interface.
fn address(announced: &[String]) -> (SocketAddr, SocketAddr) {
    let first = |head: &str| {
        let mut found = announced.iter().filter_map(|line| line.strip_prefix(head));
        let found = found.find_map(|address| address.parse().ok());
        found.unwrap_or_else(|| panic!("no {head:?} in {announced:?}"))
    };
    (first("pykv listening on "), first("pykv http on http://"))
}

/// Who traces a process.
fn tracer_of(pid: u32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let tracer = status
        .lines()
        .find_map(|line| line.strip_prefix("TracerPid:"))?;
    tracer.trim().parse().ok().filter(|tracer| *tracer != 0)
}

/// Where a process listens on 127.0.0.1, in the order in which it began to: what the system knows, as the server itself does
/// not say it before it has loaded its data.
fn listening(pid: u32) -> Vec<SocketAddr> {
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter();
    let mut sockets: Vec<(u32, PathBuf)> = files
        .flatten()
        .flatten()
        .filter_map(|file| {
            let number = file.file_name().to_str()?.parse().ok()?;
            Some((number, std::fs::read_link(file.path()).ok()?))
        })
        .collect();
    sockets.sort_unstable();
    let port_of = |socket: &Path| {
        table.lines().find_map(|line| {
            // Place, own address, the other's, state (0A: it listens), five more, the number of the socket.
            let words: Vec<&str> = line.split_whitespace().collect();
            let is_it =
                *words.get(3)? == "0A" && socket == Path::new(&format!("socket:[{}]", words[9]));
            let (_, port) = words[1].split_once(':')?;
            u16::from_str_radix(port, 16).ok().filter(|_| is_it)
        })
    };
    sockets
        .iter()
        .filter_map(|(_, socket)| port_of(socket))
        .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
        .collect()
}

/// A connection to the text port.
pub struct TestClient {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl TestClient {
    /// Connects.
    pub fn connect(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).expect("the server accepts"))
    }

    /// Connects, unless the server is no more.
    pub fn try_connect(addr: SocketAddr) -> Option<Self> {
        TcpStream::connect(addr).ok().map(Self::over)
    }

    fn over(stream: TcpStream) -> Self {
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a timeout above nought");
        stream.set_nodelay(true).expect("a socket option");
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        Self { stream, reader }
    }

    /// Sends a line.
    pub fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes());
    }

    /// Sends bytes.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends bytes, while another thread reads; for what is longer than the buffers of a socket.
    pub fn sender(&self) -> TcpStream {
        self.stream.try_clone().expect("a second handle")
    }

    /// The next line of replies, without its end.
    pub fn reply(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).expect("a reply");
        assert!(line.ends_with('\n'), "the connection ended after {line:?}");
        line.pop();
        line
    }

    /// The next line of replies without its end, or what there is of it when the connection ends.
    pub fn reply_or_end(&mut self) -> String {
        let mut line = String::new();
        let _ = self.reader.read_line(&mut line);
        line.trim_end().to_owned()
    }

    /// Sends bytes; nothing where the server is no more.
    pub fn try_send(&mut self, bytes: &[u8]) -> Option<()> {
        self.stream.write_all(bytes).ok()
    }

    /// The next line of replies without its end, or nothing where the connection ends before it does.
    pub fn try_reply(&mut self) -> Option<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line).ok()?;
        line.strip_suffix('\n').map(str::to_owned)
    }

    /// Sends a line; the reply to it, or nothing where the server is no more.
    pub fn try_ask(&mut self, line: &str) -> Option<String> {
        self.stream.write_all(format!("{line}\n").as_bytes()).ok()?;
        Some(self.reply_or_end()).filter(|reply| !reply.is_empty())
    }

    /// Sends a line; the reply to it.
    pub fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.reply()
    }

    /// Sends a line that is answered with rows; the rows, and END last.
    pub fn ask_rows(&mut self, line: &str) -> Vec<String> {
        self.send(line);
        self.rows()
    }

    /// Sends a line that is answered with an array of plain replies; those.
    pub fn ask_array(&mut self, line: &str) -> Vec<String> {
        let opening = self.ask(line);
        let count = opening.strip_prefix("ARRAY ").map(str::parse::<usize>);
        let Some(Ok(count)) = count else {
            panic!("{line} was answered with {opening}, which is no array");
        };
        (0..count).map(|_| self.reply()).collect()
    }

    /// Rows up to END or ERR.
    pub fn rows(&mut self) -> Vec<String> {
        let mut rows = Vec::new();
        loop {
            let row = self.reply();
            let is_last = row.starts_with("END ") || row.starts_with("ERR ");
            rows.push(row);
            if is_last {
                return rows;
            }
        }
    }

    /// Fails if there is a reply that nobody has asked for.
    pub fn expect_nothing_more(&mut self) {
        assert_eq!(self.ask("PING"), "PONG");
    }

    /// Ends the sending side.
    pub fn half_close(&mut self) {
        self.stream
            .shutdown(Shutdown::Write)
            .expect("an open socket");
    }

    /// All that comes until the server closes.
    pub fn rest(&mut self) -> String {
        String::from_utf8(self.rest_bytes()).expect("text")
    }

    /// All bytes that come until the server closes.
    pub fn rest_bytes(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.reader
            .read_to_end(&mut rest)
            .expect("the server closes in time");
        rest
    }
}

/// The words of a strace that lets calls of the system fail, or kills, as `inject` says.
pub fn strace(inject: &str) -> Vec<String> {
    let call = inject.split(':').next().unwrap_or_default();
    let (trace, inject) = (format!("trace={call}"), format!("inject={inject}"));
    let words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e"];
    let words = words.into_iter().chain([&*trace, "-e", &*inject]);
    words.map(str::to_owned).collect()
}

/// Waits until something holds, for as long as a reply may take.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether tests that need this program are to be skipped: `tests/run` names those that could not be installed.
pub fn is_skipped(program: &str) -> bool {
    let skipped = std::env::var("PYKV_TESTS_SKIP").unwrap_or_default();
    let is_skipped = skipped.split_whitespace().any(|name| name == program);
    if is_skipped {
        println!("skipped: {program} is missing");
    }
    is_skipped
}
