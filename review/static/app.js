// The review page: one item after another. A verdict is on disk before the next clip is shown.

import { captionTable, fields, fit, inputs, longer, mark, pairs, valueOf, written } from "./caption.js";
import { $, duration, make, tell, timecode, trouble } from "./dom.js";
import { faster, goTo, load, picture, showStrip, step, toggle } from "./player.js";
import { ask, insist, say, sendLeft, settled } from "./talk.js";

const FURTHER = "qwrtyiopadfhjkl"; // keys of the reasons after the ninth: letters that mean nothing else

const page = {
  about: null, // what stays the same: gate, reasons, vocabulary
  state: null, // how far the review is, and the next items
  item: null, // the item on screen
  draft: null, // its caption as it stands in the fields, saved or not
  ahead: null, // {item, data, video} fetched in advance
  reasons: new Set(),
  chosen: new Map(), // reasons of items judged on this page, for when one is taken back
  refused: "", // why the corrected caption was not taken
  unsaid: "", // why the note was not
  busy: false,
  shownAt: 0,
  hidden: 0, // milliseconds since then that the page was not in view
  hiddenAt: 0,
  compare: "",
};

// --- progress

function showState() {
  const { state } = page;
  const share = state.items ? state.judged / state.items : 1;
  const left = state.seconds_left ? ` · about ${duration(state.seconds_left)} left` : "";
  const second = state.judged === state.items && state.readings_left ? `, ${state.readings_left} to be read again` : "";
  $("progress-words").textContent = `${state.judged} of ${state.items} judged${second}${left} · ${state.mine} by you`;
  $("progress").setAttribute("aria-valuemax", state.items);
  $("progress").setAttribute("aria-valuenow", state.judged);
  $("progress-done").style.width = `${100 * share}%`;
  $("undo").disabled = !state.can_undo;
  $("undo-last").hidden = !state.can_undo;
}

/** Shows what the verdicts come to, whenever that is known. */
async function showBanner() {
  const banner = await ask("api/banner").catch(() => undefined);
  if (banner === undefined) return;
  $("banner").hidden = !banner;
  $("banner-mark").textContent = { pass: "✓ Pass", fail: "✕ Fail" }[banner?.state] ?? "… Open";
  $("banner-words").textContent = banner?.words ?? "";
}

// --- one item

/** Shows the first item of the queue. */
async function open() {
  const wanted = page.state.queue[0];
  showState();
  showBanner();
  $("main").hidden = !wanted;
  $("finished").hidden = Boolean(wanted);
  if (!wanted) {
    page.item = null;
    $("stage").replaceChildren();
    $("question").textContent = page.about.question;
    $("finished-words").textContent = `${page.state.judged} of ${page.state.items} items are judged, ${page.state.mine} by you. `
      + (page.state.readings_left ? `${page.state.readings_left} readings are left for others.` : "The gate can be asked for its answer.");
    tell("Nothing is left for you to judge.");
    return;
  }
  const ready = page.ahead?.item === wanted ? page.ahead : fetchAhead(wanted);
  page.ahead = null;
  if (!ready.data) expect();
  let data;
  try {
    data = await insist(() => ready.data ?? ask(`api/item/${wanted}`), "NOT LOADED");
  } catch (fault) {
    data = { item: wanted, fault: fault.message, captions: [], source: "", note: "", edit: null, verdict: null };
  }
  show(data, ready.video);
  const next = page.state.queue[1];
  if (next) {
    page.ahead = fetchAhead(next);
    page.ahead.promise = ask(`api/item/${next}`).then((found) => {
      page.ahead.data = page.ahead?.item === next ? found : null;
      if (page.ahead?.item === next) load(page.ahead.video, found.clip);
    }).catch(() => null);
  }
}

/** Shows that the last verdict is saved and that the next clip is being made. */
function expect() {
  page.item = null;
  $("stage").replaceChildren(make("p", { className: "cannot" }, "The next clip is being made …"));
  $("strip").replaceChildren();
  $("source").textContent = $("span").textContent = $("frame").textContent = "";
  $("caption").hidden = true;
  $("twin").hidden = true;
  $("twin-stage").replaceChildren();
  $("note").value = "";
}

const fetchAhead = (item) => ({ item, data: null, video: document.createElement("video") });

