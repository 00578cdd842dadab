// A headless browser of this machine, and what the tests do with it again and again.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import { PASSWORD } from "./stack.mjs";

const PROGRAMS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export const WIDE = { width: 1440, height: 900 };
export const NARROW = { width: 390, height: 844 };

export async function openBrowser(options = {}) {
  const executablePath = process.env.OPSLINK_CHROMIUM ?? PROGRAMS.find(existsSync);
  if (!executablePath) throw new Error("no chromium on this machine: apt-get install chromium");
  return chromium.launch({ executablePath, args: FLAGS, ...options });
}

/** A page that fails the test when something goes wrong in it: an exception, a refused script, a console error. */
export async function newPage(browser, options = {}) {
  const { language = "en", ...rest } = options;
  const context = await browser.newContext({ viewport: WIDE, locale: language === "zh" ? "zh-CN" : "en-US", ...rest });
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const page = await context.newPage();
  page.faults = [];
  page.on("pageerror", (error) => page.faults.push(String(error)));
  page.on("console", (message) => {
    // A refused or failed call is the page's own business and shown there.
    if (message.type() === "error" && !/Failed to load resource|ERR_/.test(message.text())) page.faults.push(message.text());
  });
  page.setDefaultTimeout(15_000);
  return page;
}

/** Logs in through the form. */
export async function login(page, url, path = "/") {
  await page.goto(`${url}${path}`);
  await page.fill("#username", "admin");
  await page.fill("#password", PASSWORD);
  await page.click("button[type=submit]");
  await page.waitForSelector(".nav");
}

/** Pixels by which the page is wider than its window. */
export const overflow = (page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
