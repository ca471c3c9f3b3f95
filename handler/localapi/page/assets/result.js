// A finished clip: the player, what was made, and what to do next.
import { here } from "./api.js";
import { element, icon } from "./element.js";
import { duration, length } from "./words.js";

// buildResult makes the part below the player. onAgain(input) is called with the job's input.
export function buildResult(onAgain) {
  let input = {};
  const download = element("a", { class: "button primary", id: "download", download: "" }, icon("download"), "Download");
  const manifest = element("a", { class: "button", id: "manifest", target: "_blank", rel: "noopener" }, icon("file"), "Manifest");
  const again = element(
    "button",
    { type: "button", class: "button", id: "again", onclick: () => onAgain(input) },
    icon("again"),
    "Again with another seed",
  );
  const facts = element("dl", { class: "facts" });
  const unplayed = element("p", { class: "notice", hidden: true }, "This browser cannot play it here. Download it instead.");
  const root = element(
    "div",
    { class: "result", hidden: true },
    unplayed,
    element("div", { class: "buttons" }, download, manifest, again),
    facts,
  );
  let video = null;

  const hide = () => {
    root.hidden = true;
    video?.remove();
    video = null;
  };
  return {
    root,
    hide,
    // show plays a job's clip in the stage.
    show(stage, job) {
      if (video?.dataset.job === job.id) {
        return; // it may be playing
      }
      hide();
      input = job.input;
      const { output } = job;
      const source = here(output.video_url);
      unplayed.hidden = true;
      video = element("video", {
        src: source,
        controls: true,
        playsinline: true,
        preload: "auto",
        "data-job": job.id,
        "aria-label": "The clip",
        onerror: () => (unplayed.hidden = false),
      });
      stage.append(video);
      download.href = source;
      download.download = `humo-${output.seed}.mp4`;
      manifest.hidden = !output.manifest_url;
      manifest.href = here(output.manifest_url) || "#";
      facts.replaceChildren(
        ...factsOf(job).flatMap(([term, value]) => element("div", {}, element("dt", {}, term), element("dd", {}, value))),
      );
      root.hidden = false;
    },
  };
}

function factsOf({ output, executionTime }) {
  const slowest = Object.entries(output.timings ?? {}).sort(([, a], [, b]) => b - a);
  return [
    ["Seed", String(output.seed)],
    ["Length", `${length(output.duration_s)}, ${output.frames} frames`],
    ["Size", `${output.width} × ${output.height}`],
    ["Model", `${output.variant}, ${output.mode}`],
    executionTime > 0 ? ["Made in", duration(executionTime / 1000)] : null,
    slowest.length > 0 ? ["Longest stage", `${slowest[0][0]}, ${duration(slowest[0][1])}`] : null,
  ].filter(Boolean);
}
