// What the page does: tabs, forms, and a history of answers that lives as long as the tab.

import { ask, get } from "/api.js";
import { card } from "/cards.js";
import { Stage } from "/picture.js";

const byId = (id) => document.getElementById(id);
const MOST = 100; // answers that are kept
const PICTURE = "Choose a picture first.";

// tool -> what is sent; a text says what is missing.
const TOOLS = {
  caption: (form, file) => (file ? { image: file, explain: form.explain.checked || null } : PICTURE),
  answer: (form, file) => (file ? { image: file, question: form.question.value, explain: form.explain.checked || null } : PICTURE),
  classify: (form, file) => {
    const labels = form.labels.value.trim();
    const text = form.text.value.trim();
    if (!file && !text) return "Choose a picture, or write a text.";
    return labels && text ? { text, labels } : { image: file, text, labels }; // own labels are held against one of them
  },
  search: (form, file) => {
    const text = form.text.value.trim();
    const image = form.alike.checked ? file : null;
    if (form.alike.checked && !file) return PICTURE;
    return text || image ? { text, image, thumbnails: "true", top: "12" } : "Write what to look for.";
  },
  imagine: (form, file) => {
    if (form.change.checked && !file) return PICTURE;
    const image = form.change.checked ? file : null;
    return { prompt: form.prompt.value, count: form.count.value, seed: form.seed.value, image };
  },
};

const stage = new Stage(() => problem(""));
const tabs = [...document.querySelectorAll("[role=tab]")];

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
  const tool = form.id.replace("tool-", "");
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
    const words = fields.question ?? fields.prompt ?? [fields.text, fields.labels].filter(Boolean).join(" · ");
    const file = fields.image instanceof File ? fields.image : null;
    const thumbnail = file ? await stage.thumbnail() : null;
    const answer = await ask(`/v1/${tool}`, fields);
    tell({ tool, words, thumbnail, file, fields }, answer);
  } catch (error) {
    problem(error.message);
  } finally {
    button.removeAttribute("aria-busy");
  }
}

function tell(asked, answer) {
  byId("answers").prepend(card(asked, answer, stage, () => again(asked)));
  while (byId("answers").children.length > MOST) byId("answers").lastChild.remove();
  byId("empty").hidden = true;
  byId("clear").hidden = false;
}

// Put a question back as it was asked; the person may change it and ask again.
function again(asked) {
  choose(byId(`tab-${asked.tool}`));
  const form = byId(`tool-${asked.tool}`);
  for (const [name, value] of Object.entries(asked.fields)) {
    if (form[name]?.type === "checkbox") form[name].checked = Boolean(value);
    else if (form[name]) form[name].value = value ?? "";
  }
  if (asked.file) stage.show(asked.file);
  (form.querySelector("input:not([type=checkbox])") ?? form.querySelector(".go")).focus();
}

function clear() {
  byId("answers").replaceChildren();
  byId("empty").hidden = false;
  byId("clear").hidden = true;
  byId("answers").focus();
}

async function begin() {
  const able = await get("/abilities");
  for (const tab of tabs) tab.hidden = !able.tools.includes(tab.id.replace("tab-", ""));
  for (const one of document.querySelectorAll("[data-explains]")) one.hidden = !able.explains;
  byId("trained").textContent = able.labels.length ? `; none: ${able.labels.slice(0, 5).join(", ")}` : "";
  const names = new Intl.ListFormat("en").format(able.models);
  byId("serving").textContent = `Served: ${names}. Small models make mistakes; the bar says how sure they are.`;
  const first = tabs.find((tab) => !tab.hidden);
  if (first) choose(first);
}

for (const tab of tabs) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", step);
}
for (const form of document.querySelectorAll("form[role=tabpanel]")) form.addEventListener("submit", submit);
byId("clear").addEventListener("click", clear);
choose(tabs[0]);
begin().catch((error) => problem(error.message));
