// The JSON Schema of a job's input, read for a form: what each field is called, what it takes, where its limits are. No limit
// and no default stands anywhere else in these scripts.

// readSchema returns the fields in the contract's order, by name. Those of an object are there under "object.name"; other names
// of a field (deprecated) are left out.
export function readSchema(schema) {
  const fields = new Map();
  const needed = schema.required ?? [];
  for (const [name, property] of Object.entries(schema.properties)) {
    if (property.deprecated) {
      continue;
    }
    if (property.type === "object") {
      for (const [part, inner] of Object.entries(property.properties)) {
        fields.set(
          `${name}.${part}`,
          readField(`${name}.${part}`, { ...inner, title: `${property.title}: ${inner.title.toLowerCase()}` }),
        );
      }
    } else {
      fields.set(name, readField(name, property, needed.includes(name)));
    }
  }
  return fields;
}

// readField says of a field: kind (choice, integer, number, flag, text, source, sources or loras) and its limits.
function readField(name, property, needed = false) {
  // What happens to a field that is left out is said to programs; a form shows it.
  const doc = (property.description ?? "").replace(/\s*Left out: [^.]*\.(?!\d)/, "");
  const field = { name, title: property.title ?? name, doc, fallback: property.default, needed, auto: false };
  const takes = [property, ...(property.anyOf ?? [])];
  const number = takes.find((one) => one.type === "integer" || one.type === "number");
  const list = takes.find((one) => one.type === "array");
  if (property.enum) {
    return { ...field, kind: "choice", choices: property.enum };
  }
  if (number) {
    return {
      ...field,
      kind: number.type,
      min: number.minimum,
      max: number.maximum,
      step: number.multipleOf ?? (number.type === "integer" ? 1 : "any"),
      auto: takes.some((one) => one.const === "auto"),
    };
  }
  if (property.type === "boolean") {
    return { ...field, kind: "flag" };
  }
  if (property.$ref === "#/$defs/source") {
    return { ...field, kind: "source" };
  }
  if (list?.items?.$ref === "#/$defs/source") {
    return { ...field, kind: "sources", maxItems: list.maxItems };
  }
  if (list) {
    const strength = list.items?.properties?.strength ?? {};
    return { ...field, kind: "loras", maxItems: list.maxItems, min: strength.minimum, max: strength.maximum };
  }
  return { ...field, kind: "text", maxLength: property.maxLength, format: property.format };
}
