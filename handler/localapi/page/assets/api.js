// The local API as the page uses it; nothing else in these scripts makes a request.
import { askForKey } from "./key.js";

const keyName = "humo.key";

// Failure is an answer that is no success: a sentence, and what is wrong with which field.
export class Failure extends Error {
  // details are {code, field, message}; they may be empty.
  constructor(sentence, status, details = []) {
    super(sentence);
    this.status = status;
    this.details = details;
  }
}

// Numbers of more than 53 bits (seeds) stay exact: they are read as text, and written as the number that the text is.
export function parse(text) {
  return JSON.parse(text, (name, value, context) => {
    const exact = typeof value === "number" && !Number.isSafeInteger(value) && /^\d+$/.test(context?.source ?? "");
    return exact ? context.source : value;
  });
}

export function stringify(value, indent) {
  const marked = JSON.stringify(value, (name, v) => (name === "seed" && /^\d+$/.test(v) ? `\u0000${v}` : v), indent);
  return marked.replace(/"\\u0000(\d+)"/g, "$1");
}

// ask makes a request and reads its JSON. A server with a key answers 401 until it has it: then the visitor is asked.
async function ask(method, path, { body, headers = {}, signal, raw = false } = {}) {
  const sent = sessionStorage.getItem(keyName);
  const authorization = sent ? { Authorization: `Bearer ${sent}` } : {};
  let response;
  try {
    response = await fetch(path, { method, body, headers: { ...headers, ...authorization }, signal });
  } catch (cause) {
    if (signal?.aborted) {
      throw cause;
    }
    throw new Failure("The server cannot be reached. Is it still running?", 0);
  }
  if (response.status === 401 && (await renewKey(sent))) {
    return ask(method, path, { body, headers, signal, raw });
  }
  if (!response.ok) {
    throw await failureOf(response);
  }
  return raw ? response : parse(await response.text());
}

// renewKey gets another key than the one that was refused: another request may have got it already.
async function renewKey(refused) {
  if (sessionStorage.getItem(keyName) === refused) {
    const key = await askForKey(refused !== null);
    if (key === "") {
      return false;
    }
    sessionStorage.setItem(keyName, key);
  }
  return true;
}

async function failureOf(response) {
  try {
    const { error, code, field, output } = parse(await response.text());
    const details = output?.error?.detail ?? (field ? [{ code, field, message: error }] : []);
    return new Failure(error ?? `The server answers ${response.status}.`, response.status, details);
  } catch {
    return new Failure(`The server answers ${response.status} without saying why.`, response.status);
  }
}

export const info = () => ask("GET", "info");
export const schema = () => ask("GET", "schema.json");

// upload stores a file on the server, for an hour after its last use, and returns the source to name it by in jobs.
export async function upload(file, name, signal) {
  const headers = { "Content-Type": file.type || "application/octet-stream", "X-Filename": encodeURIComponent(name) };
  const { source } = await ask("POST", "uploads", { body: file, headers, signal });
  return source;
}

// fetchUpload gets an earlier upload back as a file.
export async function fetchUpload(source) {
  if (!source.startsWith?.("upload:")) {
    throw new Failure("It is no upload.", 0);
  }
  const response = await ask("GET", `uploads/${encodeURIComponent(source.replace(/^upload:/, ""))}`, { raw: true });
  const blob = await response.blob();
  let name = "file";
  try {
    name = decodeURIComponent(response.headers.get("X-Filename") || name);
  } catch {
    // any name will do
  }
  return new File([blob], name, { type: blob.type });
}

// estimate checks a job and says what it would take, without making anything.
export async function estimate(input, signal) {
  const job = await ask("POST", "runsync?wait=20000", { ...json({ input: { ...input, dry_run: true } }), signal });
  if (job.status !== "COMPLETED") {
    throw new Failure(job.error ?? "The server does not answer in time.", 200, job.output?.error?.detail);
  }
  return job.output;
}

// submit queues a job and returns its id.
export async function submit(input) {
  const { id } = await ask("POST", "run", json({ input }));
  return id;
}

export const job = (id) => ask("GET", `jobs/${encodeURIComponent(id)}`);
export const cancel = (id) => ask("POST", `cancel/${encodeURIComponent(id)}`);
export const jobs = async () => (await ask("GET", "jobs?limit=100")).jobs;

function json(value) {
  return { body: stringify(value), headers: { "Content-Type": "application/json" } };
}

// isOver tells the last state of a job.
export function isOver({ status }) {
  return !["IN_QUEUE", "IN_PROGRESS"].includes(status);
}

// watch follows a job until it is over or signal is aborted: onStatus gets its states, onPreview the pictures on the way. A
// broken stream is opened again. EventSource would do the same, but it cannot send a key.
export async function watch(id, { onStatus, onPreview, onLost, signal }) {
  for (let pause = 500; ; pause = Math.min(2 * pause, 8000)) {
    try {
      const response = await ask("GET", `events/${encodeURIComponent(id)}`, { raw: true, signal });
      for await (const event of events(response.body)) {
        pause = 500;
        if (event.name === "chunk") {
          onPreview(event.data.output);
        } else if (event.name === "status") {
          onStatus(event.data);
          if (isOver(event.data)) {
            return;
          }
        }
      }
    } catch (failure) {
      if (signal.aborted) {
        return;
      }
      if (failure.status >= 400 && failure.status !== 429 && failure.status < 500) {
        throw failure;
      }
      onLost();
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
    if (signal.aborted) {
      return;
    }
  }
}

// events reads a text/event-stream: {name, data}, data being JSON.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) {
        return;
      }
      text += value;
      for (let end; (end = text.search(/\r?\n\r?\n/)) >= 0;) {
        const block = text.slice(0, end);
        text = text.slice(end).replace(/^\r?\n\r?\n/, "");
        const event = readEvent(block);
        if (event) {
          yield event;
        }
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function readEvent(block) {
  let name = "message";
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith("event:")) {
      name = line.slice(6).trim();
    } else if (line.startsWith("data:")) {
      data.push(line.slice(5).replace(/^ /, ""));
    }
  }
  return data.length > 0 ? { name, data: parse(data.join("\n")) } : null;
}

// here is the path of a result's link on this server, or the link itself if it leads elsewhere: the server's name for itself
// may be another than the one that the page was loaded under.
export function here(url) {
  if (!url) {
    return "";
  }
  const { pathname, search } = new URL(url, location.href);
  const at = pathname.indexOf("/files/");
  return at === 0 ? pathname.slice(1) + search : url;
}

// address is the absolute address of one of the API's paths, for programs.
export function address(path) {
  return new URL(path, location.href).href;
}
