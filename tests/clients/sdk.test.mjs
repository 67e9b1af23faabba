// The client of @langchain/langgraph-sdk: threads, runs, their streams, assistants.

import assert from "node:assert/strict";
import { test } from "node:test";

import { HELLO, QUESTION, TRIP, WORDS, client, contents, dataOf, openGate, read, said } from "./service.mjs";

const sdk = client();
const MODES = ["values", "updates", "messages-tuple", "custom"];

const newThread = async () => (await sdk.threads.create()).thread_id;
const hasStatus = (status) => (error) => error.status === status;

test("threads are created, read, changed, found, copied and deleted", async () => {
  const made = await sdk.threads.create({ threadId: "a / 'b' é", metadata: { user: "Ada" }, graphId: "chat" });
  assert.equal(made.thread_id, "a / 'b' é");
  await assert.rejects(sdk.threads.create({ threadId: made.thread_id }), hasStatus(409));
  const again = await sdk.threads.create({ threadId: made.thread_id, ifExists: "do_nothing" });
  assert.deepEqual(again, made);

  const updated = await sdk.threads.update(made.thread_id, { metadata: { place: "Rome" } });
  assert.deepEqual(updated.metadata, { graph_id: "chat", user: "Ada", place: "Rome" });
  assert.deepEqual(await sdk.threads.get(made.thread_id), updated);
  const found = await sdk.threads.search({ metadata: { place: "Rome" }, sortBy: "created_at", sortOrder: "asc" });
  assert.deepEqual(found, [updated]);
  assert.equal(await sdk.threads.count({ metadata: { place: "Rome" } }), 1);

  await sdk.runs.wait(made.thread_id, "chat", { input: HELLO });
  const copied = await sdk.threads.copy(made.thread_id);
  assert.deepEqual(contents((await sdk.threads.getState(copied.thread_id)).values), ["hello", "You said hello to me"]);
  assert.deepEqual(await sdk.threads.prune([copied.thread_id]), { pruned_count: 1 });
  await sdk.threads.delete(made.thread_id);
  await assert.rejects(sdk.threads.get(made.thread_id), hasStatus(404));
});

test("a run asks, is answered and ends", async () => {
  const thread = await newThread();
  const created = [];
  const onRunCreated = (run) => created.push(run);
  const asked = await sdk.runs.wait(thread, "team", { input: TRIP, onRunCreated });
  assert.deepEqual(asked.__interrupt__.map((each) => each.value), [QUESTION]);
  assert.equal((await sdk.threads.get(thread)).status, "interrupted");

  const result = await sdk.runs.wait(thread, "team", { command: { resume: "yes" }, onRunCreated });
  assert.equal(contents(result).at(-1), "Booked: yes");
  assert.deepEqual(created[0], created[1]);
  assert.deepEqual((await sdk.runs.list(thread)).map((run) => run.status), ["success"]);
  await assert.rejects(sdk.runs.wait(thread, "team", { command: { resume: "no" } }), hasStatus(409));
});

test("state, history, updates and forks", async () => {
  const thread = await newThread();
  await sdk.runs.wait(thread, "team", { input: TRIP });
  const history = await sdk.threads.getHistory(thread);
  assert.deepEqual(history.map((each) => each.next), [["approve"], ["write"], ["find", "find"], ["plan"]]);
  assert.deepEqual(await sdk.threads.getState(thread), history[0]);
  assert.deepEqual(await sdk.threads.getState(thread, history[1].checkpoint.checkpoint_id), history[1]);
  assert.deepEqual(await sdk.threads.getState(thread, history[1].checkpoint), history[1]);
  assert.deepEqual(await sdk.threads.getHistory(thread, { limit: 1, before: history[1].checkpoint }), [history[2]]);
  const nested = await sdk.threads.getState(thread, history[1].checkpoint, { subgraphs: true });
  assert.deepEqual(contents(nested.tasks[0].state.values), ["hello", "You said hello to me"]);

  const chat = await newThread();
  await sdk.runs.wait(chat, "chat", { input: HELLO });
  const [, asked] = await sdk.threads.getHistory(chat);
  const { configurable } = await sdk.threads.updateState(chat, {
    values: said("again"),
    checkpoint: asked.checkpoint,
    asNode: "__start__",
  });
  assert.equal((await sdk.threads.getState(chat)).checkpoint.checkpoint_id, configurable.checkpoint_id);
  const result = await sdk.runs.wait(chat, "chat", { input: null });
  assert.deepEqual(contents(result), ["hello", "again", "You said again to me"]);
});

