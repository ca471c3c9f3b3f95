// The fields that are more than a box: guidance sliders, the seed, the number of frames, LoRAs.
import { element, icon } from "./element.js";
import { frame, idOf } from "./field.js";
import { length } from "./words.js";

// sliderEnd is where the slider of a guidance scale ends; the box beside it takes all that the schema allows.
const sliderEnd = 15;

// buildGuidance is a slider with a box. Untouched, it stands at the variant's default and is left out of the job.
export function buildGuidance(field, changed) {
  let own; // the visitor's value
  let usual; // the variant's
  const box = element("input", {
    type: "number",
    id: idOf(field.name),
    name: field.name,
    min: field.min,
    max: field.max,
    step: "any",
    inputmode: "decimal",
    autocomplete: "off",
  });
  const slider = element("input", {
    type: "range",
    min: field.min,
    max: Math.min(field.max, sliderEnd),
    step: 0.1,
    "aria-label": `${field.title}, slider`,
  });
  const reset = element("button", { type: "button", class: "quiet-button", onclick: () => set(undefined) }, "Default");
  const show = () => {
    const value = own ?? usual;
    box.value = value ?? "";
    box.placeholder = usual === undefined ? "default" : "";
    slider.value = value ?? 0;
    mark();
  };
  const mark = () => {
    const value = own ?? usual;
    slider.setAttribute(
      "aria-valuetext",
      value === undefined ? "the model's own" : `${value}${own === undefined ? ", the default" : ""}`,
    );
    reset.disabled = own === undefined;
    reset.textContent = usual === undefined ? "Default" : `Default ${usual}`;
  };
  const set = (value) => {
    own = value === usual ? undefined : value;
    show();
    changed();
  };
  slider.addEventListener("input", () => set(Number(slider.value)));
  box.addEventListener("input", () => {
    own = box.validity.badInput ? NaN : box.value === "" || Number(box.value) === usual ? undefined : Number(box.value);
    slider.value = own || usual || 0; // the box is being typed in: it stays as it is
    mark();
    changed();
  });
  box.addEventListener("blur", () => Number.isNaN(own) || show());
  show();
  const control = {
    input: box,
    read: () => own,
    write: (value) => {
      own = value === usual ? undefined : value;
      show();
    },
    setDefault: (value) => {
      usual = value;
      show();
    },
  };
  return frame(field, control, element("div", { class: "guidance" }, slider, box, reset));
}

// buildSeed is a box that is empty for a random seed. Seeds may have 64 bits, more than a number of JavaScript holds: large
// ones stay text (api.js writes them as numbers).
export function buildSeed(field, changed) {
  const input = element("input", {
    type: "text",
    id: idOf(field.name),
    name: field.name,
    inputmode: "numeric",
    placeholder: "random",
    autocomplete: "off",
    oninput: changed,
  });
  const draw = element(
    "button",
    {
      type: "button",
      class: "icon-button",
      title: "Draw a seed",
      "aria-label": "Draw a seed",
      onclick: () => {
        input.value = String(crypto.getRandomValues(new Uint32Array(1))[0]);
        changed();
      },
    },
    icon("dice"),
  );
  const control = {
    input,
    read: () => {
      const text = input.value.trim();
      const n = Number(text);
      return text === "" ? undefined : Number.isNaN(n) || (/^\d+$/.test(text) && !Number.isSafeInteger(n)) ? text : n;
    },
    write: (value) => {
      input.value = value ?? "";
    },
  };
  return frame(field, control, element("div", { class: "joined" }, input, draw));
}

