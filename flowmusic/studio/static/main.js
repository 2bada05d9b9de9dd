// Puts the page together.

import * as api from "./api.js";
import { Ask } from "./ask.js";
import { barsAndBeats, clock, meterOf } from "./axis.js";
import { attempt, h, icon, iconButton, say } from "./dom.js";
import { FirstSound } from "./first-sound.js";
import { Jobs } from "./jobs.js";
import { listen } from "./keys.js";
import { ChordsLane } from "./lane-chords.js";
import { DrumsLane } from "./lane-drums.js";
import { MelodyLane } from "./lane-melody.js";
import { Player } from "./player.js";
import { previewEvents } from "./preview.js";
import { ROLES } from "./roles.js";
import { Store } from "./store.js";
import { newSeed, Takes } from "./takes.js";
import { Timeline } from "./timeline.js";
import { Waveform } from "./waveform.js";

async function main() {
  const [about, session, jobs] = await Promise.all([api.about(), api.session(), api.jobs()]);
  const ui = { selection: null, zoom: 1, deckB: null, activeDeck: "A", heard: null, theme: document.documentElement.dataset.theme };
  const store = new Store({ about, session, jobs, ui }, api.saveSession, api.session, (error) => say(error.message, { bad: true }));
  const player = new Player();
  const timeline = new Timeline(store, player);
  const firstSound = new FirstSound(player);
  const startJob = async (job) => {
    await store.flush();
    const started = await attempt(() => api.startJob(job));
    if (started && job.kind === "generate") firstSound.expect(started.id, job.part?.[0] ?? 0);
    return started;
  };
  let roles = ROLES;
  const events = () => previewEvents(store.state.session, roles, store.state.ui.click);
  const hear = (some) => {
    roles = some;
    if (player.playing) return player.pause();
    return player.play(events);
  };
  const page = { store, player, timeline, startJob, hear };
  const known = ({ role }) => about.model.controls.includes(role);
  const lanes = [new ChordsLane(page), new MelodyLane(page), new DrumsLane(page)].filter(known);
  const decks = [new Waveform("A", page), new Waveform("B", page)];
  timeline.tracks.append(...lanes.map(({ element }) => element), ...decks.map(({ element }) => element));
  const ask = new Ask(page);
  const work = new Jobs(page);
  const takes = new Takes(page);
  const playing = () => {
    const free = ROLES.filter((role) => !store.state.session.use?.[role]?.mute);
    if (player.playing || player.takes[player.active]) player.toggle();
    else hear(free);
  };

  document.getElementById("app").replaceChildren(
    topBar(page, playing, () => hear(ROLES.filter((role) => !store.state.session.use?.[role]?.mute))),
    h("main", { className: "layout" },
      h("div", { className: "side" }, ask.element, work.element),
      h("div", { className: "stage-area" }, h("section", { className: "panel timeline-panel", "aria-label": "Lanes and waveforms" },
        toolbar(page), timeline.element), takes.element)),
  ); // prettier-ignore

  followTakes(store, player);
  store.watch((state) => [state.session.lanes, state.session.use, state.ui.click], () => player.refresh());
  store.watch((state) => [state.ui.selection, state.ui.looping], ([selection, looping]) => {
    player.loop = looping ? (selection ?? [0, store.state.session.duration]) : null;
  }); // prettier-ignore
  document.addEventListener("click", closeMenus);
  listen({ store, player, actions: {
    play: playing,
    lanes: () => hear(ROLES),
    undo: () => undo(store),
    redo: () => redo(store),
    loop: () => store.ui({ looping: !store.state.ui.looping }),
    click: () => store.ui({ click: !store.state.ui.click }),
    escape: () => { closeMenus(); store.ui({ selection: null }); },
    help: () => document.getElementById("help").showModal(),
  } }); // prettier-ignore
  let connected = null;
  api.follow({
    session: ({ revision }) => store.revised(revision),
    job: (job) => work.changed(job),
    take: ({ take, selected, job }) => {
      putTake(store, take, selected);
      if (job) firstSound.came(job, take.id);
    },
    reload: () => store.revised(Infinity),
  }, (open) => {
    document.body.classList.toggle("offline", !open);
    if (open && connected === false) {
      store.revised(Infinity);
      work.refresh();
    }
    connected = open;
  }); // prettier-ignore
  window.addEventListener("beforeunload", () => store.flush());
  document.body.classList.add("ready");
}

