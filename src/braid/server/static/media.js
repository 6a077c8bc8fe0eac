// Recordings and clips: chosen, dropped or recorded; played back, a recording with its waveform. All tools share them.

import { element } from "./cards.js";

const WORDS = { audio: "recording", video: "clip" };
const LONGEST = 60; // seconds of what is recorded here
const DRAWN = 20e6; // bytes of a file whose waveform is drawn

const accepted = (input) => input.fields.find((field) => field.type === "file")?.accept ?? "";
export const kindOf = (input) => Object.keys(WORDS).find((kind) => accepted(input).startsWith(`${kind}/`)) ?? "";
export const wordOf = (input) => WORDS[kindOf(input)];

// Whether a browser's type of a file is one of "audio/*,image/gif".
const fits = (type, accept) => accept.split(",").some((one) => (one.endsWith("/*") ? type.startsWith(one.slice(0, -1)) : type === one));

export class Media {
  constructor(place, problem) {
    this.place = place;
    this.problem = problem;
    this.parts = new Map(); // input -> Part
    addEventListener("drop", (event) => this.take(event.dataTransfer));
    addEventListener("paste", (event) => this.take(event.clipboardData));
  }

  // A part for every input of the tools that is a recording or a clip.
  build(inputs) {
    for (const input of inputs.filter(kindOf)) {
      if (!this.parts.has(input.name)) this.parts.set(input.name, new Part(input, this.problem));
    }
    this.place.replaceChildren(...[...this.parts.values()].map((part) => part.made));
  }

  take(carried) {
    const parts = [...this.parts.values()];
    for (const file of carried?.files ?? []) parts.find((part) => fits(file.type, part.accept))?.show(file);
  }

  // The files of these inputs, by name.
  values(inputs) {
    const named = inputs.map((input) => [input.name, this.parts.get(input.name)?.file]);
    return Object.fromEntries(named.filter(([, file]) => file));
  }

  restore(values) {
    for (const [name, part] of this.parts) if (values[name] instanceof File) part.show(values[name]);
  }

  thumbnail(values) {
    const part = [...this.parts.entries()].find(([name]) => values[name] instanceof File)?.[1];
    return part ? part.thumbnail() : null;
  }

  play(name, seconds) {
    this.parts.get(name)?.play(seconds);
  }

  has(name, file) {
    return this.parts.get(name)?.file === file;
  }
}

class Part {
  constructor(input, problem) {
    this.accept = accepted(input);
    this.kind = kindOf(input);
    this.problem = problem;
    this.file = null;
    const word = WORDS[this.kind];
    this.chosen = element("input", { type: "file", accept: this.accept, className: "unseen" });
    this.chosen.addEventListener("change", () => this.show(this.chosen.files[0]));
    const pick = element("label", { className: "pick" }, `Choose a ${word}`, this.chosen);
    this.player = element(this.kind, { controls: true, preload: "metadata" });
    this.player.addEventListener("error", () => this.unplayable());
    this.wave = element("canvas", { className: "wave", width: 640, height: 96, hidden: true });
    this.wave.setAttribute("aria-hidden", "true");
    this.name = element("span", { className: "name" });
    const remove = element("button", { type: "button", textContent: "Remove" });
    remove.addEventListener("click", () => this.clear());
    const buttons = element("span", { className: "buttons" }, remove);
    this.shown = element("div", { className: "shown", hidden: true }, this.wave, this.player, element("div", { className: "what" }, this.name, buttons));
    const ways = element("div", { className: "ways" }, pick);
    if (window.MediaRecorder && navigator.mediaDevices?.getUserMedia) ways.append(this.recorder());
    const legend = element("legend", { textContent: `A ${word}` });
    this.made = element("fieldset", { className: "media" }, legend, ways, this.shown);
    this.made.dataset.media = input.name;
  }

  async show(file) {
    if (!file) return;
    this.file = file;
    URL.revokeObjectURL(this.player.src);
    this.player.hidden = false;
    this.player.src = URL.createObjectURL(file);
    this.name.textContent = file.name;
    this.shown.hidden = false;
    this.wave.hidden = true;
    this.chosen.value = "";
    this.problem("");
    if (this.kind === "audio" && file.size <= DRAWN) await this.draw(file);
  }

  clear() {
    this.file = null;
    this.player.removeAttribute("src");
    this.shown.hidden = true;
    this.chosen.focus();
  }

  // The server may read what this browser does not play.
  unplayable() {
    if (!this.file) return;
    this.player.hidden = true;
    this.name.textContent = `${this.file.name} (this browser does not play it)`;
  }

  play(seconds) {
    if (this.player.hidden || !this.file) return;
    this.player.currentTime = seconds;
    this.player.play().catch(() => {});
  }

  thumbnail() {
    const source = this.kind === "audio" ? this.wave : this.player;
    if (source.hidden || (this.kind === "video" && !source.videoWidth)) return null;
    const canvas = element("canvas", { width: 208, height: 208 });
    const [width, height] = this.kind === "audio" ? [source.width, source.height] : [source.videoWidth, source.videoHeight];
    const scale = 208 / Math.min(width, height);
    const [wide, high] = this.kind === "audio" ? [208, 208] : [width * scale, height * scale];
    canvas.getContext("2d").drawImage(source, (208 - wide) / 2, (208 - high) / 2, wide, high);
    return canvas.toDataURL("image/png");
  }

  // The lowest and the highest sample of each column.
  async draw(file) {
    let samples;
    try {
      const context = new OfflineAudioContext(1, 1, 16000);
      samples = (await context.decodeAudioData(await file.arrayBuffer())).getChannelData(0);
    } catch {
      return; // a format that this browser does not read
    }
    if (this.file !== file) return;
    const { width, height } = this.wave;
    const pen = this.wave.getContext("2d");
    pen.clearRect(0, 0, width, height);
    pen.fillStyle = getComputedStyle(this.made).getPropertyValue("--strand");
    const loudest = samples.reduce((most, one) => Math.max(most, Math.abs(one)), 0.02);
    for (let column = 0; column < width; column++) {
      const part = samples.subarray((column * samples.length) / width, ((column + 1) * samples.length) / width + 1);
      const [low, high] = part.reduce(([less, more], one) => [Math.min(less, one), Math.max(more, one)], [0, 0]);
      const top = (0.5 - high / loudest / 2) * height;
      pen.fillRect(column, top, 1, Math.max(1, ((high - low) / loudest / 2) * height));
    }
    this.wave.hidden = false;
  }

  recorder() {
    const button = element("button", { type: "button", className: "record", textContent: "Record" });
    let recording = null;
    button.addEventListener("click", async () => {
      if (recording) {
        recording.stop();
        return;
      }
      let stream;
      try {
        stream = await navigator.mediaDevices.getUserMedia({ audio: true, video: this.kind === "video" });
      } catch {
        this.problem("The browser does not give a microphone or a camera; choose a file instead.");
        return;
      }
      const parts = [];
      recording = new MediaRecorder(stream);
      const end = setTimeout(() => recording?.stop(), 1000 * LONGEST);
      recording.addEventListener("dataavailable", (event) => parts.push(event.data));
      recording.addEventListener("stop", () => {
        clearTimeout(end);
        for (const track of stream.getTracks()) track.stop();
        const type = recording.mimeType.split(";")[0] || `${this.kind}/webm`;
        recording = null;
        button.textContent = "Record";
        this.show(new File(parts, `recorded.${type.split("/")[1]}`, { type }));
      });
      recording.start();
      button.textContent = "Stop";
    });
    return button;
  }
}
