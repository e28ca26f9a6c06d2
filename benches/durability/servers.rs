//! The servers: started, asked, watched, stopped.
//!
//! In: which one, how it shall keep its data, and where. Out: a running server that has loaded all it has, and its figures.
//! Promises: a server is killed when it is dropped, and only those that were started here are ever touched.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::load::{Outcome, Plan};
use crate::redis_flags::REDIS_EVERYSEC;
use crate::spawn::{self, Spawned};
use crate::wire::Dialect;
use crate::{Failure, Settings, process_memory};

/// How often a server that loads or saves is asked whether it has done so.
const ASK_INTERVAL: Duration = Duration::from_millis(5);

/// What is shorter than this is a lock, a list, or a journal without changes.
const KILOBYTE: u64 = 1024;

/// How changes are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    /// On the disk before the answer; the server shortens its journal when it thinks fit.
    Always,
    /// On the disk within a second. Redis never shortens it, so that no work of its own gets into what is measured; PyKV
    /// does when it outgrows the data, which cannot be turned off.
    EverySecond,
    /// Redis keeps none; PyKV is started so only where it has nothing in its journal.
    None,
}

/// A folder and the server that is to use it.
pub struct Place<'a> {
    settings: &'a Settings,
    dialect: Dialect,
    folder: TempDir,
}

impl<'a> Place<'a> {
    pub fn new(settings: &'a Settings, dialect: Dialect) -> Result<Self, Failure> {
        Ok(Self {
            settings,
            dialect,
            folder: tempfile::Builder::new()
                .prefix("durability-")
                .tempdir_in(&settings.dir)?,
        })
    }

    /// Starts the server, and waits until it has loaded what is there.
    pub fn start(&self, journal: Journal) -> Result<Server, Failure> {
        let mut command = if self.settings.pin {
            let mut command = Command::new("taskset");
            command.args(["-c", "0", self.dialect.program()]);
            command
        } else {
            Command::new(self.dialect.program())
        };
        let started = Instant::now();
        let (child, address, stdout) = match self.dialect {
            Dialect::Pykv => spawn_pykv(&mut command, self.folder.path(), journal)?,
            Dialect::Redis => spawn_redis(&mut command, self.folder.path(), journal)?,
        };
        let mut server = Server {
            dialect: self.dialect,
            child,
            address,
            start_time: Duration::ZERO,
            _stdout: stdout,
        };
        server.wait_until_loaded()?;
        server.start_time = started.elapsed();
        Ok(server)
    }

    /// The files in the folder, and how long they are; without those that are too short to hold pairs.
    pub fn files(&self) -> Result<Vec<(String, u64)>, Failure> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let data = entry.metadata()?;
                if data.is_dir() {
                    folders.push(entry.path());
                } else if data.len() > KILOBYTE {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    found.push((name, data.len()));
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

fn spawn_pykv(command: &mut Command, folder: &Path, journal: Journal) -> Result<Spawned, Failure> {
    let durability = match journal {
        Journal::Always => "always",
        Journal::EverySecond | Journal::None => "everysec",
    };
    spawn::pykv(command, folder, durability)
}

fn spawn_redis(command: &mut Command, folder: &Path, journal: Journal) -> Result<Spawned, Failure> {
    let flags: &[&str] = match journal {
        Journal::Always => &["--appendonly", "yes", "--appendfsync", "always"],
        Journal::EverySecond => REDIS_EVERYSEC,
        Journal::None => &["--appendonly", "no"],
    };
    spawn::redis(command, folder, flags)
}

/// A running server.
pub struct Server {
    pub dialect: Dialect,
    pub address: SocketAddr,
    /// From when it was called to when it answered for its data.
    pub start_time: Duration,
    child: Child,
    /// Kept open: a server that writes to it must not fail.
    _stdout: Option<BufReader<ChildStdout>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Asks until the server answers for its data: Redis takes connections before it has loaded them, and so may PyKV.
    fn wait_until_loaded(&mut self) -> Result<(), Failure> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{} ended: {status}", self.dialect.name()).into());
            }
            if let Ok(mut control) = Control::open(self) {
                let answer = control.ask(match self.dialect {
                    Dialect::Pykv => "COUNT",
                    Dialect::Redis => "PING",
                })?;
                if answer.starts_with("COUNT ") || answer == "+PONG" {
                    return Ok(());
                }
                if !answer.starts_with("ERR BUSY") && !answer.starts_with("-LOADING") {
                    return Err(format!("{} answered {answer}", self.dialect.name()).into());
                }
            }
            std::thread::sleep(ASK_INTERVAL);
        }
    }

    /// Fails unless the server says that it holds so many pairs, and gives some of them as they were written.
    pub fn check(&self, plan: &Plan) -> Result<Outcome, Failure> {
        let (question, answer) = match self.dialect {
            Dialect::Pykv => ("COUNT", format!("COUNT {}", plan.pairs)),
            Dialect::Redis => ("DBSIZE", format!(":{}", plan.pairs)),
        };
        let answered = Control::open(self)?.ask(question)?;
        if answered != answer {
            let name = self.dialect.name();
            return Err(format!("{name} answers {answered} where {answer} is right").into());
        }
        plan.check()
    }

    /// Writes all pairs to the disk beside the journal, and waits for the end.
    pub fn save(&self) -> Result<Saved, Failure> {
        let started = Instant::now();
        let mut control = Control::open(self)?;
        let expect = |answer: &str, wanted: &str| {
            if answer.starts_with(wanted) {
                Ok(())
            } else {
                let name = self.dialect.name();
                Err(Failure::from(format!("{name} cannot save: {answer}")))
            }
        };
        let child_bytes = match self.dialect {
            Dialect::Pykv => {
                expect(&control.ask("SAVE")?, "OK")?;
                0
            }
            Dialect::Redis => {
                expect(&control.ask("BGSAVE")?, "+Background saving started")?;
                while control.figure("rdb_bgsave_in_progress")? == "1" {
                    std::thread::sleep(ASK_INTERVAL);
                }
                expect(&control.figure("rdb_last_bgsave_status")?, "ok")?;
                control.figure("rdb_last_cow_size")?.parse()?
            }
        };
        Ok(Saved {
            time: started.elapsed(),
            child_bytes,
        })
    }

    /// A figure that changes when the server has shortened its journal.
    pub fn save_mark(&self) -> Result<String, Failure> {
        Control::open(self)?.figure(match self.dialect {
            Dialect::Pykv => "last_save_time",
            Dialect::Redis => "aof_rewrites",
        })
    }

    /// Bytes of memory that the server holds, without a child.
    pub fn memory(&self) -> u64 {
        process_memory::bytes(self.child.id(), "VmRSS:").unwrap_or_default()
    }

    /// Ends the server in order.
    pub fn stop(mut self) -> Result<(), Failure> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let status = self.child.wait()?;
        if !status.success() {
            return Err(format!("{} stopped with {status}", self.dialect.name()).into());
        }
        Ok(())
    }

    /// Ends the server as a crash does.
    pub fn kill(self) {
        drop(self);
    }
}

