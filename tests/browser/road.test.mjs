// The road through the console: log in, see agents, run, watch, cancel, retry, reload.
import { after, afterEach, before, test } from "node:test";
import assert from "node:assert/strict";
import { Stack, PASSWORD, until } from "./lib/stack.mjs";
import { login, newPage, openBrowser } from "./lib/browser.mjs";

let stack, browser, page;

before(async () => {
  [stack, browser] = await Promise.all([Stack.start(), openBrowser()]);
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

const open = async (path = "/") => {
  page = await newPage(browser);
  await login(page, stack.url, path);
  return page;
};

/** Runs a shell line on a label expression and waits for its task page. */
const runShell = async (expression, command) => {
  await page.goto(`${stack.url}/run/shell?l=${encodeURIComponent(expression)}`);
  await page.fill("#command", command);
  await page.waitForFunction(() => /\d/.test(document.querySelector("#run")?.textContent ?? ""));
  await page.click("#run");
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}/);
};

const taskState = (state) => page.waitForSelector(`#task-state [data-state=${state}]`, { timeout: 30_000 });
const logText = () => page.locator(".log-rows").innerText();

test("a wrong password is refused in words, the right one opens the page that was asked for", async () => {
  page = await newPage(browser);
  await page.goto(`${stack.url}/agents`);
  await page.fill("#username", "admin");
  await page.fill("#password", "not the password");
  await page.click("button[type=submit]");
  const problem = await page.waitForSelector("[role=alert]");
  assert.ok((await problem.innerText()).length > 20);
  await page.fill("#password", PASSWORD);
  await page.click("button[type=submit]");
  await page.waitForSelector("[data-agent=prod]");
  assert.equal(new URL(page.url()).pathname, "/agents");
});

test("agents are listed, filtered by a selector in the URL, and go offline and online live", async () => {
  await open("/agents");
  await page.waitForSelector("[data-agent=staging]");
  await page.fill("#filter", "env=prod,dc in (bj,sh)");
  await page.waitForSelector("[data-agent=staging]", { state: "detached" });
  assert.match(page.url(), /[?&]l=env/);
  await page.reload();
  await page.waitForSelector("[data-agent=shanghai]");
  assert.equal(await page.locator("[data-agent]").count(), 2);
  await page.fill("#filter", "dc in (bj");
  assert.match(await page.locator("[role=alert]").first().innerText(), /\^/, "a caret shows where");
  await page.fill("#filter", "");

  await stack.stopAgent("staging");
  await page.waitForSelector("[data-agent=staging] [data-state=offline]");
  await stack.startAgent("staging", ["run"]);
  await page.waitForSelector("[data-agent=staging] [data-state=online]");
});

test("the line of 'Add agent' joins a machine, and the page turns green when it runs", async () => {
  await open("/agents/new");
  await page.fill("#agent-name", "newcomer");
  await page.fill("#agent-labels", "env=test, dc=bj");
  await page.click("main button[type=submit]");
  const line = await page.locator("#join-line").innerText();
  const [, token, url] = /^echo (olj1\.\S+) \| opslink-agent join (\S+) --token-file - --start$/.exec(line.trim()) ?? [];
  assert.ok(token, line);
  // A machine that has joined is no agent that runs.
  await stack.joinAgent("newcomer", ["join", url, "--token", token]);
  await page.waitForSelector("#joined:has-text('newcomer')");
  assert.equal(await page.locator("#arrived").count(), 0);
  await stack.startAgent("newcomer", ["run"]);
  await page.waitForSelector("#arrived");
  assert.match(await page.locator("#arrived").innerText(), /newcomer/);
  await page.goto(`${stack.url}/agents/newcomer`);
  await page.waitForSelector("text=env");
  await stack.stopAgent("newcomer");
});

test("output appears line by line from all agents, and a reload shows the same", async () => {
  await open();
  await runShell("env=prod", "for i in 1 2 3; do echo line $i; sleep 1; done; echo oops >&2");
  await page.waitForFunction(() => /line 1/.test(document.querySelector(".log-rows")?.innerText ?? ""));
  assert.doesNotMatch(await logText(), /line 3/, "lines come as they are printed");
  await taskState("succeeded");
  await page.waitForFunction(() => (document.querySelector(".log-rows")?.innerText.match(/oops/g) ?? []).length === 2);
  const before = await logText();
  assert.match(before, /prod/);
  assert.match(before, /shanghai/);
  await page.reload();
  await taskState("succeeded");
  await page.waitForFunction(() => (document.querySelector(".log-rows")?.innerText.match(/oops/g) ?? []).length === 2);
  assert.equal(await logText(), before);

  await page.click(".execution[data-agent=prod]");
  await page.waitForFunction(() => !/shanghai/.test(document.querySelector(".log-rows")?.innerText ?? ""));
  assert.match(page.url(), /agent=prod/);
  await page.click(".log-tools button:has-text('stderr')");
  await page.waitForFunction(() => !/line 1/.test(document.querySelector(".log-rows")?.innerText ?? ""));
  assert.match(await logText(), /oops/);
});

