// useStream of @langchain/langgraph-sdk/react, the hook of the first generation, in React.

import "./dom.mjs";

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { useStream } from "@langchain/langgraph-sdk/react";
import { act, cleanup, renderHook, waitFor } from "@testing-library/react";

import { HELLO, QUESTION, TRIP, apiUrl, client, contents, openGate, said } from "./service.mjs";

const sdk = client();
afterEach(cleanup);

/** Render the hook. `current()` is what it returns now. */
function rendered(options) {
  const errors = [];
  const hook = renderHook(() => {
    const stream = useStream({ apiUrl, apiKey: null, onError: (error) => errors.push(error), ...options });
    // The hook asks for the modes of what is read.
    return { stream, messages: stream.messages, values: stream.values };
  });
  return { ...hook, current: () => hook.result.current.stream, errors };
}

const soon = (holds) => waitFor(() => assert.ok(holds()), { timeout: 30_000, interval: 5 });
const texts = ({ current }) => current().messages.map((message) => message.content);

test("a message is submitted, and its answer grows word by word", async () => {
  let threadId;
  const hook = rendered({ assistantId: "chat", onThreadId: (id) => (threadId = id) });
  const gate = "use-stream-words";
  await act(async () => void hook.current().submit({ ...HELLO, gate }));
  await soon(() => texts(hook).at(-1)?.startsWith("You said"));
  assert.ok(hook.current().isLoading);
  assert.notEqual(texts(hook).at(-1), "You said hello to me");
  openGate(gate);
  await soon(() => !hook.current().isLoading);
  assert.deepEqual(texts(hook), ["hello", "You said hello to me"]);
  assert.deepEqual(contents((await sdk.threads.getState(threadId)).values), texts(hook));
  assert.deepEqual(hook.errors, []);
});

test("a question is shown and answered", async () => {
  const hook = rendered({ assistantId: "team" });
  await act(async () => void hook.current().submit(TRIP));
  await soon(() => hook.current().interrupt !== undefined && !hook.current().isLoading);
  assert.deepEqual(hook.current().interrupt.value, QUESTION);
  await act(async () => void hook.current().submit(null, { command: { resume: "yes" } }));
  await soon(() => texts(hook).at(-1) === "Booked: yes" && !hook.current().isLoading);
  assert.equal(hook.current().interrupt, undefined);
  assert.deepEqual(hook.current().values.found, QUESTION.found);
  assert.deepEqual(hook.errors, []);
});

test("a component that is mounted again continues the run", async () => {
  const threadId = (await sdk.threads.create()).thread_id;
  const gate = `mount-${threadId}`;
  const options = { assistantId: "chat", threadId, reconnectOnMount: true };
  const first = rendered(options);
  await act(async () => void first.current().submit({ ...HELLO, gate }));
  await soon(() => texts(first).at(-1)?.startsWith("You said"));
  first.unmount();

  const second = rendered(options);
  await soon(() => second.current().isLoading && texts(second).at(-1)?.startsWith("You said"));
  openGate(gate);
  await soon(() => !second.current().isLoading && texts(second).at(-1) === "You said hello to me");
  assert.deepEqual(texts(second), ["hello", "You said hello to me"]);
  const [run] = await sdk.runs.list(threadId);
  assert.equal(run.status, "success");
  assert.deepEqual(second.errors, []);
});

test("a message is edited: a branch begins at its checkpoint", async () => {
  const threadId = (await sdk.threads.create()).thread_id;
  const hook = rendered({ assistantId: "chat", threadId, fetchStateHistory: true });
  const submit = async (...given) => {
    await act(async () => void hook.current().submit(...given));
    await soon(() => hook.current().isLoading);
    await soon(() => !hook.current().isLoading && !hook.current().isThreadLoading);
  };
  await submit(said("a"));
  await submit(said("b"));
  const edited = () => hook.current().getMessagesMetadata(hook.current().messages[2], 2);
  await soon(() => edited()?.firstSeenState !== undefined);
  await submit(said("c"), { checkpoint: edited().firstSeenState.parent_checkpoint });

  await soon(() => texts(hook).at(-1) === "You said c to me");
  assert.deepEqual(texts(hook), ["a", "You said a to me", "c", "You said c to me"]);
  await soon(() => edited()?.branchOptions?.length === 2);
  const other = edited().branchOptions.find((branch) => branch !== edited().branch);
  await act(async () => hook.current().setBranch(other));
  assert.deepEqual(texts(hook), ["a", "You said a to me", "b", "You said b to me"]);
  assert.deepEqual(hook.errors, []);
});

test("a run is stopped", async () => {
  const threadId = (await sdk.threads.create()).thread_id;
  const hook = rendered({ assistantId: "chat", threadId });
  await act(async () => void hook.current().submit({ ...HELLO, gate: "never" }));
  await soon(() => texts(hook).at(-1)?.startsWith("You said"));
  await act(async () => hook.current().stop());
  const [run] = await sdk.runs.list(threadId);
  await sdk.runs.join(threadId, run.run_id);
  assert.equal((await sdk.runs.get(threadId, run.run_id)).status, "interrupted");
});

test("a failure is shown", async () => {
  const hook = rendered({ assistantId: "fails" });
  await act(async () => void hook.current().submit(HELLO));
  await soon(() => hook.current().error !== undefined);
  assert.match(String(hook.current().error.message), /no luck/);
});
