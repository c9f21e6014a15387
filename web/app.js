// The lab: two to six phones that call each other, each over a connection of its own.
import * as diagram from "./diagram.js";
import * as latency from "./latency.js";
import { KEYS, Phone, templates } from "./phone.js";
import { MOST, read, usual, write } from "./setup.js";

const FEWEST = 2;
const at = (id) => document.getElementById(id);

const lab = { phones: [], changed };
const { phones } = lab;
// The phone that keys are for; with Shift they are for the next one.
let chosen = 0;
let shown = "";
let drawing = false;

function add(defaults) {
  const phone = new Phone(lab, phones.length + 1, defaults);
  phones.push(phone);
  at("phones").append(phone.root);
  at("logs").append(phone.events.root);
  choose(chosen);
  redraw();
}

function removeLast() {
  const phone = phones.pop();
  if (phone.wanted) phone.socket.close();
  phone.root.remove();
  phone.events.root.remove();
  try { sessionStorage.removeItem(phone.id); } catch { /* no storage */ }
  choose(Math.min(chosen, phones.length - 1));
  redraw();
}

function redraw() {
  at("connect-what").textContent = phones.length === 2 ? "Connect both" : "Connect all";
  at("add").disabled = phones.length === MOST;
  at("remove").disabled = phones.length === FEWEST;
  try { sessionStorage.setItem("phones", JSON.stringify({ of: location.hash, count: phones.length })); } catch { /* no storage */ }
  for (const phone of phones) phone.render();
}

function choose(number) {
  chosen = number;
  for (const [place, phone] of phones.entries()) {
    phone.root.classList.toggle("chosen", place === chosen && phones.length > FEWEST);
    phone.hints(place === chosen ? false : place === (chosen + 1) % phones.length ? true : undefined);
  }
}

const connectAll = () => phones.filter((phone) => !phone.wanted && phone.can("connect")).forEach((phone) => phone.connect());

/** A phone was drawn: what all share is drawn once for all of them. */
function changed(phone) {
  const both = at("connect-all");
  const focused = document.activeElement === both;
  both.disabled = phones.every(({ wanted }) => wanted);
  if (focused && both.disabled) phones[0].root.querySelector(".actions").focus();
  if (drawing || !phones.includes(phone)) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    latency.draw();
    drawCourse();
  });
}

function drawCourse() {
  const calls = diagram.calls();
  const select = at("course-of");
  const ids = calls.map(([id]) => id);
  if ([...select.options].map(({ value }) => value).join() !== ids.join()) {
    // Stays with the newest until an older one was chosen.
    const stays = ids.includes(shown) && shown !== select.options[0]?.value;
    select.replaceChildren(...calls.map(([id, user]) => new Option(`${id}, ${user}`, id)));
    shown = stays ? shown : ids[0] ?? "";
    select.value = shown;
  }
  for (const name of ["course-of", "copy-course", "save-course"]) at(name).disabled = ids.length === 0;
  if (shown) at("course").replaceChildren(diagram.draw(shown));
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} is copied`);
  } catch {
    say(`${what} can't be copied: the browser allows it on https and localhost only`);
  }
}

function say(text) {
  at("said").textContent = text;
}

// ---- set-up

const setup = read(location.hash);
let count = 0;
try {
  const saved = JSON.parse(sessionStorage.getItem("phones"));
  if (saved?.of === location.hash) count = saved.count;
} catch { /* no storage */ }
const wanted = Math.max(FEWEST, setup.phones.length, Math.min(count, MOST));
for (let place = 0; place < wanted; place += 1) add(setup.phones[place] ?? usual(place));
at("event-names").append(...Object.keys(templates(phones[0])).map((name) => Object.assign(document.createElement("option"), { value: name })));

at("connect-all").addEventListener("click", connectAll);
at("add").addEventListener("click", () => add(usual(phones.length)));
at("remove").addEventListener("click", removeLast);
at("copy-link").addEventListener("click", () => {
  const link = new URL(location.href);
  link.hash = write(phones.map((phone) => phone.settings()));
  copy(link.href, "The link to this set-up, without tokens,");
});
at("clear-latency").addEventListener("click", latency.clear);
at("course-of").addEventListener("change", () => {
  shown = at("course-of").value;
  drawCourse();
});
at("copy-course").addEventListener("click", () => copy(diagram.asFile(shown), "The diagram, as SVG,"));
at("save-course").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([diagram.asFile(shown)], { type: "image/svg+xml" }));
  link.download = `call-${shown}.svg`;
  link.click();
  URL.revokeObjectURL(link.href);
});
addEventListener("hashchange", () => location.reload());
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
  if (typing || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  if (!at("use-keys").checked) return;
  const key = event.key.toLowerCase();
  const name = Object.keys(KEYS).find((name) => KEYS[name] === key);
  if (name) phones[(chosen + (event.shiftKey ? 1 : 0)) % phones.length].act(name);
  else if (key === "b") connectAll();
  else if (phones[Number(key) - 1]) choose(Number(key) - 1);
});
setInterval(() => phones.forEach((phone) => phone.tick()), 250);

for (const phone of phones) {
  phone.draw();
  // The page was reloaded: the phone comes back like an app that was restarted.
  if (phone.wanted || setup.connect) phone.connect();
}
