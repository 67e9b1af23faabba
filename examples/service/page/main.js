// The page: what a person sees and does. `run.js` says what is known of a run, `client.js` talks to the service.

import { Problem, follow, insist, pause, request } from "./client.js";
import { draw, icon, title, word } from "./graph.js";
import { apply, emptyRun, stop, tasksByNode } from "./run.js";

const $ = (id) => document.getElementById(id);
const GRAPH = "order";
const LABEL = { page: "order desk" };
const MONEY = new Intl.NumberFormat("en", { style: "currency", currency: "EUR" });
const CLOCK = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hour12: false });
const NAMES = { running: "Running", waiting: "Waiting for a decision", done: "Done", failed: "Failed", cancelled: "Cancelled", queued: "Queued" };

/** The order on the screen: its thread, its run, what is known of it, and the controller that ends following it. */
let current = null;
let graph = null;
let show = () => {};
let isPainting = false;

// Small things

const announce = (text) => ($("announcer").textContent = text);

function complain(error) {
  $("alert").hidden = false;
  $("alert").textContent = error instanceof Problem ? error.message : "The server cannot be reached. The page goes on trying.";
}

function connection(state, text) {
  if ($("connection").dataset.state === state && $("connection-text").textContent === text) return;
  $("connection").dataset.state = state;
  document.body.dataset.connection = state;
  $("connection-text").textContent = text;
}

const lost = (attempt) => connection("reconnecting", `Reconnecting, attempt ${attempt}`);

async function whileBusy(buttons, action) {
  $("alert").hidden = true;
  buttons.forEach((button) => (button.disabled = true));
  try {
    return await action();
  } catch (error) {
    complain(error);
  } finally {
    buttons.forEach((button) => (button.disabled = false));
  }
}

// The order on the screen

/** What became of a run: a run that waits and one that was cancelled are both "interrupted" on LangGraph's wire. */
async function readState(order) {
  const [run, thread] = await Promise.all([
    insist("GET", `/threads/${order.thread}/runs/${order.run}`, undefined, { signal: order.ended.signal, onLost: lost }),
    insist("GET", `/threads/${order.thread}`, undefined, { signal: order.ended.signal, onLost: lost }),
  ]);
  order.state = stateOf(run.status, thread.status);
  return order.state;
}

function stateOf(run, thread) {
  switch (run) {
    case "pending":
      return "queued";
    case "running":
      return "running";
    case "success":
      return "done";
    case "interrupted":
      return thread === "interrupted" ? "waiting" : "cancelled";
    default:
      return "failed";
  }
}

const hasEnded = (state) => ["done", "failed", "cancelled"].includes(state);

/** Show an order and follow its newest run. */
async function open(thread) {
  close();
  const order = { thread, run: null, known: emptyRun(), state: "queued", ended: new AbortController() };
  current = order;
  $("form-view").hidden = true;
  $("order-view").hidden = false;
  $("order-title").textContent = "Order";
  $("order-hint").textContent = "";
  $("steps").replaceChildren();
  redraw();
  try {
    const options = { signal: order.ended.signal, onLost: lost };
    const found = await insist("GET", `/threads/${thread}`, undefined, options);
    const [run] = await insist("GET", `/threads/${thread}/runs?limit=1`, undefined, options);
    order.metadata = found.metadata ?? {};
    if (!run) throw new Problem(404, { detail: "This order was not started" });
    order.run = run.run_id;
    order.state = stateOf(run.status, found.status);
    paint();
    await followToTheEnd(order);
  } catch (error) {
    if (!order.ended.signal.aborted) complain(error);
  }
}

async function followToTheEnd(order) {
  const { delivery } = order.known;
  await follow(
    `/threads/${order.thread}/runs/${order.run}/events`,
    {
      event(id, type, event) {
        const question = order.known.question?.id;
        apply(order.known, id, { type, ...event });
        if (order.state === "queued" || order.state === "waiting") order.state = "running";
        if (order.known.question) order.state = "waiting";
        if (order.known.question && order.known.question.id !== question) announce("The order waits for your decision.");
        paint();
      },
      state(state, attempt) {
        if (state === "live") {
          delivery.connections += 1;
          connection("live", "Live");
          readServer();
        } else lost(attempt);
        paint();
      },
      repeated() {
        delivery.repeated += 1;
      },
    },
    async () => hasEnded(await readState(order)),
    order.ended.signal,
  );
  if (order.ended.signal.aborted) return;
  stop(order.known, order.state);
  connection("idle", "The run has ended");
  announce(`The order is ${NAMES[order.state].toLowerCase()}.`);
  paint();
}

function close() {
  current?.ended.abort();
  current = null;
  $("alert").hidden = true;
}

function newOrder() {
  close();
  $("form-view").hidden = false;
  $("order-view").hidden = true;
  document.title = "Order desk";
  redraw();
  markCurrent();
}

// Painting

function paint() {
  if (isPainting) return;
  isPainting = true;
  requestAnimationFrame(() => {
    isPainting = false;
    if (current) paintOrder(current);
  });
}

