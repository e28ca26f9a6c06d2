// In: something to ask for, a function or an async one. Out: what it returns once that is true; an Error with `what` after the deadline.
export async function eventually(holds, what, seconds = 10) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await holds();
    if (found) return found;
    if (Date.now() > end) throw new Error(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
