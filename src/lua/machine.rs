//! A machine that executes scripts, one after the other.
//!
//! In: compiled scripts, and a host. Out: what they return. Promises: a script that has been compiled here is not compiled again; the host
//! can end a script between any two instructions of its own, though not within one function of Lua's library.

use std::borrow::Cow;
use std::cell::Cell;
use std::ffi::c_int;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use ahash::AHashMap;
use mlua::state::{GcIncParams, GcMode};
use mlua::{Function, HookTriggers, Lua, LuaOptions, LuaString, StdLib, Table, Value, VmState};

use super::host::{Failure, Host};
use super::limits::{Limits, MEMORY_BYTES_MAX};
use super::requests::{self, CHUNK};
use super::returned::{self, Returned};
use super::{json, libraries};

/// Memory from which on a machine is not kept for the next script.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// Maximum number of compiled scripts of a machine; beyond it, all are compiled again when they are needed.
const COMPILED_MAX: usize = 500;
/// Memory at which the next collection of garbage begins, in percent of what the last one has left: short scripts leave little, and
/// each collection looks at the whole sandbox.
const GC_PAUSE_PERCENT: c_int = 400;
/// Number of instructions between two looks at the clock.
const INSTRUCTIONS_PER_LOOK: u32 = 10_000;

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

/// A machine that executes scripts.
#[derive(Debug)]
pub struct Machine {
    lua: Lua,
    environment: Table,
    /// Executes a compiled script.
    execute: Function,
    /// Tables of the keys and of the other arguments, which are filled for each script.
    words: [Table; 2],
    limits: Rc<Limits>,
    compiled: AHashMap<Box<str>, Function>,
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
        let limits = Rc::new(Limits::default());
        let natives = libraries::table(&lua, version)?;
        natives.raw_set("redis", requests::table(&lua, &limits, &state)?)?;
        let sandbox = lua.load(include_str!("sandbox.lua")).set_name("=sandbox");
        let (environment, execute): (Table, Function) = sandbox.call((natives, &state))?;
        let (looked_at, shown) = (Rc::clone(&limits), state);
        let triggers = HookTriggers::new().every_nth_instruction(INSTRUCTIONS_PER_LOOK);
        lua.set_global_hook(triggers, move |_, _| match looked_at.reason_to_stop() {
            None => Ok(VmState::Continue),
            Some(stop) => Err(looked_at.stop(&shown, stop)),
        })?;
        Ok(Self {
            environment,
            execute,
            words: [lua.create_table()?, lua.create_table()?],
            lua,
            limits,
            compiled: AHashMap::new(),
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
        self.limits.begin(until, killed);
        self.lua.remove_app_data::<json::Settings>();
        let executed = requests::with_host(host, || {
            let [keys, arguments] = &self.words;
            fill(&self.lua, keys, words.keys)?;
            fill(&self.lua, arguments, words.arguments)?;
            // From here on: Lua's library checks what it makes one by one, at twice the time, where there is a limit.
            self.lua.set_memory_limit(MEMORY_BYTES_MAX)?;
            let done: (bool, Value) = self.execute.call((function, keys, arguments))?;
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
        if let Some(stop) = self.limits.stopped() {
            return Err(Failure::Stopped(stop));
        }
        executed.unwrap_or_else(|error: mlua::Error| Err(raised_text(&error.to_string())))
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

/// Replaces what a table holds, and what the script before has made of it, by words.
fn fill(lua: &Lua, table: &Table, words: &[Cow<'_, [u8]>]) -> mlua::Result<()> {
    table.set_metatable(None)?;
    table.clear()?;
    for word in words {
        // Text goes there at once; for other strings Lua's library keeps a reference until then.
        match std::str::from_utf8(word) {
            Ok(text) => table.raw_push(text)?,
            Err(_) => table.raw_push(lua.create_string(word)?)?,
        }
    }
    Ok(())
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