function show(item, video) {
  Object.assign(page, { item, refused: "", unsaid: "", compare: "", shownAt: performance.now(), hidden: 0, hiddenAt: document.hidden ? performance.now() : 0 });
  page.reasons = new Set(item.verdict?.reasons ?? page.chosen.get(item.item) ?? []);
  $("stage").replaceChildren(item.fault ? make("p", { className: "cannot" }, item.fault) : picture(item.clip, video));
  $("player").hidden = Boolean(item.fault) || item.clip.still;
  $("source").textContent = item.source;
  $("span").textContent = item.fault ? "" : `${timecode(item.start_s)} – ${timecode(item.end_s)} · ${(item.end_s - item.start_s).toFixed(1)} s`;
  $("note").value = item.note;
  fit($("note"));
  for (const name of ["good", "bad", "skip"]) $(name).classList.toggle("was", item.verdict?.verdict === name);
  $("good").disabled = $("bad").disabled = Boolean(item.fault);
  $("why").classList.remove("asked");
  askForNote(false);
  showStrip(item.fault ? [] : item.clip.stills);
  showReasons();
  showCaption();
  showCompare();
  tell(`Next: ${item.source}, ${page.state.readings_left} to go`);
}

// --- verdicts

function keyOf(number) {
  return number < 9 ? String(number + 1) : FURTHER[number - 9] ?? "";
}

function showReasons() {
  const buttons = page.about.reasons.map(({ reason, words }, number) => {
    const button = make("button", { type: "button", className: "reason", "aria-pressed": String(page.reasons.has(reason)) },
      make("kbd", {}, keyOf(number).toUpperCase()), make("span", {}, words));
    button.addEventListener("click", () => choose(number));
    return button;
  });
  $("reasons").replaceChildren(...buttons);
  $("bad").classList.toggle("ready", page.reasons.size > 0);
}

function choose(number) {
  const found = page.about.reasons[number];
  if (!found || page.busy || !page.item || page.item.fault) return;
  const on = !page.reasons.has(found.reason);
  if (on) page.reasons.add(found.reason);
  else page.reasons.delete(found.reason);
  $("why").classList.remove("asked");
  const focused = document.activeElement?.closest?.(".reason") !== null;
  showReasons();
  if (focused) $("reasons").children[number].focus();
  tell(`${found.words}: ${on ? "chosen" : "not chosen"}`);
}

const HINT = $("note").placeholder;

/** Marks the note as wanted, or as free again. */
function askForNote(wanted) {
  $("because").classList.toggle("asked", wanted);
  $("note").placeholder = wanted ? "say what is wrong" : HINT;
}

async function judge(verdict) {
  if (page.busy || !page.item || $(verdict).disabled) return;
  if (verdict === "bad" && !page.reasons.size) {
    $("why").classList.add("asked");
    tell("Choose what is wrong, then press B again.");
    $("why").scrollIntoView({ block: "nearest" });
    return;
  }
  if (verdict === "bad" && page.reasons.has("other") && !$("note").value.trim()) {
    askForNote(true);
    tell("Say in the note what is wrong, then leave it with Escape and press B again.");
    $("note").focus();
    return;
  }
  page.busy = true;
  await settled(); // a correction may be on its way
  page.busy = false;
  if (page.refused && verdict !== "skip") {
    tell(page.refused);
    $("caption").scrollIntoView({ block: "nearest" });
    return;
  }
  if (page.unsaid) {
    tell(page.unsaid);
    $("note").focus();
    return;
  }
  page.chosen.set(page.item.item, [...page.reasons]);
  const away = page.hidden + (page.hiddenAt ? performance.now() - page.hiddenAt : 0);
  await act({
    kind: "verdict",
    item: page.item.item,
    verdict,
    reasons: verdict === "bad" ? [...page.reasons] : [],
    looked_s: (performance.now() - page.shownAt - away) / 1000,
  });
}

const undo = () => page.busy || !page.state.can_undo || act({ kind: "undo" });

/** Says something that leads to another item, and goes there once it is saved. */
async function act(event) {
  page.busy = true;
  document.body.classList.add("busy");
  document.activeElement?.blur();
  try {
    page.state = await say(event);
    trouble("");
  } catch (fault) {
    trouble(fault.status === 409 ? "ALREADY JUDGED" : "NOT TAKEN", fault.message);
    page.state = await insist(() => ask("api/state"), "NOT LOADED");
  }
  await open();
  page.busy = false;
  document.body.classList.remove("busy");
}

// --- the caption

function showCaption() {
  const said = page.item.captions[0];
  $("caption").hidden = !said;
  $("main").classList.toggle("alone", !said);
  if (!said) return;
  $("engine").replaceChildren(said.engine ? `by ${said.engine}; ` : "", make("span", { className: "by-key" }, "press E to correct it"), make("span", { className: "by-touch" }, "tap a field to correct it"));
  showFields(page.item.edit ?? said.caption);
}

