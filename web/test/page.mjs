// Drives the test page, and the inspector on the admin port, in a real browser:
//   node web/test/page.mjs http://127.0.0.1:3001/ http://127.0.0.1:9001
// playwright-core is found through NODE_PATH or in PAGE_TEST_MODULES, a directory that holds node_modules;
// CHROMIUM names the browser, SCREENSHOTS a directory for pictures of each state.
// axe-core, found likewise, looks at each state.
import { inspector } from "./inspector.mjs";
import { lab } from "./lab.mjs";
import { screenshot } from "./screenshot.mjs";
import { open, phone, playwright, until } from "./stage.mjs";

const [url, admin] = process.argv.slice(2);

async function run(browser, width, colorScheme) {
  const { page, logs, shows, offers, step, close } = await open(browser, width, colorScheme);
  const ana = phone(page, "phone-1");
  const bo = phone(page, "phone-2");

  await page.goto(url);
  // Fresh names, so that neither an earlier run nor the limit of rings per callee is in the way.
  const run = Date.now().toString(36);
  await step("opens filled in", async () => {
    for (const who of [ana, bo]) {
      for (const name of ["user", "token", "server"]) {
        if (!(await who.field(name).inputValue())) throw new Error(`${who.side}: ${name} is empty`);
      }
      await shows(who, "not connected");
      await offers(who, "");
    }
    await ana.field("user").fill(`Ana-${run}`);
    await bo.field("user").fill(`Bo-${run}`);
  });
  await step("connects all", async () => {
    await page.locator("#connect-all").click();
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
    await until("log of phone 1", async () => (await ana.events()).join("\n"), /in\s*call:ringing/);
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
    const troubles = page.locator("#phone-1 .troubles > summary");
    await troubles.click();
    await ana.press("cut");
    await until("link of phone 1", ana.link, /^reconnecting/, logs);
    await until("link of phone 1", ana.link, /^connected/, logs);
    await troubles.click();
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
      throw new Error(`${name} of ${who.side} is not reached by Tab`);
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
    await until("log of phone 2", async () => (await bo.events()).join("\n"), /call:incoming\d+\.\d ms/);
  });
  await step("refusal is final", async () => {
    await page.keyboard.press("d");
    await shows(ana, "not connected");
    await ana.field("token").fill("");
    await ana.press("connect");
    await shows(ana, "refused: Authentication required");
    await offers(ana, "");
  });
  await close();
}

/** The page of both descriptions: every request and every event is on it. */
async function descriptions(browser) {
  const { page, step, close } = await open(browser, 1200, "light", "docs");
  await page.goto(new URL("/docs", url).href);
  await step("requests and events", async () => {
    const fetched = (path) => page.evaluate(async (from) => (await fetch(from)).json(), path);
    const [api, events] = [await fetched("/openapi.json"), await fetched("/asyncapi.json")];
    const requests = Object.values(api.paths).flatMap(Object.keys).length;
    const wanted = String(requests + Object.keys(events.operations).length);
    await until("entries", () => page.locator("details").count().then(String), wanted);
    const incoming = page.locator("details", { has: page.locator("summary code", { hasText: /^call:incoming$/ }) });
    await incoming.locator("summary").click();
    await until("fields of call:incoming", () => incoming.locator("table").first().textContent(), /callId.*expiresInMs/s);
    await until("its example", () => incoming.locator("pre").textContent(), /CALL_17642/);
  });
  await close();
}

let browser;
try {
  if (!admin) throw new Error("usage: node web/test/page.mjs <url of the page> <url of the admin port>");
  browser = await playwright().chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
  });
  await run(browser, 1200, "light");
  await run(browser, 360, "dark");
  await lab(browser, url, 1200, "dark");
  await lab(browser, url, 360, "light");
  await descriptions(browser);
  await inspector(browser, url, admin, 1200, "light");
  await inspector(browser, url, admin, 360, "dark");
  await screenshot(browser, url);
} catch (error) {
  console.error(`FAILED  ${error.message}`);
  process.exitCode = 1;
} finally {
  await browser?.close();
}
