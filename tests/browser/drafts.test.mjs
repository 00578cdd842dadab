// What is typed is not lost before it runs, and what would be destroyed or done twice is said.
import { after, afterEach, before, test } from "node:test";
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Stack, PASSWORD } from "./lib/stack.mjs";
import { login, newPage, openBrowser } from "./lib/browser.mjs";

let stack, browser, page, folder;

before(async () => {
  [stack, browser] = await Promise.all([Stack.start(), openBrowser()]);
  folder = await mkdtemp(join(tmpdir(), "opslink-drafts-"));
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

const open = async (path) => {
  page = await newPage(browser);
  await login(page, stack.url, path);
};
const value = (field, wanted) =>
  page.waitForFunction(([field, wanted]) => document.querySelector(field)?.value === wanted, [field, wanted]);
const run = async () => {
  await page.waitForFunction(() => /1/.test(document.querySelector("#run:enabled")?.textContent ?? ""));
  await page.click("#run");
  await page.waitForURL(/\/tasks\/[0-9a-f-]{36}/);
};
const taskState = (state) => page.waitForSelector(`#task-state [data-state=${state}]`, { timeout: 30_000 });

test("what is typed outlives another language, a reload, another page and a session, until it runs", async () => {
  await open("/run/shell?a=prod");
  await page.fill("#command", "echo 'half written'");
  await page.click("details.options summary");
  await page.fill("#opt-timeout", "90s");
  const kept = async (why) => {
    await value("#command", "echo 'half written'");
    await value("#opt-timeout", "90s");
    assert.equal(await page.isVisible("#opt-timeout"), true, `${why}: an option that counts is in sight`);
    assert.match(await page.innerText("#twin-cloudctl"), /--agent prod.*--timeout 90s/, why);
  };
  await page.click("button[lang=zh-CN]");
  await page.waitForSelector("html[lang=zh-CN] h1:has-text('执行命令')");
  await kept("language");
  await page.click("button[lang=en]");
  await page.waitForSelector("html[lang=en] h1");
  await kept("back to the first language");
  await page.reload();
  await kept("reload");
  await page.click(".nav-link[href='/agents']");
  await page.waitForSelector("[data-agent=prod]");
  await page.goBack();
  await kept("back");
  // The session ends, and the page is loaded anew: what was typed waits behind the login.
  await page.context().clearCookies();
  await page.reload();
  await page.fill("#username", "admin");
  await page.fill("#password", PASSWORD);
  await page.click("button[type=submit]");
  await page.waitForSelector(".nav");
  await kept("another session");
  await run();
  await page.click(".nav-link[href='/run/shell']");
  await value("#command", "");
});

test("what was typed goes with the logout, and a link with a command begins with that", async () => {
  await open("/run/shell?a=prod");
  await page.fill("#command", "echo mine");
  await page.goto(`${stack.url}/run/shell?a=prod&cmd=uname%20-a`);
  await value("#command", "uname -a");
  await page.fill("#command", "uname -r");
  await page.reload();
  await value("#command", "uname -r");
  assert.ok((await page.evaluate(() => sessionStorage.length)) > 0);
  await page.click(".who button");
  await page.waitForSelector("#username");
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
});

test("a file that is dropped beside the editor does not take the page away", async () => {
  await open("/run/sql?a=prod");
  // What a page does not refuse, a browser opens in its place.
  const refused = await page.evaluate(() => {
    const refuses = (add) =>
      ["dragover", "drop"].map((type) => {
        const dataTransfer = new DataTransfer();
        add(dataTransfer);
        const event = new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true });
        return !document.querySelector("h1").dispatchEvent(event);
      });
    return {
      file: refuses((transfer) => transfer.items.add(new File(["select 2;"], "beside.sql"))),
      text: refuses((transfer) => transfer.setData("text/plain", "select 2;")),
    };
  });
  assert.deepEqual(refused, { file: [true, true], text: [false, false] });
});

