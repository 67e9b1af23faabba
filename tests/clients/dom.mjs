// A browser's window for React, without a browser. Import it before React. Requests stay those of node.

import { Window } from "happy-dom";

const window = new Window({ url: "http://localhost/" });
globalThis.window = window;
for (const name of ["document", "HTMLElement", "Element", "Node", "Event", "MutationObserver", "sessionStorage"]) {
  globalThis[name] = window[name];
}
// Newer versions of node have a navigator of their own, which cannot be assigned.
Object.defineProperty(globalThis, "navigator", { value: window.navigator, configurable: true });
globalThis.IS_REACT_ACT_ENVIRONMENT = true;
