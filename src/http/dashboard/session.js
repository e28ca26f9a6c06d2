// Who uses the page: signing in and out.
//
// In: a user and a password. Out: a session. Promise: nothing that is unsaved is lost without a question; to the same user the page stays,
// to another it begins anew.

import { ask, find } from "./page.js";
import { question } from "./question.js";
import { discard, unsaved } from "./work.js";

/** The user whose page this is; null before the first sign-in. */
let owner = null;

/** Asks for user and password until they are right. */
export function signIn() {
  const dialog = find("sign-in");
  if (dialog.open) {
    return;
  }
  const form = dialog.querySelector("form");
  const note = form.querySelector(".note");
  // There is nothing to see behind it. A browser closes it at the second Escape, whatever the page says of the first.
  dialog.onkeydown = (event) => {
    if (event.key === "Escape") {
      event.preventDefault();
    }
  };
  dialog.oncancel = (event) => event.preventDefault();
  dialog.onclose = () => {
    if (!dialog.open) {
      dialog.showModal();
    }
  };
  if (owner !== null) {
    form.elements.user.value = owner;
    note.textContent = unsaved().length === 0 ? "The session has ended."
      : `The session has ended. Sign in as ${owner} to keep ${unsaved().join(" and ")}.`;
  }
  form.onsubmit = async (event) => {
    event.preventDefault();
    const { user, password } = form.elements;
    const button = form.querySelector("button");
    button.disabled = true;
    note.textContent = "";
    try {
      const body = JSON.stringify({ user: user.value, password: password.value });
      await ask("/api/v1/session", { method: "POST", headers: { "content-type": "application/json" }, body });
      if (user.value !== owner) {
        location.reload();
        return;
      }
      dialog.onclose = null;
      dialog.close();
      password.value = "";
      dispatchEvent(new Event("signed-in"));
    } catch (error) {
      note.textContent = error.message;
      password.value = "";
      password.focus();
    } finally {
      button.disabled = false;
    }
  };
  dialog.showModal();
}

/** Shows the user. Returns false if it has to sign in first. */
export async function begin() {
  const { answer } = await ask("/api/v1/session");
  find("open").hidden = !answer.is_open_to_all;
  if (answer.user === null) {
    signIn();
    return false;
  }
  owner = answer.user;
  find("user").hidden = !answer.has_session;
  find("user").querySelector("span").textContent = answer.user;
  return true;
}

async function signOut() {
  const work = unsaved();
  if (work.length > 0 && !await question(`Not saved: ${work.join(", ")}.`, "Sign out and lose it", { title: "Sign out?", stay: "Stay" })) {
    return;
  }
  discard();
  await ask("/api/v1/session", { method: "DELETE" });
  location.reload();
}

find("sign-out").addEventListener("click", signOut);