/** Shows a caption in fields, beside what it was; those that say nothing only if `all` are to be seen. */
function showFields(caption, all = false) {
  page.draft = caption;
  $("fields").replaceChildren(...fields(caption, page.item.captions[0].caption, page.about.vocabulary, { changed: correct, add, remove }));
  $("fields").classList.toggle("all", all);
  const empty = inputs().filter((input) => valueOf(input) === "" && input.dataset.was === '""');
  for (const input of empty) input.closest(".field").classList.add("empty");
  inputs().forEach(fit);
  $("silent").hidden = all || !empty.length;
  $("silent").textContent = `Not said: ${[...new Set(empty.map((input) => input.closest(".field").firstChild.textContent))].join(", ")}`;
  markChanges();
}

/** Shows the fields that say nothing too. */
function showAll() {
  $("fields").classList.add("all");
  $("silent").hidden = true;
  inputs().forEach(fit);
  inputs()[0]?.focus();
}

/** Says how much is corrected, or why it was not taken. */
function markChanges() {
  const count = inputs().filter(mark).length;
  const words = [...(count ? [`${count} ${count === 1 ? "field" : "fields"} corrected`] : []), ...moved()].join(", ");
  $("changed").hidden = !words && !page.refused;
  $("changed").classList.toggle("refused", Boolean(page.refused));
  $("changed-words").textContent = page.refused || `${words}.`;
}

/** How many subjects were added and removed, in words. */
function moved() {
  const was = page.item.captions[0].caption.subjects ?? [];
  const origins = pairs(page.draft.subjects ?? [], was);
  const kept = origins.filter((origin) => origin >= 0).length;
  return [[origins.length - kept, "added"], [was.length - kept, "removed"]].filter(([count]) => count)
    .map(([count, how]) => `${count} ${count === 1 ? "subject" : "subjects"} ${how}`);
}

/** Shows one more, to be filled in: it is saved once its fields say something. */
function add(list) {
  const caption = written(page.draft);
  page.refused = `The added ${list.replace(/s$/, "")} is not saved yet: say what it is, or remove it.`;
  showFields({ ...caption, [list]: longer(caption[list]) }, true);
  const groups = $("fields").querySelectorAll(".group");
  groups[groups.length - 1].querySelector("textarea").focus();
  tell(page.refused);
}

/** Takes one off and saves what is left. */
function remove(list, number) {
  const caption = written(page.draft);
  showFields({ ...caption, [list]: caption[list].filter((_, place) => place !== number) }, $("fields").classList.contains("all"));
  $("fields").querySelector(".add").focus();
  correct();
}

/** Saves the corrected caption. */
async function correct() {
  const { item } = page;
  if (!item) return;
  const caption = written(page.draft);
  page.draft = caption;
  try {
    await say({ kind: "edit", item: item.item, caption });
    page.refused = "";
    item.edit = caption;
    tell("The correction is saved.");
  } catch (fault) {
    page.refused = `Not saved: ${fault.message}.`;
    tell(page.refused);
  }
  if (page.item === item) markChanges();
}

async function restore() {
  const { item } = page;
  if (!item) return;
  try {
    await say({ kind: "edit", item: item.item, caption: null });
    page.refused = "";
    item.edit = null;
    tell("The corrections are taken back.");
  } catch (fault) {
    page.refused = `Not taken back: ${fault.message}.`;
    tell(page.refused);
  }
  if (page.item === item) showCaption();
}

async function noted() {
  const { item } = page;
  if (!item) return;
  const note = $("note").value;
  try {
    await say({ kind: "note", item: item.item, note });
    page.unsaid = "";
    item.note = note;
    tell("The note is saved.");
  } catch (fault) {
    page.unsaid = `The note is not saved: ${fault.message}.`;
    trouble("NOT SAVED", fault.message);
  }
}

// --- comparing

/** What there is to compare: several captions, a clip near the threshold. */
function comparable() {
  const captions = page.item.captions.length + (page.item.edit ? 1 : 0) > 1;
  return [...(captions ? ["captions"] : []), ...(page.item.has_twin ? ["clips"] : [])];
}

async function compare() {
  if (!page.item || page.item.fault) return;
  const ways = ["", ...comparable()];
  page.compare = ways[(ways.indexOf(page.compare) + 1) % ways.length];
  if (ways.length === 1) tell("There is nothing to compare this clip with.");
  const { item } = page;
  showCompare();
  if (page.compare === "clips" && !item.twin) {
    try {
      item.twin = (await insist(() => ask(`api/item/${item.item}?twin`), "NOT LOADED")).twin;
    } catch (fault) {
      page.compare = "";
      tell(fault.message);
    }
  }
  if (page.item === item) showCompare();
}

