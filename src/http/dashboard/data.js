// The whole store: import, export, sample data, reset.

import { ask, bytes, count, counted, find } from "./page.js";
import { countOf, mayDeleteAll, named, question } from "./question.js";
import { protect } from "./work.js";

const SAMPLE = {
  "user:101:name": "Alice Johnson",
  "user:101:role": "Admin",
  "user:102:name": "Bob Smith",
  "user:102:role": "Developer",
  "session:xyz789": "active",
  "config:mode": "production",
  "config:retries": "3",
  "feature:dark_mode": "true",
  "cache:home_page": "<html>...</html>",
  "cache:profile": "{json...}",
};

const drop = find("drop");
const progress = find("progress");
/** The file that is being imported, or null. */
let importing = null;

function tell(id, text, isBad = false) {
  find(id).textContent = text;
  find(id).classList.toggle("bad", isBad);
}

/** Runs an action and shows its outcome. */
async function attempt(id, act) {
  try {
    tell(id, await act());
  } catch (error) {
    tell(id, error.message, true);
  }
}

async function batch(operations) {
  const headers = { "Content-Type": "application/json" };
  const { answer } = await ask("/api/v1/batch", { method: "POST", headers, body: JSON.stringify({ operations }) });
  return answer.results;
}

function seed() {
  return attempt("done", async () => {
    const there = await batch(Object.keys(SAMPLE).map((key) => ({ op: "get", key })));
    const others = there.filter(({ key, status, value }) => status === 200 && value !== SAMPLE[key]).map(({ key }) => key);
    const text = `Overwrite ${counted(others.length, "key")}: ${named(others)}? What is there now cannot be brought back.`;
    if (others.length > 0 && !await question(text, `Overwrite ${count(others.length)}`)) {
      return "Nothing was stored.";
    }
    await batch(Object.entries(SAMPLE).map(([key, value]) => ({ op: "put", key, value })));
    return "Ten pairs are stored.";
  });
}

function clear() {
  return attempt("done", async () => {
    if (!await mayDeleteAll("Clear")) {
      return "Nothing was deleted.";
    }
    await ask("/clear", { method: "DELETE" });
    return "Every key is deleted.";
  });
}

/** Uploads a file as it is, and shows the progress, which `fetch` cannot. The server tells the format. */
function send(file) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const query = new URLSearchParams({ name: file.name, all_or_nothing: find("all-or-nothing").checked });
    request.open("POST", `/api/v1/import?${query}`);
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.addEventListener("progress", ({ loaded, total }) => {
      progress.value = total > 0 ? loaded / total : 0;
    });
    request.addEventListener("load", () => {
      const answer = JSON.parse(request.responseText);
      if (request.status === 200) {
        resolve(answer);
      } else {
        reject(new Error(answer.detail));
      }
    });
    const lost = "The file could not be read, or the connection was closed; part of the file may have been stored.";
    request.addEventListener("error", () => reject(new Error(lost)));
    request.send(file);
  });
}

/** Asks whether a file may overwrite keys that there are. */
async function mayImport(file) {
  const keys = await countOf("");
  const now = keys === null ? "" : ` There ${keys === 1 ? "is 1 key" : `are ${count(keys)} keys`} now.`;
  const text = `Import ${file.name}, ${bytes(file.size)}?${now} Keys that are in the file are overwritten, and what they have now `
    + "cannot be brought back.";
  return keys === 0 || question(text, "Import");
}

async function take(file) {
  if (importing !== null) {
    tell("imported", `Nothing was stored of ${file.name}: ${importing} is still being imported.`, true);
    return;
  }
  importing = file.name;
  try {
    await attempt("imported", async () => (await mayImport(file) ? upload(file) : "Nothing was stored."));
  } finally {
    importing = null;
  }
}

async function upload(file) {
  tell("imported", `Importing ${file.name}, ${bytes(file.size)}.`);
  [progress.hidden, progress.value] = [false, 0];
  try {
    const { stored, expired, notes = [] } = await send(file);
    const remarks = [...(expired > 0 ? [`${count(expired)} had expired`] : []), ...notes];
    const pairs = stored === 1 ? `1 pair of ${file.name} is stored` : `${count(stored)} pairs of ${file.name} are stored`;
    return `${[pairs, ...remarks].join("; ")}.`;
  } finally {
    progress.hidden = true;
  }
}

export function open() {}

protect(() => (importing === null ? null : `the import of ${importing}`));

find("seed").addEventListener("click", seed);
find("clear").addEventListener("click", clear);
find("export-prefix").addEventListener("input", (event) => {
  const query = new URLSearchParams(event.target.value === "" ? {} : { prefix: event.target.value });
  find("export").href = `/api/v1/export?${query}`;
});
find("file").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (file !== undefined) {
    await take(file);
    event.target.value = "";
  }
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  // Anywhere on the page: a browser would otherwise navigate to the dropped file.
  addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover" && drop.contains(event.target));
    const files = event.dataTransfer?.files ?? [];
    if (kind !== "drop" || files.length === 0 || !drop.contains(event.target)) {
      return;
    }
    if (files.length === 1) {
      take(files[0]);
    } else {
      tell("imported", `Nothing was stored: these are ${count(files.length)} files. Drop one at a time.`, true);
    }
  });
}
