// Answers as cards. Text is always set as text, never as HTML.

const NAMES = { caption: "Caption", answer: "Answer", classify: "Label", search: "Search", imagine: "Imagine" };
const MOST_SCORES = 8;
const MOST_UNITS = 8; // columns or words of an explanation
const HINT = "Point at a word, or step through them with Tab: the image shows where the model looked.";
const MOMENTS = "A strip shows when: what is darker speaks for the word. Press it to play from there.";

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// request: {tool, words, thumbnail, file}; answer: one result of the server.
export function card(request, answer, stage, media, again) {
  const body = element("div");
  const button = element("button", { className: "again", type: "button", textContent: "Again" });
  button.setAttribute("aria-label", `Again: ${NAMES[request.tool]} ${request.words}`);
  button.addEventListener("click", again);
  const heading = request.words ? `${NAMES[request.tool]} · ${request.words}` : NAMES[request.tool];
  body.append(element("div", { className: "request" }, element("span", { textContent: heading }), button));
  for (const part of parts(answer, request, stage, media)) body.append(part);
  const made = element("li", { className: request.thumbnail ? "card" : "card plain" });
  if (request.thumbnail) made.append(element("img", { src: request.thumbnail, alt: "" }));
  made.append(body);
  return made;
}

function* parts(answer, request, stage, media) {
  const reasons = element("div", { className: "units" });
  if (answer.explanation) yield words(answer.explanation, request, stage, media, reasons);
  else if (answer.text) yield element("p", { className: "answer", textContent: answer.text });
  if (request.tool === "caption" && answer.labels) yield element("p", { className: "hint", textContent: `Perhaps: ${answer.labels.join(", ")}` });
  if (answer.scores) yield scores(answer.scores);
  else if (answer.confidence !== undefined) yield sure(answer.confidence);
  if (answer.explanation) {
    reasons.hidden = !reasons.children.length;
    yield reasons;
    const told = answer.explanation.words;
    if (told.some((word) => word.heat.length)) yield element("p", { className: "hint", textContent: HINT });
    if (told.some((word) => Object.values(word.units).some(timed))) yield element("p", { className: "hint", textContent: MOMENTS });
  }
  if (answer.hits) yield tiles(answer.hits.map((hit) => result(hit)), "The index is empty.");
  if (answer.images) yield tiles(answer.images.map((image, number) => generated(image, number, request, stage)), "No image was generated.");
  for (const one of answer.sentences ?? []) yield element("p", { className: "answer", textContent: one.text });
}

// The words of an answer; pointing at one shows what it is based on: heat on the image, and bars of columns and words.
function words(explanation, request, stage, media, reasons) {
  const answer = element("p", { className: "answer" });
  for (const word of explanation.words) {
    const made = element("button", { type: "button", className: "word", textContent: word.text });
    const show = async () => {
      reasons.replaceChildren(...units(word, explanation.shares, request, media));
      if (!word.heat.length) return;
      if (stage.file !== request.file) await stage.show(request.file);
      if (made.matches(":hover, :focus")) stage.heat(word.heat);
    };
    for (const event of ["pointerenter", "focus", "click"]) made.addEventListener(event, show);
    for (const event of ["pointerleave", "blur"]) made.addEventListener(event, () => stage.cool());
    answer.append(made, " ");
  }
  if (explanation.words.length) reasons.replaceChildren(...units(explanation.words[0], explanation.shares, request, media));
  return answer;
}

const signed = (score) => {
  const size = Math.abs(score).toFixed(2);
  return Number(size) ? `${score < 0 ? "−" : "+"}${size}` : size;
};

const timed = (scored) => scored.length > 0 && scored.every((one) => one.start !== undefined && one.start !== null);

