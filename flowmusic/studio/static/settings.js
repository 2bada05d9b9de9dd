// The advanced settings, made from the JSON schema of a request: names, help, ranges and defaults stand there only.

import { h } from "./dom.js";

// Fields that have a place of their own on the page, or that make no sense where lanes are on a time axis.
const ELSEWHERE = new Set(["text", "duration", "bpm", "beats_per_bar", "loop_chords"]);
const KINDS = ["integer", "number", "string", "boolean"];

/**
 * Fields of a schema that a form can ask for: {name, title, kind, help, least, most, fallback}. Files are none.
 * `loop` is about sound that exists only by its group.
 */
export function formFields(schema, defaults = {}) {
  return Object.entries(schema.properties).flatMap(([name, property]) => {
    const choice = property.anyOf?.find(({ type }) => type !== "null") ?? property;
    const ofSound = property.group === "sound that exists" && name !== "loop";
    if (ELSEWHERE.has(name) || ofSound || !KINDS.includes(choice.type)) return [];
    const fallback = property.default ?? defaults[name] ?? null;
    return [{
      name, title: name.replaceAll("_", " "), kind: choice.type, help: property.description,
      least: choice.minimum, most: choice.maximum, choices: choice.enum ?? null, fallback,
    }]; // prettier-ignore
  });
}

/** What a field of the form holds, as JSON; null, which means the default, where it is empty. */
export function fieldValue(kind, text) {
  if (kind === "boolean") return Boolean(text);
  if (String(text).trim() === "") return null;
  return kind === "string" ? text : Number(text);
}

export class Settings {
  constructor({ store }) {
    const { schema, model } = store.state.about;
    const fields = formFields(schema, model.defaults);
    const rows = fields.map((field) => this.#row(field, store));
    const note = model.kind === "flow" ? null : h("p", { className: "help" }, `The model is a ${model.kind}: it has no ${model.lacks.join(", ")}.`);
    this.element = h("details", { className: "advanced" }, h("summary", {}, "Advanced"), h("div", { className: "advanced-body" }, note, ...rows));
  }

  #row(field, store) {
    const id = `setting-${field.name}`;
    const boolean = field.kind === "boolean";
    const input = h("input", {
      id, type: boolean ? "checkbox" : field.kind === "string" ? "text" : "number", min: field.least, max: field.most,
      step: field.kind === "integer" ? 1 : "any", placeholder: boolean ? undefined : String(field.fallback ?? "default"),
      "aria-describedby": `${id}-help`, onchange: () => {
        const value = fieldValue(field.kind, boolean ? input.checked : input.value);
        store.edit({ request: { [field.name]: value } }, field.title);
      },
    }); // prettier-ignore
    const row = h("div", { className: boolean ? "setting switch" : "setting" }, h("label", { htmlFor: id, for: id }, field.title), input,
      h("p", { id: `${id}-help`, className: "help" }, field.help)); // prettier-ignore
    const lacking = store.state.about.model.lacks.includes(field.name);
    store.watch((state) => [state.session.request[field.name]], ([value]) => {
      row.hidden = lacking && (value ?? null) === null; // one that another model has left can be taken out
      if (boolean) input.checked = value ?? field.fallback ?? false;
      else input.value = value ?? "";
    }); // prettier-ignore
    return row;
  }
}
