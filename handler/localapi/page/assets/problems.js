// What is wrong with a job, shown where it can be put right.

// sayAt is a problem in a sentence for its field: the server's begins with the field's name.
function sayAt(problem, field) {
  const rest = problem.message.startsWith(`${problem.field}: `)
    ? problem.message.slice(problem.field.length + 2)
    : problem.message;
  const sentence = /^[a-z]/.test(rest) ? `${field.title} ${rest}` : rest;
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
}

// nameOf is the form's field that a problem is about: images[2] is images, loras[0].name is loras, output.crf is itself.
function nameOf(problem, fields) {
  const name = (problem.field ?? "").replaceAll(/\[\d+\]/g, "");
  return [name, name.split(".")[0]].find((one) => fields.has(one));
}

// showProblems marks the fields and unmarks the others. What belongs to no field is returned as sentences.
export function showProblems(form, problems) {
  const messages = new Map();
  const elsewhere = [];
  form.get("images").clearMarks();
  for (const problem of problems) {
    const name = nameOf(problem, form.fields);
    if (!name) {
      elsewhere.push(problem.message);
      continue;
    }
    const place = /^images\[(\d+)\]/.exec(problem.field ?? "");
    const message = (place ? `Picture ${Number(place[1]) + 1}: ` : "") + sayAt(problem, form.get(name).field);
    messages.set(name, [...(messages.get(name) ?? []), message]);
    if (place) {
      form.get("images").failAt(Number(place[1]));
    }
  }
  for (const [name, control] of form.fields) {
    const message = (messages.get(name) ?? []).join(" ");
    control.fail(message);
    if (message !== "") {
      control.root.hidden = false;
      control.root.closest("details")?.setAttribute("open", "");
    }
  }
  return elsewhere;
}

// focusFirst goes to the first field that is marked, in the order of the page.
export function focusFirst(form) {
  const first = document.querySelector("[data-field].failed");
  if (first) {
    form.get(first.dataset.field).focus();
    first.scrollIntoView({ block: "center", behavior: "instant" });
  }
  return Boolean(first);
}
