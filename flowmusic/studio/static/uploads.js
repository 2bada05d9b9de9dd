// Files that are dropped, chosen or recorded: what each gives is shown, and chosen.

import * as api from "./api.js";
import { clock } from "./axis.js";
import { attempt, h, icon, iconButton, say } from "./dom.js";
import { Recorder } from "./recorder.js";

const LIMIT = 200e6;
const KINDS = { recording: "recording", midi: "MIDI", chords: "chords", pitch: "pitch table" };

export class Uploads {
  constructor({ store, startJob }) {
    Object.assign(this, { store, startJob });
    this.list = h("ul", { className: "uploads", "aria-label": "Files" });
    const file = h("input", { type: "file", multiple: true, className: "visually-hidden", id: "file",
      accept: "audio/*,.mid,.midi,.lab,.txt,.csv,.tsv,.f0,.chart,.cho,.chordpro", onchange: () => { this.add([...file.files]); file.value = ""; } }); // prettier-ignore
    this.recorder = new Recorder((blob) => this.add([new File([blob], "microphone.wav")]), (text) => this.#recording(text));
    this.mic = h("button", { type: "button", className: "chip", "aria-pressed": "false", title: "Hum a melody or tap drums",
      onclick: () => attempt(() => this.recorder.toggle()) }, icon("mic"), h("span", {}, "Record")); // prettier-ignore
    this.element = h("div", { className: "drop", "aria-label": "Files to follow", role: "group" },
      h("p", {}, h("label", { htmlFor: "file", for: "file", className: "link" }, "Choose"), " or drop a recording, MIDI, .lab or chart"),
      file, this.mic, this.list); // prettier-ignore
    this.#acceptDrops();
    store.watch((state) => [state.session.uploads, state.session.use, state.session.request.style], () => this.#draw());
  }

  async add(files) {
    for (const file of files) {
      if (file.size > LIMIT) {
        say(`${file.name} is larger than 200 MB.`, { bad: true });
        continue;
      }
      this.element.classList.add("busy");
      await attempt(() => api.upload(file.name, file));
      this.element.classList.remove("busy");
    }
    await this.store.revised(Infinity);
  }

  #acceptDrops() {
    const over = (event) => {
      if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
      event.preventDefault();
      document.body.classList.toggle("dropping", event.type === "dragover");
    };
    for (const kind of ["dragover", "dragleave"]) window.addEventListener(kind, over);
    window.addEventListener("drop", (event) => {
      over(event);
      this.add([...(event.dataTransfer?.files ?? [])]);
    });
  }

  #draw() {
    const { session } = this.store.state;
    this.list.replaceChildren(...session.uploads.filter((upload) => !upload.deleted).map((upload) => {
      const { controls, style } = this.store.state.about.model;
      const roles = upload.gives.filter((role) => (role === "style" ? style : controls.includes(role))).map((role) => {
        const used = role === "style" ? session.request.style === upload.id : session.use?.[role]?.source === upload.id;
        return h("button", { type: "button", className: `chip role ${role}`, "aria-pressed": String(used),
          title: used && role === "style" ? "No longer imitate its sound" : `Take the ${role} from ${upload.name}`,
          onclick: () => this.#take(upload, role, used) }, role);
      });
      return h("li", { className: "upload" }, h("span", { className: "upload-name", title: upload.name }, upload.name),
        h("span", { className: "facts" }, `${KINDS[upload.kind] ?? upload.kind} · ${clock(upload.duration)}`,
          iconButton("trash", `Delete ${upload.name}`, () => this.#delete(upload))),
        h("span", { className: "roles", role: "group", "aria-label": `What to take from ${upload.name}` }, ...roles));
    })); // prettier-ignore
  }

  #take(upload, role, used) {
    if (role === "style") return this.store.edit({ request: { style: used ? null : upload.id } }, "style");
    return this.startJob({ kind: "extract", upload: upload.id, roles: [role] });
  }

  /** Deletes a file; lanes that followed it keep its symbols, and the message and undo bring it back. */
  async #delete(upload) {
    const remove = () => attempt(() => api.deleteUpload(upload.id));
    const restore = () => attempt(() => api.restoreUpload(upload.id));
    if ((await remove()) === undefined) return;
    this.store.command({ label: `deletion of ${upload.name}`, undo: restore, redo: remove });
    say(`${upload.name} is deleted.`, { action: "Undo", onaction: restore });
  }

  #recording(text) {
    this.mic.setAttribute("aria-pressed", String(text !== null));
    this.mic.lastChild.textContent = text === null ? "Record" : `Stop ${text}`;
  }
}