function showCompare() {
  const clips = page.compare === "clips";
  const captions = page.compare === "captions";
  $("compare").setAttribute("aria-pressed", String(Boolean(page.compare)));
  $("compare").hidden = !comparable().length;
  $("twin").hidden = !clips;
  $("side-by-side").hidden = !captions;
  $("written").hidden = captions;
  $("main").classList.toggle("wide", clips);
  $("twin-stage").replaceChildren();
  if (clips && !page.item.twin) {
    $("twin-stage").replaceChildren(make("p", { className: "cannot" }, "The other clip is being made …"));
    $("twin-words").textContent = "";
  } else if (clips) {
    const { clip, words } = page.item.twin;
    const video = make("video", { muted: true, loop: true, autoplay: true, playsInline: true, src: clip.src, "aria-label": "The other clip" });
    $("twin-stage").replaceChildren(clip.still ? make("img", { src: clip.src, alt: "The other clip" }) : video);
    $("twin-words").textContent = words;
    tell(words);
  }
  if (!captions) return;
  const corrected = page.item.edit ? [{ engine: "corrected", caption: page.item.edit }] : [];
  $("side-by-side").replaceChildren(captionTable([...corrected, ...page.item.captions]));
}

// --- keys

const KEYS = {
  g: () => judge("good"),
  b: () => judge("bad"),
  s: () => judge("skip"),
  u: undo,
  n: () => $("note").focus(),
  e: showAll,
  c: compare,
  x: faster,
  " ": toggle,
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  "?": () => $("keys").showModal(),
};
const REPEATABLE = ["ArrowLeft", "ArrowRight"];

const reasonOf = (name) => page.about.reasons.findIndex((_, number) => keyOf(number) === name);

/** What a key means: by its letter, or by its place where the keyboard writes other letters or signs on it. */
function nameOf({ key, code }) {
  const name = key.length === 1 ? key.toLowerCase() : key;
  if (name in KEYS || reasonOf(name) >= 0 || !/^(Key[A-Z]|Digit[1-9])$/.test(code)) return name;
  return /^[!-~]$/.test(name) && code.startsWith("Key") ? name : code.at(-1).toLowerCase();
}

function pressed(event) {
  const { target, key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || $("keys").open) return;
  if (target.matches("textarea, select")) {
    if (key === "Escape") target.blur();
    return;
  }
  if (key === " " && target.matches("button, input")) return; // it presses the button that has the focus
  const name = nameOf(event);
  const reason = reasonOf(name);
  const does = KEYS[name] ?? (reason >= 0 ? () => choose(reason) : null);
  if (!does || (event.repeat && !REPEATABLE.includes(key))) return;
  event.preventDefault();
  does();
}

function listen() {
  for (const [id, does] of Object.entries({
    good: KEYS.g, bad: KEYS.b, skip: KEYS.s, undo, "undo-last": undo, play: toggle, speed: faster, compare, restore, silent: showAll,
    back: () => step(-1), forward: () => step(1), help: KEYS["?"],
  })) $(id).addEventListener("click", does);
  $("seek").addEventListener("input", () => goTo(Number($("seek").value)));
  $("note").addEventListener("change", noted);
  $("note").addEventListener("input", () => {
    fit($("note"));
    askForNote(false);
  });
  document.addEventListener("keydown", pressed);
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) page.hiddenAt = performance.now();
    else if (page.hiddenAt) {
      page.hidden += performance.now() - page.hiddenAt;
      page.hiddenAt = 0;
    }
  });
}

/** Now and then: what the verdicts come to, and, when there was nothing left to judge, whether something has come back,
 * for a second reader say. */
async function lookAgain() {
  if (!document.hidden) showBanner();
  if (page.busy || page.item || document.hidden || $("finished").hidden) return;
  const state = await ask("api/state").catch(() => null);
  if (!state || page.busy || page.item) return;
  page.state = state;
  if (state.queue.length) await open();
}

async function start() {
  page.about = await insist(() => ask("api/about"), "NOT LOADED");
  const { about } = page;
  $("where").textContent = `rushes review · ${[about.run, about.gate, about.pool].filter(Boolean).join(" · ")} · ${about.reviewer}`;
  $("question").textContent = about.question;
  $("note").maxLength = about.max_note;
  setInterval(lookAgain, 15_000);
  document.title = `review ${about.pool || about.gate}`;
  listen();
  await sendLeft();
  page.state = await insist(() => ask("api/state"), "NOT LOADED");
  await open();
}

start().catch((fault) => trouble("NOT LOADED", fault.message));