function put(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function paintOrder(order) {
  const { known, state, metadata } = order;
  const name = metadata?.title ?? "Order";
  put("order-title", name);
  put("order-hint", metadata?.customer ? `for ${metadata.customer}` : "");
  put("order-state", NAMES[state]);
  $("order-state").dataset.state = state;
  const heading = `${NAMES[state]} · ${name}`;
  if (document.title !== heading) {
    document.title = heading;
    // A failure shows in the connection, and the list is read again in two seconds.
    readOrders().catch(() => {});
  }
  $("cancel").hidden = !order.run || hasEnded(state);
  $("retry").hidden = !order.run || !["failed", "cancelled"].includes(state);
  show(tasksByNode(known), known.tasks.size > 0, state === "done");
  paintDecision(known.question);
  paintSteps(known);
  paintTexts(known);
  for (const figure of ["events", "missing", "repeated", "connections"]) put(figure, String(known.delivery[figure]));
  put("last-id", known.delivery.last ? String(known.delivery.last) : "–");
}

function paintDecision(question) {
  $("decision").hidden = !question;
  if (!question) return;
  const { value } = question;
  put("question", `${value.question} ${MONEY.format(value.total)} in total.`);
  put("question-summary", value.summary ?? "");
}

const seconds = (task) => {
  const end = task.endedAt ?? task.steps.at(-1)?.at ?? null;
  return end === null ? "" : `${Math.max(0, end - task.startedAt).toFixed(1)} s`;
};

function nowOf(task) {
  if (task.state === "failed") return task.error;
  if (task.state === "waiting") return "Waits for a person; no process has to live meanwhile";
  if (task.state === "done") return task.result?.findings?.at(-1) ?? resultOf(task.result);
  return task.steps.at(-1)?.text ?? task.text ?? "";
}

function resultOf(result) {
  if (typeof result?.approved === "boolean") return `${result.approved ? "Approved" : "Rejected"} by ${result.decided_by}`;
  return result?.summary ?? result?.letter ?? "";
}

function paintSteps(known) {
  $("no-steps").hidden = known.tasks.size > 0;
  for (const task of known.tasks.values()) {
    let item = $(`task-${task.id}`);
    if (!item) {
      item = document.createElement("li");
      item.id = `task-${task.id}`;
      item.innerHTML =
        '<details><summary><svg viewBox="-11 -11 22 22" aria-hidden="true"></svg><span class="name"></span><span class="time"></span><span class="now"></span></summary><ul></ul></details>';
      $("steps").append(item);
    }
    const key = JSON.stringify([task.state, task.attempt, task.number, task.steps.length, task.error]);
    if (item.dataset.key === key) continue;
    item.dataset.key = key;
    if (item.dataset.state !== task.state) {
      item.dataset.state = task.state;
      item.querySelector("svg").replaceChildren(icon(task.state));
    }
    const attempt = task.attempt > 1 ? `, attempt ${task.attempt}` : "";
    const small = document.createElement("small");
    small.textContent = word(task.state) + attempt;
    item.querySelector(".name").replaceChildren(title(task.node), small);
    item.querySelector(".time").textContent = task.state === "running" && task.of ? `${task.number} of ${task.of}` : seconds(task);
    item.querySelector(".now").textContent = nowOf(task);
    item.querySelector(".now").classList.toggle("failed", task.state === "failed");
    const lines = task.steps.map((step) => step.text);
    item.querySelector("ul").replaceChildren(
      ...(lines.length ? lines : [nowOf(task) || "No steps yet"]).map((text) => Object.assign(document.createElement("li"), { textContent: text })),
    );
  }
}

function paintTexts(known) {
  const tasks = tasksByNode(known);
  let isEmpty = true;
  for (const [node, key] of [["write_summary", "summary"], ["write_letter", "letter"]]) {
    const task = tasks.get(node);
    const text = task?.result?.[key] ?? task?.text ?? "";
    isEmpty &&= !text;
    $(`${key}-box`).hidden = !text;
    $(key).classList.toggle("is-open", task?.state === "running");
    put(key, text);
  }
  $("no-result").hidden = !isEmpty;
}

const tall = matchMedia("(max-width: 760px)");

function redraw() {
  if (!graph) return;
  if (!current) {
    draw($("preview"), graph, tall.matches)(new Map(), false, false);
    return;
  }
  show = draw($("graph"), graph, tall.matches);
  paint();
}

// What a person does

$("order-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const order = {
    customer: form.get("customer").trim(),
    item: form.get("item").trim(),
    quantity: Number(form.get("quantity")),
    price: Number(form.get("price")),
    payment_fails: form.has("payment_fails"),
  };
  whileBusy([$("start")], async () => {
    // The page names the thread, and the run has a key: a repetition of these requests starts no second order.
    const thread = crypto.randomUUID();
    const metadata = { ...LABEL, title: `${order.quantity} × ${order.item}`, customer: order.customer };
    await insist("POST", "/threads", { thread_id: thread, if_exists: "do_nothing", metadata, graph_id: GRAPH }, { onLost: lost });
    await insist("POST", `/threads/${thread}/runs`, { assistant_id: GRAPH, input: order, metadata: LABEL }, { key: `order-${thread}`, onLost: lost });
    location.hash = `order/${thread}`;
  });
});

