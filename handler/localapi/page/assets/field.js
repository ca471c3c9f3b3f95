// One field of the form: its label, its control, its hint and its error, made of what the schema says.
import { element } from "./element.js";

// Words for choices that are too short to be understood; the value stays what the contract calls it.
const spoken = {
  TA: "Voice · TA",
  TIA: "Voice + pictures · TIA",
  exact: "Exact",
  fast: "Fast",
};

// buildField makes a field with the methods
//   read() → the value, undefined if it is left out;   write(value): undefined is the default
//   fail(message): marks it, "" unmarks;               focus()
// and root, the element to place. changed is called whenever the visitor changes the value.
export function buildField(field, changed) {
  const control = controls[field.kind](field, changed);
  return frame(field, control, control.root);
}

// frame puts the label around a control, and hint and error below. body is what stands between them.
export function frame(field, control, body) {
  const id = idOf(field.name);
  const hint = element("p", { class: "hint", id: `${id}-hint` }, field.doc);
  const error = element("p", { class: "error", id: `${id}-error`, hidden: true });
  const group = control.group === true;
  const title = group ? element("legend", {}, field.title) : control.ownLabel ? null : element("label", { for: id }, field.title);
  const root = element(
    group ? "fieldset" : "div",
    { class: "field", id: `${id}-field`, "data-field": field.name },
    title,
    body,
    error,
    hint,
  );
  const described = group ? root : control.input;
  described.setAttribute("aria-describedby", hint.id);
  return {
    ...control,
    field,
    root,
    hint,
    fail(message) {
      error.textContent = message;
      error.hidden = message === "";
      root.classList.toggle("failed", message !== "");
      described.setAttribute("aria-describedby", message === "" ? hint.id : `${error.id} ${hint.id}`);
      for (const one of group ? root.querySelectorAll("input") : [control.input]) {
        if (message === "") {
          one.removeAttribute("aria-invalid");
        } else {
          one.setAttribute("aria-invalid", "true");
        }
      }
    },
    failed: () => !error.hidden,
    focus: control.focus ?? (() => control.input.focus()),
  };
}

export function idOf(name) {
  return "f-" + name.replaceAll(/[._]/g, "-");
}

const controls = { choice, integer: number, number, text, flag };

// choice is a row of segments.
function choice(field, changed) {
  const id = idOf(field.name);
  const inputs = field.choices.map((value) =>
    element("input", { type: "radio", name: field.name, value, id: `${id}-${value}`, onchange: changed }),
  );
  const root = element(
    "div",
    { class: "segments" },
    ...inputs.map((input, i) =>
      element("label", {}, input, element("span", {}, spoken[field.choices[i]] ?? String(field.choices[i]))),
    ),
  );
  const write = (value = field.fallback) => {
    for (const input of inputs) {
      input.checked = input.value === value;
    }
  };
  write();
  return {
    root,
    group: true,
    input: inputs[0],
    focus: () => (inputs.find((input) => input.checked) ?? inputs[0]).focus(),
    read: () => inputs.find((input) => input.checked)?.value,
    write,
  };
}

// number is a number in a box. What is no number at all is read as NaN, and said at the field.
function number(field, changed) {
  const input = element("input", {
    type: "number",
    id: idOf(field.name),
    name: field.name,
    min: field.min,
    max: field.max,
    step: field.step,
    inputmode: field.kind === "integer" ? "numeric" : "decimal",
    placeholder: field.fallback === undefined ? "default" : null,
    autocomplete: "off",
    oninput: changed,
  });
  const write = (value = field.fallback) => {
    input.value = value ?? "";
  };
  write();
  return {
    root: input,
    input,
    read: () => (input.validity.badInput ? NaN : input.value === "" ? undefined : Number(input.value)),
    write,
  };
}

function text(field, changed) {
  const long = (field.maxLength ?? 0) > 1000 && field.format !== "uri";
  const input = element(long ? "textarea" : "input", {
    id: idOf(field.name),
    name: field.name,
    rows: long ? (field.needed ? 4 : 2) : null,
    type: long ? null : field.format === "uri" ? "url" : "text",
    required: field.needed,
    autocomplete: "off",
    spellcheck: field.format === "uri" ? "false" : null,
    oninput: changed,
  });
  return {
    root: input,
    input,
    read: () => (input.value.trim() === "" ? undefined : input.value),
    write: (value) => {
      input.value = value ?? "";
    },
  };
}

function flag(field, changed) {
  const input = element("input", { type: "checkbox", id: idOf(field.name), name: field.name, onchange: changed });
  const write = (value = field.fallback) => {
    input.checked = value === true;
  };
  write();
  return {
    root: element("label", { class: "check", for: input.id }, input, element("span", {}, field.title)),
    ownLabel: true,
    input,
    read: () => input.checked,
    write,
  };
}
