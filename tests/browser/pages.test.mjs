// Every page: cold by its URL, in both languages and themes, wide and narrow, without serious accessibility faults.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AxeBuilder } from "@axe-core/playwright";
import { Stack } from "./lib/stack.mjs";
import { login, NARROW, newPage, openBrowser, overflow, WIDE } from "./lib/browser.mjs";

let stack, browser, folder, task, sqlTask;

before(async () => {
  [stack, browser] = await Promise.all([Stack.start(), openBrowser()]);
  folder = process.env.OPSLINK_SCREENSHOTS ?? (await mkdtemp(join(tmpdir(), "opslink-pages-")));
  console.log(`      screenshots in ${folder}`);
  const shell = "printf 'a line\\n\\033[31mred\\033[0m\\n%0300d\\n' 7; echo trouble >&2; exit 3";
  const run = async (...words) => {
    const { stdout } = await stack.cloudctl("run", words[0], "--detach", "-o", "json", ...words.slice(1));
    return /[0-9a-f]{8}-[0-9a-f-]{27}/.exec(stdout)[0];
  };
  task = await run("shell", "--selector", "env=prod", "--", "sh", "-c", shell);
  sqlTask = await run("sql", "--agent", "prod", "-e", "select 1 as one, null as absent; select 'two' as two;");
});
after(async () => {
  await browser?.close();
  await stack?.stop();
});

const pages = () => [
  ["home", "/"],
  ["agents", "/agents"],
  ["agents-filtered", "/agents?l=env%3Dprod"],
  ["agent-new", "/agents/new"],
  ["agent", "/agents/prod"],
  ["agent-unknown", "/agents/nobody"],
  ["run-shell", "/run/shell?l=env%3Dprod"],
  ["run-shell-again", `/run/shell?from=${task}`],
  ["run-sql", "/run/sql?a=prod"],
  ["tasks", "/tasks"],
  ["tasks-failed", "/tasks?state=failed"],
  ["task", `/tasks/${task}`],
  ["task-one", `/tasks/${task}?agent=prod`],
  ["task-sql", `/tasks/${sqlTask}`],
  ["task-sql-log", `/tasks/${sqlTask}?tab=log`],
  ["task-unknown", "/tasks/00000000-0000-0000-0000-000000000000"],
  ["tokens", "/tokens"],
  ["audit", "/audit"],
  ["account", "/account"],
  ["not-found", "/no/such/page"],
];

const LOOKS = [
  { language: "en", colorScheme: "light", viewport: WIDE },
  { language: "zh", colorScheme: "dark", viewport: WIDE },
  { language: "en", colorScheme: "dark", viewport: NARROW },
  { language: "zh", colorScheme: "light", viewport: NARROW },
];

for (const look of LOOKS) {
  const name = `${look.language}-${look.colorScheme}-${look.viewport.width}`;
  test(`every page opens cold: ${name}`, async () => {
    const page = await newPage(browser, look);
    await page.goto(stack.url);
    await page.waitForSelector("#username");
    await page.screenshot({ path: join(folder, `${name}-login.png`) });
    await login(page, stack.url);
    for (const [title, path] of pages()) {
      await page.goto(stack.url + path);
      await page.waitForSelector("h1");
      await page.waitForFunction(() => !document.querySelector(".skeleton"));
      await page.screenshot({ path: join(folder, `${name}-${title}.png`) });
      assert.ok((await overflow(page)) <= 0, `${path} is wider than ${look.viewport.width} px`);
      assert.ok((await page.title()).includes("OpsLink"), `${path} has a title`);
      const chinese = /[\u4e00-\u9fff]/.test(await page.locator("h1, nav").allInnerTexts().then((texts) => texts.join(" ")));
      assert.equal(chinese, look.language === "zh", `${path} speaks ${look.language}`);
      const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]).analyze();
      const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
      const said = serious.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html).join(" | ")}`);
      assert.deepEqual(said, [], `accessibility of ${path}`);
    }
    assert.deepEqual(page.faults, []);
    await page.context().close();
  });
}

test("words of narrow tables stay whole", async () => {
  const page = await newPage(browser, { language: "zh", viewport: NARROW });
  await login(page, stack.url);
  for (const path of ["/tasks", "/tokens", "/audit"]) {
    await page.goto(stack.url + path);
    await page.waitForSelector(".list-table td");
    // A word that is broken takes several lines.
    const broken = await page.locator(".list-table td").evaluateAll((cells) =>
      cells
        .filter((cell) => cell.innerText.trim().length > 0 && cell.innerText.trim().length <= 8)
        .filter((cell) => {
          const range = document.createRange();
          range.selectNodeContents(cell);
          const tops = [...range.getClientRects()].map((box) => Math.round(box.bottom / 8));
          return new Set(tops).size > 2;
        })
        .map((cell) => cell.innerText),
    );
    assert.deepEqual(broken, [], path);
    assert.ok((await overflow(page)) <= 0, path);
    const hidden = await page.locator(".table-scroll").evaluate((frame) => frame.scrollWidth - frame.clientWidth);
    assert.ok(hidden <= 0, `${path}: ${hidden} px of the table are out of sight`);
  }
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("theme and language are kept", async () => {
  const page = await newPage(browser);
  await login(page, stack.url);
  await page.click("button[aria-label=Dark]");
  await page.click("button[lang=zh-CN]");
  await page.waitForSelector("html[lang=zh-CN] h1:has-text('首页')");
  await page.click(".nav-link[href='/agents']");
  await page.waitForSelector("h1:has-text('代理')");
  await page.click("button[lang=en]");
  await page.waitForSelector("h1:has-text('Agents')");
  await page.waitForSelector(".agents-row[data-agent=prod]");
  await page.click("button[lang=zh-CN]");
  await page.waitForSelector("h1:has-text('代理')");
  await page.click(".nav-link[href='/']");
  assert.deepEqual(page.faults, []);
  await page.reload();
  await page.waitForSelector("html[lang=zh-CN][data-theme=dark] .nav");
  assert.match(await page.locator("h1").innerText(), /首页/);
  await page.context().close();
});

test("the keyboard goes everywhere", async () => {
  const page = await newPage(browser);
  await login(page, stack.url);
  await page.keyboard.press("g");
  await page.keyboard.press("a");
  await page.waitForURL(/\/agents$/);
  await page.waitForSelector("#filter");
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "filter");
  await page.keyboard.press("Tab");
  await page.locator("h1").click();
  await page.keyboard.press("?");
  await page.waitForSelector("dialog[open]");
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog[open]", { state: "detached" });
  await page.context().close();
});

test("an API token is shown once and can be revoked", async () => {
  const page = await newPage(browser);
  await login(page, stack.url, "/tokens");
  await page.click("button:has-text('Create token')");
  await page.fill("#token-name", "pipeline");
  await page.click("dialog button[type=submit]");
  assert.match(await page.locator("#token-secret").innerText(), /^olp_/);
  await page.click("dialog button:has-text('kept')");
  await page.reload();
  const row = page.locator("tr", { hasText: "pipeline" });
  assert.doesNotMatch(await page.content(), /olp_/);
  await row.locator("button").click();
  await page.click("dialog .button-danger");
  await row.locator("text=revoked").waitFor();
  assert.deepEqual(page.faults, []);
  await page.context().close();
});
