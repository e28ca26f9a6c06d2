//! The functions of a script that ask its host.
//!
//! In: the words of a command, or a line for the log. Out: the reply, as Lua's value. Promises: what the host makes of a request does not
//! count as memory of the script.

use std::borrow::Cow;
use std::rc::Rc;

use mlua::{BorrowedBytes, Function, IntoLuaMulti, Lua, MultiValue, Table, Value};
use smallvec::SmallVec;

use super::host::Host;
use super::limits::{Limits, Unlimited};
use super::{reply, text};

/// Memory for a reply, which grows for those that are longer.
const REPLY_BYTES_EXPECTED: usize = 128;
/// Name of the chunk of every script, in error messages.
pub const CHUNK: &str = "@user_script";

scoped_tls_hkt::scoped_thread_local!(
    /// Host of the script that this thread executes.
    static mut HOST: for<'a> &'a mut (dyn Host + 'a)
);

/// Returns the functions by name. `call` and `pcall` return a reply; of the others, true and the result, or false and why there is none.
pub fn table(lua: &Lua, limits: &Rc<Limits>, state: &Table) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("call", function(lua, limits, state, call)?)?;
    table.raw_set("pcall", function(lua, limits, state, pcall)?)?;
    table.raw_set("log", function(lua, limits, state, log)?)?;
    table.raw_set("setresp", function(lua, limits, state, set_resp)?)?;
    table.raw_set("acl_check_cmd", function(lua, limits, state, permits)?)?;
    table.raw_set("position", lua.create_function(position)?)?;
    Ok(table)
}

/// What the functions that ask the host know.
struct Asked<'a> {
    lua: &'a Lua,
    host: &'a mut dyn Host,
    limits: &'a Limits,
    state: &'a Table,
}

/// Calls `work`, during which the functions of scripts ask this host.
pub fn with_host<R>(host: &mut dyn Host, work: impl FnOnce() -> R) -> R {
    HOST.set(host, work)
}

/// Makes a function of scripts, which asks the host.
fn function<R: IntoLuaMulti + 'static>(
    lua: &Lua,
    limits: &Rc<Limits>,
    state: &Table,
    work: fn(&mut Asked<'_>, &MultiValue) -> mlua::Result<R>,
) -> mlua::Result<Function> {
    let (limits, state) = (Rc::clone(limits), state.clone());
    lua.create_function(move |lua, words: MultiValue| {
        let _unlimited = Unlimited::begin(lua);
        HOST.with(|host| {
            let mut asked = Asked {
                lua,
                host,
                limits: &limits,
                state: &state,
            };
            work(&mut asked, &words)
        })
    })
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
fn executed(asked: &mut Asked<'_>, values: &MultiValue) -> mlua::Result<(bool, Value)> {
    let (lua, limits, state) = (asked.lua, asked.limits, asked.state);
    if limits.stopped().is_some() {
        return Err(mlua::Error::runtime("stopped"));
    }
    let refused = |text: &str| -> mlua::Result<(bool, Value)> {
        let error = lua.create_table_from([("err", format!("ERR {text}"))])?;
        Ok((false, Value::Table(error)))
    };
    if values.is_empty() {
        return refused("Please specify at least one argument for this redis.call() call");
    }
    let mut answer = Vec::with_capacity(REPLY_BYTES_EXPECTED);
    let called = with_words(values, |words| asked.host.call(words, &mut answer));
    match called {
        None => refused("Lua redis lib command arguments must be strings or integers"),
        Some(Err(stop)) => Err(limits.stop(state, stop)),
        Some(Ok(())) => Ok((answer.first() != Some(&b'-'), reply::parse(lua, &answer)?)),
    }
}

/// Executes a command. Returns its reply.
///
/// # Errors
/// The error that it has answered, by way of the sandbox.
fn call(asked: &mut Asked<'_>, values: &MultiValue) -> mlua::Result<Value> {
    let (lua, state) = (asked.lua, asked.state);
    match executed(asked, values)? {
        (true, reply) => Ok(reply),
        (false, error) => Err(raise(lua, state, &error)),
    }
}

/// Executes a command. Returns its reply, or the error that it has answered.
fn pcall(asked: &mut Asked<'_>, values: &MultiValue) -> mlua::Result<Value> {
    executed(asked, values).map(|(_, reply)| reply)
}

/// Sets the conversion of replies. Returns whether it could be done, and else why.
fn set_resp(asked: &mut Asked<'_>, values: &MultiValue) -> mlua::Result<(bool, Value)> {
    let refused = match (values.len(), values.front().and_then(Value::as_integer)) {
        (1, Some(version @ 2..=3)) => {
            asked.host.set_resp3(version == 3);
            return Ok((true, Value::Nil));
        }
        (1, _) => "RESP version must be 2 or 3.",
        _ => "redis.setresp() requires one argument.",
    };
    Ok((false, Value::String(asked.lua.create_string(refused)?)))
}

/// Writes to the log. Returns whether it could be done, and else why.
fn log(asked: &mut Asked<'_>, values: &MultiValue) -> mlua::Result<(bool, Value)> {
    let mut values = values.iter();
    let level = values.next().and_then(Value::as_integer);
    let refused = match level {
        None => "First argument must be a number (log level).",
        Some(level) if (0..=3).contains(&level) => {
            let parts: Vec<String> = values.filter_map(|value| value.to_string().ok()).collect();
            asked.host.log(level, parts.join(" ").as_bytes());
            return Ok((true, Value::Nil));
        }
        Some(_) => "Invalid log level.",
    };
    Ok((false, Value::String(asked.lua.create_string(refused)?)))
}

/// Returns whether the user may execute a command; or false, and why that cannot be said.
fn permits(asked: &mut Asked<'_>, values: &MultiValue) -> mlua::Result<(bool, Value)> {
    let permitted = if values.is_empty() {
        Some(Err(
            "Please specify at least one argument for this redis.acl_check_cmd() call".to_owned(),
        ))
    } else {
        with_words(values, |words| asked.host.permits(words))
    };
    Ok(match permitted {
        Some(Ok(permits)) => (true, Value::Boolean(permits)),
        Some(Err(text)) => (false, Value::String(asked.lua.create_string(text)?)),
        None => {
            let text = "redis.acl_check_cmd() require all arguments to be strings or integers";
            (false, Value::String(asked.lua.create_string(text)?))
        }
    })
}
