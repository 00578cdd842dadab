// What people do beside the straight road: search, wrap and download a log, take a script from a file, come back after
// the session ended, choose the first password.
import { after, afterEach, before, test } from "node:test";
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Stack, PASSWORD } from "./lib/stack.mjs";
import { login, newPage, openBrowser } from "./lib/browser.mjs";

const LONG = "x".repeat(600);
let stack, browser, page, folder, task;

before(async () => {
  [stack, browser] = await Promise.all([Stack.start(), openBrowser()]);
  folder = await mkdtemp(join(tmpdir(), "opslink-tools-"));
  const script = `printf 'first needle\\nplain\\n\\033[31mneedle red\\033[0m\\n${LONG}\\n\\377\\n'; echo needle again >&2`;
  const words = ["run", "shell", "--detach", "-o", "json", "--agent", "prod", "--", "sh", "-c", script];
  const { stdout } = await stack.cloudctl(...words);
  task = /[0-9a-f]{8}-[0-9a-f-]{27}/.exec(stdout)[0];
});
after(async () => {
  await browser?.close();
  await stack?.stop();
  if (folder) await rm(folder, { recursive: true, force: true });
});
afterEach(async () => {
  const faults = page?.faults ?? [];
  await page?.context().close();
  page = undefined;
  assert.deepEqual(faults, [], "the page complained");
});

/** Opens a path as admin; a picture of it is kept when somebody wants to look. */
const open = async (path) => {
  page = await newPage(browser);
  await login(page, stack.url, path);
};
const picture = async (name) => {
  if (process.env.OPSLINK_SCREENSHOTS) await page.screenshot({ path: join(process.env.OPSLINK_SCREENSHOTS, `tools-${name}.png`) });
};
const openLog = async () => {
  await open(`/tasks/${task}?agent=prod`);
  await page.waitForSelector("#task-state [data-state=succeeded]");
  await page.waitForFunction(() => /needle again/.test(document.querySelector(".log-rows")?.innerText ?? ""));
};
const hits = (text) =>
  page.waitForFunction((wanted) => document.querySelector(".log-hits")?.textContent.trim() === wanted, text);

test("a search counts what it finds, steps around, and says when there is nothing", async () => {
  await openLog();
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "filter");
  await page.keyboard.type("needle");
  await page.waitForFunction(() => /^\d+ \/ 3$/.test(document.querySelector(".log-hits")?.textContent.trim() ?? ""));
  await picture("search");
  const at = async () => Number(/^\d+/.exec((await page.locator(".log-hits").innerText()).trim())[0]);
  const first = await at();
  await page.keyboard.press("Enter");
  const next = ((first - 2 + 3) % 3) + 1;
  await hits(`${next} / 3`);
  await page.keyboard.press("Shift+Enter");
  await hits(`${first} / 3`);
  await page.fill("#filter", "no such words");
  await hits("0 / 0");
  await page.press("#filter", "Escape");
  await hits("");
});

test("a long line is cut until it is wrapped, and the choice is kept", async () => {
  await openLog();
  const rows = () => page.locator(".log-row").count();
  const before = await rows();
  await page.click("button[aria-label='Wrap long lines']");
  await page.waitForFunction((count) => document.querySelectorAll(".log-row").length > count, before);
  await picture("wrap");
  const wide = await page.locator(".log-rows").evaluate((element) => element.scrollWidth - element.clientWidth);
  assert.ok(wide <= 1, `wrapped lines are ${wide} px wider than the log`);
  await page.reload();
  await page.waitForSelector("button[aria-label='Wrap long lines'][aria-pressed=true]");
});

