// What a person saw is what runs: the agents that were shown, and the limits that were typed.
import { after, afterEach, before, test } from "node:test";
import assert from "node:assert/strict";
import { Stack } from "./lib/stack.mjs";
import { login, newPage, openBrowser } from "./lib/browser.mjs";

let stack, browser, page, created;

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

const open = async (path) => {
  page = await newPage(browser);
  created = 0;
  page.on("request", (request) => (created += request.url().endsWith("/CreateTask") ? 1 : 0));
  await login(page, stack.url, path);
};
const runSays = (text) => page.waitForFunction((wanted) => document.querySelector("#run:enabled")?.textContent.includes(wanted), text);
const refusedWith = async (text) => {
  await page.waitForFunction((wanted) => document.querySelector(".run-bar")?.textContent.includes(wanted), text);
  assert.equal(await page.isDisabled("#run"), true);
  await page.keyboard.press("Control+Enter");
};

test("a choice that the cloud has not answered cannot be run", async () => {
  await open("/run/shell?l=env%3Dstaging");
  await page.fill("#command", "true");
  await runSays("1 agent");
  let answer;
  const held = new Promise((resolve) => (answer = resolve));
  await page.route("**/MatchAgents", async (route) => (await held, route.continue()));
  await page.fill("#target-expression", "env");
  // The list of before is still there for a moment: nothing runs on its word.
  await refusedWith("Looking");
  assert.doesNotMatch(await page.innerText("#run"), /\d/);
  answer();
  await runSays("3 agents");
  assert.equal(created, 0);
});

test("agents that changed after they were shown refuse the run, by name", async () => {
  await open("/run/shell?l=team%3Dred");
  await page.fill("#command", "true");
  await page.waitForSelector(".run-bar:has-text('No agent is meant')");
  await stack.cloudctl("agent", "label", "staging", "team=red");
  await runSays("1 agent");
  // Between the press of the button and the cloud, another machine gets the label.
  await page.route("**/CreateTask", async (route) => {
    await stack.cloudctl("agent", "label", "prod", "team=red");
    await route.continue();
  });
  await page.click("#run");
  const problem = await page.waitForSelector("[role=alert]:has-text('no longer the agents that were shown')");
  assert.match(await problem.innerText(), /New among them: prod\./);
  assert.doesNotMatch(page.url(), /\/tasks\//);
  // Looked at again, it is as good as any.
  await page.unroute("**/CreateTask");
  await runSays("2 agents");
  await page.click("#run");
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}/);
  await page.waitForSelector(".execution[data-agent=prod]");
  await page.waitForSelector(".execution[data-agent=staging]");
  assert.equal(await page.locator(".execution[data-agent]").count(), 2);
});

test("a mistyped name to leave out is told before anything runs", async () => {
  await open("/run/shell?l=env&x=stagign");
  await page.fill("#command", "true");
  await page.waitForSelector("[role=alert]:has-text('Did you mean “staging”')");
  await refusedWith("No agent is meant");
  assert.equal(created, 0);
});

test("limits that cannot be read are refused, and those that can are sent", async () => {
  await open("/run/shell?l=env%3Dstaging");
  await page.fill("#command", "true");
  await runSays("1 agent");
  await page.click("details.options summary");
  const twin = () => page.innerText("#twin-cloudctl");
  for (const [field, bad, says, good, line] of [
    ["#opt-timeout", "5 minuets", "Time limit: “5 minuets”", "5 mins", "--timeout 300s"],
    ["#opt-timeout", "1h30", "Time limit: “1h30”", "1h30m", "--timeout 5400s"],
    ["#opt-parallel", "1.5", "At the same time: “1.5”", "2", "--parallel 2"],
    ["#opt-max-failures", "-1", "Stop after failures: “-1”", "1", "--max-fail 1"],
    ["#opt-env", "FOO BAR", "“FOO BAR” is not NAME=value", "FOO=BAR", "--env FOO=BAR"],
  ]) {
    await page.fill(field, bad);
    await refusedWith(says);
    await page.fill(field, good);
    await runSays("1 agent");
    assert.ok((await twin()).includes(line), `${line} in ${await twin()}`);
  }
  await page.goto(`${stack.url}/run/sql?l=env%3Dstaging`);
  await page.fill("#script", "select 1");
  await runSays("1 agent");
  await page.click("details.options summary");
  await page.fill("#opt-max-rows", "-5");
  await refusedWith("“-5” is no whole number");
  await page.fill("#opt-max-rows", "5");
  await runSays("1 agent");
  assert.equal(created, 0);
});