// buildFrames is a number of frames, or the length of the voice.
export function buildFrames(field, changed) {
  const box = element("input", {
    type: "number",
    id: idOf(field.name),
    min: field.min,
    max: field.max,
    step: 1,
    inputmode: "numeric",
    autocomplete: "off",
    "aria-label": "Number of frames",
  });
  const byNumber = element("input", {
    type: "radio",
    name: field.name,
    value: "number",
    onchange: () => update(),
    "aria-label": "A number of frames",
  });
  const byVoice = element("input", { type: "radio", name: field.name, value: "auto", onchange: () => update() });
  const says = element("span", { class: "quiet", id: `${idOf(field.name)}-says` });
  box.setAttribute("aria-describedby", says.id);
  box.addEventListener("input", () => {
    byNumber.checked = true;
    update();
  });
  const update = () => {
    box.classList.toggle("idle", byVoice.checked);
    changed();
  };
  const write = (value = field.fallback) => {
    byVoice.checked = value === "auto";
    byNumber.checked = value !== "auto";
    box.value = value === "auto" ? (field.fallback === "auto" ? "" : field.fallback) : value;
    box.classList.toggle("idle", byVoice.checked);
  };
  write();
  const control = {
    group: true,
    input: box,
    read: () => (byVoice.checked ? "auto" : box.validity.badInput ? NaN : box.value === "" ? undefined : Number(box.value)),
    write,
    // saysLength shows what the server makes of it.
    saysLength: (frames, seconds) => {
      says.textContent = frames ? `${frames} frames, ${length(seconds)}` : "";
    },
  };
  const body = element(
    "div",
    { class: "options" },
    element("div", { class: "option" }, byNumber, box, element("span", { "aria-hidden": "true" }, "frames")),
    element("label", { class: "option" }, byVoice, element("span", {}, "As long as the voice")),
    says,
  );
  return frame(field, control, body);
}

// buildLoras is a list of files of the server's LoRA folder with their strengths. names are those that the server has; it may
// not say.
export function buildLoras(field, changed, names = []) {
  const list = element("ul", { class: "loras" });
  const add = element(
    "button",
    { type: "button", class: "button", id: idOf(field.name), onclick: () => addRow({}, true) },
    icon("add"),
    "Add a LoRA",
  );
  const addRow = (lora, byHand) => {
    const place = list.children.length + 1;
    const options = lora.name && !names.includes(lora.name) ? [...names, lora.name] : names;
    const name =
      options.length > 0
        ? element(
            "select",
            { "aria-label": `LoRA ${place}: file`, onchange: changed },
            ...options.map((one) => element("option", { value: one, selected: one === lora.name }, one)),
          )
        : element("input", {
            type: "text",
            "aria-label": `LoRA ${place}: file`,
            placeholder: "name.safetensors",
            value: lora.name ?? "",
            autocomplete: "off",
            oninput: changed,
          });
    const strength = element("input", {
      type: "number",
      "aria-label": `LoRA ${place}: strength`,
      min: field.min,
      max: field.max,
      step: 0.05,
      value: lora.strength ?? 1,
      oninput: changed,
    });
    const remove = element(
      "button",
      { type: "button", class: "icon-button", "aria-label": `Remove LoRA ${place}` },
      icon("close"),
    );
    const row = element("li", {}, name, strength, remove);
    remove.addEventListener("click", () => {
      row.remove();
      update();
      add.focus();
    });
    list.append(row);
    update();
    if (byHand) {
      name.focus();
    }
  };
  const update = () => {
    add.disabled = list.children.length >= field.maxItems;
    changed();
  };
  const control = {
    group: true,
    input: add,
    read: () => {
      const rows = [...list.children].map((row) => {
        const [name, strength] = row.querySelectorAll("input, select");
        const lora = { name: name.value };
        return strength.value === "" || strength.value === "1" ? lora : { ...lora, strength: Number(strength.value) };
      });
      return rows.length > 0 ? rows : undefined;
    },
    write: (value) => {
      list.replaceChildren();
      (value ?? []).forEach((lora) => addRow(lora, false));
      add.disabled = list.children.length >= field.maxItems;
    },
  };
  return frame(field, control, element("div", {}, list, add));
}
