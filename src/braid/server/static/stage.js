// The image on the stage: chosen, dropped, pasted or taken from an answer; and the heat that is laid over it.

const byId = (id) => document.getElementById(id);
const SMALL = 208; // pixels of a history thumbnail, twice its size on the page

export class Stage {
  constructor(changed) {
    this.file = null;
    this.changed = changed;
    byId("file").addEventListener("change", (event) => this.show(event.target.files[0]));
    byId("change").addEventListener("click", () => byId("file").click());
    byId("remove").addEventListener("click", () => this.clear());
    addEventListener("paste", (event) => this.take(event.clipboardData, event));
    addEventListener("dragover", (event) => {
      event.preventDefault();
      byId("stage").classList.add("over");
    });
    addEventListener("dragleave", () => byId("stage").classList.remove("over"));
    addEventListener("drop", (event) => {
      event.preventDefault();
      byId("stage").classList.remove("over");
      this.take(event.dataTransfer, event);
    });
    addEventListener("resize", () => this.cool());
  }

  take(carried, event) {
    if (byId("stage").hidden) return; // no model reads images
    const file = [...(carried?.files ?? [])].find((one) => one.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    this.show(file);
  }

  // Resolves once the image has its size on the page.
  async show(file) {
    if (!file) return;
    this.file = file;
    const image = byId("image");
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(file);
    image.alt = `Your image, ${file.name}`;
    byId("image-name").textContent = file.name;
    byId("shown").hidden = false;
    byId("drop").hidden = true;
    byId("file").value = "";
    this.cool();
    this.changed();
    await image.decode().catch(() => {}); // a format that the server reads and this browser does not
  }

  clear() {
    this.file = null;
    byId("shown").hidden = true;
    byId("drop").hidden = false;
    this.cool();
    byId("file").focus();
  }

  // A small copy, so that history holds no large images.
  async thumbnail() {
    if (!this.file) return null;
    try {
      const whole = await createImageBitmap(this.file);
      const scale = SMALL / Math.min(whole.width, whole.height);
      const canvas = document.createElement("canvas");
      canvas.width = Math.max(1, Math.round(whole.width * scale));
      canvas.height = Math.max(1, Math.round(whole.height * scale));
      canvas.getContext("2d").drawImage(whole, 0, 0, canvas.width, canvas.height);
      whole.close();
      return canvas.toDataURL("image/jpeg", 0.85);
    } catch {
      return null;
    }
  }

  // Lay a grid of 0..1 over the image: what does not matter is veiled, so that nobody has to tell colours apart.
  heat(grid) {
    const canvas = byId("heat");
    const image = byId("image");
    canvas.width = grid[0].length;
    canvas.height = grid.length;
    const veil = canvas.getContext("2d").createImageData(canvas.width, canvas.height);
    const most = Math.max(...grid.flat(), 1e-9);
    grid.flat().forEach((value, place) => veil.data.set([16, 14, 12, 215 * (1 - value / most)], 4 * place));
    canvas.getContext("2d").putImageData(veil, 0, 0);
    canvas.style.left = `${image.offsetLeft}px`;
    canvas.style.top = `${image.offsetTop}px`;
    canvas.style.width = `${image.offsetWidth}px`;
    canvas.style.height = `${image.offsetHeight}px`;
    canvas.classList.add("on");
  }

  cool() {
    byId("heat").classList.remove("on");
  }
}