test("cancel ends a task, and retry makes a new attempt", async () => {
  await open();
  await runShell("env=staging", "echo started; sleep 60");
  await page.waitForFunction(() => /started/.test(document.querySelector(".log-rows")?.innerText ?? ""));
  await page.click("#cancel");
  await page.click("#cancel-confirm");
  await taskState("canceled");
  await page.click("#retry");
  await page.click("#retry-confirm");
  await taskState("running");
  await page.click("#cancel");
  await page.click("#cancel-confirm");
  await taskState("canceled");
});

test("an SQL script gives grids, NULL is not empty text, and an error names its line and column", async () => {
  await open("/run/sql?a=prod");
  await page.fill(
    "#script",
    "create table if not exists people (id integer, name text, note text);\ndelete from people;\n" +
      "insert into people values (10, 'b', null), (9, 'a', '');\nselect * from people;\nselect broken from nowhere;\n",
  );
  await page.waitForSelector(".danger");
  await page.waitForFunction(() => /1/.test(document.querySelector("#run")?.textContent ?? ""));
  await page.keyboard.press("Control+Enter");
  await page.waitForURL(/\/tasks\//);
  await taskState("failed");
  assert.match(await page.locator(".result [role=alert]").innerText(), /Line 5, column/);
  await page.click(".statement >> nth=3");
  await page.waitForSelector(".grid-row");
  assert.equal(await page.locator(".grid-row").count(), 2);
  assert.equal(await page.locator(".null").count(), 1);
  const ids = () => page.locator(".grid-row .grid-right").allInnerTexts();
  assert.deepEqual(await ids(), ["10", "9"]);
  await page.click(".grid-sort >> nth=0");
  await page.waitForSelector("[aria-sort=ascending]");
  assert.deepEqual(await ids(), ["9", "10"]);
  await page.click("button:has-text('Copy as CSV')");
  await page.waitForSelector(".toast");
  const csv = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(csv.replaceAll("\r", ""), 'id,name,note\n9,a,""\n10,b,\n');
});

test("the copied cloudctl line does the same in a terminal", async () => {
  await open("/run/shell?a=prod");
  await page.fill("#command", "echo 'it works' && exit 0");
  await page.waitForSelector("#twin-cloudctl:has-text('it works')");
  await page.click(".code-line button >> nth=0");
  const line = await until("the clipboard", () => page.evaluate(() => navigator.clipboard.readText()));
  assert.match(line, /^cloudctl run shell .*--agent prod/);
  await stack.login();
  const { execFile } = await import("node:child_process");
  const output = await new Promise((resolve, reject) =>
    execFile("sh", ["-c", line], { env: stack.cliEnv(), timeout: 30_000 }, (error, out, talk) =>
      error ? reject(new Error(`${error.message}\n${talk}`)) : resolve(out),
    ),
  );
  assert.match(output, /it works/);
});

test("a restarted cloud loses nothing of a live view", async () => {
  await open();
  await runShell("env=prod,dc=sh", "for i in 1 2 3 4 5 6 7 8; do echo tick $i; sleep 1; done");
  await page.waitForFunction(() => /tick 2/.test(document.querySelector(".log-rows")?.innerText ?? ""));
  await stack.restartCloud();
  await taskState("succeeded");
  await page.waitForFunction(() => /tick 8/.test(document.querySelector(".log-rows")?.innerText ?? ""));
  const ticks = (await logText()).match(/tick \d/g);
  assert.deepEqual(ticks, [1, 2, 3, 4, 5, 6, 7, 8].map((n) => `tick ${n}`));
});

test("a log of a million lines opens at its end and scrolls", async () => {
  await open();
  await runShell("env=staging", "seq 1 1000000");
  await taskState("succeeded");
  await page.reload();
  const opened = Date.now();
  await page.waitForFunction(() => /1000000/.test(document.querySelector(".log-rows")?.innerText ?? ""));
  console.log(`      opened at its end after ${Date.now() - opened} ms`);
  assert.ok((await page.locator(".log-row").count()) < 200, "only rows in sight exist");
  await page.locator(".log-rows").evaluate((element) => element.scrollTo(0, 0));
  await page.waitForSelector(".log-jump");
  await page.click(".log-earlier button");
  await page.waitForFunction(() => !document.querySelector(".log-earlier button")?.disabled);
});
