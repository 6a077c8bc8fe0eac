// What the page does: tabs, forms, and a history of answers that lives as long as the tab.

import { ask, get } from "./api.js";
import { card, element } from "./cards.js";
import { build, files, filled, readsImage, readsMedia, restore } from "./fields.js";
import { Media } from "./media.js";
import { Stage } from "./stage.js";

const byId = (id) => document.getElementById(id);
const MOST = 100; // answers that are kept
let able = { tools: {}, labels: [], languages: [], explains: [], models: [], zero_shot: false };

const reads = (tool, name) => able.tools[tool].some((input) => input.name === name);
const explain = (form) => form.explain.checked || null;
const first = (tool) => `Choose ${files(able.tools[tool])} first.`;
const others = (form, tool) => ({ ...filled(form), ...media.values(able.tools[tool]) });

// tool -> what is sent; a text says what is missing.
const TOOLS = {
  caption: (form, file) => {
    const more = others(form, "caption");
    const image = readsImage(able.tools.caption) ? file : null;
    const language = form.language.value || null;
    return image || Object.keys(more).length ? { image, ...more, language, explain: explain(form) } : first("caption");
  },
  answer: (form, file) => {
    const more = others(form, "answer");
    const image = readsImage(able.tools.answer) ? file : null;
    const given = image || Object.keys(more).length;
    return given ? { image, ...more, question: form.question.value, explain: explain(form) } : first("answer");
  },
  classify: (form, file) => {
    const labels = form.labels.value.trim();
    const text = form.text.value.trim();
    if (labels) return text ? { text, labels } : file ? { image: file, labels } : "Choose an image, or write a text."; // one of them
    const image = readsImage(able.tools.classify) ? file : null;
    const sent = { image, text: reads("classify", "text") ? text : "", ...others(form, "classify") };
    return Object.values(sent).some(Boolean) ? { ...sent, explain: explain(form) } : missing("classify");
  },
  search: (form, file) => {
    const text = form.text.value.trim();
    const image = form.alike.checked && readsImage(able.tools.search) ? file : null;
    const alike = form.alike.checked ? media.values(able.tools.search) : {};
    if (form.alike.checked && !image && !Object.keys(alike).length) return first("search");
    const more = { ...filled(form), ...alike };
    const given = text || image || Object.keys(more).length;
    return given ? { text, image, ...more, thumbnails: "true", top: "12" } : "Write what to look for.";
  },
  imagine: (form, file) => {
    if (form.change.checked && !file) return first("imagine");
    const image = form.change.checked ? file : null;
    return { prompt: form.prompt.value, count: form.count.value, seed: form.seed.value, image };
  },
};

const stage = new Stage(() => problem(""));
const media = new Media(byId("media"), (text) => problem(text));
const tabs = [...document.querySelectorAll("[role=tab]")];
const forms = [...document.querySelectorAll("form[role=tabpanel]")];
const toolOf = (form) => form.id.replace("tool-", "");

function missing(tool) {
  const inputs = able.tools[tool];
  const read = readsImage(inputs) || readsMedia(inputs);
  const ways = [read && `choose ${files(inputs)}`, reads(tool, "text") && "write a text"].filter(Boolean);
  if (inputs.some((input) => input.columns || !(input.name === "text" || input.fields[0]?.type === "file"))) ways.push("fill in a field");
  const said = ways.join(", or ");
  return `${said.charAt(0).toUpperCase()}${said.slice(1)}.`;
}

function problem(text) {
  byId("problem").textContent = text;
}

function choose(tab, focus = false) {
  for (const one of tabs) {
    const chosen = one === tab;
    one.setAttribute("aria-selected", String(chosen));
    one.tabIndex = chosen ? 0 : -1;
    byId(one.getAttribute("aria-controls")).hidden = !chosen;
  }
  problem("");
  if (focus) tab.focus();
}

function step(event) {
  const shown = tabs.filter((tab) => !tab.hidden);
  const moves = { ArrowRight: 1, ArrowLeft: -1, Home: -shown.length, End: shown.length };
  if (!(event.key in moves)) return;
  event.preventDefault();
  const at = shown.indexOf(event.target) + moves[event.key];
  const wrapped = Math.abs(moves[event.key]) > 1 ? Math.min(Math.max(at, 0), shown.length - 1) : (at + shown.length) % shown.length;
  choose(shown[wrapped], true);
}

