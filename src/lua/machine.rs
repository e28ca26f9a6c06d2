//! A machine that executes scripts, one after the other.
//!
//! In: compiled scripts, and a host. Out: what they return. Promises: a script that has been compiled here is not compiled again; the host
//! can end a script between any two instructions of its own, though not within one function of Lua's library.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::c_int;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use mlua::state::{GcIncParams, GcMode};
use mlua::{
    BorrowedBytes, Function, HookTriggers, Lua, LuaOptions, LuaString, MultiValue, StdLib, Table,
    Value, VmState,
};
use smallvec::SmallVec;

use super::host::{Failure, Host, Stop};
use super::returned::{self, Returned};
use super::{json, libraries, reply, text};

/// Maximum memory of a machine in bytes, with what the script in it has made.
pub const MEMORY_BYTES_MAX: usize = 64 << 20;
/// Memory from which on a machine is not kept for the next script.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// Maximum number of compiled scripts of a machine; beyond it, all are compiled again when they are needed.
const COMPILED_MAX: usize = 500;
/// Memory at which the next collection of garbage begins, in percent of what the last one has left: short scripts leave little, and
/// each collection looks at the whole sandbox.
const GC_PAUSE_PERCENT: c_int = 400;
/// Number of instructions between two looks at the clock.
const INSTRUCTIONS_PER_LOOK: u32 = 10_000;
/// Name of the chunk of every script, in error messages.
const CHUNK: &str = "@user_script";

/// Work of the host, whose memory is bounded by what it passes on, until it is dropped.
struct Unlimited<'a>(&'a Lua);

impl<'a> Unlimited<'a> {
    fn begin(lua: &'a Lua) -> Self {
        let _ = lua.set_memory_limit(0);
        Self(lua)
    }
}

impl Drop for Unlimited<'_> {
    fn drop(&mut self) {
        let _ = self.0.set_memory_limit(MEMORY_BYTES_MAX);
    }
}

/// A script, by the name that its text has: its SHA-1.
#[derive(Debug, Clone, Copy)]
pub struct Script<'a> {
    /// Name.
    pub sha1: &'a str,
    /// Text, without a line that names its language.
    pub text: &'a [u8],
}

/// Keys and other arguments of a script.
#[derive(Debug, Clone, Copy)]
pub struct Words<'a> {
    /// Keys.
    pub keys: &'a [Cow<'a, [u8]>],
    /// Other arguments.
    pub arguments: &'a [Cow<'a, [u8]>],
}

/// What ends a script.
#[derive(Debug, Default)]
struct Limits {
    /// Time at which it ends.
    until: Cell<Option<Instant>>,
    /// True if it has been killed.
    killed: RefCell<Option<Arc<AtomicBool>>>,
    /// Why it ends, once it has to.
    stopped: Cell<Option<Stop>>,
    /// True if replies are converted as of RESP3.
    is_resp3: Cell<bool>,
}

impl Limits {
    fn look(&self) -> Option<Stop> {
        let killed = self.killed.borrow();
        if killed
            .as_ref()
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
        {
            return Some(Stop::Killed);
        }
        let until = self.until.get();
        until
            .filter(|until| Instant::now() > *until)
            .map(|_| Stop::TimeOver)
    }
}

/// A machine that executes scripts.
#[derive(Debug)]
pub struct Machine {
    lua: Lua,
    environment: Table,
    /// Executes a compiled script.
    execute: Function,
    /// State that the sandbox knows of.
    state: Table,
    /// Tables of the keys and of the other arguments, which are filled for each script.
    words: [Table; 2],
    limits: Rc<Limits>,
    compiled: HashMap<Box<str>, Function>,
}

thread_local! {
    static SPARE: Cell<Option<Machine>> = const { Cell::new(None) };
}

impl Machine {
    /// Calls `work` with a machine of this thread.
    ///
    /// # Errors
    /// The error of Lua, if no machine can be made.
    pub fn with<R>(version: &str, work: impl FnOnce(&mut Self) -> R) -> Result<R, String> {
        let spare = SPARE.with(Cell::take);
        let mut machine = match spare {
            Some(machine) => machine,
            None => Self::new(version).map_err(|error| error.to_string())?,
        };
        let result = work(&mut machine);
        if machine.lua.used_memory() <= KEPT_BYTES_MAX {
            SPARE.with(|spare| spare.set(Some(machine)));
        }
        Ok(result)
    }

