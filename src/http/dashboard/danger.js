// What a request of the console would destroy, as the table of commands says, and the question about it.
//
// In: a line. Out: whether to send it. Promise: a request that deletes many keys, users or tokens, closes connections or stops the server
// is sent without a question only if there is nothing to delete. What `pykv-cli` asks about is among it, as both read the table.

import { existing } from "./pairs.js";
import { mayDelete, mayDeleteAll, mayDeletePrefix, named, question } from "./question.js";

/** The options with which a dangerous command does no harm. */
const HARMLESS = ["DRYRUN", "ABORT"];
/** Keys of a request that are looked up one by one. */
const LOOKED_UP = 100;

const WORD = /"(?:[^"\\]|\\.)*"(?=[ \t]|$)|[^ \t]+/g;

/** Splits a line into its words; one that is no JSON string stays as it is, and the server refuses it. */
function wordsOf(line) {
  return (line.match(WORD) ?? []).map((word, place) => {
    if (place === 0 || !word.startsWith('"')) {
      return word;
    }
    try {
      return JSON.parse(word);
    } catch {
      return word;
    }
  });
}

/** Returns whether a line may be sent; asks if it would destroy something. */
export async function maySend(line, commands) {
  const [typed, ...words] = wordsOf(line);
  const verb = typed.toUpperCase();
  const command = commands.find(({ name }) => name === verb);
  const isHarmless = words.some((word, place) => HARMLESS.includes(word.toUpperCase()) && (place > 0 || command?.destroys === "server"));
  if (command === undefined || isHarmless) {
    return true;
  }
  switch (command.destroys) {
    case "all":
      return mayDeleteAll(verb);
    case "prefix":
      return words.length === 0 || (await mayDeletePrefix(words[0])).may;
    case "server":
      return question("Stop the server, for everybody?", verb, { word: verb });
    case "keys":
      return mayDeleteSome([...new Set(words)]);
    default:
  }
  const subcommand = words[0]?.toUpperCase();
  if (!command.destructive_subcommands.includes(subcommand) || words.length === 1) {
    return true;
  }
  return question(`Send ${verb} ${subcommand} for ${named(words.slice(1))}? This cannot be undone.`, `${verb} ${subcommand}`);
}

/** A key alone is named by who deletes it; of several, what is in the list is easily overlooked. */
async function mayDeleteSome(keys) {
  if (keys.length < 2) {
    return true;
  }
  if (keys.length > LOOKED_UP) {
    return mayDelete(keys);
  }
  try {
    const found = await existing(keys);
    return found.length === 0 || mayDelete(found);
  } catch (error) {
    if (error.status === 403) {
      return mayDelete(keys);
    }
    throw error;
  }
}
