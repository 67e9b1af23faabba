// The service's API: requests, and the event stream of a run that survives every loss of the connection.

const BASE = "api";
const IDLE_LIMIT = 45_000; // The server sends a comment every 15 seconds.
const LONGEST_PAUSE = 2_000;

/** A reply that is no success. `detail` says what is wrong and what to do. */
export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail ?? `The server answered with the status ${status}`);
    this.status = status;
    this.body = body ?? {};
  }
}

export const pause = (milliseconds, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });

/** One request. Raises `Problem`, and `TypeError` if the server cannot be reached. */
export async function request(method, path, body, { key, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key !== undefined) headers["Idempotency-Key"] = key;
  const response = await fetch(path.startsWith("/") ? BASE + path : path, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    signal,
    cache: "no-store",
  });
  const text = await response.text();
  let decoded = null;
  try {
    decoded = text ? JSON.parse(text) : null;
  } catch {
    throw new Problem(response.status, { detail: "The server did not answer with JSON" });
  }
  if (!response.ok) throw new Problem(response.status, decoded);
  return decoded;
}

/**
 * A request that is repeated until the server has answered. Only for requests that may arrive twice: reads, those with
 * a key, and those that say the same the second time.
 */
export async function insist(method, path, body, { key, signal, onLost } = {}) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await request(method, path, body, { key, signal });
    } catch (error) {
      const isLost = error instanceof TypeError || (error instanceof Problem && error.status === 503);
      if (!isLost || signal?.aborted) throw error;
      onLost?.(attempt);
      await pause(Math.min(400 * attempt, LONGEST_PAUSE), signal);
    }
  }
}

/** The complete frames of a body of server-sent events. A frame that was cut off is dropped: it comes again. */
async function* frames(body, onBytes) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    onBytes();
    const parts = (rest + value.replaceAll("\r\n", "\n")).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const frame = { id: null, event: "message", data: [] };
      for (const line of part.split("\n")) {
        const colon = line.indexOf(":");
        if (colon < 1) continue; // A comment, which keeps the connection alive.
        const field = line.slice(0, colon);
        const text = line.slice(colon + 1).replace(/^ /, "");
        if (field === "data") frame.data.push(text);
        else if (field === "id") frame.id = Number(text);
        else if (field === "event") frame.event = text;
      }
      if (frame.data.length) yield { ...frame, data: frame.data.join("\n") };
    }
  }
}

/**
 * Follow a run: every event once and in order, over any number of connections and servers, until it has ended.
 *
 * The events so far come first. After a loss the next connection sends the last id that arrived, so nothing is lost
 * and nothing comes twice. `on.event(id, event)`, `on.state("live" | "reconnecting", attempt)`. `hasEnded` is asked
 * when the server closes the stream.
 */
export async function follow(path, on, hasEnded, signal) {
  let last = -1;
  for (let attempt = 0; !signal.aborted; ) {
    const connection = new AbortController();
    const abort = () => connection.abort();
    signal.addEventListener("abort", abort, { once: true });
    let idle = setTimeout(abort, IDLE_LIMIT);
    try {
      const response = await fetch(BASE + path, {
        headers: { Accept: "text/event-stream", "Last-Event-ID": String(last) },
        signal: connection.signal,
        cache: "no-store",
      });
      if (!response.ok) throw new Problem(response.status, await response.json().catch(() => null));
      attempt = 0;
      on.state("live", 0);
      const isAlive = () => (clearTimeout(idle), (idle = setTimeout(abort, IDLE_LIMIT)));
      for await (const frame of frames(response.body, isAlive)) {
        if (frame.id !== null) {
          if (frame.id <= last) {
            on.repeated(frame.id);
            continue;
          }
          last = frame.id;
        }
        on.event(frame.id, frame.event, JSON.parse(frame.data));
      }
      if (await hasEnded()) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && error.status < 500) throw error;
    } finally {
      clearTimeout(idle);
      signal.removeEventListener("abort", abort);
      connection.abort();
    }
    attempt += 1;
    if (!signal.aborted) {
      on.state("reconnecting", attempt);
      await pause(Math.min(250 * attempt, LONGEST_PAUSE), signal);
    }
  }
}