$("decision").addEventListener("submit", (event) => {
  event.preventDefault();
  const order = current;
  const form = new FormData(event.target);
  const value = { approved: event.submitter?.value !== "no", by: form.get("by").trim(), comment: form.get("comment").trim() };
  localStorage.setItem("name", value.by);
  whileBusy([$("approve"), $("reject")], async () => {
    try {
      await insist("POST", `/threads/${order.thread}/answers`, { interrupt_id: order.known.question.id, value }, { onLost: lost });
      announce(value.approved ? "Approved." : "Rejected.");
    } catch (error) {
      // Somebody else was faster, or this page's own first try arrived: the events show which answer stands.
      if (!(error instanceof Problem) || error.status !== 409) throw error;
    }
    order.known.question = null;
    paint();
    $("order-title").focus();
  });
});

$("cancel").addEventListener("click", () =>
  whileBusy([$("cancel")], async () => {
    await insist("POST", `/threads/${current.thread}/runs/${current.run}/cancel`, {}, { onLost: lost });
    $("order-title").focus();
  }),
);

$("retry").addEventListener("click", () =>
  whileBusy([$("retry")], async () => {
    const { thread, run } = current;
    await insist("POST", `/threads/${thread}/runs/${run}/retry`, {}, { onLost: lost });
    await open(thread);
  }),
);

for (const which of ["kill", "start"]) {
  $(`copy-${which}`).addEventListener("click", async () => {
    await navigator.clipboard.writeText($(`${which}-command`).textContent);
    announce("Copied.");
  });
}

const THEMES = ["system", "light", "dark"];

function theme(name) {
  $("theme").textContent = `Theme: ${name}`;
  localStorage.setItem("theme", name);
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}

$("theme").addEventListener("click", () => {
  const now = localStorage.getItem("theme") ?? "system";
  theme(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
});

// The list of orders

function stateOfThread(thread) {
  if (thread.status === "busy") return "running";
  if (thread.status === "interrupted") return "waiting";
  if (thread.status === "error") return "failed";
  return thread.values?.letter ? "done" : "ended";
}

const SHORT = { running: "running", waiting: "decide", failed: "failed", done: "done", ended: "ended" };

async function readOrders() {
  const found = await request("POST", "/threads/search", { metadata: LABEL, limit: 30, sort_by: "created_at", sort_order: "desc" });
  $("no-orders").hidden = found.length > 0;
  const items = found.map((thread) => {
    const item = $(`order-${thread.thread_id}`) ?? newItem(thread);
    const state = stateOfThread(thread);
    item.querySelector(".chip").textContent = SHORT[state];
    item.querySelector(".chip").dataset.state = state;
    return item;
  });
  if (items.some((item, index) => $("orders").children[index] !== item) || items.length !== $("orders").children.length) {
    $("orders").replaceChildren(...items);
  }
  markCurrent();
}

function newItem(thread) {
  const item = document.createElement("li");
  item.id = `order-${thread.thread_id}`;
  item.innerHTML = '<a><span class="what"></span><time></time><span class="who"></span><span class="chip"></span></a>';
  const created = new Date(thread.created_at);
  item.firstChild.href = `#order/${thread.thread_id}`;
  item.querySelector(".what").textContent = thread.metadata?.title ?? thread.thread_id;
  item.querySelector(".who").textContent = thread.metadata?.customer ?? "";
  item.querySelector("time").textContent = CLOCK.format(created);
  item.querySelector("time").dateTime = created.toISOString();
  return item;
}

function markCurrent() {
  for (const link of $("orders").querySelectorAll("a")) {
    if (link.hash === location.hash) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

async function readServer() {
  const response = await fetch("server", { cache: "no-store" });
  const { pid, framework, start } = await response.json();
  put("kill-command", `kill -9 ${pid}`);
  put("start-command", start);
  put("framework", `, behind ${framework}`);
}

/** Reads the list every two seconds, but not while the stream of the order looks for the server. */
async function watchOrders() {
  for (;;) {
    await pause(2000);
    if (document.hidden || $("connection").dataset.state === "reconnecting") continue;
    try {
      await readOrders();
    } catch (error) {
      if (current && !hasEnded(current.state)) continue;
      await insist("GET", "/ok", undefined, { onLost: lost });
      await readServer();
      connection("idle", current ? "The run has ended" : "Ready");
    }
  }
}

function route() {
  const [, thread] = location.hash.match(/^#order\/([\w-]+)$/) ?? [];
  if (thread) open(thread).then(markCurrent);
  else newOrder();
  markCurrent();
}

theme(localStorage.getItem("theme") ?? "system");
$("decision").elements.by.value = localStorage.getItem("name") ?? "";
tall.addEventListener("change", redraw);
addEventListener("hashchange", route);

graph = await insist("GET", `/assistants/${GRAPH}/graph`, undefined, { onLost: lost });
connection("idle", "Ready");
route();
readServer();
await readOrders();
watchOrders();
