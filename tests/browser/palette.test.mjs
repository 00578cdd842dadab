// The palette: everything by a few letters and without a mouse, in words of either language.
import { after, afterEach, before, test } from "node:test";
import assert from "node:assert/strict";
import { AxeBuilder } from "@axe-core/playwright";
import { Stack } from "./lib/stack.mjs";
import { login, NARROW, newPage, openBrowser, overflow } from "./lib/browser.mjs";

let stack, browser, page, task;

before(async () => {
  [stack, browser] = await Promise.all([Stack.start(), openBrowser()]);
  const { stdout } = await stack.cloudctl("run", "shell", "--detach", "-o", "json", "--agent", "prod", "--", "echo", "findable");
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

const open = async (path = "/", options = {}) => {
  page = await newPage(browser, options);
  await login(page, stack.url, path);
};
const summon = async () => {
  await page.keyboard.press("Control+k");
  await page.waitForSelector("dialog.palette[open]");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "palette-input");
};
const selected = () => page.locator(".palette-option[aria-selected=true]");
/** Types, and waits until what is selected says this. */
const type = async (text, wanted) => {
  await page.fill("#palette-input", text);
  await page.waitForFunction((words) => {
    const rows = [...document.querySelectorAll(".palette-option[aria-selected=true]")];
    return rows.length === 1 && rows[0].innerText.includes(words);
  }, wanted);
};
const choose = async (text, wanted) => {
  await summon();
  await type(text, wanted);
  await page.keyboard.press("Enter");
  await page.waitForSelector("dialog.palette[open]", { state: "detached" });
};

test("it opens by key and by button, and gives the keyboard back", async () => {
  await open("/agents");
  await page.waitForSelector("#filter");
  await page.focus("#filter");
  await summon();
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog.palette[open]", { state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement?.id), "filter");
  await page.click(".palette-open");
  await page.waitForSelector("dialog.palette[open]");
  await page.keyboard.press("Control+k");
  await page.waitForSelector("dialog.palette[open]", { state: "detached" });
});

test("the arrows move through it, and screen readers hear where one is", async () => {
  await open();
  await summon();
  const active = () =>
    page.evaluate(() => {
      const input = document.querySelector("#palette-input");
      return document.getElementById(input.getAttribute("aria-activedescendant"))?.innerText;
    });
  const first = await selected().innerText();
  assert.equal(await active(), first);
  await page.keyboard.press("ArrowDown");
  await page.waitForFunction((text) => document.querySelector(".palette-option[aria-selected=true]").innerText !== text, first);
  assert.equal(await active(), await selected().innerText());
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("ArrowUp");
  const last = await page.locator(".palette-option").last().innerText();
  await page.waitForFunction((text) => document.querySelector(".palette-option[aria-selected=true]").innerText === text, last);
  await page.waitForFunction(() => {
    const list = document.querySelector("#palette-list").getBoundingClientRect();
    const row = document.querySelector(".palette-option[aria-selected=true]").getBoundingClientRect();
    return row.top >= list.top - 1 && row.bottom <= list.bottom + 1;
  });
});

test("pages, agents, tasks and actions are found and done with the keyboard alone", async () => {
  await open();
  await page.waitForFunction(() => /3\/3/.test(document.querySelector(".nav-count")?.textContent ?? ""));
  await choose("audit", "Audit");
  await page.waitForURL(/\/audit$/);
  await page.waitForFunction(() => document.activeElement?.id === "main");
  await choose("staging", "staging");
  await page.waitForURL(/\/agents\/staging$/);
  await choose("shell prod", "Run a shell command on prod");
  await page.waitForURL(/\/run\/shell\?a=prod$/);
  await choose("sql shang", "Run SQL on shanghai");
  await page.waitForURL(/\/run\/sql\?a=shanghai$/);
  await choose("findable", "echo findable");
  await page.waitForURL(new RegExp(`/tasks/${task}$`));
  await choose("create tok", "Create token");
  await page.waitForSelector("dialog[open] #token-name");
  await page.keyboard.press("Escape");
  await page.waitForURL(/\/tokens$/);
  await choose("dark", "Theme: Dark");
  await page.waitForSelector("html[data-theme=dark]");
  await choose(task.slice(0, 18), "echo findable");
  await page.waitForURL(new RegExp(`/tasks/${task}$`));
  await choose("log out", "Log out");
  await page.waitForSelector("#username");
});

test("words of the other language find it too", async () => {
  await open();
  await choose("审计", "Audit");
  await page.waitForURL(/\/audit$/);
  await choose("中文", "切换为中文");
  await page.waitForSelector("html[lang=zh-CN] .nav");
  await choose("tokens", "API 令牌");
  await page.waitForURL(/\/tokens$/);
  await choose("sql prod", "在 prod 上执行 SQL");
  await page.waitForURL(/\/run\/sql\?a=prod$/);
  await choose("首页", "首页");
  await page.waitForURL(/\/$/);
});

test("when nothing fits it says so", async () => {
  await open();
  await summon();
  await page.fill("#palette-input", "no such thing at all");
  await page.waitForSelector(".palette-none");
  assert.equal(await page.locator(".palette-option").count(), 0);
  await page.keyboard.press("Enter");
  assert.equal(await page.locator("dialog.palette[open]").count(), 1, "there was nothing to do");
});

for (const look of [
  { language: "en", colorScheme: "light" },
  { language: "zh", colorScheme: "dark", viewport: NARROW },
]) {
  test(`it is accessible: ${look.language}, ${look.colorScheme}`, async () => {
    await open("/", look);
    await summon();
    await page.fill("#palette-input", "prod");
    await page.waitForFunction(() => document.querySelectorAll(".palette-option").length > 2);
    const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]).analyze();
    assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), []);
    assert.ok((await overflow(page)) <= 0);
  });
}
