-- The sandbox of scripts: what they see in place of Lua's globals.
--
-- In: functions in Rust, by library, and the state of the script that is running. Out: what executes a script, and its environment.
-- Promises: nothing that is here can be changed by a script; a script that has to end does so, whatever it catches.

local native, state = ...
local assert, error, getmetatable, ipairs, loadstring, next, pairs = assert, error, getmetatable, ipairs, loadstring, next, pairs
local pcall, rawget, rawset, select, setfenv, setmetatable, tostring, type, xpcall = pcall, rawget, rawset, select, setfenv, setmetatable, tostring, type, xpcall
local resume, create, concat = coroutine.resume, coroutine.create, table.concat

-- A native function that fails returns false and why. The error of a script tells the line of the script.
local function lifted(execute)
  local function results(ok, ...)
    if ok then return ... end
    local source, line = native.redis.position()
    local place = source and source:sub(2) .. ':' .. line .. ': ' or ''
    error(place .. tostring((...)), 0)
  end
  return function(...) return results(execute(...)) end
end

-- What has been raised: the error of a command is a table, which Rust has left behind.
local function error_of(raised)
  local reply = state.raised
  if reply == nil or type(raised) ~= 'userdata' then return raised end
  state.raised = nil
  return reply
end

-- Ends a script that must not go on: passed by all that catches an error.
local function checked(ok, ...)
  if state.stopped then error('stopped', 0) end
  if ok then return ok, ... end
  return ok, error_of((...))
end

local protected = setmetatable({}, {__mode = 'k'})
local function readonly() error('Attempt to modify a readonly table', 2) end
local function protect(content)
  local shown = setmetatable({}, {__index = content, __newindex = readonly, __metatable = false})
  protected[shown] = true
  return shown
end

local function library(functions)
  local lib = {}
  for name, execute in pairs(functions) do lib[name] = lifted(execute) end
  return lib
end

local globals, environment = {}, nil
setmetatable(globals, {__index = function(_, name)
  error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end})
environment = protect(globals)

for _, name in ipairs {'_VERSION', 'assert', 'error', 'getmetatable', 'ipairs', 'next', 'pairs', 'rawequal', 'rawget', 'select',
                       'setmetatable', 'tonumber', 'tostring', 'type', 'unpack'} do
  globals[name] = _G[name]
end
globals._G = environment
globals.pcall = function(...) return checked(pcall(...)) end
-- The handler is called when the stack is unwound: one that Lua calls by itself, after a script's time is over, could not be ended.
local function handled(handler, ok, ...)
  if ok then return true, ... end
  return false, handler(...)
end
globals.xpcall = function(f, handler) return handled(handler, checked(pcall(f))) end
globals.rawset = function(t, name, value)
  if protected[t] then readonly() end
  return rawset(t, name, value)
end
-- Compiled code is not checked by Lua when it is loaded: it could do anything.
globals.loadstring = function(text, name)
  text = tostring(text)
  if text:sub(1, 1) == '\27' then return nil, 'compiled code is not loaded' end
  local chunk, why = loadstring(text, name)
  if not chunk then return nil, why end
  return setfenv(chunk, environment)
end
globals.load = function(part, name)
  local parts = {}
  for piece in part do
    if piece == '' then break end
    parts[#parts + 1] = piece
  end
  return globals.loadstring(concat(parts), name)
end
globals.collectgarbage = function(what)
  if what == 'count' then return collectgarbage('count') end
  return 0
end

local function copy(from, without)
  local to = {}
  for name, value in pairs(from) do
    if name ~= without then to[name] = value end
  end
  return to
end
globals.string = protect(copy(string, 'dump'))
getmetatable('').__index = globals.string
getmetatable('').__metatable = false
globals.table = protect(copy(table))
local math = copy(math)
math.random = lifted(native.random)
math.randomseed = lifted(native.randomseed)
globals.math = protect(math)
local routines = copy(coroutine)
routines.resume = function(...) return checked(resume(...)) end
routines.wrap = function(f)
  local routine = create(f)
  local function results(ok, ...)
    if ok then return ... end
    error((...), 0)
  end
  return function(...) return results(checked(resume(routine, ...))) end
end
globals.coroutine = protect(routines)

globals.bit = protect(library(native.bit))
local cjson = library(native.cjson)
cjson.null = native.null
cjson.new = function() return globals.cjson end
cjson._NAME, cjson._VERSION = 'cjson', '2.1.0'
globals.cjson = protect(cjson)
local cmsgpack = library(native.cmsgpack)
cmsgpack._NAME, cmsgpack._VERSION = 'cmsgpack', 'lua-cmsgpack 0.4.0'
globals.cmsgpack = protect(cmsgpack)
globals.struct = protect(library(native.struct))

local redis = {
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
  REDIS_VERSION = native.version, REDIS_VERSION_NUM = native.version_number,
}
redis.call, redis.pcall = native.redis.call, native.redis.pcall
redis.log, redis.acl_check_cmd, redis.setresp = lifted(native.redis.log), lifted(native.redis.acl_check_cmd), lifted(native.redis.setresp)
redis.sha1hex = lifted(native.sha1hex)
redis.error_reply = function(...)
  local text = ...
  if select('#', ...) ~= 1 or type(text) ~= 'string' then text = 'ERR wrong number or type of arguments' end
  if text:sub(1, 1) == '-' then text = text:sub(2) end
  if not text:find(' ', 1, true) then text = 'ERR ' .. text end
  return {err = (text:gsub('[\r\n]+$', ''))}
end
redis.status_reply = function(...)
  local text = ...
  if select('#', ...) ~= 1 or type(text) ~= 'string' then return {err = 'ERR wrong number or type of arguments'} end
  return {ok = text}
end
-- All changes of a script are one record, so that there is nothing to choose.
redis.replicate_commands = function() return true end
redis.set_repl = function() end
redis.breakpoint = function() return false end
redis.debug = function() end
globals.redis = protect(redis)
globals.server = globals.redis

local function traced(err)
  err = error_of(err)
  if type(err) ~= 'table' then err = {err = 'ERR ' .. tostring(err)} end
  if rawget(err, 'line') == nil then err.source, err.line = native.redis.position() end
  return err
end

return environment, function(script, keys, arguments)
  state.stopped, state.raised = nil, nil
  globals.KEYS, globals.ARGV = keys, arguments
  return xpcall(script, traced)
end