test("a hint about destruction sees through comments, and names the right line", async () => {
  await open("/run/sql?a=prod");
  const hint = (text) => page.waitForSelector(`.danger li:has-text("${text}")`, { timeout: 5_000 });
  await page.fill("#script", "select 1;\n-- the old one; it is empty\nDROP TABLE old;");
  await hint("Line 3");
  assert.equal(await page.innerText(".danger code"), "DROP TABLE old;");
  await page.fill("#script", "/* why */ DROP TABLE old");
  await hint("Line 1");
  await page.fill("#script", "/*\n DROP TABLE a;\n*/ select 'DROP TABLE b; --';\n\nTRUNCATE c");
  await hint("Line 5");
  assert.equal(await page.locator(".danger li").count(), 1);
});

test("a script keeps the name of its file", async () => {
  const file = join(folder, "nightly-report.sql");
  await writeFile(file, "select 1 as answer;\n");
  await open("/run/sql?a=prod");
  await page.setInputFiles("input[type=file]", file);
  await value("#script", "select 1 as answer;\n");
  await run();
  await page.waitForSelector("h1:has-text('nightly-report.sql')");
  await page.click("a:has-text('Run again')");
  await page.waitForSelector(".card-head .label:has-text('nightly-report.sql')");
  await page.goto(`${stack.url}/tasks`);
  await page.waitForSelector(".row-link:has-text('nightly-report.sql')");
});

test("before SQL runs again, also on one agent alone, it is said what happens twice", async () => {
  await open("/run/sql?a=prod");
  await page.fill("#script", "create table if not exists twice (n);\ninsert into twice values (1);\nselect broken from nowhere;");
  await run();
  await taskState("failed");
  const attempts = [];
  page.on("request", (request) => request.url().endsWith("/RetryTask") && attempts.push(request.url()));
  await page.click("#retry");
  await page.waitForSelector("dialog[open]:has-text('statements that took effect do so a second time')");
  await page.keyboard.press("Escape");
  await page.click("button:has-text('Retry here')");
  await page.waitForSelector("dialog[open]:has-text('statements that took effect do so a second time')");
  assert.deepEqual(attempts, []);
  await page.click("#retry-here");
  await page.waitForSelector("dialog[open]", { state: "detached" });
  await page.waitForSelector(".toast");
  assert.equal(attempts.length, 1);
});

test("a grid sorts what is computed by value, shows wide letters whole, and its CSV runs nothing", async () => {
  await open("/run/sql?a=prod");
  await page.fill(
    "#script",
    "select 10 * 1 as n, '中文字符' as word, '=1+1' as a, '@SUM(A1)' as b, -5 as c union all select 9, '词', '', '', 0 union all select 100, '', '', '', 0;",
  );
  await run();
  await page.waitForSelector(".grid-row");
  await page.click(".grid-sort >> nth=0");
  await page.waitForSelector("[aria-sort=ascending]");
  const first = await page.locator(".grid-row").evaluateAll((rows) => rows.map((row) => row.querySelector("[role=cell]").textContent));
  assert.deepEqual(first, ["9", "10", "100"]);
  const cell = page.locator("[role=cell]:has-text('中文字符')");
  assert.equal(await cell.locator("button").count(), 0, "a cell that fits offers nothing more");
  assert.ok(await cell.evaluate((cell) => cell.scrollWidth <= cell.clientWidth), "it fits");
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("button:has-text('CSV') >> nth=1")]);
  const bytes = await readFile(await download.path());
  assert.deepEqual([...bytes.subarray(0, 3)], [0xef, 0xbb, 0xbf]);
  const records = bytes.subarray(3).toString().split("\r\n");
  assert.deepEqual(records.slice(0, 3), ["n,word,a,b,c", '9,词,"","",0', "10,中文字符,'=1+1,'@SUM(A1),-5"]);
});