    fn new(version: &str) -> mlua::Result<Self> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH;
        let lua = Lua::new_with(libraries, LuaOptions::new())?;
        lua.gc_set_mode(GcMode::Incremental(
            GcIncParams::default().pause(GC_PAUSE_PERCENT),
        ));
        let state = lua.create_table()?;
        let natives = libraries::table(&lua, version)?;
        natives.raw_set("position", lua.create_function(position)?)?;
        let sandbox = lua.load(include_str!("sandbox.lua")).set_name("=sandbox");
        let (environment, execute): (Table, Function) = sandbox.call((natives, &state))?;
        let limits = Rc::new(Limits::default());
        let (looked_at, shown) = (Rc::clone(&limits), state.clone());
        let triggers = HookTriggers::new().every_nth_instruction(INSTRUCTIONS_PER_LOOK);
        lua.set_global_hook(triggers, move |_, _| {
            match looked_at.stopped.get().or_else(|| looked_at.look()) {
                None => Ok(VmState::Continue),
                Some(stop) => Err(stopped(&looked_at, &shown, stop)),
            }
        })?;
        Ok(Self {
            environment,
            execute,
            words: [lua.create_table()?, lua.create_table()?],
            lua,
            state,
            limits,
            compiled: HashMap::new(),
        })
    }

    /// Compiles a script, unless this machine has it.
    ///
    /// # Errors
    /// [`Failure::Syntax`].
    fn compile(&mut self, script: Script<'_>) -> Result<Function, Failure> {
        if let Some(function) = self.compiled.get(script.sha1) {
            return Ok(function.clone());
        }
        let function = compile(&self.lua, script.text, &self.environment)?;
        if self.compiled.len() >= COMPILED_MAX {
            self.compiled.clear();
        }
        self.compiled.insert(script.sha1.into(), function.clone());
        Ok(function)
    }

    /// Compiles a script without executing it.
    ///
    /// # Errors
    /// [`Failure::Syntax`].
    pub fn check(&mut self, script: Script<'_>) -> Result<(), Failure> {
        self.compile(script).map(drop)
    }

    /// Executes a script.
    ///
    /// # Errors
    /// Why it has not returned anything.
    pub fn execute(
        &mut self,
        script: Script<'_>,
        words: Words<'_>,
        (until, killed): (Option<Instant>, Option<Arc<AtomicBool>>),
        host: &mut dyn Host,
    ) -> Result<Returned, Failure> {
        let function = self.compile(script)?;
        self.limits.until.set(until);
        self.limits.killed.replace(killed);
        self.limits.stopped.set(None);
        self.limits.is_resp3.set(false);
        self.lua.remove_app_data::<json::Settings>();
        let (limits, state) = (&*self.limits, &self.state);
        let host = RefCell::new(host);
        let executed = self.lua.scope(|scope| {
            let direct = scope.create_function(|lua, words: MultiValue| {
                let _unlimited = Unlimited::begin(lua);
                let mut host = host.borrow_mut();
                let (is_done, value) = call(lua, &mut **host, (limits, state), &words)?;
                if is_done {
                    Ok(value)
                } else {
                    Err(raise(lua, state, &value))
                }
            })?;
            let serve = scope.create_function(|lua, (what, words): (LuaString, MultiValue)| {
                let _unlimited = Unlimited::begin(lua);
                let mut host = host.borrow_mut();
                match &*what.as_bytes() {
                    b"call" => call(lua, &mut **host, (limits, state), &words),
                    b"log" => log(lua, &mut **host, &words),
                    b"setresp" => set_resp(lua, limits, &words),
                    _ => permits(lua, &mut **host, &words),
                }
            })?;
            let [keys, arguments] = &self.words;
            fill(&self.lua, keys, words.keys)?;
            fill(&self.lua, arguments, words.arguments)?;
            // From here on: Lua's library checks what it makes one by one, at twice the time, where there is a limit.
            self.lua.set_memory_limit(MEMORY_BYTES_MAX)?;
            let done: (bool, Value) = self
                .execute
                .call((direct, serve, function, keys, arguments))?;
            Ok(match done {
                (true, value) => returned::of(&value).map_err(|error| raised_text(&error)),
                (false, error) => Err(raised(&error)),
            })
        });
        let _ = self.lua.set_memory_limit(0);
        if self.lua.used_memory() > KEPT_BYTES_MAX {
            // Lua looks for what is unused only once there is twice as much, which may be over the limit.
            let _ = self.lua.gc_collect();
        }
        // Whatever it has made of it.
        if let Some(stop) = self.limits.stopped.get() {
            return Err(Failure::Stopped(stop));
        }
        executed.unwrap_or_else(|error| Err(raised_text(&error.to_string())))
    }
}