function putTake(store, take, selected) {
  const { session } = store.state;
  const there = session.takes.some(({ id }) => id === take.id);
  const takes = there ? session.takes.map((other) => (other.id === take.id ? take : other)) : [...session.takes, take];
  store.set({ session: { ...session, takes, ...(selected ? { selected: take.id } : {}) } });
}

/** Which takes are on the decks, and what was found in the one that is heard. */
function followTakes(store, player) {
  store.watch((state) => [state.session.selected], ([selected], before) => {
    // What was on A goes to B where that is free, so that the new one can be compared with it.
    if (before?.[0] && selected && !store.state.ui.deckB) store.ui({ deckB: before[0] });
    if (selected && store.state.ui.deckB === selected) store.ui({ deckB: before?.[0] ?? null });
  }); // prettier-ignore
  player.addEventListener("state", () => store.ui({ activeDeck: player.active }));
  const active = ({ session, ui }) => {
    const wanted = ui.activeDeck === "B" && ui.deckB ? ui.deckB : session.selected;
    return session.takes.find((take) => take.id === wanted && !take.deleted) ?? null;
  };
  store.watch((state) => [active(state)?.id, active(state)?.overall], async ([id, overall]) => {
    const known = overall !== null && overall !== undefined; // only then there is something to fetch
    const heard = id && known ? await api.heard(id).catch(() => null) : null;
    if (active(store.state)?.id === id || !id) store.ui({ heard });
  }); // prettier-ignore
  store.watch((state) => [state.session.use.melody.origin], async ([origin]) => {
    const curve = origin ? await api.curve(origin).catch(() => null) : null;
    if (store.state.session.use.melody.origin === origin) store.ui({ curve });
  }); // prettier-ignore
  store.watch((state) => [state.ui.deckB], ([deckB]) => {
    if (!deckB && player.active === "B") player.activate("A");
  }); // prettier-ignore
}

function topBar({ store, player }, playing, hearLanes) {
  const play = iconButton("play", "Play (space)", playing, { className: "icon-button play" });
  const bars = h("span", { className: "bars" });
  const seconds = h("span", { className: "seconds" });
  const loop = iconButton("loop", "Loop the selected part (l)", () => store.ui({ looping: !store.state.ui.looping }), { "aria-pressed": "false" });
  const letters = ["A", "B"].map((name) => h("button", { type: "button", className: `deck-letter ${name}`, "aria-pressed": "false",
    "aria-label": `Hear ${name} (key ${name.toLowerCase()})`, onclick: () => player.activate(name) }, name)); // prettier-ignore
  const name = h("input", { type: "text", className: "plain-input session-name", "aria-label": "Name of the session", maxLength: 200,
    onchange: () => {
      name.value = name.value.trim() || "Untitled";
      store.edit({ name: name.value }, "name");
    } }); // prettier-ignore
  const undoButton = iconButton("undo", "Undo (Ctrl+Z)", () => undo(store));
  const redoButton = iconButton("redo", "Redo (Ctrl+Shift+Z)", () => redo(store));
  player.addEventListener("state", () => {
    play.replaceChildren(icon(player.playing ? "pause" : "play"));
    play.setAttribute("aria-label", player.playing ? "Pause (space)" : "Play (space)");
  });
  player.addEventListener("time", () => {
    bars.textContent = barsAndBeats(player.time, meterOf(store.state.session)).split(".").slice(0, 2).join(".");
    seconds.textContent = clock(player.time);
  });
  player.dispatchEvent(new Event("time"));
  store.watch((state) => [state.session.name], ([text]) => { name.value = text; }); // prettier-ignore
  store.watch((state) => [state.ui.looping], ([looping]) => loop.setAttribute("aria-pressed", String(Boolean(looping))));
  store.watch((state) => [state.historyVersion], () => {
    undoButton.disabled = !store.history.canUndo;
    redoButton.disabled = !store.history.canRedo;
  }); // prettier-ignore
  store.watch((state) => [state.ui.activeDeck, state.ui.deckB, state.session.selected], ([active, b, a]) => {
    letters.forEach((letter, i) => {
      letter.setAttribute("aria-pressed", String(active === letter.textContent));
      letter.disabled = !(i ? b : a);
    });
  }); // prettier-ignore
  return h("header", { className: "top" },
    h("h1", { className: "brand" }, "flowmusic ", h("span", {}, "Studio")), name,
    h("div", { className: "transport", role: "group", "aria-label": "Transport" },
      iconButton("start", "To the start (Home)", () => player.seek(0)), play, loop,
      h("div", { className: "position", role: "timer", "aria-label": "Position" }, bars, seconds),
      h("div", { className: "ab", role: "group", "aria-label": "Compare at the same playhead, equally loud" }, ...letters),
      h("button", { type: "button", className: "chip hear-lanes", title: "Hear the lanes by a plain synthesizer (h)", onclick: hearLanes },
        icon("speaker"), h("span", {}, "Lanes"))),
    h("div", { className: "top-end" }, undoButton, redoButton,
      iconButton("theme", "Dark or light", () => switchTheme(store)),
      h("button", { type: "button", className: "icon-button", "aria-label": "Keyboard", title: "Keyboard (?)", onclick: () => document.getElementById("help").showModal() }, "?"),
      h("a", { className: "icon-button", href: "/api/session.zip", download: "", "aria-label": "Download the whole session (zip)", title: "Whole session (zip)" }, icon("down")))); // prettier-ignore
}

