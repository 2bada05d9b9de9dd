// Records the microphone into a WAV file.

import { encodeWav } from "./wav.js";

const LONGEST = 120; // seconds

export class Recorder {
  #stream = null;
  #context = null;
  #blocks = [];
  #length = 0;

  /** @param done gets the recording; @param shown gets the time as text, or null where nothing is recorded */
  constructor(done, shown) {
    this.done = done;
    this.shown = shown;
  }

  async toggle() {
    if (this.#stream) return this.#stop();
    const wishes = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    this.#stream = await navigator.mediaDevices?.getUserMedia({ audio: wishes }).catch(() => null);
    if (!this.#stream) throw new Error("The browser gives no microphone: allow it for this page.");
    this.#context = new AudioContext();
    await this.#context.audioWorklet.addModule(new URL("recorder-worklet.js", import.meta.url));
    const tap = new AudioWorkletNode(this.#context, "tap", { numberOfOutputs: 0 });
    [this.#blocks, this.#length] = [[], 0];
    tap.port.onmessage = ({ data }) => this.#block(data);
    this.#context.createMediaStreamSource(this.#stream).connect(tap);
    return this.shown("0 s");
  }

  #block(samples) {
    if (!this.#stream) return;
    this.#blocks.push(samples);
    this.#length += samples.length;
    const seconds = Math.floor(this.#length / this.#context.sampleRate);
    this.shown(`${seconds} s`);
    if (seconds >= LONGEST) this.#stop();
  }

  #stop() {
    this.#stream.getTracks().forEach((track) => track.stop());
    this.#stream = null;
    const samples = new Float32Array(this.#length);
    let at = 0;
    for (const block of this.#blocks) {
      samples.set(block, at);
      at += block.length;
    }
    const wav = encodeWav(samples, this.#context.sampleRate);
    this.#context.close();
    this.shown(null);
    if (samples.length) this.done(new Blob([wav], { type: "audio/wav" }));
  }
}
