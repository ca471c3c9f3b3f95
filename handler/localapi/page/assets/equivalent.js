// What is on screen, as it would be sent by a program: curl, the job's JSON, the command line.
import { address, stringify } from "./api.js";
import { announce, element, icon } from "./element.js";
import { isLink } from "./upload.js";

// Flags of `humo-worker generate`; the fields that are not among them cannot be given there.
const flags = {
  mode: "mode",
  variant: "variant",
  prompt: "prompt",
  negative_prompt: "negative-prompt",
  frames: "frames",
  width: "width",
  height: "height",
  fps: "fps",
  steps: "steps",
  shift: "shift",
  seed: "seed",
  scale_t: "scale-t",
  scale_a: "scale-a",
  scale_i: "scale-i",
  step_change: "step-change",
  quality: "quality",
  isolate_vocals: "isolate-vocals",
};

const kinds = { curl: "curl", json: "JSON", cli: "Command line" };

// buildEquivalent fills the panel and returns update(input, names): names are the files' names on the visitor's machine.
export function buildEquivalent(panel) {
  const text = element("code", {});
  const box = element("pre", { id: "same-text", tabindex: "0", role: "region", "aria-label": "The same as text" }, text);
  const note = element("p", { class: "hint" });
  const copied = element("span", {}, "Copy");
  const copy = element("button", { type: "button", class: "button small", onclick: () => copyText() }, icon("copy"), copied);
  const tabs = Object.entries(kinds).map(([kind, word]) =>
    element(
      "label",
      {},
      element("input", { type: "radio", name: "same", value: kind, checked: kind === "curl", onchange: () => show() }),
      element("span", {}, word),
    ),
  );
  panel.append(
    element(
      "div",
      { class: "same-line" },
      element("fieldset", { class: "segments small" }, element("legend", { class: "unseen" }, "As"), ...tabs),
      copy,
    ),
    box,
    note,
  );

  let now = { input: {}, names: {} };
  const show = () => {
    const kind = tabs.find((tab) => tab.firstChild.checked).firstChild.value;
    [text.textContent, note.textContent] = { curl, json, cli }[kind](now.input, now.names);
  };
  const copyText = async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      copied.textContent = "Copied";
      announce("Copied.");
    } catch {
      getSelection().selectAllChildren(box); // no clipboard here: one key is left to press
      copied.textContent = "Press Ctrl+C";
    }
    setTimeout(() => (copied.textContent = "Copy"), 2000);
  };
  return (input, names) => {
    now = { input, names };
    show();
  };
}

// json is the body of POST /run as this page sends it.
function json(input) {
  return [
    stringify({ input }, 2),
    "The body of POST run. An upload: source lives on this server for an hour after its last use.",
  ];
}

// curl sends the files along, so that it needs nothing that this page has uploaded. The shell puts them in: the text around is
// quoted for a here-document.
function curl(input, names) {
  const job = { ...input };
  const files = [];
  const embed = (source, name) => {
    if (isLink(source) || source?.startsWith("volume:")) {
      return source;
    }
    files.push(name);
    return `\u0001${files.length - 1}\u0001`;
  };
  if (job.audio || names.audio) {
    job.audio = embed(job.audio, names.audio ?? "voice.wav");
  }
  if (job.images) {
    job.images = job.images.map((source, i) => embed(source, names.images?.[i] ?? `picture-${i + 1}.png`));
  }
  const body = stringify({ input: job }, 2)
    .replace(/[\\$`]/g, "\\$&")
    .replace(/\\\\u0001(\d+)\\\\u0001/g, (all, i) => `data:;base64,$(base64 < ${quote(files[i])} | tr -d '\\n')`);
  const text = `curl -sS ${quote(address("run"))} -H 'Content-Type: application/json' --data-binary @- <<JOB\n${body}\nJOB`;
  return [
    text,
    "The answer has the job's id: GET status/ID tells the rest. RunPod's endpoints take the same body, with your key.",
  ];
}

function cli(input, names) {
  const lines = ["humo-worker generate"];
  const left = [];
  const file = (source, name, spare) =>
    quote(isLink(source) ? new URL(source).pathname.split("/").pop() || spare : (name ?? spare));
  for (const [name, value] of Object.entries(input)) {
    if (flags[name]) {
      lines.push(`--${flags[name]}${value === true ? "" : " " + quote(String(value))}`);
    } else if (name === "loras") {
      value.forEach((lora) =>
        lines.push(`--lora ${quote(lora.strength === undefined ? lora.name : `${lora.name}=${lora.strength}`)}`),
      );
    } else if (name === "audio") {
      lines.push(`--audio ${file(value, names.audio, "voice.wav")}`);
    } else if (name === "images") {
      value.forEach((source, i) => lines.push(`--image ${file(source, names.images?.[i], `picture-${i + 1}.png`)}`));
    } else {
      left.push(name);
    }
  }
  const links = [input.audio, ...(input.images ?? [])].some((source) => source && isLink(source));
  return [
    lines.join(" \\\n  "),
    [
      "Runs where the files and the weights are.",
      links ? "Fetch what is a link first: these flags take files." : "",
      left.length > 0 ? `No flags, so not here: ${left.join(", ")}.` : "",
    ].join(" "),
  ];
}

// quote makes a word for a shell.
function quote(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
