// The service under test, which `python -m tests.clients` has started, and what tests do with it.

import { closeSync, openSync } from "node:fs";
import { join } from "node:path";

import { Client } from "@langchain/langgraph-sdk";

export const apiUrl = process.env.SERVICE_URL;
const folder = process.env.SERVICE_FOLDER;

export const WORDS = ["You", " ", "said", " ", "hello", " ", "to", " ", "me"];
export const QUESTION = { question: "Book it?", found: ["Lisbon by sea", "Lisbon by train"] };

export const said = (text) => ({ messages: [{ type: "human", content: text }] });
export const HELLO = said("hello");
export const TRIP = { ...HELLO, topic: "Lisbon" };

export const client = () => new Client({ apiUrl, apiKey: null, callerOptions: { maxRetries: 0 } });

/** Let the model go on that waits at the gate. */
export function openGate(name) {
  closeSync(openSync(join(folder, name), "a"));
}

export const contents = (values) => values.messages.map((message) => message.content);

/** All parts of a stream. */
export async function read(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

export const dataOf = (parts, event) => parts.filter((part) => part.event === event).map((part) => part.data);
