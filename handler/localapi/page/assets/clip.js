// The job that one looks at: where it is in the queue, what it is doing, what it looks like so far, and in the end the clip.
import * as api from "./api.js";
import { announce, element, icon } from "./element.js";
import { buildResult } from "./result.js";
import { duration, plural } from "./words.js";

// The stages in their order, as one would say them.
const stages = [
  ["text", "Prompt"],
  ["audio", "Voice"],
  ["image", "Pictures"],
  ["denoise", "Denoise"],
  ["decode", "Decode"],
  ["encode", "Write"],
];

const doing = {
  text: "Reading the prompt",
  audio: "Listening to the voice",
  image: "Looking at the pictures",
  denoise: "Denoising",
  decode: "Decoding frames",
  encode: "Writing the video",
};

const ends = {
  COMPLETED: "Done",
  FAILED: "Failed",
  CANCELLED: "Cancelled",
  TIMED_OUT: "Ran out of time",
};

// buildClip fills the panel. on.change(job) is called with every state of the job that is shown, on.again(input) when its
// visitor wants another one like it.
export function buildClip(panel, on) {
  const picture = element("img", { alt: "", hidden: true });
  const empty = element("p", { class: "stage-empty" }, "The clip appears here.");
  const stage = element("div", { class: "stage" }, empty, picture);
  const state = element("p", { class: "state", id: "state" }, "No clip yet");
  const rest = element("p", { class: "quiet", id: "rest" }, "");
  const bar = element("progress", { max: 1, value: 0, "aria-labelledby": "state", "aria-describedby": "rest" });
  const list = element("ol", { class: "stages" }, ...stages.map(([name, word]) => element("li", { "data-stage": name }, word)));
  const cancel = element(
    "button",
    { type: "button", class: "button", id: "cancel", onclick: () => stop() },
    icon("close"),
    "Cancel",
  );
  const running = element(
    "div",
    { class: "running", hidden: true },
    bar,
    list,
    element("div", { class: "running-line" }, rest, cancel),
  );
  const failure = element("ul", { class: "notice bad", id: "failure", hidden: true });
  const result = buildResult(on.again);
  panel.append(stage, element("div", { class: "state-line" }, state), running, failure, result.root);

  let shown = null; // id of the job
  let watching = new AbortController();
  let said = ""; // what was announced last

  // show follows a job; first may be what is known of it already.
  const show = async (id, first = null) => {
    watching.abort();
    const watch = (watching = new AbortController());
    shown = id;
    said = "";
    picture.hidden = true;
    failure.hidden = true;
    cancel.disabled = false;
    let job = { id, status: "IN_QUEUE", input: {}, ...first };
    const update = (news) => {
      if (!watch.signal.aborted) {
        job = { ...job, ...news };
        paint(job);
        on.change(job);
      }
    };
    update({});
    try {
      update(await api.job(id));
      if (!api.isOver(job)) {
        await api.watch(id, {
          onStatus: update,
          onPreview: ({ preview, step }) => showPreview(preview, step),
          onLost: () => (rest.textContent = "The connection is lost; trying again."),
          signal: watch.signal,
        });
      }
    } catch (problem) {
      if (!watch.signal.aborted) {
        update({
          status: "FAILED",
          error: problem.status === 404 ? "The server does not know this job any more." : problem.message,
        });
      }
    }
  };

  const paint = (job) => {
    const over = api.isOver(job);
    stage.style.aspectRatio = ratioOf(job);
    running.hidden = over;
    empty.hidden = job.status === "COMPLETED" || !picture.hidden;
    empty.textContent = over
      ? "No clip was made."
      : job.input.preview
        ? "A first picture comes while denoising."
        : "The clip appears here.";
    state.textContent = over
      ? ends[job.status]
      : job.status === "IN_QUEUE"
        ? queued(job.progress)
        : (doing[job.progress?.stage] ?? "Starting");
    if (over) {
      paintEnd(job);
    } else {
      result.hide();
      paintProgress(job);
    }
    document.title = over || job.status === "IN_QUEUE" ? "HuMo" : `${Math.floor(100 * bar.position || 0)} % · HuMo`;
    // Screen readers hear of a new stage, and of every quarter of the long one.
    const quarter = over || job.progress?.stage !== "denoise" ? 0 : Math.floor(4 * bar.position || 0);
    const says = quarter > 0 ? `${state.textContent}, ${25 * quarter} percent.` : `${state.textContent}.`;
    if (says !== said) {
      said = says;
      announce(says);
    }
  };

  const paintProgress = (job) => {
    const { stage: now, step = 0, steps = 0, eta_s: eta, elapsed_s: elapsed } = job.progress ?? {};
    if (steps > 0) {
      bar.max = steps;
      bar.value = step;
    } else {
      bar.max = 1;
      bar.value = 0;
    }
    const place = stages.findIndex(([name]) => name === now);
    [...list.children].forEach((item, i) => {
      item.hidden = item.dataset.stage === "image" && job.input.mode === "TA";
      item.classList.toggle("past", place > i);
      if (place === i) {
        item.setAttribute("aria-current", "step");
      } else {
        item.removeAttribute("aria-current");
      }
    });
    const parts = [];
    if (steps > 1) {
      parts.push(now === "denoise" ? `Pass ${step} of ${steps}` : `${step} of ${steps}`);
    }
    if (eta > 0) {
      parts.push(`${duration(eta)} left of this stage`);
    } else if (elapsed > 0) {
      parts.push(`${duration(elapsed)} so far`);
    }
    rest.textContent = parts.join(" · ");
  };

  const paintEnd = (job) => {
    if (job.status === "COMPLETED" && job.output) {
      picture.hidden = true;
      result.show(stage, job);
      return;
    }
    result.hide();
    const details = job.output?.error?.detail ?? [];
    const why = details.length > 0 ? details.map((one) => one.message) : [job.error ?? "The job failed."];
    failure.replaceChildren(...why.map((one) => element("li", {}, one)));
    failure.hidden = job.status === "CANCELLED";
  };

  const showPreview = (data, step) => {
    picture.src = data;
    picture.alt = `The clip after ${plural(step, "step")}`;
    picture.hidden = false;
    empty.hidden = true;
  };

  const stop = async () => {
    cancel.disabled = true;
    rest.textContent = "Cancelling …";
    try {
      await api.cancel(shown);
    } catch (problem) {
      rest.textContent = problem.message;
      cancel.disabled = false;
    }
  };

  return { show, shown: () => shown };
}

function queued(progress) {
  const place = progress?.queue_position;
  return place > 1 ? `Waiting: ${plural(place - 1, "job")} ahead` : place === 1 ? "Waiting: next in line" : "Waiting";
}

function ratioOf({ input, output }) {
  const width = output?.width ?? input.width ?? 832;
  const height = output?.height ?? input.height ?? 480;
  return `${width} / ${height}`;
}