test("runs in the background are joined, listed, read and deleted", async () => {
  const thread = await newThread();
  const run = await sdk.runs.create(thread, "chat", { input: HELLO, metadata: { origin: "test" } });
  assert.deepEqual(run.metadata, { origin: "test" });
  assert.equal(contents(await sdk.runs.join(thread, run.run_id)).at(-1), "You said hello to me");
  assert.equal((await sdk.runs.get(thread, run.run_id)).status, "success");
  assert.equal((await sdk.runs.list(thread, { limit: 5, status: "success" })).length, 1);
  await sdk.runs.delete(thread, run.run_id);
  await assert.rejects(sdk.runs.get(thread, run.run_id), hasStatus(404));
});

test("runs are cancelled", async () => {
  const thread = await newThread();
  const start = async (input) => (await sdk.runs.create(thread, "chat", { input })).run_id;
  const first = await start({ ...HELLO, gate: "never" });
  await sdk.runs.cancel(thread, first, true);
  assert.equal((await sdk.runs.get(thread, first)).status, "interrupted");

  const second = await start({ ...HELLO, gate: "never" });
  await assert.rejects(sdk.runs.create(thread, "chat", { input: HELLO, multitaskStrategy: "reject" }), hasStatus(409));
  await sdk.runs.cancel(thread, second, false, "rollback");
  await sdk.runs.join(thread, second);
  const third = await start({ ...HELLO, gate: "never" });
  await sdk.runs.cancelMany({ threadId: thread, runIds: [third] });
  await sdk.runs.join(thread, third);
  assert.deepEqual(new Set((await sdk.runs.list(thread)).map((run) => run.status)), new Set(["interrupted"]));
});

test("a run is streamed in four modes, and continued after any frame", async () => {
  const thread = await newThread();
  const options = { input: TRIP, streamMode: MODES, streamSubgraphs: false };
  const parts = await read(sdk.runs.stream(thread, "team", options));
  const [run] = await sdk.runs.list(thread);
  assert.deepEqual([parts[0].event, parts[0].data], ["metadata", { run_id: run.run_id, attempt: 1 }]);
  const nodes = dataOf(parts, "updates").map((update) => Object.keys(update)[0]);
  assert.deepEqual(nodes, ["plan", "find", "find", "write", "__interrupt__"]);
  assert.deepEqual(dataOf(parts, "custom"), [{ name: "progress", "looking for": "Lisbon" }]);
  assert.deepEqual(dataOf(parts, "values").at(-1).__interrupt__.map((each) => each.value), [QUESTION]);

  const join = (lastEventId) => read(sdk.runs.joinStream(thread, run.run_id, { streamMode: MODES, lastEventId }));
  assert.deepEqual(await join("-1"), parts);
  for (const [place, part] of parts.entries()) assert.deepEqual(await join(part.id), parts.slice(place + 1));
  await assert.rejects(join("nothing"), hasStatus(422));

  const answered = await read(sdk.runs.stream(thread, "team", { command: { resume: "yes" }, streamMode: ["updates"] }));
  assert.deepEqual(dataOf(answered, "updates").map((update) => Object.keys(update)[0]), ["approve"]);
});

