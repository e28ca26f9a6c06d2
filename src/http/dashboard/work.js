// Work that is not saved: what would be lost with the page.
//
// In: from each part of the page, what it holds unsaved. Out: all of it. Promise: the browser asks before the page goes.

const parts = [];

/** Adds a part of the page: a function that returns what is unsaved, as people call it, or null. */
export function protect(part) {
  parts.push(part);
}

export const unsaved = () => parts.map((part) => part()).filter((what) => what !== null);

/** Gives up what is unsaved: the person has said so, and the browser need not ask again. */
export const discard = () => parts.splice(0);

addEventListener("beforeunload", (event) => {
  if (unsaved().length > 0) {
    event.preventDefault();
  }
});
