// The form: the schema's fields in the places that index.html has for them, read as the input of a job.
import { buildFrames, buildGuidance, buildLoras, buildSeed } from "./controls.js";
import { buildField } from "./field.js";
import { buildPictures } from "./pictures.js";
import { buildSizes } from "./size.js";
import { buildVoice } from "./voice.js";

// Fields with a control of their own; the others are made by their kind.
const special = {
  seed: buildSeed,
  frames: buildFrames,
  scale_t: buildGuidance,
  scale_a: buildGuidance,
  scale_i: buildGuidance,
};

// What only some jobs read; elsewhere it is hidden and not sent.
const readWhen = {
  scale_i: ({ variant, mode }) => variant === "1.7B" && mode === "TIA",
  step_change: ({ variant, mode }) => variant === "17B" && mode === "TIA",
};

// absent are fields that this page decides itself.
const absent = ["dry_run", "output.format"];

// buildForm fills the form's places. facts is what the server says of itself; changed is called after every change.
export function buildForm(root, schema, facts, changed) {
  const fields = new Map(); // name → field with its control
  let modeIsChosen = false; // by the visitor; until then it follows the pictures
  const touch = () => {
    follow();
    changed();
  };
  const build = (field) => {
    if (special[field.name]) {
      return special[field.name](field, touch);
    }
    switch (field.kind) {
      case "source":
        return buildVoice(field, touch);
      case "sources":
        return buildPictures(field, touch);
      case "loras":
        return buildLoras(field, touch, facts.loras);
      default:
        return buildField(field, touch);
    }
  };
  const places = [...root.querySelectorAll("[data-fields]")];
  const designed = places.flatMap((place) => place.dataset.fields.split(" "));
  for (const field of schema.values()) {
    const place =
      places.find((one) => one.dataset.fields.split(" ").includes(field.name)) ??
      places.find((one) => one.dataset.fields === "*");
    if (!absent.includes(field.name)) {
      const made = build(field);
      fields.set(field.name, made);
      place.append(made.root);
    }
  }
  for (const place of places) {
    // in the order of the place, not of the schema
    const wanted = place.dataset.fields.split(" ").filter((name) => designed.includes(name) && fields.has(name));
    place.append(...wanted.map((name) => fields.get(name).root));
  }

  const get = (name) => fields.get(name);
  get("mode").root.addEventListener("change", () => (modeIsChosen = true), { capture: true });
  const negative = get("negative_prompt").root.querySelector("textarea");
  negative.placeholder = "Empty: the original's";
  negative.title = facts.negative_prompt ?? "";
  const showSizes = buildSizes(document.getElementById("presets"), get("width"), get("height"), touch);

  // follow brings into line what depends on other fields.
  const follow = () => {
    if (!modeIsChosen) {
      get("mode").write(get("images").count() > 0 ? "TIA" : "TA");
    }
    const state = { variant: get("variant").read(), mode: get("mode").read() };
    for (const name of ["scale_t", "scale_a", "scale_i"]) {
      get(name).setDefault(facts.models?.[state.variant]?.[name]);
    }
    for (const [name, isRead] of Object.entries(readWhen)) {
      if (fields.has(name)) {
        get(name).root.hidden = !isRead(state);
      }
    }
    const [width, height] = [get("width").read(), get("height").read()];
    if (width > 0 && height > 0 && Math.max(width, height) <= 8 * get("width").field.max) {
      get("images").setSize(width, height);
    }
    get("images").hint.textContent =
      state.mode === "TA" && get("images").count() > 0
        ? "Kept here, but not sent: the mode is text + voice."
        : get("images").field.doc;
    showSizes();
  };

  // read returns the job's input, without what stands at its default, and the problems that are seen here already.
  const read = () => {
    const input = {};
    const problems = [];
    for (const [name, control] of fields) {
      const value = control.read();
      const { fallback, title, min, max } = control.field;
      if (Number.isNaN(value)) {
        problems.push({ field: name, message: `${title} must be a number from ${min} to ${max}.` });
        continue;
      }
      const unsent = control.problem?.() ?? "";
      if (unsent !== "" && !(name === "images" && input.mode === "TA")) {
        problems.push({ field: name, message: unsent });
      }
      if (value === undefined || value === fallback || control.root.hidden) {
        continue;
      }
      put(input, name, value);
    }
    if (input.mode === "TA") {
      delete input.images;
    }
    return { input, problems };
  };

  // write shows the input of a job.
  const write = async (input) => {
    modeIsChosen = input.mode !== undefined;
    for (const [name, control] of fields) {
      if (control.field.kind !== "source" && control.field.kind !== "sources") {
        control.write(name.split(".").reduce((part, key) => part?.[key], input));
      }
      control.fail("");
    }
    if (!input.variant) {
      get("variant").write(facts.variant ?? get("variant").field.choices[0]);
    }
    touch();
    await Promise.all([get("audio").write(input.audio), get("images").write(input.images)]);
    touch();
  };

  get("variant").write(facts.variant ?? get("variant").field.choices[0]);
  follow();
  return {
    fields,
    read,
    write,
    get,
    settled: () => Promise.all([get("audio").settled(), get("images").settled()]),
    // renew sends the files again that the server has forgotten; false if there are none here to send.
    renew: () => [get("audio").renew(), get("images").renew()].some(Boolean),
    fileNames: () => ({ audio: get("audio").fileName(), images: get("images").fileNames() }),
  };
}

// put puts a value under a name with dots.
function put(input, name, value) {
  const keys = name.split(".");
  const last = keys.pop();
  const place = keys.reduce((part, key) => (part[key] ??= {}), input);
  place[last] = value;
}
