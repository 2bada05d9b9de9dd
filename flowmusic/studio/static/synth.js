// A plain synthesizer for hearing lanes: triangles for chords, a soft saw for the melody, noise for drums.

import { midiToHz } from "./music.js";

const AHEAD = 0.5; // seconds that are scheduled ahead
const EVERY = 120; // milliseconds between looks at the list

export class Synth {
  #context = null;
  #output = null;
  #noise = null;
  #timer = null;
  #events = [];
  #next = 0;
  #origin = 0; // the context's time at second 0 of the music

  get playing() {
    return this.#timer !== null;
  }

  /** Seconds into the music. */
  get time() {
    return this.#context ? this.#context.currentTime - this.#origin : 0;
  }

  /** Plays events (as `previewEvents` makes them) from a time on. */
  async play(events, from) {
    this.stop();
    this.#context ??= new AudioContext();
    await this.#context.resume();
    this.#output = new GainNode(this.#context, { gain: 0.5 });
    const limiter = new DynamicsCompressorNode(this.#context, { threshold: -12, ratio: 12, release: 0.1 });
    this.#output.connect(limiter).connect(this.#context.destination);
    this.#events = events;
    this.#next = events.findIndex((event) => event.time + (event.seconds ?? 0) > from);
    if (this.#next < 0) this.#next = events.length;
    this.#origin = this.#context.currentTime + 0.05 - from;
    this.#timer = setInterval(() => this.#schedule(), EVERY);
    this.#schedule();
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = null;
    if (!this.#output) return;
    this.#output.gain.setTargetAtTime(0, this.#context.currentTime, 0.015);
    const last = this.#output;
    setTimeout(() => last.disconnect(), 150);
    this.#output = null;
  }

  /** One note or stroke at once, as a lane is edited. */
  async touch(event) {
    this.#context ??= new AudioContext();
    await this.#context.resume();
    const output = new GainNode(this.#context, { gain: 0.4 });
    output.connect(this.#context.destination);
    this.#sound({ seconds: 0.35, ...event }, this.#context.currentTime, output);
    setTimeout(() => output.disconnect(), 1500);
  }

  #schedule() {
    while (this.#next < this.#events.length && this.#events[this.#next].time < this.time + AHEAD) {
      const event = this.#events[this.#next++];
      const late = Math.max(0, this.time - event.time);
      const seconds = (event.seconds ?? 0) - late;
      if (event.seconds && seconds <= 0.02) continue;
      this.#sound({ ...event, seconds }, this.#origin + event.time + late, this.#output);
    }
  }

  #sound(event, at, output) {
    const { kind, level, seconds } = event;
    if (kind === "chord") this.#tone("triangle", midiToHz(event.midi), at, seconds, level * 0.22, 1800, output);
    else if (kind === "melody") this.#tone("sawtooth", midiToHz(event.midi), at, seconds, level * 0.3, 2600, output);
    else if (kind === "kick") this.#drop(150, 45, at, 0.22, level, output);
    else if (kind === "tom") this.#drop(220, 95, at, 0.25, level * 0.7, output);
    else if (kind === "snare") {
      this.#burst("bandpass", 1900, at, 0.16, level * 0.7, output);
      this.#drop(230, 160, at, 0.09, level * 0.4, output);
    } else if (kind === "hat") this.#burst("highpass", 8000, at, 0.06, level * 0.35, output);
    else this.#drop(level > 0.6 ? 1600 : 1100, level > 0.6 ? 1600 : 1100, at, 0.03, level * 0.4, output);
  }

  #tone(type, hz, at, seconds, level, cutoff, output) {
    const oscillator = new OscillatorNode(this.#context, { type, frequency: hz });
    const filter = new BiquadFilterNode(this.#context, { type: "lowpass", frequency: cutoff });
    const gain = new GainNode(this.#context, { gain: 0 });
    const end = at + Math.max(seconds - 0.01, 0.05);
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(level, at + 0.012);
    gain.gain.setTargetAtTime(level * 0.6, at + 0.012, 0.3);
    gain.gain.setTargetAtTime(0, end, 0.04);
    oscillator.connect(filter).connect(gain).connect(output);
    oscillator.start(at);
    oscillator.stop(end + 0.3);
  }

  #drop(from, to, at, seconds, level, output) {
    const oscillator = new OscillatorNode(this.#context, { frequency: from });
    oscillator.frequency.setValueAtTime(from, at);
    oscillator.frequency.exponentialRampToValueAtTime(to, at + seconds * 0.6);
    this.#decay(oscillator, at, seconds, level, output);
  }

  #burst(type, hz, at, seconds, level, output) {
    if (!this.#noise) {
      this.#noise = new AudioBuffer({ length: 16384, sampleRate: this.#context.sampleRate });
      const samples = this.#noise.getChannelData(0);
      for (let i = 0; i < samples.length; i += 1) samples[i] = Math.random() * 2 - 1;
    }
    const source = new AudioBufferSourceNode(this.#context, { buffer: this.#noise });
    const filter = new BiquadFilterNode(this.#context, { type, frequency: hz, Q: 0.7 });
    source.connect(filter);
    this.#decay(source, at, seconds, level, output, filter);
  }

  #decay(source, at, seconds, level, output, last = source) {
    const gain = new GainNode(this.#context, { gain: 0 });
    gain.gain.setValueAtTime(level, at);
    gain.gain.exponentialRampToValueAtTime(0.001, at + seconds);
    last.connect(gain).connect(output);
    source.start(at);
    source.stop(at + seconds + 0.02);
  }
}
