//! One process that is hurt: killed, stopped, woken, ended, and killed when it is dropped.
//!
//! In: a command, and a file for what it says. Out: its condition, and its log. It is signalled by its own id alone.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::wait::wait_for;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Running,
    Stopped,
    Ended,
}

/// The process.
pub struct Process {
    child: Child,
    condition: Condition,
    log: PathBuf,
}

impl Process {
    /// Starts it. What it says is added to the log.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file: File = file.expect("a file for the log");
        let second = file.try_clone().expect("a second handle");
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(second)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Self {
            child,
            condition: Condition::Running,
            log: log.to_owned(),
        }
    }

    /// What it does, as far as it was told: see [`Process::has_ended`].
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// Whether it has ended by itself; then with what.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child of this process")
    }

    /// Kills it as `kill -9` does, and waits for its end.
    pub fn kill(&mut self) {
        self.child.kill().expect("a process can be killed");
        self.child.wait().expect("the process has ended");
        self.condition = Condition::Ended;
    }

    /// Lets it do nothing; its connections stay.
    pub fn stop(&mut self) {
        self.signal("STOP");
        self.condition = Condition::Stopped;
    }

    /// Lets it go on after a stop.
    pub fn wake(&mut self) {
        self.signal("CONT");
        self.condition = Condition::Running;
    }

    /// Asks it to end, and waits until it has, with status 0.
    pub fn end(&mut self) {
        self.signal("TERM");
        let mut status = None;
        wait_for("a process ends after SIGTERM", || {
            status = self.has_ended();
            status.map(drop).ok_or_else(|| "it runs".to_owned())
        });
        self.condition = Condition::Ended;
        let code = status.and_then(|status| status.code());
        assert_eq!(
            code,
            Some(0),
            "exit status after SIGTERM\n{}",
            self.log_end()
        );
    }

    /// All that it has said.
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The last lines of what it has said.
    pub fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.is_ok_and(|status| status.success()), "{kill} fails");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
