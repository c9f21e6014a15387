// Drives the test page in a real browser: node web/test/page.mjs http://127.0.0.1:3001/
// playwright-core is found through NODE_PATH or in PAGE_TEST_MODULES, a directory that holds node_modules;
// CHROMIUM names the browser, SCREENSHOTS a directory for pictures of each state.
import { createRequire } from "node:module";
import { join } from "node:path";

const url = process.argv[2];
const WITHIN_MS = 5000;
const ACTIONS = ["call", "accept", "reject", "cancel", "end"];

function playwright() {
  const directory = process.env.PAGE_TEST_MODULES;
  try {
    return createRequire(directory ? join(directory, "from-here.js") : import.meta.url)("playwright-core");
  } catch (error) {
    throw new Error("playwright-core is not found: name the directory it was installed in by PAGE_TEST_MODULES", { cause: error });
  }
}

function phone(page, side) {
  const root = page.locator(`#${side}`);
  const field = (name) => root.locator(`[data-field=${name}]`);
  const button = (name) => root.locator(`[data-do=${name}]`);
  const state = async () => (await root.locator(".state [data-show=state], .state [data-show=timer]").allTextContents()).join(" ").trim();
  return {
    side, field, button, state,
    press: (name) => button(name).click({ timeout: WITHIN_MS }),
    enabled: async () => (await Promise.all(ACTIONS.map(async (name) => (await button(name).isEnabled()) && name))).filter(Boolean).join(" "),
    events: async () => (await page.locator(`#${side}-log summary`).allTextContents()).reverse(),
  };
}

