// Every screen, narrow to wide, light and dark: nothing is cut off, everything has a name, and can be read.
// The screenshots stay in the folder, for whoever wants to look.
import { assert, browse, folder, open, put, reads } from "./session.mjs";

const SCREENS = ["overview", "explorer", "forms", "console", "data"];

/** What is wider than the window, or has no name for a screen reader, or a contrast below 4.5 (WCAG 2.2, 1.4.3). */
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
    if (element.matches("input, textarea, select, progress") && element.labels.length === 0 && !element.hasAttribute("aria-label")) {
      found.push(`no label: ${element.outerHTML.slice(0, 80)}`);
    }
    if (element.matches("a, button") && element.textContent.trim() === "" && !element.hasAttribute("aria-label")) {
      found.push(`no name: ${element.outerHTML.slice(0, 80)}`);
    }
    const hasText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim() !== "");
    if (hasText && !element.matches(":disabled")) {
      const [one, other] = [luminance(getComputedStyle(element).color), luminance(background(element))].sort((a, b) => b - a);
      if ((one + 0.05) / (other + 0.05) < 4.5) {
        found.push(`a contrast of ${((one + 0.05) / (other + 0.05)).toFixed(2)}: ${element.outerHTML.slice(0, 80)}`);
      }
    }
  }
  return found;
}

await browse(async (browser) => {
  for (let number = 0; number < 60; number += 1) {
    await put(`user:${number}:name`, `Person ${number}`);
    await put(`cache:page:${number}`, `<html>${"x".repeat(400)}</html>`);
  }
  await put(`very:long:${"key".repeat(60)}`, "value".repeat(100));
  await put("plain", "1");
  for (const [width, height, colorScheme] of [[360, 740, "light"], [360, 740, "dark"], [1280, 900, "light"], [1280, 900, "dark"], [2560, 1300, "light"], [2560, 1300, "dark"]]) {
    const page = await open(browser, "overview", { viewport: { width, height }, colorScheme });
    await put("plain", "2");
    for (const screen of SCREENS) {
      await page.click(`nav a[href="#${screen}"]`);
      if (screen === "overview") {
        await reads(page, "#namespaces", "user:60");
        await reads(page, "#operations", "SET");
        await page.waitForFunction(() => document.querySelectorAll("#charts polyline").length > 2);
      } else if (screen === "explorer") {
        await reads(page, "#found", /50 shown/);
        await reads(page, "#tree", "user: 60");
      } else if (screen === "console") {
        await page.fill("#prompt input", "HELP");
        await page.press("#prompt input", "Enter");
        await reads(page, "#log", "PUT <key> <value>");
      }
      const name = `${screen} ${width} ${colorScheme}`;
      assert.deepEqual(await page.evaluate(faults), [], name);
      await page.screenshot({ path: `${folder}/${screen}-${width}-${colorScheme}.png`, fullPage: screen !== "explorer" });
    }
    await page.close();
  }
  // A theme that is chosen stays, whatever the system has.
  const page = await open(browser, "overview", { colorScheme: "light" });
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
