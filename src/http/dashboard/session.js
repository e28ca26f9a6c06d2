// Who uses the page: signing in and out.

import { ask, find } from "./page.js";

/** Asks for user and password until they are right, then shows the page anew. */
export function signIn() {
  const dialog = find("sign-in");
  if (dialog.open) {
    return;
  }
  const form = dialog.querySelector("form");
  const note = form.querySelector(".note");
  // There is nothing to see behind it.
  dialog.oncancel = (event) => event.preventDefault();
  form.onsubmit = async (event) => {
    event.preventDefault();
    const { user, password } = form.elements;
    const button = form.querySelector("button");
    button.disabled = true;
    note.textContent = "";
    try {
      const body = JSON.stringify({ user: user.value, password: password.value });
      await ask("/api/v1/session", { method: "POST", headers: { "content-type": "application/json" }, body });
      location.reload();
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
  find("user").hidden = !answer.has_session;
  find("user").querySelector("span").textContent = answer.user;
  return true;
}

find("sign-out").addEventListener("click", async () => {
  await ask("/api/v1/session", { method: "DELETE" });
  location.reload();
});
