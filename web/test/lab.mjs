// What the lab adds to two phones: a link with its set-up, troubles, presence and messages, the course of a call.
import { open, phone, until } from "./stage.mjs";

export async function lab(browser, url, width, colorScheme) {
  const { page, shows, offers, step, close } = await open(browser, width, colorScheme, "lab");
  const [ana, bo, cy] = [1, 2, 3].map((number) => phone(page, `phone-${number}`));
  const run = Date.now().toString(36);
  const names = { ana: `Ana-${run}`, bo: `Bo-${run}`, cy: `Cy-${run}` };
  const here = new URL(url);
  // Another name of the same machine: another server to the page.
  const server = new URLSearchParams(here.hash.slice(1)).get("server") ?? here.origin;
  const other = server.replace("127.0.0.1", "localhost");
  here.hash = new URLSearchParams([
    ["user", names.ana], ["server", server], ["user", names.bo], ["server", other], ["user", names.cy], ["server", server], ["device", "tablet"], ["acks", "0"], ["type", "VIDEO"],
  ]);
  const clipboard = () => page.evaluate(() => navigator.clipboard.readText());
  const said = (wanted) => until("what the page says", () => page.locator("#said").textContent(), wanted);
  const unfold = async (who, part) => {
    const details = page.locator(`#${who.side} .${part}`);
    if (!(await details.evaluate((node) => node.open))) await details.locator("summary").click();
  };
  const detail = (who) => page.locator(`#${who.side} [data-show=detail]`).textContent();

  await page.goto(here.href);
  await step("a link sets three phones up", async () => {
    await until("phones", () => page.locator(".phone").count().then(String), "3");
    const kept = await Promise.all(["user", "device", "type", "token"].map((name) => cy.field(name).inputValue()));
    if (kept.join() !== `${names.cy},tablet,VIDEO,token-of-${names.cy}`) throw new Error(`the third phone is ${kept}`);
    if (await cy.field("acks").isChecked()) throw new Error("the third phone promises acks");
    if ((await bo.field("server").inputValue()) !== other) throw new Error("the second phone has another server");
  });
  await step("phones come and go", async () => {
    for (let count = 4; count <= 6; count += 1) await page.locator("#add").click();
    await until("phones", () => page.locator(".phone").count().then(String), "6");
    if (await page.locator("#add").isEnabled()) throw new Error("a seventh phone is offered");
    for (let count = 5; count >= 3; count -= 1) await page.locator("#remove").click();
    await until("phones", () => page.locator(".phone").count().then(String), "3");
  });
  await step("the link is copied, without tokens", async () => {
    await ana.field("token").fill("secret-one");
    await page.locator("#copy-link").click();
    await said(/is copied$/);
    const link = await clipboard();
    if (link.includes("secret") || link.includes("token")) throw new Error(`a token is in ${link}`);
    const kept = new URLSearchParams(new URL(link).hash.slice(1));
    if (kept.getAll("user").join() !== Object.values(names).join() || kept.get("device") !== "tablet") throw new Error(`the link is ${link}`);
  });
  await step("connects all", async () => {
    await page.locator("#connect-all").click();
    for (const who of [ana, bo, cy]) await shows(who, "idle");
  });
  await step("presence is watched", async () => {
    await unfold(ana, "more");
    await ana.press("watch");
    const presence = () => page.locator("#phone-1 [data-show=presence]").textContent();
    await until("presence", presence, `${names.bo} online, ${names.cy} online`);
    await unfold(cy, "troubles");
    await cy.press("kill");
    await shows(cy, "killed");
    await until("presence", presence, `${names.bo} online, ${names.cy} offline`, undefined, 15_000);
  });
  await step("a message within the call", async () => {
    await ana.press("call");
    await shows(bo, /is calling/);
    await bo.press("accept");
    await shows(ana, /^in call/);
    await ana.field("words").fill("hello there");
    await page.keyboard.press("Enter");
    await until("detail of phone 2", () => detail(bo), /“hello there”$/);
  });
  await step("a slow phone", async () => {
    await unfold(bo, "troubles");
    await bo.press("slow");
    await until("button", () => bo.button("slow").getAttribute("aria-pressed"), "true");
    await ana.field("words").fill("late");
    await ana.press("say");
    await until("detail of phone 2", () => detail(bo), /“late”$/);
    await bo.press("slow");
    await until("button", () => bo.button("slow").getAttribute("aria-pressed"), "false");
  });
  await step("a tab that sleeps hears when it wakes", async () => {
    await bo.press("sleep");
    await until("link of phone 2", bo.link, "the tab sleeps");
    await offers(bo, "");
    await ana.press("end");
    await shows(ana, "ended: you hung up");
    await shows(bo, /^in call/);
    await bo.press("sleep");
    // From the event, or from what it is told when it had to connect again.
    await shows(bo, /^ended: (Remote user ended call|hung up)$/);
  });
  await step("the course of the call", async () => {
    const diagram = page.locator("#course svg");
    const texts = async () => (await diagram.locator("text").allTextContents()).join(" ");
    await until("the diagram", texts, /call:initiate.*call:incoming.*call:accept.*call:ended/s);
    const text = await texts();
    for (const part of [names.ana, names.bo, "the tab sleeps", new URL(server).host, new URL(other).host]) {
      if (!text.includes(part)) throw new Error(`the diagram does not show ${part}: ${text}`);
    }
    if (text.includes(names.cy)) throw new Error("a phone that took no part is in the diagram");
    await page.locator("#copy-course").click();
    await said(/as SVG, is copied$/);
    const svg = await clipboard();
    if (!svg.startsWith("<svg") || !svg.includes("call:accepted") || svg.includes("currentColor")) throw new Error(`copied: ${svg.slice(0, 200)}`);
    const saved = page.waitForEvent("download");
    await page.locator("#save-course").click();
    if (!/^call-.*\.svg$/.test((await saved).suggestedFilename())) throw new Error("the diagram is saved under another name");
  });
  await step("latencies as histograms", async () => {
    const bars = page.locator('#latency tr[data-event="call:initiate"] .histogram');
    await until("histogram", () => bars.getAttribute("aria-label"), /ms: 1$/);
  });
  await step("a half open connection is noticed", async () => {
    await bo.press("half-open");
    await until("link of phone 2", bo.link, /^reconnecting: no ping/, undefined, 15_000);
    await until("link of phone 2", bo.link, /^connected/);
  });
  await step("keys of another phone", async () => {
    await page.locator("h1").click();
    await page.keyboard.press("2");
    await page.keyboard.press("c");
    await shows(bo, new RegExp(`^calling ${names.ana}`));
    await page.keyboard.press("x");
    await shows(bo, "ended: you cancelled");
  });
  await step("an older call is chosen", async () => {
    const select = page.locator("#course-of");
    const ids = await select.locator("option").evaluateAll((all) => all.map(({ value }) => value));
    await select.selectOption(ids.at(-1));
    await until("the diagram", () => page.locator("#course svg").getAttribute("aria-label"), new RegExp(`call ${ids.at(-1)}:`));
  });
  await close();
}
