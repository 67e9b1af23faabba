// Draws a graph that the service describes, and shows on it how far a run is.

const SVG = "http://www.w3.org/2000/svg";
const WIDE = { width: 148, height: 58, across: 74, along: 180, margin: 10 };
const TALL = { width: 108, height: 70, across: 118, along: 96, margin: 6 };
const DOT = 11;

export const title = (name) => {
  const words = name.replaceAll("_", " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
};

const element = (name, attributes = {}, ...children) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
};

const isDot = (id) => id === "__start__" || id === "__end__";

/** The column of each node: the longest way from the start. Edges that lead back count for nothing. */
function columns(ids, edges) {
  const after = new Map(ids.map((id) => [id, []]));
  for (const edge of edges) after.get(edge.source)?.push(edge.target);
  const column = new Map(ids.map((id) => [id, 0]));
  const open = new Set();
  const order = [];
  const seen = new Set();
  const isBack = new Set();
  const visit = (id) => {
    seen.add(id);
    open.add(id);
    for (const next of after.get(id) ?? []) {
      if (open.has(next)) isBack.add(`${id} ${next}`);
      else if (!seen.has(next)) visit(next);
    }
    open.delete(id);
    order.unshift(id);
  };
  for (const id of ids) if (!seen.has(id)) visit(id);
  for (const id of order) {
    for (const next of after.get(id) ?? []) {
      if (!isBack.has(`${id} ${next}`)) column.set(next, Math.max(column.get(next) ?? 0, column.get(id) + 1));
    }
  }
  return column;
}

/** The centre of each node. Nodes of a column are ordered by the nodes that lead to them. */
function layout(ids, edges, size, isTall) {
  const column = columns(ids, edges);
  const rows = [];
  for (const id of ids) (rows[column.get(id)] ??= []).push(id);
  const place = new Map();
  for (const ids of rows) {
    const weight = (id) => {
      const before = edges.filter((edge) => edge.target === id && place.has(edge.source));
      return before.reduce((sum, edge) => sum + place.get(edge.source), 0) / (before.length || 1);
    };
    ids.sort((a, b) => weight(a) - weight(b));
    ids.forEach((id, index) => place.set(id, index - (ids.length - 1) / 2));
  }
  const widest = Math.max(...rows.map((ids) => ids.length));
  const centre = (size.across * (widest - 1)) / 2 + (isTall ? size.width : size.height) / 2 + size.margin;
  const points = new Map();
  let along = size.margin;
  rows.forEach((ids) => {
    const length = ids.every(isDot) ? 2 * DOT : isTall ? size.height : size.width;
    for (const id of ids) {
      const [x, y] = [along + length / 2, centre + place.get(id) * size.across];
      points.set(id, isTall ? { x: y, y: x } : { x, y });
    }
    along += length + size.along - (isTall ? size.height : size.width);
  });
  const [length, breadth] = [along - (size.along - (isTall ? size.height : size.width)) + size.margin, 2 * centre];
  return { points, width: isTall ? breadth : length, height: isTall ? length : breadth };
}

function edgePath(from, to, size, isTall) {
  const reach = (id) => (isDot(id) ? DOT : (isTall ? size.height : size.width) / 2);
  if (isTall) {
    const [y1, y2] = [from.y + reach(from.id), to.y - reach(to.id) - 5];
    const bend = Math.max(12, (y2 - y1) / 2);
    return `M${from.x} ${y1}C${from.x} ${y1 + bend} ${to.x} ${y2 - bend} ${to.x} ${y2}`;
  }
  const [x1, x2] = [from.x + reach(from.id), to.x - reach(to.id) - 5];
  const bend = Math.max(16, (x2 - x1) / 2);
  return `M${x1} ${from.y}C${x1 + bend} ${from.y} ${x2 - bend} ${to.y} ${x2} ${to.y}`;
}

const GLYPHS = {
  idle: "",
  planned: "M-4 0h.01M0 0h.01M4 0h.01",
  running: "M5 0A5 5 0 1 1 0 -5",
  waiting: "M-2.4 -3.6v7.2M2.4 -3.6v7.2",
  done: "M-4.2 .3l2.9 3 5.4 -6.2",
  failed: "M-3.4 -3.4l6.8 6.8M3.4 -3.4l-6.8 6.8",
  stopped: "M-3.2 -3.2h6.4v6.4h-6.4z",
};

const WORDS = {
  idle: "",
  planned: "planned",
  running: "running",
  waiting: "waiting for you",
  done: "done",
  failed: "failed",
  stopped: "stopped",
};

export const word = (state) => WORDS[state] ?? state;