test("a run is joined in the middle of a message", async () => {
  const thread = await newThread();
  const gate = `join-${thread}`;
  const stream = sdk.runs.stream(thread, "chat", { input: { ...HELLO, gate }, streamMode: "messages-tuple" });
  const { value: header } = await stream.next();
  for (let number = 0; number < 3; number++) await stream.next();

  const joined = sdk.runs.joinStream(thread, header.data.run_id, { streamMode: "messages-tuple" });
  assert.deepEqual((await joined.next()).value.data, header.data);
  openGate(gate);
  const [after, rest] = await Promise.all([read(joined), read(stream)]);
  assert.deepEqual(after, rest);
  assert.deepEqual(dataOf(after, "messages").map(([message]) => message.content), WORDS.slice(3));
});

test("a stream of nested graphs", async () => {
  const parts = await read(sdk.runs.stream(null, "team", { input: TRIP, streamMode: MODES, streamSubgraphs: true }));
  const [words] = new Set(parts.map((part) => part.event).filter((event) => event.startsWith("messages|write:")));
  assert.deepEqual(dataOf(parts, words).map(([message]) => message.content), WORDS);
});

test("a failure", async () => {
  const parts = await read(sdk.runs.stream(null, "fails", { input: HELLO, streamMode: "values" }));
  assert.deepEqual([parts.at(-1).event, parts.at(-1).data], ["error", { error: "ValueError", message: "no luck" }]);
  await assert.rejects(sdk.runs.wait(null, "fails", { input: HELLO }), /no luck/);
});

test("a stream of a thread", async () => {
  const thread = await newThread();
  const run = await sdk.runs.create(thread, "chat", { input: HELLO });
  await sdk.runs.join(thread, run.run_id);
  const parts = [];
  // The client keeps the connection of a stream that is left early, unless its signal is aborted.
  const leaving = new AbortController();
  for await (const part of sdk.threads.joinStream(thread, { lastEventId: "-1", signal: leaving.signal })) {
    parts.push(part);
    if (part.event === "run_done") leaving.abort();
  }
  assert.deepEqual(parts.at(-1).data, { run_id: run.run_id, status: "success" });
  assert.deepEqual(dataOf(parts, "messages").map(([message]) => message.content), WORDS);
});

test("runs without a thread", async () => {
  assert.equal(contents(await sdk.runs.wait(null, "chat", { input: HELLO })).at(-1), "You said hello to me");
  const payloads = ["a", "b"].map((text) => ({ assistantId: "chat", input: said(text), on_completion: "keep" }));
  const batch = await sdk.runs.createBatch(payloads);
  const results = await Promise.all(batch.map((run) => sdk.runs.join(run.thread_id, run.run_id)));
  assert.deepEqual(results.map((each) => contents(each).at(-1)), ["You said a to me", "You said b to me"]);
});

test("assistants, their graphs and schemas", async () => {
  const [team] = await sdk.assistants.search({ graphId: "team" });
  assert.deepEqual(await sdk.assistants.get("team"), team);
  assert.equal(await sdk.assistants.count({ graphId: "team" }), 1);
  for (const assistant of ["team", team.assistant_id]) {
    const graph = await sdk.assistants.getGraph(assistant, { xray: true });
    assert.ok(graph.nodes.some((node) => node.id === "write:say"));
    assert.ok(graph.edges.some((edge) => edge.source === "approve"));
    const schemas = await sdk.assistants.getSchemas(assistant);
    assert.deepEqual(Object.keys(schemas.input_schema.properties).sort(), ["found", "gate", "messages", "topic"]);
    assert.deepEqual(Object.keys(await sdk.assistants.getSubgraphs(assistant)), ["write"]);
  }
});

test("what is not there answers 501 with the reason", async () => {
  const calls = {
    store: () => sdk.store.putItem(["a"], "b", { c: 1 }),
    assistants: () => sdk.assistants.create({ graphId: "chat" }),
    webhook: () => sdk.runs.create(null, "chat", { input: HELLO, webhook: "https://example.org" }),
  };
  for (const [reason, call] of Object.entries(calls)) {
    await assert.rejects(call(), (error) => error.status === 501 && error.message.includes(reason));
  }
});
