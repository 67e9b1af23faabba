// The client of @langchain/langgraph-sdk on the thread streaming protocol: client.threads.stream.

import assert from "node:assert/strict";
import { test } from "node:test";

import { HELLO, QUESTION, TRIP, WORDS, client, contents, openGate, said } from "./service.mjs";

const sdk = client();

/** Use a stream of a thread, and close it. */
async function using(thread, use) {
  try {
    await use(thread);
  } finally {
    await thread.close();
  }
}

/** The words of a message, as they arrive. */
async function wordsOf({ text }) {
  const words = [];
  for await (const word of text) words.push(word);
  return words;
}

/** The words of all messages. */
async function allWordsOf(messages) {
  const found = [];
  for await (const message of messages) found.push(await wordsOf(message));
  return found;
}

async function next(stream, holds) {
  for await (const each of stream) if (holds(each)) return each;
  throw new Error("The stream has ended");
}

test("a thread starts, streams words and ends", async () => {
  await using(sdk.threads.stream({ assistantId: "chat" }), async (thread) => {
    const words = allWordsOf(thread.messages);
    const { run_id } = await thread.run.start({ input: HELLO, metadata: { origin: "test" } });
    assert.deepEqual(await words, [WORDS]);
    assert.deepEqual(contents(await thread.output), ["hello", "You said hello to me"]);
    const run = await sdk.runs.get(thread.threadId, run_id);
    assert.deepEqual([run.status, run.metadata], ["success", { origin: "test" }]);
  });
});

test("a thread asks, is answered and ends", async () => {
  await using(sdk.threads.stream({ assistantId: "team" }), async (thread) => {
    const asked = await thread.subscribe("input");
    await thread.run.start({ input: TRIP });
    const request = await next(asked, () => true);
    assert.deepEqual(request.params.data.payload, QUESTION);
    const interrupt_id = request.params.data.interrupt_id;
    assert.equal((await sdk.threads.get(thread.threadId)).status, "interrupted");

    const ended = await thread.subscribe("lifecycle");
    await thread.input.respond({ interrupt_id, namespace: [], response: "yes" });
    await next(ended, ({ params }) => params.namespace.length === 0 && params.data.event === "completed");
    assert.equal(contents((await sdk.threads.getState(thread.threadId)).values).at(-1), "Booked: yes");
    await assert.rejects(thread.input.respond({ interrupt_id, namespace: [], response: "no" }));
  });
});

test("nested graphs and what nodes emit", async () => {
  await using(sdk.threads.stream({ assistantId: "tour" }), async (thread) => {
    const progress = thread.subscribe("custom:progress").then((emitted) => next(emitted, () => true));
    // The client misses the words of a nested graph that ends before it has subscribed to them.
    const gate = `nested-${thread.threadId}`;
    const nested = (async () => {
      for await (const graph of thread.subgraphs) {
        for await (const message of graph.messages) {
          openGate(gate);
          return [graph.name, await wordsOf(message)];
        }
      }
    })();
    await thread.run.start({ input: { ...TRIP, gate } });
    assert.equal((await progress)["looking for"], "Lisbon");
    assert.deepEqual(await nested, ["write", WORDS]);
  });
});

test("another client follows a thread from its start, in the middle of a message", async () => {
  await using(sdk.threads.stream({ assistantId: "chat" }), async (first) => {
    const gate = `follow-${first.threadId}`;
    const events = await first.subscribe("messages");
    await first.run.start({ input: { ...HELLO, gate } });
    await next(events, ({ params }) => params.data.event === "content-block-delta");

    await using(sdk.threads.stream(first.threadId, { assistantId: "chat" }), async (second) => {
      const words = allWordsOf(second.messages);
      openGate(gate);
      assert.deepEqual(await words, [WORDS]);
    });
  });
});

test("a run begins at an older checkpoint, and takes the place of another one", async () => {
  await using(sdk.threads.stream({ assistantId: "chat" }), async (thread) => {
    await thread.run.start({ input: said("a") });
    await thread.output;
    const after = (await sdk.threads.getState(thread.threadId)).checkpoint.checkpoint_id;
    await sdk.runs.wait(thread.threadId, "chat", { input: said("b") });
    const { run_id } = await thread.submitRun({ input: { ...said("c"), gate: "never" }, forkFrom: after });
    const instead = await thread.submitRun({ input: { ...said("d"), gate: "" }, multitaskStrategy: "rollback" });
    const values = await sdk.runs.join(thread.threadId, instead.run_id);
    assert.deepEqual(contents(values), ["a", "You said a to me", "d", "You said d to me"]);
    assert.equal((await sdk.runs.get(thread.threadId, run_id)).status, "interrupted");
  });
});

test("a failure", async () => {
  await using(sdk.threads.stream({ assistantId: "fails" }), async (thread) => {
    const ended = await thread.subscribe("lifecycle");
    await thread.run.start({ input: HELLO });
    const { params } = await next(ended, (event) => event.params.data.event === "failed");
    assert.match(params.data.error, /ValueError: no luck/);
  });
});

test("a command that the service does not have is refused", async () => {
  await using(sdk.threads.stream({ assistantId: "chat" }), async (thread) => {
    await assert.rejects(thread.agent.getTree(), /run.start and input.respond/);
    await assert.rejects(thread.run.start({ input: { message: "wrong" } }), /message/);
  });
});
