// What is known of a run, made of its events alone. No network and no document: values in, values out.

/** A run before its first event. */
export const emptyRun = () => ({
  tasks: new Map(),
  values: {},
  question: null,
  delivery: { events: 0, last: 0, repeated: 0, missing: 0, connections: 0 },
});

const newTask = (event) => ({
  id: event.task_id,
  node: event.node,
  state: "planned",
  attempt: 1,
  steps: [],
  text: "",
  number: 0,
  of: null,
  result: null,
  error: null,
  startedAt: event.at,
  endedAt: null,
});

/** Apply one event to the run. */
export function apply(run, id, event) {
  run.delivery.events += 1;
  if (id !== null) run.delivery.last = id;
  if (event.ns?.length) return; // Of a graph inside a node: this one has none.
  const task = event.task_id === undefined ? null : (run.tasks.get(event.task_id) ?? newTask(event));
  if (task) run.tasks.set(task.id, task);
  HANDLERS[event.type]?.(run, event, task);
}

const HANDLERS = {
  task_started(run, event, task) {
    task.startedAt = event.at;
  },
  custom(run, event, task) {
    const { number, of, step, token } = event.data ?? {};
    if (task.state !== "done") task.state = "running";
    // The nodes number their events, so that the page can show that none is missing.
    if (number !== undefined) {
      run.delivery.missing += Math.max(0, number - task.number - 1);
      task.number = number;
      task.of = of;
    }
    if (step !== undefined) task.steps.push({ text: step, at: event.at });
    if (token !== undefined) task.text += token;
  },
  events_retracted(run, event, task) {
    // Another attempt begins: the task's earlier custom events are void.
    if (task.state === "done") return;
    if (task.number || task.state === "failed") task.attempt += 1;
    Object.assign(task, { state: "running", steps: [], text: "", number: 0, of: null, error: null, endedAt: null });
    if (run.question?.taskId === task.id) run.question = null;
  },
  task_finished(run, event, task) {
    if (task.number && task.of !== null) run.delivery.missing += task.of - task.number;
    Object.assign(task, { state: "done", result: event.update, endedAt: event.at, error: null });
    if (run.question?.taskId === task.id) run.question = null;
  },
  task_failed(run, event, task) {
    Object.assign(task, { state: "failed", error: event.error, endedAt: event.at });
  },
  task_interrupted(run, event, task) {
    task.state = "waiting";
    const [interrupt] = event.interrupts ?? [];
    if (interrupt) run.question = { taskId: task.id, id: interrupt.id, value: interrupt.value };
  },
  checkpoint_committed(run, event) {
    run.values = event.values;
  },
};

/** The run has ended without these tasks. */
export function stop(run, state) {
  for (const task of run.tasks.values()) {
    if (["planned", "running", "waiting"].includes(task.state) && state !== "done") task.state = "stopped";
  }
  run.question = null;
}

/** A node's newest task, by the node's name. */
export function tasksByNode(run) {
  const found = new Map();
  for (const task of run.tasks.values()) found.set(task.node, task);
  return found;
}
