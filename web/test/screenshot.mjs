// The picture that opens README.md: the lab with a call. In it lies an outline of what was on the page, which has to be that
// of the page as it is; and the picture has to look like the page, block by block, so that fonts, ids and times make no
// difference and another colour or layout does.
//   WRITE_SCREENSHOT=1 scripts/test-page     takes it anew
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { open, phone, until } from "./stage.mjs";

const FILE = fileURLToPath(new URL("../../docs/images/lab.png", import.meta.url));
const WIDTH = 1160;
/** Pixels of a block's side. */
const BLOCK = 20;
/** Lightness, 0 to 255, by which a block may differ, and the share of blocks that may differ by more. */
const [DIFFERS, SHARE] = [40, 0.05];
/** Pixels by which the heights may differ: lines of another font. */
const TALLER = 80;

/** What is to be seen: headings, controls and words in their order, without what differs from run to run. */
function outline(page) {
  return page.evaluate(() => {
    const isSeen = (node) => node.checkVisibility({ visibilityProperty: true }) && !node.closest("#logs, section[aria-labelledby=latency-title], section[aria-labelledby=keys-title]");
    const words = (node) => node.textContent.trim().replace(/\s+/g, " ").replace(/\d+/g, "N");
    const own = [...document.querySelectorAll("h1, h2, p, button, summary, legend, label, input, select, svg")].filter(isSeen);
    return own.map((node) => {
      const name = node.localName;
      if (name === "svg") return `svg ${[...new Set([...node.querySelectorAll("text")].map(words))].sort().join(" | ")}`;
      if (name === "input") return `input ${node.type}${node.disabled ? " disabled" : ""}`;
      if (name === "select") return `select${node.disabled ? " disabled" : ""}`;
      return `${name} ${words(node)}${node.disabled ? " disabled" : ""}`;
    });
  });
}

/** How two pictures differ: heights in pixels, and the share of blocks whose lightness is another. */
function compare(page, one, other) {
  return page.evaluate(async ([pictures, block, differs]) => {
    const read = async (picture) => {
      const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(picture), (c) => c.charCodeAt(0))]));
      const [width, height] = [bitmap.width, bitmap.height];
      const context = new OffscreenCanvas(width, height).getContext("2d");
      context.drawImage(bitmap, 0, 0);
      const { data } = context.getImageData(0, 0, width, height);
      const blocks = [];
      for (let top = 0; top + block <= height; top += block) {
        for (let left = 0; left + block <= width; left += block) {
          let sum = 0;
          for (let y = top; y < top + block; y += 1) {
            for (let at = 4 * (y * width + left); at < 4 * (y * width + left + block); at += 4) sum += data[at] + data[at + 1] + data[at + 2];
          }
          blocks.push(sum / (3 * block * block));
        }
      }
      return { width, height, blocks };
    };
    const [a, b] = await Promise.all(pictures.map(read));
    const count = Math.min(a.blocks.length, b.blocks.length);
    const others = a.blocks.slice(0, count).filter((lightness, at) => Math.abs(lightness - b.blocks[at]) > differs).length;
    return { widths: [a.width, b.width], heights: [a.height, b.height], share: others / count };
  }, [[one, other].map((picture) => picture.toString("base64")), BLOCK, DIFFERS]);
}

const looksAlike = ({ widths, heights, share }) => widths[0] === widths[1] && Math.abs(heights[0] - heights[1]) <= TALLER && share <= SHARE;

// A text in a PNG: a chunk of its own behind the head (PNG specification, 11.3.4.3).
const HEAD = 33;
const KEY = "tEXtoutline\0";

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

function withOutline(picture, lines) {
  const text = JSON.stringify(lines).replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const chunk = Buffer.from(KEY + text, "latin1");
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(chunk.length - 4);
  sum.writeUInt32BE(crc32(chunk));
  return Buffer.concat([picture.subarray(0, HEAD), length, chunk, sum, picture.subarray(HEAD)]);
}

function outlineIn(picture) {
  if (picture.subarray(HEAD + 4, HEAD + 4 + KEY.length).toString("latin1") !== KEY) return [];
  return JSON.parse(picture.subarray(HEAD + 4 + KEY.length, HEAD + 8 + picture.readUInt32BE(HEAD)).toString("latin1"));
}

export async function screenshot(browser, url) {
  const { page, shows, close } = await open(browser, WIDTH, "light", "screenshot");
  const here = new URL(url);
  here.hash = new URLSearchParams([["user", "Ana"], ["user", "Bo"], ["device", "pixel-8"]]);
  await page.emulateMedia({ reducedMotion: "reduce", colorScheme: "light" });
  await page.goto(here.href);
  const [ana, bo] = [1, 2].map((number) => phone(page, `phone-${number}`));
  await page.locator("#connect-all").click();
  for (const who of [ana, bo]) await shows(who, "idle");
  await ana.press("call");
  await shows(bo, /is calling/);
  await bo.press("accept");
  for (const who of [ana, bo]) await shows(who, /^in call/);
  const drawn = async () => (await page.locator("#course svg text").allTextContents()).sort().join(" ");
  await until("the diagram", drawn, /accept: ok.*ack of call:incoming.*call:accepted.*call:ringing.*initiate: ok.*ringing: ok/s);

  const take = async () => {
    const box = await page.locator("section[aria-labelledby=course-title]").boundingBox();
    const clip = { x: 0, y: 0, width: WIDTH, height: Math.round(box.y + box.height + 20) };
    return page.screenshot({ clip, fullPage: true, animations: "disabled", caret: "hide" });
  };
  const now = await take();
  if (process.env.WRITE_SCREENSHOT) writeFileSync(FILE, withOutline(now, await outline(page)));
  const kept = readFileSync(FILE);
  const stale = (why) => new Error(`docs/images/lab.png is not the lab as it is (${why}): WRITE_SCREENSHOT=1 scripts/test-page, and look at it`);
  const differences = async () => {
    const [was, is] = [outlineIn(kept), await outline(page)];
    return [...is.filter((line) => !was.includes(line)).map((line) => `new: ${line}`), ...was.filter((line) => !is.includes(line)).map((line) => `gone: ${line}`), ...(was.join() === is.join() ? [] : ["in another order or number"])];
  };
  const found = await differences();
  if (found.length) throw stale(found.join("; "));
  const looks = await compare(page, kept, now);
  if (!looksAlike(looks)) throw stale(JSON.stringify(looks));

  // What it must notice: a part that is gone, other colours.
  for (const part of [".phone .actions", ".phone .settings", "#course svg", "header .buttons", ".display .muted"]) {
    const node = page.locator(part).first();
    await node.evaluate((one) => { one.style.visibility = "hidden"; });
    if ((await differences()).length === 0) throw new Error(`without ${part} the outline is the same`);
    await node.evaluate((one) => { one.style.visibility = ""; });
  }
  await page.emulateMedia({ colorScheme: "dark" });
  if (looksAlike(await compare(page, kept, await take()))) throw new Error("in the dark the picture counts as the same");
  await ana.press("end");
  console.log(`ok  the picture of README.md is current: ${(100 * looks.share).toFixed(1)} % of its blocks look otherwise`);
  await close();
}
