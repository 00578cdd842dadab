// A log that is read while it grows: what follows its end has rows in every frame, what is read stays where it is.
import { after, afterEach, before, test } from "node:test";
import assert from "node:assert/strict";
import { Stack } from "./lib/stack.mjs";
import { login, newPage, openBrowser } from "./lib/browser.mjs";

let stack, browser, page;

before(async () => {
  // A scroll bar is only there to be dragged when the browser shows it.
  [stack, browser] = await Promise.all([Stack.start(), openBrowser({ ignoreDefaultArgs: ["--hide-scrollbars"] })]);
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

/** Opens a task that says the numbers from 1 on, `lines` at a time, so many times, and waits for the first of them. */
const flood = async (lines, times, pause, options = {}) => {
  const line = `i=0; while [ $i -lt ${times} ]; do seq $((i*${lines}+1)) $((i*${lines}+${lines})); i=$((i+1)); sleep ${pause}; done`;
  const { stdout } = await stack.cloudctl("run", "shell", "--detach", "-o", "json", "--agent", "prod", "--", "sh", "-c", line);
  page = await newPage(browser, options);
  await login(page, stack.url, `/tasks/${/[0-9a-f]{8}-[0-9a-f-]{27}/.exec(stdout)[0]}`);
  await arrives(2 * lines);
};
/** Waits until lines from this number on are there, shown or counted. */
const arrives = (number) =>
  page.waitForFunction((wanted) => {
    const earlier = Number((document.querySelector(".log-earlier")?.textContent ?? "").replaceAll(",", "").match(/\d+/)?.[0] ?? 0);
    return earlier + document.querySelector(".log-rows")?.scrollHeight / 20 > wanted;
  }, number, { timeout: 60_000 });
const ended = () => page.waitForSelector("#task-state [data-state=succeeded]", { timeout: 60_000 });
const follow = () => page.locator(".log-tools > button").last();
const isFollowing = async () => (await follow().getAttribute("aria-pressed")) === "true";
/** The number on top, and its distance from the edge in pixels, as the last frame showed it. */
const onTop = () =>
  page.evaluate(async () => {
    await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
    const edge = document.querySelector(".log-rows").getBoundingClientRect().top;
    const row = [...document.querySelectorAll(".log-row")].find((row) => row.getBoundingClientRect().bottom > edge + 1);
    return { number: Number(row.querySelector(".log-text").textContent), above: Math.round(row.getBoundingClientRect().top - edge) };
  });
const lineCount = () =>
  page.evaluate(() => {
    const earlier = Number((document.querySelector(".log-earlier")?.textContent ?? "").replaceAll(",", "").match(/\d+/)?.[0] ?? 0);
    return earlier + document.querySelector(".log-rows").scrollHeight / 20;
  });

test("no frame is painted without rows while 5,000 lines a second are followed", async () => {
  await flood(100, 620, 0.02);
  // A size is observed after layout and before paint: what it sees is what the frame shows.
  await page.evaluate(() => {
    window.frames_ = { all: 0, bare: [] };
    const list = document.querySelector(".log-rows");
    new ResizeObserver(() => {
      const frame = list.getBoundingClientRect();
      const rows = [...list.querySelectorAll(".log-row")].map((row) => row.getBoundingClientRect());
      const covered = rows.length > 0 && rows[0].top <= frame.top + 1 && rows.at(-1).bottom >= frame.bottom - 21;
      window.frames_.all += 1;
      if (!covered) window.frames_.bare.push(`${list.scrollTop} of ${list.scrollHeight}: ${rows.length} rows`);
    }).observe(list.querySelector(".virtual-space"));
  });
  await ended();
  const { all, bare } = await page.evaluate(() => window.frames_);
  console.log(`      ${all} frames grew, ${bare.length} of them without rows`);
  assert.ok(all > 60, `only ${all} frames were seen`);
  assert.deepEqual(bare.slice(0, 5), [], `${bare.length} of ${all} frames had no rows`);
  assert.equal(await isFollowing(), true, "nobody scrolled");
  // Old lines were dropped on the way.
  assert.match(await page.locator(".log-earlier").innerText(), /\d/);
});

test("wheel, keys, touch and the scroll bar leave the end, and stay away from it while lines come", async () => {
  await flood(100, 1500, 0.02, { hasTouch: true });
  const list = page.locator(".log-rows");
  const box = await list.boundingBox();
  const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
  const cdp = await page.context().newCDPSession(page);
  const ways = {
    "a trackpad, 4 px": async () => {
      await page.mouse.move(x, y);
      await page.mouse.wheel(0, -4);
    },
    "page up": async () => {
      await list.focus();
      await page.keyboard.press("PageUp");
    },
    "a finger": () =>
      cdp.send("Input.synthesizeScrollGesture", { x, y, yDistance: 80, gestureSourceType: "touch", speed: 400 }),
    "the scroll bar": async () => {
      // Its thumb is at the end of the track.
      await page.mouse.move(box.x + box.width - 5, box.y + box.height - 8);
      await page.mouse.down();
      await page.mouse.move(box.x + box.width - 5, y, { steps: 4 });
      await page.mouse.up();
    },
    "the button": () => follow().click(),
  };
  for (const [name, leave] of Object.entries(ways)) {
    await page.waitForFunction((button) => button.getAttribute("aria-pressed") === "true", await follow().elementHandle());
    await leave();
    await page.waitForSelector(".log-jump");
    await arrives((await lineCount()) + 1_500);
    assert.equal(await isFollowing(), false, `${name}: it follows again`);
    const rest = await list.evaluate((list) => list.scrollHeight - list.scrollTop - list.clientHeight);
    assert.ok(rest > 20_000, `${name}: ${rest} px from the end`);
    await page.click(".log-jump");
    await page.waitForSelector(".log-jump", { state: "detached" });
    const [before, count] = [await onTop(), await lineCount()];
    await arrives(count + 500);
    assert.ok((await onTop()).number > before.number, `${name}: back at the end it does not follow`);
  }
});

test("what is read stays where it is while old lines are dropped", async () => {
  await flood(500, 180, 0.05);
  await arrives(60_000);
  const list = page.locator(".log-rows");
  await list.hover();
  await page.mouse.wheel(0, -1_230);
  await page.waitForSelector(".log-jump");
  // The wheel is at rest when four frames show the same line: they come before what is read is put back in its place, and
  // old lines are dropped every eight.
  await page.waitForFunction(() => {
    const top = document.querySelector(".log-row").textContent;
    window.still_ = window.top_ === top ? window.still_ + 1 : 0;
    window.top_ = top;
    return window.still_ > 3;
  });
  const before = await onTop();
  const height = await list.evaluate((list) => list.scrollTop);
  await ended();
  await page.waitForFunction((was) => document.querySelector(".log-rows").scrollTop < was, height);
  assert.deepEqual(await onTop(), before);
  // The same holds when lines are put before it.
  await page.click(".log-earlier button");
  await page.waitForFunction((was) => document.querySelector(".log-rows").scrollTop > was, await list.evaluate((list) => list.scrollTop));
  assert.deepEqual(await onTop(), before);
});

test("line numbers are in order beside a progress bar, the last line has one, and no mark turns letters", async () => {
  const said = [
    "printf '10%%\\r' >&2; sleep 0.3; echo one; echo two; sleep 0.3; printf '20%%\\r' >&2; sleep 0.3; echo three; sleep 0.3",
    "printf '100%%\\r\\n' >&2; sleep 0.3; printf '\\342\\200\\256gpj.exe\\n'; printf 'no end'",
  ].join("; ");
  const { stdout } = await stack.cloudctl("run", "shell", "--detach", "-o", "json", "--agent", "prod", "--", "sh", "-c", said);
  page = await newPage(browser);
  await login(page, stack.url, `/tasks/${/[0-9a-f]{8}-[0-9a-f-]{27}/.exec(stdout)[0]}`);
  await ended();
  await page.waitForFunction(() => /no end/.test(document.querySelector(".log-rows")?.innerText ?? ""));
  const rows = await page.locator(".log-row:not(.log-end)").evaluateAll((rows) =>
    rows.map((row) => [row.querySelector(".log-number")?.textContent, row.querySelector(".log-text").textContent]),
  );
  assert.deepEqual(rows, [
    ["1", "one"],
    ["2", "two"],
    ["3", "three"],
    ["4", "100%"],
    ["5", "gpj.exe"],
    ["6", "no end"],
  ]);
});
