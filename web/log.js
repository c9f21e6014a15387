// The list of what one phone said and heard.
const ENTRIES = 200;

export function element(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

export const clone = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

export class Log {
  #undrawn = [];

  constructor(id, title) {
    this.root = clone("log");
    this.root.id = id;
    this.root.querySelector("[data-show=side]").textContent = title;
    this.root.querySelector("button").setAttribute("aria-label", `Clear the events of ${title}`);
    this.root.querySelector("button").addEventListener("click", () => this.root.querySelector("ol").replaceChildren());
  }

  add(line) {
    this.#undrawn.push({ now: new Date(), ...line });
  }

  draw() {
    const list = this.root.querySelector("ol");
    list.prepend(...this.#undrawn.splice(0).map(entry).reverse());
    while (list.childElementCount > ENTRIES) list.lastElementChild.remove();
  }
}

function entry({ now, direction, name, payload, ms }) {
  const time = `${now.toTimeString().slice(0, 8)}.${String(now.getMilliseconds()).padStart(3, "0")}`;
  const summary = document.createElement("summary");
  summary.append(element("time", "", time), element("span", "direction", direction), element("span", "name", name));
  if (ms !== undefined) summary.append(element("span", "ms", `${ms.toFixed(1)} ms`));
  const text = payload === undefined ? "no payload" : typeof payload === "string" ? payload : JSON.stringify(payload, null, 2);
  const details = document.createElement("details");
  details.append(summary, element("pre", "", text));
  const item = element("li", direction, "");
  item.append(details);
  return item;
}
