// Speaks to Chromium over the pipe of its DevTools protocol: messages of JSON, each ended by a zero
// byte, on the descriptors 3 and 4. No port is opened, and no library is needed.

import { spawn } from "node:child_process";

const PATIENCE_MS = 60_000;

export class Browser {
  #process;
  #waiting = new Map();
  #next = 1;
  #rest = "";
  #errors = "";

  /** Every event, in its order. */
  events = [];

  constructor(program, folder) {
    const options = { stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"] };
    this.#process = spawn(program, [folder, "--remote-debugging-pipe", "about:blank"], options);
    this.#process.stderr.on("data", (text) => { this.#errors = `${this.#errors}${text}`.slice(-4000); });
    this.#process.stdio[4].on("data", (bytes) => this.#read(bytes));
    for (const pipe of [this.#process.stdio[3], this.#process.stdio[4]]) {
      pipe.on("error", (error) => this.#fail(`Chromium hung up: ${error.message}`));
    }
    this.#process.on("exit", () => this.#fail("Chromium ended"));
    this.#process.on("error", (error) => this.#fail(`Chromium does not start: ${error.message}`));
  }

  #read(bytes) {
    const messages = `${this.#rest}${bytes.toString("utf8")}`.split("\0");
    this.#rest = messages.pop();
    for (const message of messages.map((text) => JSON.parse(text))) {
      const waiting = this.#waiting.get(message.id);
      if (waiting === undefined) {
        this.events.push(message);
        continue;
      }
      this.#waiting.delete(message.id);
      const { error, result } = message;
      if (error === undefined) {
        waiting.resolve(result);
      } else {
        waiting.reject(new Error(`${waiting.method}: ${error.message}`));
      }
    }
  }

  #fail(reason) {
    for (const waiting of this.#waiting.values()) {
      waiting.reject(new Error(`${waiting.method}: ${reason}\n${this.#errors}`));
    }
    this.#waiting.clear();
  }

  /** Sends a command and returns its result. */
  send(method, params = {}, sessionId = undefined) {
    const id = this.#next;
    this.#next += 1;
    this.#process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${method}: no answer`)), PATIENCE_MS);
      const settle = (done) => (value) => { clearTimeout(timer); done(value); };
      this.#waiting.set(id, { method, resolve: settle(resolve), reject: settle(reject) });
    });
  }

  /** Opens a page and returns what speaks to it. */
  async open(url) {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, sessionId);
    for (const domain of ["Page", "Runtime", "Network", "Log", "DOM"]) {
      await page.send(`${domain}.enable`);
    }
    await page.send("Page.navigate", { url });
    await page.until(`location.href === ${JSON.stringify(url)} && document.readyState === "complete"`);
    return page;
  }

  async close() {
    const ended = new Promise((resolve) => { this.#process.once("exit", resolve); });
    await this.send("Browser.close").catch(() => this.#process.kill("SIGKILL"));
    await ended;
  }
}

export class Page {
  #browser;
  #session;

  constructor(browser, session) {
    this.#browser = browser;
    this.#session = session;
  }

  send(method, params = {}) {
    return this.#browser.send(method, params, this.#session);
  }

  /** The events of this page of that name. */
  events(method) {
    const own = this.#browser.events.filter((event) => event.sessionId === this.#session);
    return own.filter((event) => event.method === method).map((event) => event.params);
  }

  /** The value of an expression in the page; throws what it throws. */
  async evaluate(expression) {
    const options = {
      expression,
      returnByValue: true,
      awaitPromise: true,
      // What is tried here is held to the page's own policy.
      allowUnsafeEvalBlockedByCSP: false,
    };
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", options);
    if (exceptionDetails !== undefined) {
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    }
    return result.value;
  }

  /** Waits until an expression is true. */
  async until(expression) {
    const end = Date.now() + PATIENCE_MS;
    while (await this.evaluate(expression) !== true) {
      if (Date.now() > end) {
        throw new Error(`never true: ${expression}`);
      }
      await new Promise((resolve) => { setTimeout(resolve, 20); });
    }
  }

  /** Drops files on an element, as a hand does. */
  async drop(selector, files) {
    const middle = await this.evaluate(`(() => {
      const box = document.querySelector(${JSON.stringify(selector)}).getBoundingClientRect();
      return { x: box.x + box.width / 2, y: box.y + box.height / 2 };
    })()`);
    const data = { items: [], files, dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"]) {
      await this.send("Input.dispatchDragEvent", { type, ...middle, data });
    }
  }
}
