// Links to lines: what is marked stands in the address, and the address shows the same to whoever opens it.
import { after, afterEach, before, test } from "node:test";
import assert from "node:assert/strict";
import { Stack } from "./lib/stack.mjs";
import { login, newPage, openBrowser } from "./lib/browser.mjs";

let stack, browser, page, short, both, million;

before(async () => {
  [stack, browser] = await Promise.all([Stack.start(), openBrowser()]);
  const run = async (selector, ...command) => {
    const words = ["run", "shell", "--detach", "-o", "json", "--selector", selector, "--", ...command];
    const { stdout } = await stack.cloudctl(...words);
    return /[0-9a-f]{8}-[0-9a-f-]{27}/.exec(stdout)[0];
  };
  million = await run("env=staging", "seq", "1", "1000000");
  short = await run("env=prod,dc=bj", "seq", "--format=line %g.", "1", "80");
  both = await run("env=prod", "seq", "--format=line %g.", "1", "5");
});
after(async () => {
  await browser?.close();
  await stack?.stop();
});
afterEach(async () => {
  const faults = page?.faults ?? [];
  await page?.context().close();
  page = undefined;
  assert.deepEqual(faults, [], "the page complained");
});

const open = async (path) => {
  page = await newPage(browser);
  await login(page, stack.url, path);
  await page.waitForSelector("#task-state [data-state=succeeded]", { timeout: 60_000 });
};
const marked = () => page.locator(".log-mark .log-text").allInnerTexts();
/** Waits until exactly these lines are marked, and at least the first of them is in sight. */
const seesMarked = (lines) =>
  page.waitForFunction((wanted) => {
    const frame = document.querySelector(".log-rows")?.getBoundingClientRect();
    const rows = [...document.querySelectorAll(".log-mark")];
    const first = rows[0]?.getBoundingClientRect();
    const inSight = first && first.top >= frame.top && first.bottom <= frame.bottom;
    return inSight && rows.map((row) => row.querySelector(".log-text").textContent).join() === wanted;
  }, lines.join());
const number = (line) => page.locator("a.log-number", { hasText: new RegExp(`^${line}$`) });
const query = () => Object.fromEntries(new URL(page.url()).searchParams);
const clipboard = () => page.evaluate(() => navigator.clipboard.readText());

test("a line number puts the line into the address, shift makes it a range, and a reload shows the same", async () => {
  await open(`/tasks/${short}?agent=prod`);
  await page.waitForFunction(() => /line 80\./.test(document.querySelector(".log-rows")?.innerText ?? ""));
  await page.locator(".log-rows").evaluate((rows) => rows.scrollTo(0, 0));
  await number(12).click();
  await seesMarked(["line 12."]);
  assert.deepEqual(query(), { agent: "prod", attempt: "1", line: "12" });
  await number(15).click({ modifiers: ["Shift"] });
  await seesMarked(["line 12.", "line 13.", "line 14.", "line 15."]);
  assert.equal(query().line, "12-15");
  await number(11).click({ modifiers: ["Shift"] });
  await seesMarked(["line 11.", "line 12."]);
  assert.equal(query().line, "11-12");

  await page.click(".log-marked button:has-text('Copy link')");
  await page.waitForSelector(".log-marked button:has-text('Copied')");
  assert.equal(await clipboard(), page.url());
  await page.reload();
  await seesMarked(["line 11.", "line 12."]);

  await page.click("button[aria-label=Unmark]");
  await page.waitForSelector(".log-mark", { state: "detached" });
  assert.equal(query().line, undefined);
});

test("the keyboard marks, extends and copies", async () => {
  await open(`/tasks/${short}?agent=prod&attempt=1&line=40`);
  await seesMarked(["line 40."]);
  await page.keyboard.press("Shift+ArrowDown");
  await page.keyboard.press("Shift+ArrowDown");
  await seesMarked(["line 40.", "line 41.", "line 42."]);
  await page.keyboard.press("y");
  await page.waitForSelector(".toast:has-text('Link copied')");
  assert.equal(await clipboard(), page.url());
  assert.equal(query().line, "40-42");
});

test("a link opens a line in the middle of a million, cold, and the way on is open", async () => {
  await open(`/tasks/${million}?agent=staging&attempt=1&line=500000-500002`);
  const opened = Date.now();
  await seesMarked(["500000", "500001", "500002"]);
  console.log(`      the middle of a million lines after ${Date.now() - opened} ms`);
  assert.ok((await page.locator(".log-row").count()) < 200, "only rows in sight exist");
  await page.reload();
  await seesMarked(["500000", "500001", "500002"]);

  // Another line of the same part needs no reading, and stands in the address.
  await number("500,004").click();
  await seesMarked(["500004"]);
  assert.equal(query().line, "500004");

  const later = () => page.locator(".log-later").innerText();
  const before = await later();
  await page.click(".log-later button");
  await page.waitForFunction((text) => document.querySelector(".log-later")?.innerText !== text, before);
  await page.click(".log-jump");
  await page.waitForFunction(() => /1000000/.test(document.querySelector(".log-rows")?.innerText ?? ""));
  await page.waitForSelector(".log-later", { state: "detached" });
  assert.equal(query().line, undefined, "what is shown is not what the address said");
});

test("a link into an attempt shows that attempt, also after a retry", async () => {
  page = await newPage(browser);
  await login(page, stack.url, "/run/shell?a=staging");
  await page.fill("#command", "cat /proc/sys/kernel/random/uuid; exit 1");
  await page.waitForFunction(() => /1/.test(document.querySelector("#run")?.textContent ?? ""));
  await page.click("#run");
  await page.waitForSelector("#task-state [data-state=failed]");
  await number(1).click();
  await page.waitForSelector(".log-mark");
  const [first] = await marked();
  const link = page.url();
  await page.click("#retry");
  await page.click("#retry-confirm");
  await page.goto("about:blank");
  await page.goto(link.replace(/attempt=1/, "attempt=2"));
  await page.waitForFunction((old) => {
    const text = document.querySelector(".log-mark .log-text")?.textContent;
    return text && text !== old;
  }, first);
  await page.goto("about:blank");
  await page.goto(link);
  await seesMarked([first]);
  await page.waitForSelector(".log-marked:has-text('attempt 1')");
});

test("before lines of several agents, the agent leads to the line in its own output", async () => {
  await open(`/tasks/${both}`);
  const row = page.locator(".log-row", { has: page.locator("a.log-agent", { hasText: "shanghai" }), hasText: "line 3." });
  await row.locator("a.log-agent").click();
  await seesMarked(["line 3."]);
  assert.deepEqual(query(), { agent: "shanghai", attempt: "1", line: "3" });
  assert.equal(await page.locator(".log-row:has-text('line 3.')").count(), 1);
});

test("a line that is not there is said", async () => {
  await open(`/tasks/${short}?agent=prod&attempt=1&line=5000`);
  await page.waitForSelector(".toast:has-text('no line 5,000')");
});
