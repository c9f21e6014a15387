// The call inspector on the admin port: a call that rang, one that did not, people, nodes.
import { open, phone, until } from "./stage.mjs";

export async function inspector(browser, url, admin, width, colorScheme) {
  const run = Date.now().toString(36);
  const names = { ana: `Ana-i${run}`, bo: `Bo-i${run}`, nil: `Nil-i${run}` };
  const device = "<b>tab</b>";

  // Two phones, one of which names its device as no page should take it.
  const phones = await open(browser, width, colorScheme, "phones");
  const here = new URL(url);
  here.hash = new URLSearchParams([["user", names.ana], ["user", names.bo], ["device", device]]);
  await phones.page.goto(here.href);
  const [ana, bo] = [1, 2].map((number) => phone(phones.page, `phone-${number}`));
  await phones.page.locator("#connect-all").click();
  for (const who of [ana, bo]) await phones.shows(who, "idle");
  await ana.press("call");
  await phones.shows(bo, /is calling/);
  const rings = await phones.page.locator("#course-of").inputValue();

  // One who is not there.
  const missed = `inspected-${run}`;
  const body = JSON.stringify({ callId: missed, callerId: names.nil, receiverId: `Away-i${run}`, callType: "AUDIO", channelName: "c", agoraToken: "t" });
  const answer = await fetch(new URL("/api/calls", url), { method: "POST", body });
  if (!answer.ok) throw new Error(`POST /api/calls: ${answer.status}`);

  const { page, step, close } = await open(browser, width, colorScheme, "inspector");
  const text = (selector) => () => page.locator(selector).textContent();
  const find = async (what) => {
    await page.locator("#find input").fill(what);
    await page.keyboard.press("Enter");
  };
  await page.goto(`${admin}/inspector`);
  await step("nodes and live calls", async () => {
    await until("nodes", text("#nodes"), /, asked.*ready/);
    await until("live calls", text("#live-title"), /^Live calls: [2-9]$/);
    await until("the list", text("#live"), new RegExp(`${rings}.*ringing.*${names.ana}.*${names.bo}|${missed}`, "s"));
  });
  await step("a call that did not ring", async () => {
    await page.locator("#live a", { hasText: missed }).click();
    await until("the sentence", text("#why"), new RegExp(`^It did not ring: Away-i${run} had no phone connected`));
    await until("the diagram", () => page.locator("#course svg").getAttribute("aria-label"), /^Sequence of call inspected-.*: 2 steps/);
  });
  await step("a call that rings", async () => {
    await find(rings);
    await until("the sentence", text("#why"), new RegExp(`^It rings: device ${device} of ${names.bo} at node .* confirmed it after`));
    const texts = async () => (await page.locator("#course text").allTextContents()).join(" ");
    await until("the diagram", texts, new RegExp(`${names.ana}.*${names.bo} ${device}.*created.*delivered.*ringing`, "s"));
  });
  await step("as text", async () => {
    const href = await page.locator("#as-text").getAttribute("href");
    const plain = await (await fetch(new URL(href, admin))).text();
    if (!plain.includes("delivered") || !plain.trimEnd().endsWith(await text("#why")())) throw new Error(`as text: ${plain}`);
  });
  await step("a user", async () => {
    await page.locator("#facts a", { hasText: names.bo }).click();
    await until("his name", text("#person-title"), names.bo);
    await until("his phones", text("#sessions"), new RegExp(`^${device}.*yes`));
    await until("his calls", text("#own-calls"), new RegExp(`^${rings}ringing`));
    await until("whether he is busy", text("#person-line"), "Busy.");
    if (await page.locator("#call").isVisible()) throw new Error("the call of before is still shown");
  });
  await step("after its end", async () => {
    await bo.press("reject");
    await phones.shows(ana, /^ended/);
    await page.locator("#refresh").click();
    await until("his calls", text("#own-calls"), new RegExp(`^${rings}ended, rejected`));
    await page.goBack();
    await until("the sentence", text("#why"), new RegExp(`^It rang, and ${names.bo} rejected it`));
  });
  await step("nobody of that name", async () => {
    await find(`nobody-${run}`);
    await until("what the page says", text("#said"), /^Nothing is known of nobody-/);
    for (const part of ["#call", "#person"]) if (await page.locator(part).isVisible()) throw new Error(`${part} is shown`);
  });
  await close();
  await phones.close();
  await fetch(new URL("/api/emit/call-ended", url), { method: "POST", body: JSON.stringify({ callId: missed }) });
}
