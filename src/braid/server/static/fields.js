// The fields of a form that follow from the inputs of the model: a column of a table each, or a value.

import { element } from "./cards.js";
import { kindOf, wordOf } from "./media.js";

// Inputs that the page has another place for: the image on the stage, recordings and clips below it, and the texts that the forms ask
// for themselves.
const isImage = (input) => input.fields.some((field) => field.type === "file" && (field.accept ?? "").startsWith("image/"));
export const readsImage = (inputs) => inputs.some(isImage);
export const readsMedia = (inputs) => inputs.some(kindOf);

// The files that inputs read, in words: "an image or a recording".
export function files(inputs) {
  const words = [...(readsImage(inputs) ? ["an image"] : []), ...inputs.filter(kindOf).map((input) => `a ${wordOf(input)}`)];
  return [...new Set(words)].join(" or ") || "a file";
}

// Put a field for every other input into a form.
export function build(form, inputs) {
  const place = form.querySelector("[data-inputs]");
  if (!place) return;
  const others = inputs.filter((input) => !isImage(input) && !kindOf(input) && !form.querySelector(`[name="${CSS.escape(input.name)}"]`));
  place.replaceChildren(...others.map((input) => (input.columns ? table(input) : single(input))));
}

// What is filled in, by the name that the server reads.
export function filled(form) {
  const fields = form.querySelectorAll("[data-inputs] input, [data-inputs] select");
  const values = [...fields].map((field) => [field.name, field.type === "file" ? field.files[0] : field.value.trim()]);
  return Object.fromEntries(values.filter(([, value]) => value));
}

// Put values back as they were sent.
export function restore(form, values) {
  for (const field of form.querySelectorAll("[data-inputs] input, [data-inputs] select")) {
    if (field.type !== "file") field.value = values[field.name] ?? "";
  }
}

function table(input) {
  const cells = input.fields.map((field) => labelled(field.name, control(field, `${input.name}.${field.name}`)));
  const legend = element("legend", {}, "Table ", element("small", { textContent: "leave empty what you do not know" }));
  return element("fieldset", {}, legend, element("div", { className: "cells" }, ...cells));
}

function single(input) {
  const [field] = input.fields;
  return labelled(input.name, control(field ?? { type: "text" }, input.name));
}

const labelled = (name, made) => element("label", {}, element("span", { textContent: name }), made);

function control(field, name) {
  if (field.type === "choice") {
    const choices = field.choices.map((choice) => element("option", { value: choice, textContent: choice }));
    return element("select", { name }, element("option", { value: "", textContent: "–" }), ...choices);
  }
  if (field.type === "file") return element("input", { name, type: "file", accept: field.accept ?? "" });
  if (field.type === "number") return element("input", { name, type: "number", step: "any", autocomplete: "off" });
  return element("input", { name, autocomplete: "off", maxLength: 4000 });
}
