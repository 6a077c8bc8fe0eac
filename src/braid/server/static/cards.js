// Answers as cards. Text is always set as text, never as HTML.

const NAMES = { caption: "Caption", answer: "Answer", classify: "Label", search: "Search", imagine: "Imagine" };
const MOST_SCORES = 8;

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// asked: {tool, words, thumbnail, file}; answer: one result of the server.
export function card(asked, answer, stage, again) {
  const body = element("div");
  const button = element("button", { className: "again", type: "button", textContent: "Again" });
  button.setAttribute("aria-label", `Again: ${NAMES[asked.tool]} ${asked.words}`);
  button.addEventListener("click", again);
  const heading = asked.words ? `${NAMES[asked.tool]} · ${asked.words}` : NAMES[asked.tool];
  body.append(element("div", { className: "asked" }, element("span", { textContent: heading }), button));
  for (const part of parts(answer, asked, stage)) body.append(part);
  const made = element("li", { className: asked.thumbnail ? "card" : "card plain" });
  if (asked.thumbnail) made.append(element("img", { src: asked.thumbnail, alt: "" }));
  made.append(body);
  return made;
}

function* parts(answer, asked, stage) {
  if (answer.explanation) yield words(answer.explanation, asked, stage);
  else if (answer.text) yield element("p", { className: "said", textContent: answer.text });
  if (answer.scores) yield scores(answer.scores);
  else if (answer.confidence !== undefined) yield sure(answer.confidence);
  if (answer.explanation) {
    yield element("p", { className: "hint", textContent: "Point at a word, or step through them with Tab: the picture shows where the model looked." });
  }
  if (answer.hits) yield tiles(answer.hits.map((hit) => found(hit)), "Nothing is in the index.");
  if (answer.images) yield tiles(answer.images.map((image, number) => drawn(image, number, asked, stage)), "Nothing was drawn.");
  for (const one of answer.sentences ?? []) yield element("p", { className: "said", textContent: one.text });
}

function words(explanation, asked, stage) {
  const said = element("p", { className: "said" });
  for (const word of explanation.words) {
    const made = element("button", { type: "button", className: "word", textContent: word.text });
    const show = async () => {
      if (stage.file !== asked.file) await stage.show(asked.file);
      if (word.heat.length && made.matches(":hover, :focus")) stage.heat(word.heat);
    };
    for (const event of ["pointerenter", "focus", "click"]) made.addEventListener(event, show);
    for (const event of ["pointerleave", "blur"]) made.addEventListener(event, () => stage.cool());
    said.append(made, " ");
  }
  return said;
}

function bar(share) {
  const inside = element("span");
  inside.style.width = `${Math.round(100 * share)}%`;
  return element("span", { className: "bar", ariaHidden: "true" }, inside);
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

function found(hit) {
  const name = hit.id.split(/[/\\]/).pop();
  const picture = hit.thumbnail
    ? element("img", { src: hit.thumbnail, alt: name })
    : element("div", { className: "missing", textContent: "" });
  return element("li", {}, picture, element("p", { textContent: `${name} · ${hit.score.toFixed(2)}`, title: hit.id }));
}

function drawn(image, number, asked, stage) {
  const button = element("button", { type: "button", title: "Use as picture" }, element("img", { src: image, alt: `Drawn: ${asked.words}` }));
  button.addEventListener("click", () => stage.show(fileOf(image, `drawn-${number + 1}.png`)));
  return element("li", {}, button);
}

// Not by fetch: the page may connect to its server alone.
function fileOf(uri, name) {
  const bytes = Uint8Array.from(atob(uri.split(",")[1]), (letter) => letter.charCodeAt(0));
  return new File([bytes], name, { type: "image/png" });
}