// The moments of a recording or a clip on one line, as long as they take; pressing one plays from there.
function* strip(field, scored, word, request, media) {
  const whole = scored.at(-1).end - scored[0].start || 1;
  const strongest = scored.reduce((best, one) => (one.score > best.score ? one : best));
  const line = element("div", { className: "strip" });
  for (const one of scored) {
    const said = `${one.name}: ${signed(one.score)}`;
    const made = element("button", { type: "button", className: one.score < 0 ? "against" : "", title: said, ariaLabel: said });
    made.style.flexGrow = String((one.end - one.start) / whole);
    made.style.setProperty("--share", Math.max(0, one.score).toFixed(3));
    made.addEventListener("click", async () => {
      if (!media.has(field, request.fields[field])) media.restore({ [field]: request.fields[field] });
      media.play(field, one.start);
    });
    line.append(made);
  }
  const ends = [`${scored[0].start.toFixed(1)} s`, `${scored.at(-1).end.toFixed(1)} s`].map((text) => element("span", { textContent: text }));
  yield element("h3", { textContent: `${field}: “${word.text}” is based most on ${strongest.name}` });
  yield line;
  yield element("div", { className: "ends" }, ...ends);
}

function* units(word, shares, request, media) {
  const fields = Object.entries(shares);
  if (fields.length > 1) {
    const said = fields.map(([name, share]) => `${name} ${percent(share)}`).join(", ");
    yield element("h3", { textContent: `The answer is based on: ${said}` });
  }
  for (const [field, scored] of Object.entries(word.units)) {
    if (timed(scored)) {
      yield* strip(field, scored, word, request, media);
      continue;
    }
    const strongest = [...scored].sort((one, other) => Math.abs(other.score) - Math.abs(one.score)).slice(0, MOST_UNITS);
    const list = element("div", { className: "sure scores" });
    for (const { name, score } of strongest) {
      const shown = element("span", { className: "name", textContent: name, title: name });
      list.append(shown, bar(Math.abs(score), score < 0), element("span", { className: "score", textContent: signed(score) }));
    }
    yield element("h3", { textContent: `${field}: for (+) and against (−) “${word.text}”` });
    yield list;
  }
}

function bar(share, against = false) {
  const inside = element("span");
  inside.style.width = `${Math.round(100 * share)}%`;
  return element("span", { className: against ? "bar against" : "bar", ariaHidden: "true" }, inside);
}

const percent = (share) => `${(100 * share).toFixed(share > 0.0995 || share < 0.0005 ? 0 : 1)}%`;

function sure(confidence) {
  return element("p", { className: "sure" }, bar(confidence), element("span", { textContent: `${percent(confidence)} sure` }));
}

function scores(given) {
  const list = element("div", { className: "sure scores" });
  Object.entries(given)
    .slice(0, MOST_SCORES)
    .forEach(([label, share], number) => {
      const name = element("span", { textContent: label, className: number ? "" : "best" });
      list.append(name, bar(share), element("span", { textContent: percent(share) }));
    });
  return list;
}

function tiles(made, none) {
  return made.length ? element("ul", { className: "tiles" }, ...made) : element("p", { textContent: none });
}

function result(hit) {
  const name = hit.id.split(/[/\\]/).pop();
  const image = hit.thumbnail
    ? element("img", { src: hit.thumbnail, alt: name })
    : element("div", { className: "missing", textContent: hit.missing ? "not there any more" : "" });
  return element("li", {}, image, element("p", { textContent: `${name} · ${hit.score.toFixed(2)}`, title: hit.id }));
}

function generated(image, number, request, stage) {
  const button = element("button", { type: "button", title: "Use this image" }, element("img", { src: image, alt: `Generated: ${request.words}` }));
  button.addEventListener("click", () => stage.show(fileOf(image, `generated-${number + 1}.png`)));
  return element("li", {}, button);
}

// Not by fetch: the page may connect to its server alone.
function fileOf(uri, name) {
  const bytes = Uint8Array.from(atob(uri.split(",")[1]), (letter) => letter.charCodeAt(0));
  return new File([bytes], name, { type: "image/png" });
}