function toolbar({ store, timeline, startJob, player }) {
  const text = h("span", { className: "selection-text" });
  const make = h("button", { type: "button", className: "button primary", onclick: () => {
    const { session, ui } = store.state;
    const of = ui.activeDeck === "B" && ui.deckB ? ui.deckB : session.selected;
    startJob({ kind: "generate", of, part: ui.selection, seeds: [newSeed()] });
  } }, "Make this part anew"); // prettier-ignore
  const play = h("button", { type: "button", className: "button", onclick: () => {
    store.ui({ looping: true });
    player.seek(store.state.ui.selection[0]);
    if (!player.playing) player.play();
  } }, "Play in a loop"); // prettier-ignore
  const clear = iconButton("close", "Clear the selection (Escape)", () => store.ui({ selection: null }));
  const actions = h("div", { className: "selection-bar" }, text, make, play, clear);
  const hint = h("span", { className: "toolbar-hint" }, "Drag on the ruler or a waveform to select a part.");
  store.watch((state) => [state.ui.selection, state.session.selected, state.session.bpm], ([selection, selected]) => {
    actions.hidden = !selection;
    hint.hidden = Boolean(selection);
    make.hidden = play.hidden = !selected;
    if (!selection) return;
    const meter = meterOf(store.state.session);
    text.textContent = `${barsAndBeats(selection[0], meter)} – ${barsAndBeats(selection[1], meter)}`;
    text.title = `${selection[0].toFixed(2)} to ${selection[1].toFixed(2)} s`;
  }); // prettier-ignore
  const legend = h("span", { className: "legend", "aria-hidden": "true" }, h("i", { className: "asked" }), "asked", h("i", { className: "found" }), "in the take");
  const click = h("button", { type: "button", className: "chip", "aria-pressed": "false", title: "Click on the beats while the lanes are played (c)",
    onclick: () => store.ui({ click: !store.state.ui.click }) }, "Click"); // prettier-ignore
  store.watch((state) => [state.ui.click], ([on]) => click.setAttribute("aria-pressed", String(Boolean(on))));
  return h("div", { className: "toolbar", role: "toolbar", "aria-label": "Selection and zoom" }, actions, hint, legend,
    h("div", { className: "zoom" }, click, iconButton("minus", "Zoom out", () => timeline.zoom(1 / 1.5)),
      iconButton("plus", "Zoom in", () => timeline.zoom(1.5)), iconButton("fit", "Fit the clip", () => store.ui({ zoom: 1 })))); // prettier-ignore
}

function undo(store) {
  const label = store.undo();
  if (label) document.getElementById("spoken").textContent = `Undone: ${label}`;
}

function redo(store) {
  const label = store.redo();
  if (label) document.getElementById("spoken").textContent = `Redone: ${label}`;
}

function closeMenus(event) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    const inside = event?.target && menu.contains(event.target);
    if (!inside || event.target.closest(".menu-body > button, .menu-body > a")) menu.open = false;
  }
}

function switchTheme(store) {
  const root = document.documentElement;
  root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  store.ui({ theme: root.dataset.theme });
}

const preferred = window.matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
document.documentElement.dataset.theme = localStorage.getItem("theme") ?? preferred;
main().catch((error) => say(error.message, { bad: true }));
