// What sounds: two decks of takes that run together, of which one is audible, or a preview of the lanes.

import { takeUrl } from "./api.js";
import { matchedVolumes } from "./levels.js";
import { Synth } from "./synth.js";

const APART = 0.03; // seconds that the decks may differ before the silent one is put right

export class Player extends EventTarget {
  decks = { A: new Audio(), B: new Audio() };
  takes = { A: null, B: null };
  active = "A";
  synth = new Synth();
  loop = null; // [from, to] in seconds
  #preview = null; // () => events, while lanes sound
  #resting = 0; // the playhead while nothing plays
  #playing = false;
  #duration = 0;

  constructor() {
    super();
    for (const [name, audio] of Object.entries(this.decks)) {
      audio.preload = "auto";
      audio.addEventListener("ended", () => name === this.active && this.#ended());
      audio.addEventListener("loadedmetadata", () => {
        if (!this.#preview) audio.currentTime = Math.min(this.#resting, audio.duration);
      });
    }
  }

  get playing() {
    return this.#playing;
  }

  get audio() {
    return this.decks[this.active];
  }

  /** Whether the playhead is that of a take, not of a preview. */
  get onTake() {
    return !this.#preview && this.takes[this.active] !== null;
  }

  get time() {
    if (!this.#playing) return this.#resting;
    return this.#preview ? this.synth.time : this.audio.currentTime;
  }

  set duration(seconds) {
    this.#duration = seconds;
  }

  /** Puts a take on a deck, or takes it off. */
  load(name, take) {
    if (this.takes[name]?.id !== take?.id) {
      const resting = this.time;
      if (this.#playing && name === this.active) this.pause();
      this.#resting = resting;
      const audio = this.decks[name];
      if (take) audio.src = takeUrl(take.id, "audio?format=wav");
      else audio.removeAttribute("src");
      audio.load();
    }
    this.takes[name] = take;
    this.#levels();
    this.dispatchEvent(new Event("loaded"));
  }

  /** Lets the other deck be heard, at the same playhead. */
  activate(name) {
    if (!this.takes[name]) return;
    const time = this.time;
    const before = this.active;
    this.active = name;
    this.#levels();
    if (this.#preview || before === name) return this.#changed();
    if (this.#playing) {
      if (Math.abs(this.audio.currentTime - time) > APART) this.audio.currentTime = time;
      if (this.audio.paused) this.audio.play();
    } else this.seek(time);
    this.#changed();
  }

  async toggle(preview) {
    if (this.#playing) this.pause();
    else await this.play(preview);
  }

  /** Plays the active take, or what `preview` answers where there is none. */
  async play(preview = null) {
    const from = this.#from();
    if (this.#playing) this.pause();
    if (!preview && !this.takes[this.active]) return;
    this.#preview = preview;
    if (preview) {
      await this.synth.play(preview(), from);
    } else {
      for (const name of Object.keys(this.decks)) {
        if (!this.takes[name]) continue;
        this.decks[name].currentTime = from;
        const started = this.decks[name].play();
        if (name === this.active) await started;
        else started.catch(() => {});
      }
    }
    this.#playing = true;
    this.#changed();
    this.#tick();
  }

  /** Begins the preview again where it is, since what it plays has changed. */
  refresh() {
    if (this.#playing && this.#preview) this.synth.play(this.#preview(), this.synth.time);
  }

  pause() {
    this.#resting = this.time;
    this.#playing = false;
    this.synth.stop();
    for (const audio of Object.values(this.decks)) audio.pause();
    this.#preview = null;
    this.#changed();
  }

  seek(seconds) {
    const time = Math.max(0, Math.min(seconds, this.#end()));
    this.#resting = time;
    if (this.#playing && this.#preview) this.synth.play(this.#preview(), time);
    else for (const name of Object.keys(this.decks)) if (this.takes[name]) this.decks[name].currentTime = time;
    this.dispatchEvent(new Event("time"));
  }

  #from() {
    const time = this.time;
    if (this.loop && (time < this.loop[0] || time >= this.loop[1] - 0.02)) return this.loop[0];
    return time >= this.#end() - 0.02 ? 0 : time;
  }

  #end() {
    const take = this.takes[this.active];
    return !this.#preview && take ? Math.max(take.duration, 0) : this.#duration;
  }

  #ended() {
    if (this.loop) this.seek(this.loop[0]);
    this.pause();
    if (!this.loop) this.#resting = this.#end();
    this.dispatchEvent(new Event("time"));
  }

  #levels() {
    const volumes = matchedVolumes([this.takes.A?.loudness, this.takes.B?.loudness]);
    ["A", "B"].forEach((name, i) => {
      this.decks[name].volume = volumes[i];
      this.decks[name].muted = name !== this.active;
    });
  }

  #tick() {
    if (!this.#playing) return;
    const time = this.time;
    if (this.loop && time >= this.loop[1]) this.seek(this.loop[0]);
    else if (this.#preview && time >= this.#end()) {
      this.pause();
      this.#resting = 0;
    }
    this.dispatchEvent(new Event("time"));
    requestAnimationFrame(() => this.#tick());
  }

  #changed() {
    this.dispatchEvent(new Event("state"));
    this.dispatchEvent(new Event("time"));
  }
}
