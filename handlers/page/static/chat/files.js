// The files that go with the question that is being written.

import { h, iconButton } from "../lib/dom.js";
import { t } from "../lib/words.js";

export class Files {
  /** @param {(problem: Error) => void} failed @param {() => void} changed */
  constructor(failed, changed) {
    /** @type {{name: string, text: string}[]} */
    this.all = [];
    this.failed = failed;
    this.changed = changed;
    this.element = h("ul.bare.row.wrap.files", { hidden: true, "aria-label": t("files") });
    const input = /** @type {HTMLInputElement} */ (h("input", { type: "file", multiple: true, hidden: true, onchange: () => this.add(input.files).then(() => (input.value = "")) }));
    this.button = iconButton("clip", t("files.add"), () => input.click());
    this.button.append(input);
    input.addEventListener("click", (event) => event.stopPropagation());
  }

  /** Read files, and add those that can be read. */
  async add(files) {
    const all = [...files];
    for (const file of all) {
      try {
        const { readFile } = await import("./read-file.js");
        this.put(await readFile(file));
      } catch (error) {
        this.failed(error);
      }
    }
  }

  /** Add a file whose text is known. */
  put(file) {
    this.all.push(file);
    this.#show();
  }

  /** Take some of them away. */
  drop(some) {
    if (!some.length) return;
    this.all = this.all.filter((file) => !some.includes(file));
    this.#show();
  }

  #show() {
    const rows = this.all.map((file) => h("li.tag", {}, h("bdi.cut", {}, file.name), iconButton("x", t("files.remove", { name: file.name }), () => this.#remove(file))));
    this.element.replaceChildren(...rows);
    this.element.hidden = !rows.length;
    this.changed();
  }

  #remove(file) {
    this.drop([file]);
    this.button.focus();
  }

  /** Take files that are dropped anywhere. */
  takeDrops(target) {
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    target.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
    target.addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      this.add(event.dataTransfer.files);
    });
  }
}
