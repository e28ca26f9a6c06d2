// Every screen and dialog, narrow to wide, light and dark: nothing is cut off, and axe-core finds nothing against WCAG 2.2 AA; what it
// does not look at (borders of fields, forced colours, the way of the keyboard, what comes first on a phone) is looked at here.
// The screenshots stay in the folder, for whoever wants to look.
import { readFile } from "node:fs/promises";

import { assert, browse, folder, open, put, reads, require } from "./session.mjs";

const SCREENS = ["overview", "explorer", "forms", "console", "data"];

const AXE = await readFile(require.resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];

/** Finds nothing against the rules of WCAG, in the whole page or the dialog on top. */
async function accessible(page, name) {
  await page.evaluate(AXE);
  const { found, passed } = await page.evaluate(async (values) => {
    const { violations, passes } = await window.axe.run(document, { runOnly: { type: "tag", values }, resultTypes: ["violations"] });
    const found = violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 150)}: ${failureSummary}`));
    return { found, passed: passes.map(({ id }) => id) };
  }, RULES);
  assert(passed.includes("color-contrast") && passed.includes("target-size"), `${name}: ${passed}`);
  assert.deepEqual(found, [], name);
}

/** What is wider than the window, or a field whose border has a contrast below 3 (WCAG 2.2, 1.4.11). */
function faults() {
  const found = [];
  if (document.documentElement.scrollWidth > innerWidth) {
    found.push(`the page is ${document.documentElement.scrollWidth} wide`);
  }
  const luminance = (color) => {
    const canvas = document.createElement("canvas").getContext("2d");
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const background = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    return color === "rgba(0, 0, 0, 0)" && element.parentElement ? background(element.parentElement) : color;
  };
  for (const element of document.querySelectorAll("body *")) {
    if (element.offsetParent === null || element.closest(".skip, dialog")) {
      continue;
    }
    if (element.matches(".scroll") && element.scrollWidth > element.clientWidth) {
      found.push(`a table is cut off: ${element.textContent.slice(0, 80)}`);
    }
    if (element.matches("input:not([type=checkbox], [type=file]), textarea, select, button:not(.link, .toggle, .main), .button, .drop")) {
      const sides = [luminance(getComputedStyle(element).borderTopColor), luminance(background(element.parentElement))];
      const [one, other] = sides.sort((a, b) => b - a);
      if ((one + 0.05) / (other + 0.05) < 3) {
        found.push(`a border of ${((one + 0.05) / (other + 0.05)).toFixed(2)}: ${element.outerHTML.slice(0, 80)}`);
      }
    }
  }
  return found;
}

/** Shows a screen with something in it. */
async function show(page, screen) {
  await page.click(`nav a[href="#${screen}"]`);
  if (screen === "overview") {
    await reads(page, "#namespaces", "user:60");
    await reads(page, "#operations", "OK");
    await page.waitForFunction(() => document.querySelectorAll("#charts polyline").length > 2);
  } else if (screen === "explorer") {
    await reads(page, "#found", /50 shown/);
    await reads(page, "#tree", "user: 60");
  } else if (screen === "console") {
    for (const line of ["HELP", "GTE a", "KEYS"]) {
      await page.fill("#prompt input", line);
      await page.press("#prompt input", "Enter");
    }
    await reads(page, "#log section:last-child", "END ");
  }
}

/** Each dialog in turn: what opens it, and what closes it. */
const DIALOGS = {
  async new(page) {
    await page.click("#create");
  },
  async pair(page) {
    await page.locator("#pairs button").first().click();
    await page.waitForSelector("#editor[open]");
  },
  async conflict(page) {
    await page.locator("#pairs button").first().click();
    await page.waitForSelector("#editor[open]");
    await page.fill("#editor [name=value]", "mine");
    await put(await page.inputValue("#editor [name=key]"), `theirs ${Math.random()}`);
    await page.click("#editor button[name=save]");
    await page.waitForSelector("#conflict:not([hidden])");
  },
  async question(page) {
    await page.click("#editor [name=close]");
    await page.waitForSelector("#question[open]");
  },
  async word(page) {
    await page.click("#question [name=yes]");
    await page.click('nav a[href="#data"]');
    await page.click("#clear");
    await page.waitForSelector("#question[open]");
  },
};

await browse(async (browser) => {
  for (let number = 0; number < 60; number += 1) {
    await put(`user:${number}:name`, `Person ${number}`);
    await put(`cache:page:${number}`, `<html>${"x".repeat(400)}</html>`);
    await put(`empty:with:a:rather:long:key:${number}`, "");
  }
  await put(`very:long:${"key".repeat(60)}`, "value".repeat(100));
  await put("plain", "1");
  for (const [width, height] of [[320, 640], [390, 844], [1280, 900], [2560, 1300]]) {
    for (const colorScheme of ["light", "dark"]) {
      const page = await open(browser, "overview", { viewport: { width, height }, colorScheme });
      await put("plain", "2");
      for (const screen of SCREENS) {
        await show(page, screen);
        const name = `${screen} ${width} ${colorScheme}`;
        assert.deepEqual(await page.evaluate(faults), [], name);
        await accessible(page, name);
        await page.screenshot({ path: `${folder}/${screen}-${width}-${colorScheme}.png`, fullPage: screen !== "explorer" });
      }
      await show(page, "explorer");
      for (const [dialog, appear] of Object.entries(DIALOGS)) {
        await appear(page);
        const name = `${dialog} ${width} ${colorScheme}`;
        assert.deepEqual(await page.evaluate(faults), [], name);
        await accessible(page, name);
        await page.screenshot({ path: `${folder}/${dialog}-${width}-${colorScheme}.png` });
        if (dialog === "new" || dialog === "pair") {
          await page.click("#editor [name=close]");
        }
      }
      await page.close();
    }
  }

  // On a phone the pairs come early, and a key has the whole row; elsewhere it has its column, whatever the values are.
  let page = await open(browser, "explorer", { viewport: { width: 390, height: 844 } });
  await show(page, "explorer");
  const first = await page.locator("#pairs .key").first().boundingBox();
  assert(first.y < 400 && first.width > 330, JSON.stringify(first));
  await page.close();
  page = await open(browser, "explorer", { viewport: { width: 1280, height: 900 } });
  await page.fill("#search [name=prefix]", "empty:");
  await page.press("#search [name=prefix]", "Enter");
  await reads(page, "#pairs", "(empty)");
  // The list may be made anew between two looks.
  await page.waitForFunction(() => (document.querySelector("#pairs .key")?.getBoundingClientRect().width ?? 0) > 250);
  await page.fill("#search [name=prefix]", "");

  // By the keyboard: in the order in which one reads, and seen. A place whose outline is clipped or missing is not seen.
  for (const screen of SCREENS) {
    await show(page, screen);
    await page.focus(".skip");
    assert((await page.locator(".skip").boundingBox()).x >= 0);
    const seen = [];
    for (let time = 0; time < 25; time += 1) {
      await page.keyboard.press("Tab");
      const place = await page.evaluate(() => {
        const element = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(element);
        return { tag: element.tagName, text: element.outerHTML.slice(0, 80), outline: outlineStyle === "none" ? 0 : parseFloat(outlineWidth) };
      });
      if (place.tag === "BODY") {
        break;
      }
      assert(place.outline >= 2, `${screen}: the focus is not seen: ${place.text}`);
      seen.push(place.text);
    }
    assert.match(seen[0], /#overview/, screen);
    assert(seen.length > 8, seen.join("\n"));
  }

  // In forced colours, the current tab differs from the others, and charts keep their colours.
  await page.emulateMedia({ forcedColors: "active" });
  const backgrounds = () => page.evaluate(() =>
    [...document.querySelectorAll("header nav a")].map((link) => getComputedStyle(link).backgroundColor));
  await show(page, "overview");
  const [current, ...others] = await backgrounds();
  assert(others.every((other) => other === others[0] && other !== current), `${current}, ${others}`);
  await page.screenshot({ path: `${folder}/overview-1280-forced.png`, fullPage: true });
  await page.emulateMedia({ forcedColors: "none" });

  // Nothing moves for whom it is not to.
  await page.emulateMedia({ reducedMotion: "reduce" });
  assert.deepEqual(await page.evaluate(() => [...document.querySelectorAll("*")].filter((element) => {
    const { transitionDuration, animationName, scrollBehavior } = getComputedStyle(element);
    return transitionDuration !== "0s" || animationName !== "none" || scrollBehavior !== "auto";
  }).map((element) => element.outerHTML.slice(0, 80))), []);
  await page.close();

  // A theme that is chosen stays, whatever the system has.
  page = await open(browser, "overview", { colorScheme: "light" });
  const paper = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await paper();
  await page.selectOption("#theme", "dark");
  assert.notEqual(await paper(), light);
  await page.reload();
  assert.notEqual(await paper(), light);
  assert.equal(await page.inputValue("#theme"), "dark");
  await page.selectOption("#theme", "system");
  assert.equal(await paper(), light);
});
