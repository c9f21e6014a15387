// A page of the lab in a real browser: its phones, and what must hold of it in every state.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

export const WITHIN_MS = 5000;
const ACTIONS = ["call", "accept", "reject", "cancel", "end"];

const directory = process.env.PAGE_TEST_MODULES;
const require = createRequire(directory ? join(directory, "from-here.js") : import.meta.url);

export function playwright() {
  try {
    return require("playwright-core");
  } catch (error) {
    throw new Error("playwright-core is not found: name the directory it was installed in by PAGE_TEST_MODULES", { cause: error });
  }
}

/** What axe finds wrong with the page as it is. */
async function accessible(page, when) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(readFileSync(require.resolve("axe-core/axe.min.js"), "utf8"));
  const { violations } = await page.evaluate(() => window.axe.run());
  const found = violations.flatMap(({ id, help, nodes }) => nodes.map(({ html, failureSummary }) => `${id}, ${help}: ${html.slice(0, 160)} ${failureSummary}`));
  if (found.length) throw new Error(`${when}: axe finds ${found.length} faults:\n${found.slice(0, 8).join("\n")}`);
}

export function phone(page, side) {
  const root = page.locator(`#${side}`);
  const field = (name) => root.locator(`[data-field=${name}]`);
  const button = (name) => root.locator(`[data-do=${name}]`);
  const state = async () => (await root.locator(".state [data-show=state], .state [data-show=timer]").allTextContents()).join(" ").trim();
  return {
    side, field, button, state,
    link: () => root.locator("[data-show=link]").textContent(),
    press: (name) => button(name).click({ timeout: WITHIN_MS }),
    enabled: async () => (await Promise.all(ACTIONS.map(async (name) => (await button(name).isEnabled()) && name))).filter(Boolean).join(" "),
    events: async () => (await page.locator(`#${side}-log summary`).allTextContents()).reverse(),
  };
}

export async function until(what, read, wanted, context, within = WITHIN_MS) {
  const fits = (value) => (wanted instanceof RegExp ? wanted.test(value) : value === wanted);
  const deadline = Date.now() + within;
  let value = await read();
  while (!fits(value)) {
    if (Date.now() > deadline) throw new Error(`${what}: expected ${wanted}, the page shows "${value}"${await context?.() ?? ""}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
    value = await read();
  }
}

/** Opens a page of this width. `logs` are of all phones; `close` fails if the browser complained. */
export async function open(browser, width, colorScheme, title) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, permissions: ["clipboard-read", "clipboard-write"] });
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.location().url.endsWith("/favicon.ico")) complaints.push(message.text());
  });
  const logs = async () => {
    const lists = await page.locator(".log").all();
    const all = await Promise.all(lists.map(async (list, at) => `phone ${at + 1}:\n  ${(await list.locator("summary").allTextContents()).reverse().join("\n  ")}`));
    return `\n${all.join("\n")}`;
  };
  return {
    page, logs,
    shows: (who, state) => until(who.side, who.state, state, logs),
    offers: (who, actions) => until(`buttons of ${who.side}`, who.enabled, actions, logs),
    step: async (name, body) => {
      await body();
      await accessible(page, name);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      if (wide > width) throw new Error(`${name}: the page is ${wide} px wide on a screen of ${width} px`);
      const file = `${title ? `${title}-` : ""}${width}-${name.replaceAll(" ", "-")}.png`;
      if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, file), fullPage: true });
      console.log(`ok  ${title ? `${title}, ` : ""}${width} px: ${name}`);
    },
    close: async () => {
      if (complaints.length) throw new Error(`the browser complains: ${complaints.join("; ")}`);
      await context.close();
    },
  };
}