/// What a save took.
pub struct Saved {
    pub time: Duration,
    /// Memory that a child that saves no longer shared with its server when it ended, which is when it is most: Private_Dirty
    /// of /proc/PID/smaps_rollup, read by the child itself. To read it from here again and again would stop the child, and
    /// take a good part of the core of the load, as the system walks through all of its pages.
    pub child_bytes: u64,
}

/// A connection for a question now and then.
struct Control {
    stream: BufReader<TcpStream>,
    dialect: Dialect,
}

impl Control {
    fn open(server: &Server) -> Result<Self, Failure> {
        Ok(Self {
            stream: BufReader::new(TcpStream::connect(server.address)?),
            dialect: server.dialect,
        })
    }

    /// Sends a line (Redis takes commands so, too) and gives the whole reply.
    fn ask(&mut self, question: &str) -> Result<String, Failure> {
        let line = format!("{question}\r\n");
        self.stream.get_mut().write_all(line.as_bytes())?;
        let mut answer = self.line()?;
        if let Some(length) = answer.strip_prefix('$') {
            let mut text = vec![0; length.parse::<usize>()? + 2];
            self.stream.read_exact(&mut text)?;
            return Ok(String::from_utf8(text)?);
        }
        while answer.starts_with("STAT ") && !answer.contains("\nEND ") {
            answer = format!("{answer}\n{}", self.line()?);
        }
        Ok(answer)
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(format!("{} has closed a connection", self.dialect.name()).into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// One of the figures that the server gives of itself.
    fn figure(&mut self, name: &str) -> Result<String, Failure> {
        let (question, start) = match self.dialect {
            Dialect::Pykv => ("STATS", format!("STAT {name} ")),
            Dialect::Redis => ("INFO persistence", format!("{name}:")),
        };
        let answer = self.ask(question)?;
        let figure = answer.lines().find_map(|line| line.strip_prefix(&start));
        figure
            .map(|figure| figure.trim().to_owned())
            .ok_or_else(|| format!("{} says no {name}", self.dialect.name()).into())
    }
}

/// Puts this process on core 1, with the threads that it will start.
pub fn pin_load() -> Result<(), Failure> {
    let pid = std::process::id().to_string();
    let output = Command::new("taskset").args(["-acp", "1", &pid]).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("--pin needs taskset and two cores: {}", said.trim()).into());
    }
    Ok(())
}

/// Lets the system write what it holds back, so that the writes of one server do not slow the other.
pub fn settle() -> Result<(), Failure> {
    Command::new("sync").status()?;
    Ok(())
}

/// How long the disk under a folder takes to keep a small write, at the median.
pub fn disk_sync_time(folder: &Path) -> Result<Duration, Failure> {
    const TRIES: usize = 200;
    let path: PathBuf = folder.join("durability-sync");
    let mut file = fs::File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..TRIES {
        let started = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(started.elapsed());
    }
    fs::remove_file(&path)?;
    times.sort_unstable();
    Ok(times[TRIES / 2])
}
