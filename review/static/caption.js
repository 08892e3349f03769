// A caption as fields that can be corrected, and several of them side by side.

import { $, make, named } from "./dom.js";

/** Inputs for every field of a caption, however deep; `does.changed` is called when one is left, `does.add` and
 * `does.remove` with a list's name, and with a place in it, when one more or less is wanted. */
export function fields(value, was, vocabulary, does, path = []) {
  return Object.entries(value).flatMap(([name, inner]) => {
    const here = [...path, name];
    const before = was?.[name];
    if (Array.isArray(inner)) {
      const origins = pairs(inner, before ?? []);
      const groups = inner.map((one, number) => {
        const title = one?.is_main_subject ? "Main subject" : `${single(name)} ${number + 1}`;
        const fresh = origins[number] < 0;
        const inside = fields(one, fresh ? blank(one) : before[origins[number]], vocabulary, does, [...here, number]);
        const button = make("button", { type: "button", className: "plain remove", "aria-label": `Remove ${title.toLowerCase()}` }, "Remove");
        button.addEventListener("click", () => does.remove(name, number));
        const legend = make("legend", {}, title, ...(fresh ? [" ", make("b", { className: "added" }, "added")] : []));
        return make("fieldset", { className: "group" }, legend, ...inside, button);
      });
      const more = make("button", { type: "button", className: "plain add" }, `Add ${single(name)}`);
      more.addEventListener("click", () => does.add(name));
      return [...groups, more];
    }
    if (inner !== null && typeof inner === "object") return fields(inner, before, vocabulary, does, here);
    return [field(named(name), inner, before, vocabulary[name], does.changed, here)];
  });
}

const single = (name) => named(name).replace(/s$/, "");

/** Something of the same shape that says nothing. */
function blank(value) {
  if (typeof value === "boolean") return value;
  if (value === null || typeof value !== "object") return "";
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, blank(inner)]));
}

const SUBJECT = { TYPES: { type: "", sub_type: "" }, appearance: "", action: "", expression: "", position: "", is_main_subject: false };

/** A list with one more that says nothing: of the shape of the others, the main one where there is none. */
export function longer(list) {
  const one = blank(list[0] ?? SUBJECT);
  return [...list, { ...one, is_main_subject: !list.some((other) => other.is_main_subject) }];
}

/** By place in `list`, the place in `was` of the one that it was made from; -1: it is new. Where as many are left, none
 * was added or removed, and each is its own. */
export function pairs(list, was) {
  if (list.length === was.length) return list.map((_, number) => number);
  const texts = (one) => flat(one).map(([name, text]) => (text ? `${name}=${text}` : "")).filter(Boolean);
  const alike = (one, other) => texts(one).filter((text) => texts(other).includes(text)).length;
  const found = list.map(() => -1);
  const ways = list.flatMap((one, place) => was.map((other, origin) => ({ place, origin, likeness: alike(one, other) })));
  for (const { place, origin, likeness } of ways.sort((one, other) => other.likeness - one.likeness)) {
    if (likeness > 1 && found[place] < 0 && !found.includes(origin)) found[place] = origin;
  }
  return found;
}

function field(name, value, was, choices, changed, path) {
  let input;
  if (typeof value === "boolean") {
    input = make("input", { type: "checkbox", checked: value });
  } else if (choices) {
    const options = ["", ...choices].map((choice) => make("option", { value: choice }, choice ? named(choice) : "not said"));
    input = make("select", {}, ...options);
    input.value = value;
  } else {
    input = make("textarea", { rows: 1, value: String(value), placeholder: "not said", maxLength: 4096, dir: "auto" });
  }
  input.dataset.path = JSON.stringify(path);
  input.dataset.was = JSON.stringify(was ?? null);
  input.addEventListener("change", changed);
  input.addEventListener("input", () => {
    mark(input);
    fit(input);
  });
  return make("label", { className: "field" }, make("span", { className: "name" }, name), input);
}

/** Makes a text field as high as its text, in browsers that do not do it by themselves. */
export function fit(input) {
  if (CSS.supports("field-sizing", "content") || input.tagName !== "TEXTAREA") return;
  input.style.height = "auto";
  input.style.height = `${input.scrollHeight}px`;
}

/** All of them that are on the page. */
export const inputs = () => [...$("fields").querySelectorAll("[data-path]")];
/** What stands in an input now. */
export const valueOf = (input) => (input.type === "checkbox" ? input.checked : input.value);

/** A caption of the same shape, as it stands in the inputs. */
export function written(shape) {
  const caption = structuredClone(shape);
  for (const input of inputs()) {
    const path = JSON.parse(input.dataset.path);
    const last = path.pop();
    path.reduce((inner, key) => inner[key], caption)[last] = valueOf(input);
  }
  return caption;
}

/** Marks an input that says something else than the caption did, and with what it was; whether it does. */
export function mark(input) {
  const was = JSON.parse(input.dataset.was);
  const changed = was !== valueOf(input);
  const row = input.closest(".field");
  row.classList.toggle("changed", changed);
  row.querySelector(".was")?.remove();
  const words = typeof was === "boolean" ? (was ? "yes" : "no") : was || "not said";
  if (changed) row.append(make("span", { className: "was" }, make("b", {}, "changed"), "; was: ", make("bdi", {}, words)));
  return changed;
}

/** The fields of a caption as [name, text], however deep. */
function flat(value, path = []) {
  return Object.entries(value ?? {}).flatMap(([name, inner]) => (inner !== null && typeof inner === "object"
    ? flat(inner, [...path, Array.isArray(value) ? Number(name) + 1 : named(name)])
    : [[[...path, named(name)].join(" "), typeof inner === "boolean" ? (inner ? "yes" : "no") : String(inner)]]));
}

/** Captions in columns, the rows in which they differ marked. */
export function captionTable(captions) {
  const columns = captions.map(({ engine, caption }) => [engine || "caption", new Map(flat(caption))]);
  const names = [...new Set(columns.flatMap(([, texts]) => [...texts.keys()]))];
  const rows = names.map((name) => {
    const texts = columns.map(([, values]) => values.get(name) ?? "");
    const differs = new Set(texts).size > 1;
    return make("tr", { className: differs ? "differs" : "" }, make("th", { scope: "row" }, name), ...texts.map((text) => make("td", {}, make("bdi", {}, text || "–"))));
  });
  const head = make("tr", {}, make("th", {}), ...columns.map(([engine]) => make("th", { scope: "col" }, engine)));
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
}