async function submit(event) {
  event.preventDefault();
  const form = event.target;
  const tool = toolOf(form);
  const fields = TOOLS[tool](form, stage.file);
  if (typeof fields === "string") {
    problem(fields);
    return;
  }
  const button = form.querySelector(".go");
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  problem("");
  try {
    const file = fields.image instanceof File ? fields.image : null;
    const thumbnail = file ? await stage.thumbnail() : media.thumbnail(fields);
    const answer = await ask(`v1/${tool}`, fields);
    show({ tool, words: summary(fields), thumbnail, file, fields }, answer);
  } catch (error) {
    problem(error.message);
  } finally {
    button.removeAttribute("aria-busy");
  }
}

// What was sent, for the heading of its card.
function summary(fields) {
  const cells = Object.entries(fields).filter(([name]) => name.includes("."));
  const table = cells.map(([name, value]) => `${name.slice(name.indexOf(".") + 1)} ${value}`).join(", ");
  return [fields.question ?? fields.prompt ?? fields.text, fields.labels, table].filter(Boolean).join(" · ");
}

function show(request, answer) {
  byId("answers").prepend(card(request, answer, stage, media, () => again(request)));
  while (byId("answers").children.length > MOST) byId("answers").lastChild.remove();
  byId("empty").hidden = true;
  byId("clear").hidden = false;
}

// Put a question back as it was asked; the person may change it and ask again.
function again(request) {
  choose(byId(`tab-${request.tool}`));
  const form = byId(`tool-${request.tool}`);
  for (const [name, value] of Object.entries(request.fields)) {
    if (form[name]?.type === "checkbox") form[name].checked = Boolean(value);
    else if (form[name] && form[name].type !== "file") form[name].value = value ?? "";
  }
  restore(form, request.fields);
  media.restore(request.fields);
  if (request.file) stage.show(request.file);
  (form.querySelector("input:not([type=checkbox]), select") ?? form.querySelector(".go")).focus();
}

function clear() {
  byId("answers").replaceChildren();
  byId("empty").hidden = false;
  byId("clear").hidden = true;
  byId("answers").focus();
}

// Show what the served models can do, with a field for each of their inputs.
function offer() {
  for (const tab of tabs) tab.hidden = !(tab.id.replace("tab-", "") in able.tools);
  for (const form of forms) {
    const tool = toolOf(form);
    const inputs = able.tools[tool] ?? [];
    build(form, inputs);
    for (const one of form.querySelectorAll("[data-explains]")) one.hidden = !able.explains.includes(tool);
    for (const one of form.querySelectorAll("[data-image]")) one.hidden = !readsImage(inputs);
    for (const one of form.querySelectorAll("[data-file]")) one.hidden = !readsImage(inputs) && !readsMedia(inputs);
  }
  const named = new Intl.DisplayNames("en", { type: "language" });
  const options = able.languages.map((one) => element("option", { value: one, textContent: languageName(named, one) }));
  byId("languages").hidden = options.length < 2;
  byId("languages").querySelector("select").replaceChildren(...options);
  media.build(Object.values(able.tools).flat());
  byId("stage").hidden = !Object.values(able.tools).some(readsImage);
  byId("own-labels").hidden = !able.zero_shot;
  byId("own-text").hidden = !able.zero_shot && able.tools.classify && !reads("classify", "text");
  byId("trained").textContent = able.labels.length ? `; none: ${able.labels.slice(0, 5).join(", ")}` : "";
}

// Training data may give a language any name.
function languageName(named, language) {
  try {
    return named.of(language);
  } catch {
    return language;
  }
}

async function begin() {
  able = await get("abilities");
  offer();
  const names = new Intl.ListFormat("en").format(able.models);
  byId("serving").textContent = `Served: ${names}. Small models make mistakes; the bar says how sure they are.`;
  const first = tabs.find((tab) => !tab.hidden);
  if (first) choose(first);
}

for (const tab of tabs) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", step);
}
for (const form of forms) form.addEventListener("submit", submit);
byId("clear").addEventListener("click", clear);
choose(tabs[0]);
begin().catch((error) => problem(error.message));