/** An icon of a state, for the graph and for the list of steps. */
export function icon(state) {
  return element("g", { class: `glyph ${state}` }, element("circle", { r: 9 }), element("path", { d: GLYPHS[state] ?? "" }));
}

/** A name in one line, or in two where boxes are narrow. Text that is too long for its box becomes smaller. */
function nameOf(id, size, isTall) {
  const words = title(id).split(" ");
  const lines = isTall && words.length > 1 ? [words[0], words.slice(1).join(" ")] : [words.join(" ")];
  const x = -size.width / 2 + 12;
  const y = (lines.length > 1 ? -15 : -6) - (isTall ? 4 : 0);
  return element("text", { class: "name" }, ...lines.map((line, index) => element("tspan", { x, y: y + 15 * index }, line)));
}

function fit(text, size) {
  const longest = Math.max(...[...text.children].map((line) => line.getComputedTextLength()));
  if (longest > size.width - 22) text.style.fontSize = `${(12.5 * (size.width - 22)) / longest}px`;
}

/** Draw the graph into `svg`. Returns a function that shows a run on it: `show(tasks by node, hasEnded)`. */
export function draw(svg, graph, isTall) {
  const size = isTall ? TALL : WIDE;
  const ids = graph.nodes.map((node) => String(node.id));
  const edges = graph.edges.map((edge) => ({ ...edge, source: String(edge.source), target: String(edge.target) }));
  const { points, width, height } = layout(ids, edges, size, isTall);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.style.maxWidth = `${width}px`;
  const description = element("title", { id: `${svg.id}-title` });
  const arrow = element("marker", { id: `${svg.id}-arrow`, viewBox: "0 0 8 8", refX: 3, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
    element("path", { d: "M0 .8L6.4 4 0 7.2z", class: "arrow" }));
  svg.replaceChildren(description, element("defs", {}, arrow));
  const lines = edges.map((edge) => {
    const [from, to] = [edge.source, edge.target].map((id) => ({ id, ...points.get(id) }));
    const line = element("path", { d: edgePath(from, to, size, isTall), class: "edge", "marker-end": `url(#${svg.id}-arrow)` });
    if (edge.conditional) line.classList.add("conditional");
    svg.append(line);
    return { ...edge, line };
  });
  const boxes = new Map();
  for (const id of ids) {
    const { x, y } = points.get(id);
    const box = element("g", { class: "node idle", transform: `translate(${x} ${y})` });
    if (isDot(id)) {
      box.classList.add("dot");
      box.append(element("circle", { r: DOT - 2 }));
    } else {
      const [left, bottom] = [-size.width / 2, size.height / 2];
      box.append(
        element("rect", { x: left, y: -bottom, width: size.width, height: size.height, rx: 11 }),
        nameOf(id, size, isTall),
        element("text", { x: left + 33, y: bottom - 13, class: "state" }),
        element("g", { class: "mark", transform: `translate(${left + 20} ${bottom - 17})` }),
        element("rect", { x: left + 10, y: bottom - 4, width: 0, height: 3, class: "progress" }),
      );
    }
    boxes.set(id, box);
    svg.append(box);
    if (!isDot(id)) fit(box.querySelector(".name"), size);
  }
  const shown = new Map();
  return function show(tasks, hasBegun, isDone) {
    const parts = [];
    for (const [id, box] of boxes) {
      const task = tasks.get(id);
      const state = isDot(id) ? ((id === "__start__" ? hasBegun : isDone) ? "done" : "idle") : (task?.state ?? "idle");
      const counted = state === "running" && task.of ? `${task.number} of ${task.of}` : word(state);
      if (!isDot(id) && state !== "idle") parts.push(`${title(id)}: ${counted}`);
      const now = `${state} ${counted}`;
      if (shown.get(id) === now) continue;
      const before = shown.get(id)?.split(" ")[0];
      shown.set(id, now);
      box.classList.remove("idle", "planned", "running", "waiting", "done", "failed", "stopped");
      box.classList.add(state);
      if (isDot(id)) continue;
      box.querySelector(".state").textContent = counted;
      const share = state === "running" && task.of ? task.number / task.of : 0;
      box.querySelector(".progress").setAttribute("width", share * (size.width - 20));
      if (before !== state) box.querySelector(".mark").replaceChildren(icon(state));
    }
    for (const edge of lines) {
      const isTaken = edge.target === "__end__" ? isDone : tasks.has(edge.target);
      edge.line.classList.toggle("taken", isTaken && (edge.source === "__start__" || tasks.has(edge.source)));
    }
    description.textContent = `The graph of the order. ${parts.join(", ") || "No node is reached."}`;
  };
}
