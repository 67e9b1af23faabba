// useStream of @langchain/react, the hook of the second generation, in React.

import "./dom.mjs";

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { useStream } from "@langchain/react";
import { act, cleanup, renderHook, waitFor } from "@testing-library/react";

import { HELLO, QUESTION, TRIP, apiUrl, client, contents, openGate, said } from "./service.mjs";

const sdk = client();
afterEach(cleanup);

/** Render the hook. `current()` is what it returns now. */
function rendered(options) {
  const hook = renderHook(() => useStream({ apiUrl, apiKey: null, ...options }));
  return { ...hook, current: () => hook.result.current };
}

const soon = (holds) => waitFor(() => assert.ok(holds()), { timeout: 30_000, interval: 5 });
const texts = ({ current }) => current().messages.map((message) => message.text);

test("a message is submitted, and its answer grows word by word", async () => {
  const hook = rendered({ assistantId: "chat" });
  const gate = "use-thread-stream-words";
  await act(async () => void hook.current().submit({ ...HELLO, gate }));
  await soon(() => texts(hook).at(-1)?.startsWith("You said"));
  assert.ok(hook.current().isLoading);
  assert.notEqual(texts(hook).at(-1), "You said hello to me");
  openGate(gate);
  await soon(() => !hook.current().isLoading);
  assert.deepEqual(texts(hook), ["hello", "You said hello to me"]);
  assert.deepEqual(contents((await sdk.threads.getState(hook.current().threadId)).values), texts(hook));
  assert.equal(hook.current().error, undefined);
});

test("a question is shown and answered", async () => {
  const hook = rendered({ assistantId: "team" });
  await act(async () => void hook.current().submit(TRIP));
  await soon(() => hook.current().interrupt !== undefined && !hook.current().isLoading);
  assert.deepEqual(hook.current().interrupt.value, QUESTION);
  await act(async () => void hook.current().respond("yes"));
  await soon(() => texts(hook).at(-1) === "Booked: yes" && !hook.current().isLoading);
  assert.equal(hook.current().interrupt, undefined);
  assert.deepEqual(hook.current().values.found, QUESTION.found);
  assert.deepEqual([...hook.current().subgraphsByNode.keys()], ["write"]);
});

test("a component that is mounted again continues the run", async () => {
  const threadId = (await sdk.threads.create()).thread_id;
  const gate = `mount-again-${threadId}`;
  const first = rendered({ assistantId: "chat", threadId });
  await act(async () => void first.current().submit({ ...HELLO, gate }));
  await soon(() => texts(first).at(-1)?.startsWith("You said"));
  first.unmount();

  const second = rendered({ assistantId: "chat", threadId });
  await soon(() => second.current().isLoading && texts(second).at(-1)?.startsWith("You said"));
  openGate(gate);
  await soon(() => !second.current().isLoading && texts(second).at(-1) === "You said hello to me");
  assert.deepEqual(texts(second), ["hello", "You said hello to me"]);
  assert.equal((await sdk.runs.list(threadId)).length, 1);
});

test("a component that is mounted on a thread that asks shows the question", async () => {
  const threadId = (await sdk.threads.create()).thread_id;
  await sdk.runs.wait(threadId, "team", { input: TRIP });
  const hook = rendered({ assistantId: "team", threadId });
  await soon(() => hook.current().interrupt !== undefined);
  assert.deepEqual(texts(hook), ["hello", "You said hello to me"]);
  const interruptId = hook.current().interrupt.id;
  await act(async () => void hook.current().respond("yes", { interruptId }));
  await soon(() => texts(hook).at(-1) === "Booked: yes");
});

test("a message is edited: a branch begins at its checkpoint", async () => {
  const hook = rendered({ assistantId: "chat" });
  for (const text of ["a", "b"]) {
    await act(async () => void hook.current().submit(said(text)));
    await soon(() => texts(hook).at(-1) === `You said ${text} to me` && !hook.current().isLoading);
  }
  const history = await sdk.threads.getHistory(hook.current().threadId);
  const { checkpoint } = history.find((state) => state.values.messages.length === 2);
  await act(async () => void hook.current().submit(said("c"), { forkFrom: checkpoint.checkpoint_id }));
  await soon(() => texts(hook).at(-1) === "You said c to me" && !hook.current().isLoading);
  assert.deepEqual(texts(hook), ["a", "You said a to me", "c", "You said c to me"]);
  assert.deepEqual(contents((await sdk.threads.getState(hook.current().threadId)).values), texts(hook));
});

test("a run is stopped", async () => {
  const hook = rendered({ assistantId: "chat" });
  await act(async () => void hook.current().submit({ ...HELLO, gate: "never" }));
  await soon(() => texts(hook).at(-1)?.startsWith("You said"));
  await act(async () => hook.current().stop());
  const { threadId } = hook.current();
  const [run] = await sdk.runs.list(threadId);
  await sdk.runs.join(threadId, run.run_id);
  assert.equal((await sdk.runs.get(threadId, run.run_id)).status, "interrupted");
});

test("a failure is shown", async () => {
  const hook = rendered({ assistantId: "fails" });
  await act(async () => void hook.current().submit(HELLO));
  await soon(() => hook.current().error !== undefined);
  assert.match(String(hook.current().error.message ?? hook.current().error), /no luck/);
});
