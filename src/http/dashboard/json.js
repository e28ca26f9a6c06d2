// Reformats JSON text token by token, without parsing numbers: they may have more digits than JavaScript keeps.

const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/g;

const tokensOf = (text) => text.match(TOKENS) ?? [];

/** Returns why a text is not valid JSON, or null. */
export function fault(text) {
  try {
    JSON.parse(text);
    return null;
  } catch (error) {
    return error.message;
  }
}

/** Returns whether a text is a JSON object or array. */
export const isNested = (text) => /^\s*[{[]/.test(text) && fault(text) === null;

export const compact = (text) => tokensOf(text).join("");

export function pretty(text) {
  let [out, depth, before] = ["", 0, ""];
  const line = () => `\n${"  ".repeat(depth)}`;
  for (const token of tokensOf(text)) {
    const closes = token === "}" || token === "]";
    if (closes) {
      depth -= 1;
    }
    const opened = before === "{" || before === "[";
    if (closes ? !opened : opened || before === ",") {
      out += line();
    } else if (before === ":") {
      out += " ";
    }
    out += token;
    if (token === "{" || token === "[") {
      depth += 1;
    }
    before = token;
  }
  return out;
}
