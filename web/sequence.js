// A sequence diagram of what travelled between parties and nodes, as SVG.

const SVG = "http://www.w3.org/2000/svg";
const [LEFT, COLUMN, TOP, ROW, HEAD, RIGHT] = [76, 168, 48, 28, 5, 24];

/**
 * The columns: each phone beside its server, the first one's to the right of it, the others' to the left. What is about a
 * server alone has no phone.
 */
function columnsOf(course) {
  const columns = [];
  for (const { phone, user, server } of course) {
    const isNew = phone !== undefined && !columns.some((column) => column.phone === phone);
    const own = isNew ? [{ phone, title: columns.some(({ title }) => title === user) ? `${user} (${phone})` : user }] : [];
    const isKnown = server === undefined || columns.some((column) => column.server === server);
    const beside = isKnown ? [] : [{ server, title: server.replace(/^\w+:\/\//, "") }];
    columns.push(...(columns.length === 0 ? [...own, ...beside] : [...beside, ...own]));
  }
  return columns;
}

/**
 * Draws `{ at, phone, user, server, direction, text, dashed }` in order of time: `direction` is `out` from the phone to the
 * server, `in` from the server to the phone, `link` a note. `title` says what it is; `ink` and `paper` are colours, without
 * paper it is transparent.
 */
export function drawCourse(title, course, ink = "currentColor", paper) {
  const columns = columnsOf(course);
  const x = (column) => LEFT + COLUMN * columns.indexOf(column) + COLUMN / 2;
  const [width, height] = [LEFT + COLUMN * columns.length + RIGHT, TOP + ROW * (course.length + 1)];
  const svg = make("svg", {
    xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "font-family": "system-ui, sans-serif", "font-size": 12,
    "aria-label": `${title}: ${course.length} steps between ${columns.map(({ title }) => title).join(", ")}`,
  });
  if (paper) svg.append(make("rect", { width, height, fill: paper }));
  for (const column of columns) {
    svg.append(text(column.title, { x: x(column), y: 22, fill: ink, "text-anchor": "middle", "font-weight": column.phone ? 600 : 400 }));
    svg.append(make("line", { x1: x(column), y1: 32, x2: x(column), y2: height - 8, stroke: ink, "stroke-opacity": 0.35 }));
  }
  for (const [at, entry] of course.entries()) {
    const y = TOP + ROW * (at + 1) - 6;
    const phone = entry.phone === undefined ? undefined : x(columns.find((column) => column.phone === entry.phone));
    svg.append(text(`${((entry.at - course[0].at)).toFixed(0)} ms`, { x: LEFT - 10, y: y + 4, fill: ink, "text-anchor": "end", "fill-opacity": 0.75 }));
    if (entry.direction === "link") {
      const beside = phone ?? x(columns.find((column) => column.server === entry.server));
      svg.append(text(entry.text, { x: beside, y: y + 4, fill: ink, "text-anchor": "middle", "font-style": "italic" }));
      continue;
    }
    const server = x(columns.find((column) => column.server === entry.server));
    const [from, to] = entry.direction === "out" ? [phone, server] : [server, phone];
    svg.append(...arrow(from, to, y, ink, entry.dashed));
    // Beside the arrow where it leads to a neighbour; over a longer one, next to the phone.
    const middle = phone + Math.sign(server - phone) * COLUMN / 2;
    svg.append(text(entry.text, { x: middle, y: y - 5, fill: ink, "text-anchor": "middle" }));
  }
  return svg;
}

function arrow(from, to, y, ink, dashed) {
  const back = Math.sign(from - to) * HEAD;
  return [
    make("line", { x1: from, y1: y, x2: to, y2: y, stroke: ink, ...(dashed ? { "stroke-dasharray": "4 3" } : {}) }),
    make("path", { d: `M${to} ${y} l${back} ${-HEAD + 1} v${2 * HEAD - 2} z`, fill: ink }),
  ];
}

function make(name, attributes) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (key !== "xmlns") node.setAttribute(key, value);
  return node;
}

function text(content, attributes) {
  const node = make("text", attributes);
  node.textContent = content.length > 26 ? `${content.slice(0, 25)}…` : content;
  return node;
}
