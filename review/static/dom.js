// What the other modules build the page with. Texts become text nodes; nothing here takes markup.

export const $ = (id) => document.getElementById(id);

/** Says what goes wrong until it is over; without a title there is nothing wrong. */
export function trouble(title, words = "") {
  $("trouble").hidden = !title;
  $("trouble-title").textContent = title;
  $("trouble-words").textContent = words;
}

/** Says it to screen readers. */
export function tell(words) {
  $("said").textContent = words;
}

/** An element with these properties or attributes; texts among the children stay texts. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

export function duration(seconds) {
  if (seconds < 90) return `${Math.max(10, Math.round(seconds / 10) * 10)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

export function timecode(seconds) {
  const tenths = Math.max(0, Math.round(seconds * 10));
  const rest = `${Math.floor(tenths / 600) % 60}:${((tenths / 10) % 60).toFixed(1).padStart(4, "0")}`;
  return tenths < 36000 ? rest : `${Math.floor(tenths / 36000)}:${rest.padStart(7, "0")}`;
}

/** The name of a field, as people write it. */
export const named = (name) => name.replaceAll("_", " ").toLowerCase();
