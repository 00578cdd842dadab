// Many tabs of one browser: they share its six connections and one session.
import { after, afterEach, before, test } from "node:test";
import assert from "node:assert/strict";
import { Stack, until } from "./lib/stack.mjs";
import { login, newPage, openBrowser } from "./lib/browser.mjs";

let stack, browser, page, task;

before(async () => {
  [stack, browser] = await Promise.all([Stack.start(), openBrowser()]);
  const line = "i=0; while [ $i -lt 600 ]; do echo tick $i; i=$((i+1)); sleep 0.2; done";
  const { stdout } = await stack.cloudctl("run", "shell", "--detach", "-o", "json", "--agent", "prod", "--", "sh", "-c", line);
  task = /[0-9a-f]{8}-[0-9a-f-]{27}/.exec(stdout)[0];
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

const ticks = (tab) => tab.waitForFunction(() => /tick \d/.test(document.querySelector(".log-rows")?.innerText ?? ""));

test("a logout in one tab ends the streams of the others at once", async () => {
  page = await newPage(browser);
  await login(page, stack.url, `/tasks/${task}`);
  await ticks(page);
  const other = await page.context().newPage();
  const open = new Set();
  page.on("requestfinished", (request) => open.delete(request));
  page.on("requestfailed", (request) => open.delete(request));
  page.on("request", (request) => /\/Watch/.test(request.url()) && open.add(request));
  await page.reload();
  await ticks(page);
  assert.ok(open.size > 0, "it follows");
  await other.goto(stack.url);
  await other.click(".who button");
  await other.waitForSelector("#username");
  await page.waitForSelector("#username", { timeout: 2_000 });
  await until("the end of the streams", () => open.size === 0, 2_000);
  assert.equal(await page.locator(".log-rows").count(), 0);
});

test("eight tabs on the plain port: those behind let go of their streams, and are as new as ever when they come back", async () => {
  page = await newPage(browser);
  await login(page, stack.url);
  // A browser without a window keeps every tab on screen: what is on screen is said here, all else is the browser's own.
  await page.context().addInitScript(() => {
    window.onScreen_ = true;
    Object.defineProperty(document, "visibilityState", { get: () => (window.onScreen_ ? "visible" : "hidden") });
  });
  const tabs = [];
  for (let n = 0; n < 8; n++) {
    const tab = await page.context().newPage();
    await tab.goto(`${stack.url}/tasks/${task}`);
    await ticks(tab);
    await tab.evaluate(() => (window.onScreen_ = false));
    tabs.push(tab);
  }
  // With eight times two streams nothing else would get through.
  await page.click(".nav-link[href='/audit']");
  await page.waitForSelector(".list-table td");
  const last = () => tabs[0].locator(".log-row").last().innerText();
  const before = await last();
  await tabs[0].evaluate(() => (window.onScreen_ = true));
  await until("what was said meanwhile", async () => (await last()) !== before);
  assert.equal(await tabs[0].locator(".banner").count(), 0, "a rest is no loss");
});
