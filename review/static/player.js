// The clip: playing, single frames, speed, and the strip of frames from around it.

import { $, make, named, tell, trouble } from "./dom.js";
import { patience, pause } from "./talk.js";

const SPEEDS = [1, 2, 0.5];
let speed = 0; // the place among them
let clipTimes = [0, 0]; // of every frame of the clip on the stage, and of its end

/** Begins to fetch a clip. */
export function load(element, clip) {
  if (clip.still || element.src) return;
  element.preload = "auto";
  element.src = clip.src;
}

/** The element that shows a clip, to be put on the stage. `video` may have been loading in advance. */
export function picture(clip, video) {
  if (clip.still) return make("img", { src: clip.src, alt: "The clip: one picture", width: clip.width, height: clip.height });
  clipTimes = clip.times_s;
  if (video.error) return picture(clip, document.createElement("video")); // the server was away when it was fetched
  Object.assign(video, { muted: true, loop: true, autoplay: true, playsInline: true, width: clip.width, height: clip.height });
  video.setAttribute("aria-label", "The clip, in a loop, without sound");
  load(video, clip);
  let tries = 0;
  video.addEventListener("playing", () => {
    if (tries) trouble("");
    tries = 0;
    video.playbackRate = SPEEDS[speed];
    showPlaying();
  });
  video.addEventListener("pause", showPlaying);
  video.addEventListener("error", async () => {
    trouble("NOT SHOWN", "The clip cannot be loaded or played. Trying again …");
    await pause(patience(tries));
    tries += 1;
    if (!video.isConnected) return;
    video.src = `${clip.src}?again=${tries}`;
    video.play().catch(() => null);
  });
  const watch = (_, frame) => {
    if (!video.isConnected) return;
    showFrame(frame.mediaTime);
    video.requestVideoFrameCallback(watch);
  };
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(watch);
  else video.addEventListener("timeupdate", () => showFrame(video.currentTime));
  $("seek").max = clip.times_s.length - 2;
  video.play().catch(() => null);
  return video;
}

const player = () => $("stage").querySelector("video");

function showPlaying() {
  const playing = !(player()?.paused ?? true);
  $("play").textContent = playing ? "❚❚" : "▶";
  $("play").setAttribute("aria-label", playing ? "Pause" : "Play");
}

/** The number of the frame that stands at a time of the clip. */
function frameAt(time) {
  const times = clipTimes;
  let low = 0;
  for (let high = times.length - 1; high - low > 1;) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time + 0.0005) low = middle;
    else high = middle;
  }
  return low;
}

function showFrame(time) {
  const times = clipTimes;
  const frame = frameAt(time);
  $("seek").value = frame;
  $("frame").textContent = `frame ${frame + 1} of ${times.length - 1} · ${times[frame].toFixed(2)} s`;
}

/** Goes to a frame and stays there. */
export function goTo(frame) {
  const video = player();
  if (!video) return;
  const times = clipTimes;
  const place = Math.min(Math.max(frame, 0), times.length - 2);
  video.pause();
  video.currentTime = (times[place] + times[place + 1]) / 2;
  showFrame(times[place]);
}

/** Goes so many frames on, or back. */
export const step = (frames) => player() && goTo(Number($("seek").value) + frames);

/** Pauses or plays. */
export function toggle() {
  const video = player();
  if (!video) return;
  if (video.paused) video.play().catch(() => null);
  else video.pause();
}

/** The next speed. */
export function faster() {
  speed = (speed + 1) % SPEEDS.length;
  for (const video of document.querySelectorAll("video")) video.playbackRate = SPEEDS[speed];
  $("speed").textContent = `${SPEEDS[speed]}×`;
  tell(`Speed ${SPEEDS[speed]}`);
}

const SIDE = { shot_before: "before", frame_before: "before", frame_after: "after", shot_after: "after" };

/** Shows the frames around the clip and of it. */
export function showStrip(stills) {
  $("strip").replaceChildren(...stills.map(({ src, where }, number) => {
    const side = SIDE[where] ?? "inside";
    const edge = number > 0 && (SIDE[stills[number - 1].where] ?? "inside") !== side;
    const words = side === "inside" ? `clip, ${named(where)}` : named(where);
    return make("li", { className: `${side}${edge ? " edge" : ""}` }, make("img", { src, alt: "" }), words);
  }));
}