fn compile(lua: &Lua, text: &[u8], environment: &Table) -> Result<Function, Failure> {
    if text.first() == Some(&0x1b) {
        return Err(Failure::Syntax("compiled code is not loaded".to_owned()));
    }
    let chunk = lua
        .load(text)
        .set_name(CHUNK)
        .set_environment(environment.clone());
    chunk.into_function().map_err(|error| match error {
        mlua::Error::SyntaxError { message, .. } => Failure::Syntax(message),
        error => Failure::Syntax(error.to_string()),
    })
}

/// Notes why a script ends. Returns the error that ends it.
fn stopped(limits: &Limits, state: &Table, stop: Stop) -> mlua::Error {
    limits.stopped.set(Some(stop));
    match state.raw_set("stopped", true) {
        Ok(()) => mlua::Error::runtime("stopped"),
        Err(error) => error,
    }
}

/// Replaces what a table holds, and what the script before has made of it, by words.
fn fill(lua: &Lua, table: &Table, words: &[Cow<'_, [u8]>]) -> mlua::Result<()> {
    table.set_metatable(None)?;
    table.clear()?;
    for word in words {
        table.raw_push(lua.create_string(word)?)?;
    }
    Ok(())
}

/// Returns the name of the chunk and the line of the script that is being executed.
fn position(lua: &Lua, (): ()) -> mlua::Result<(Option<String>, Option<usize>)> {
    const LEVELS_MAX: usize = 20;
    for level in 0..LEVELS_MAX {
        let found = lua.inspect_stack(level, |debug| {
            let source = debug.source().source.map(Cow::into_owned);
            source
                .filter(|source| source == CHUNK)
                .zip(debug.current_line())
        });
        match found {
            None => break,
            Some(None) => {}
            Some(Some((source, line))) => return Ok((Some(source), Some(line))),
        }
    }
    Ok((None, None))
}

/// Returns the failure for a raised value: the sandbox has made a table of it.
fn raised(error: &Value) -> Failure {
    let Value::Table(table) = error else {
        // The only error that Lua raises past the sandbox.
        return raised_text("not enough memory");
    };
    let text: Option<LuaString> = table.raw_get("err").ok();
    let line: Option<usize> = table.raw_get("line").ok().flatten();
    let source: Option<String> = table.raw_get("source").ok().flatten();
    let text = text.map_or_else(
        || b"ERR unknown error".to_vec(),
        |text| text.as_bytes().to_vec(),
    );
    Failure::Raised {
        error: text,
        place: source
            .zip(line)
            .map(|(source, line)| format!("{source}:{line}")),
    }
}

fn raised_text(text: &str) -> Failure {
    Failure::Raised {
        error: format!("ERR {text}").into_bytes(),
        place: None,
    }
}

/// Leaves the error of a command behind for the sandbox. Returns the error that leads there.
fn raise(lua: &Lua, state: &Table, reply: &Value) -> mlua::Error {
    let left = || -> mlua::Result<()> {
        if let Value::Table(reply) = reply {
            let (source, line) = position(lua, ())?;
            reply.raw_set("source", source)?;
            reply.raw_set("line", line)?;
            reply.raw_set("ignore_error_stats_update", true)?;
        }
        state.raw_set("raised", reply)
    };
    match left() {
        Ok(()) => mlua::Error::runtime("raised"),
        Err(error) => error,
    }
}

/// A word of a command, as Lua has it.
enum Word {
    Text(BorrowedBytes),
    Number(String),
}

/// Passes the words of a command to `work`; `None` if one of them is neither a string nor a number.
fn with_words<R>(values: &MultiValue, work: impl FnOnce(&[Cow<'_, [u8]>]) -> R) -> Option<R> {
    let mut words: SmallVec<[Word; 6]> = SmallVec::with_capacity(values.len());
    for value in values {
        words.push(match value {
            Value::String(text) => Word::Text(text.as_bytes()),
            Value::Integer(number) => Word::Number(number.to_string()),
            Value::Number(number) => Word::Number(text::of_number(*number, 17)),
            _ => return None,
        });
    }
    let words = words.iter().map(|word| match word {
        Word::Text(bytes) => Cow::Borrowed(&**bytes),
        Word::Number(digits) => Cow::Borrowed(digits.as_bytes()),
    });
    let words: SmallVec<[Cow<'_, [u8]>; 6]> = words.collect();
    Some(work(&words))
}

/// Executes a command. Returns its reply, and whether that is no error.
fn call(
    lua: &Lua,
    host: &mut dyn Host,
    (limits, state): (&Limits, &Table),
    values: &MultiValue,
) -> mlua::Result<(bool, Value)> {
    if limits.stopped.get().is_some() {
        return Err(mlua::Error::runtime("stopped"));
    }
    let refused = |text: &str| -> mlua::Result<(bool, Value)> {
        let error = lua.create_table_from([("err", format!("ERR {text}"))])?;
        Ok((false, Value::Table(error)))
    };
    if values.is_empty() {
        return refused("Please specify at least one argument for this redis.call() call");
    }
    let is_resp3 = limits.is_resp3.get();
    let mut answer = Vec::new();
    let called = with_words(values, |words| host.call(words, is_resp3, &mut answer));
    match called {
        None => refused("Lua redis lib command arguments must be strings or integers"),
        Some(Err(stop)) => Err(stopped(limits, state, stop)),
        Some(Ok(())) => Ok((answer.first() != Some(&b'-'), reply::parse(lua, &answer)?)),
    }
}

/// Sets the conversion of replies. Returns whether it could be done, and else why.
fn set_resp(lua: &Lua, limits: &Limits, values: &MultiValue) -> mlua::Result<(bool, Value)> {
    let refused = match (values.len(), values.front().and_then(Value::as_integer)) {
        (1, Some(version @ 2..=3)) => {
            limits.is_resp3.set(version == 3);
            return Ok((true, Value::Nil));
        }
        (1, _) => "RESP version must be 2 or 3.",
        _ => "redis.setresp() requires one argument.",
    };
    Ok((false, Value::String(lua.create_string(refused)?)))
}

/// Writes to the log. Returns whether it could be done, and else why.
fn log(lua: &Lua, host: &mut dyn Host, values: &MultiValue) -> mlua::Result<(bool, Value)> {
    let mut values = values.iter();
    let level = values.next().and_then(Value::as_integer);
    let refused = match level {
        None => "First argument must be a number (log level).",
        Some(level) if (0..=3).contains(&level) => {
            let parts: Vec<String> = values.filter_map(|value| value.to_string().ok()).collect();
            host.log(level, parts.join(" ").as_bytes());
            return Ok((true, Value::Nil));
        }
        Some(_) => "Invalid log level.",
    };
    Ok((false, Value::String(lua.create_string(refused)?)))
}

/// Returns whether the user may execute a command; or false, and why that cannot be said.
fn permits(lua: &Lua, host: &mut dyn Host, values: &MultiValue) -> mlua::Result<(bool, Value)> {
    let permitted = if values.is_empty() {
        Some(Err(
            "Please specify at least one argument for this redis.acl_check_cmd() call".to_owned(),
        ))
    } else {
        with_words(values, |words| host.permits(words))
    };
    Ok(match permitted {
        Some(Ok(permits)) => (true, Value::Boolean(permits)),
        Some(Err(text)) => (false, Value::String(lua.create_string(text)?)),
        None => {
            let text = "redis.acl_check_cmd() require all arguments to be strings or integers";
            (false, Value::String(lua.create_string(text)?))
        }
    })
}