test("a download has the bytes as they were written", async () => {
  await openLog();
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
  assert.equal(download.suggestedFilename().endsWith("-prod.log"), true, download.suggestedFilename());
  const bytes = await readFile(await download.path());
  const stdout = Buffer.concat([
    Buffer.from(`first needle\nplain\n\x1b[31mneedle red\x1b[0m\n${LONG}\n`),
    Buffer.from([0xff, 0x0a]),
  ]);
  const talk = Buffer.from("needle again\n");
  // Two pipes: which of them was read first is the machine's luck, their bytes are not.
  assert.equal(bytes.length, stdout.length + talk.length);
  assert.ok(bytes.includes(talk), "stderr is in it");
  assert.ok(bytes.includes(stdout), "stdout is in it, escapes and broken UTF-8 and all");
});

test("a script comes from a file, chosen or dropped, and a binary one is refused", async () => {
  await open("/run/sql?a=prod");
  const good = join(folder, "report.sql");
  await writeFile(good, "select 1 as answer;\n");
  await page.setInputFiles("input[type=file]", good);
  await page.waitForFunction(() => document.querySelector("#script").value === "select 1 as answer;\n");
  await page.waitForSelector(".card-head .label:has-text('report.sql')");
  await picture("file");

  const bad = join(folder, "picture.sql");
  await writeFile(bad, Buffer.from([0x89, 0x50, 0x00, 0xff]));
  await page.setInputFiles("input[type=file]", bad);
  await page.waitForSelector(".toast:has-text('picture.sql is not text')");
  assert.equal(await page.inputValue("#script"), "select 1 as answer;\n", "what was there stays");

  const files = await page.evaluateHandle(() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File(["select 2;\n"], "dropped.sql"));
    return transfer;
  });
  await page.dispatchEvent(".editor-frame", "dragover", { dataTransfer: files });
  await page.waitForSelector(".editor-frame.over");
  await page.dispatchEvent(".editor-frame", "drop", { dataTransfer: files });
  await page.waitForFunction(() => document.querySelector("#script").value === "select 2;\n");
  await page.waitForSelector(".editor-frame:not(.over) .label:has-text('dropped.sql')");
});

test("a session that ends at work is renewed in place, and nothing on the page is lost", async () => {
  await open("/run/shell?a=prod");
  await page.fill("#command", "echo half written");
  await page.waitForFunction(() => /1/.test(document.querySelector("#run")?.textContent ?? ""));
  await page.context().clearCookies();
  await page.click("#run");
  await page.waitForSelector("dialog[open]:has-text('Your session has ended')");
  await picture("expired");
  // Who it was is known: only the password is asked for.
  assert.equal(await page.inputValue("dialog #username"), "admin");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "password");
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("dialog[open]").count(), 1, "it cannot be waved away");
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press("Enter");
  await page.waitForSelector("dialog[open]", { state: "detached" });
  assert.equal(await page.inputValue("#command"), "echo half written");
  assert.equal(await page.locator("[role=alert]").count(), 0, "the old trouble is over");
  await page.click("#run");
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}/);
});

test("the generated password opens nothing but the page that changes it", async () => {
  const fresh = await Stack.start({ agents: false, password: null });
  try {
    const given = await readFile(join(fresh.folder, "cloud", "initial-password"), "utf8");
    page = await newPage(browser);
    await page.goto(`${fresh.url}/agents`);
    await page.fill("#username", "admin");
    await page.fill("#password", given.trim());
    await page.click("button[type=submit]");
    await page.waitForSelector("h1:has-text('Choose a password')");
    assert.equal(await page.locator(".nav").count(), 0);
    await picture("first-password");
    const choose = async (word, again) => {
      await page.fill("#password-current", given.trim());
      await page.fill("#password-new", word);
      await page.fill("#password-again", again);
      await page.click("button[type=submit]");
    };
    await choose("short", "short");
    await page.waitForSelector("[role=alert]:has-text('at least 12')");
    await choose(PASSWORD, `${PASSWORD}!`);
    await page.waitForSelector("[role=alert]:has-text('differ')");
    await choose(PASSWORD, PASSWORD);
    await page.waitForSelector(".nav");
    assert.equal(new URL(page.url()).pathname, "/agents");
  } finally {
    await fresh.stop();
  }
});