async function until(what, read, wanted, context) {
  const fits = (value) => (wanted instanceof RegExp ? wanted.test(value) : value === wanted);
  const deadline = Date.now() + WITHIN_MS;
  let value = await read();
  while (!fits(value)) {
    if (Date.now() > deadline) throw new Error(`${what}: expected ${wanted}, the page shows "${value}"${await context?.() ?? ""}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
    value = await read();
  }
}

async function run(browser, width, colorScheme) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error" && !message.location().url.endsWith("/favicon.ico")) complaints.push(message.text());
  });
  const ana = phone(page, "left");
  const bo = phone(page, "right");
  const logs = async () => `\nleft:\n  ${(await ana.events()).join("\n  ")}\nright:\n  ${(await bo.events()).join("\n  ")}`;
  const shows = (who, state) => until(`${who.side} phone`, who.state, state, logs);
  const offers = (who, actions) => until(`buttons of the ${who.side} phone`, who.enabled, actions, logs);
  const step = async (name, body) => {
    await body();
    if (process.env.SCREENSHOTS) await page.screenshot({ path: join(process.env.SCREENSHOTS, `${width}-${name.replaceAll(" ", "-")}.png`), fullPage: true });
    console.log(`ok  ${width} px: ${name}`);
  };

  await page.goto(url);
  // Fresh names, so that neither an earlier run nor the limit of rings per callee is in the way.
  const run = Date.now().toString(36);
  await step("opens filled in", async () => {
    for (const who of [ana, bo]) {
      for (const name of ["user", "token", "server"]) {
        if (!(await who.field(name).inputValue())) throw new Error(`${who.side} phone: ${name} is empty`);
      }
      await shows(who, "not connected");
      await offers(who, "");
    }
    await ana.field("user").fill(`Ana-${run}`);
    await bo.field("user").fill(`Bo-${run}`);
  });
  await step("connects both", async () => {
    await page.locator("#connect-both").click();
    for (const who of [ana, bo]) {
      await shows(who, "idle");
      await offers(who, "call");
    }
  });

  await step("call rings", async () => {
    await ana.press("call");
    await shows(bo, /^Ana-\S+ is calling/);
    await shows(ana, /^calling Bo-.*…/);
    await offers(ana, "cancel");
    await offers(bo, "accept reject");
    await until("log of the left phone", async () => (await ana.events()).join("\n"), /in\s*call:ringing/);
  });
  await step("accept", async () => {
    await bo.press("accept");
    for (const who of [ana, bo]) {
      await shows(who, /^in call 00:0\d$/);
      await offers(who, "end");
    }
    await shows(ana, "in call 00:01");
  });
  await step("reload resumes", async () => {
    await page.reload();
    for (const who of [ana, bo]) {
      await shows(who, /^in call 00:\d\d$/);
      await offers(who, "end");
    }
  });
  await step("cut transport resumes", async () => {
    const left = page.locator("#left");
    await left.locator(".advanced > summary").click();
    await left.locator("[data-do=cut]").click();
    await until("link of the left phone", () => left.locator("[data-show=link]").textContent(), /^reconnecting/);
    await until("link of the left phone", () => left.locator("[data-show=link]").textContent(), /^connected/);
    await left.locator(".advanced > summary").click();
    await offers(ana, "end");
  });
  await step("end", async () => {
    await ana.press("end");
    await shows(ana, "ended: you hung up");
    await shows(bo, "ended: Remote user ended call");
    for (const who of [ana, bo]) await offers(who, "call");
  });

  await step("keys stay quiet in fields", async () => {
    await ana.field("type").focus();
    await page.keyboard.press("c");
    await shows(ana, "ended: you hung up");
    await ana.field("type").evaluate((field) => field.blur());
  });
  await step("call and reject by keys", async () => {
    await page.keyboard.press("Shift+C");
    await shows(ana, /^Bo-\S+ is calling/);
    await page.keyboard.press("r");
    await shows(bo, "ended: User declined");
    await shows(ana, "ended: you declined");
  });
  await step("call and cancel by Tab and Enter", async () => {
    const tabTo = async (who, name) => {
      for (let presses = 0; presses < 60; presses += 1) {
        if (await who.button(name).evaluate((button) => button === document.activeElement)) return;
        await page.keyboard.press("Tab");
      }
      throw new Error(`${name} of the ${who.side} phone is not reached by Tab`);
    };
    await tabTo(ana, "call");
    await page.keyboard.press("Enter");
    await shows(bo, /^Ana-\S+ is calling/);
    await tabTo(ana, "cancel");
    await page.keyboard.press("Enter");
    await shows(ana, "ended: you cancelled");
    await shows(bo, "ended: Caller ended call");
  });
  await step("call and accept by keys", async () => {
    await page.keyboard.press("c");
    await shows(bo, /^Ana-\S+ is calling/);
    await page.keyboard.press("Shift+A");
    await shows(ana, /^in call/);
    await shows(bo, /^in call/);
    await page.keyboard.press("Shift+E");
    await shows(bo, "ended: you hung up");
    await shows(ana, "ended: Remote user ended call");
  });

  await step("latencies", async () => {
    for (const event of ["initiate", "accept", "reject", "cancel", "end"]) {
      const cells = await page.locator(`#latency tr[data-event="call:${event}"] td`).allTextContents();
      if (!cells.slice(0, 4).every((cell) => /^\d+\.\d$/.test(cell))) throw new Error(`latency of ${event}: the table shows ${cells.join(" ")}`);
      console.log(`      ${event}: last ${cells[0]} ms, median ${cells[2]} ms, of ${cells[4]}`);
    }
    await until("log of the right phone", async () => (await bo.events()).join("\n"), /call:incoming\d+\.\d ms/);
  });
  await step("refusal is final", async () => {
    await page.keyboard.press("d");
    await shows(ana, "not connected");
    await ana.field("token").fill("");
    await ana.press("connect");
    await shows(ana, "refused: Authentication required");
    await offers(ana, "");
  });
  await step("fits the width", async () => {
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    if (wide > width) throw new Error(`the page is ${wide} px wide on a screen of ${width} px`);
  });
  if (complaints.length) throw new Error(`the browser complains: ${complaints.join("; ")}`);
  await context.close();
}

let browser;
try {
  if (!url) throw new Error("usage: node web/test/page.mjs <url of the page>");
  browser = await playwright().chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
  });
  await run(browser, 1200, "light");
  await run(browser, 360, "dark");
} catch (error) {
  console.error(`FAILED  ${error.message}`);
  process.exitCode = 1;
} finally {
  await browser?.close();
}
