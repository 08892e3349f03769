// A caption as fields that can be corrected, and several of them side by side.

import { $, make, named } from "./dom.js";

/** Inputs for every field of a caption, however deep; `changed` is called when one is left. */
export function fields(value, was, vocabulary, changed, path = []) {
  return Object.entries(value).flatMap(([name, inner]) => {
    const here = [...path, name];
    const before = was?.[name];
    if (Array.isArray(inner)) {
      return inner.map((one, number) => {
        const title = one?.is_main_subject ? "Main subject" : `${named(name).replace(/s$/, "")} ${number + 1}`;
        const inside = fields(one, before?.[number], vocabulary, changed, [...here, number]);
        return make("fieldset", { className: "group" }, make("legend", {}, title), ...inside);
      });
    }
    if (inner !== null && typeof inner === "object") return fields(inner, before, vocabulary, changed, here);
    return [field(named(name), inner, before, vocabulary[name], changed, here)];
  });
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
