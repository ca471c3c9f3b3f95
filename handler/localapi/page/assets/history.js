// The jobs that this server still knows, newest first.
import * as api from "./api.js";
import { element, icon } from "./element.js";
import { ago, duration, length } from "./words.js";

const every = 4000; // ms between looks while a job is not over, or the page has just come back

const states = {
  IN_QUEUE: "Waiting",
  IN_PROGRESS: "Running",
  COMPLETED: "Done",
  FAILED: "Failed",
  CANCELLED: "Cancelled",
  TIMED_OUT: "Ran out of time",
};

// buildHistory fills the panel. on.open(job) shows a job, on.reuse(input) puts its settings into the form.
export function buildHistory(panel, on) {
  const empty = element("p", { class: "quiet" }, "Jobs of this server are listed here until half an hour after their end.");
  const list = element("ul", { class: "jobs" });
  panel.append(empty, list);
  const rows = new Map(); // id → row
  let open = "";
  let timer = 0;

  // refresh asks the server, and again as long as something goes on.
  const refresh = async () => {
    clearTimeout(timer);
    try {
      const jobs = (await api.jobs()).filter((job) => !job.input?.dry_run);
      show(jobs);
      if (jobs.some((job) => !api.isOver(job))) {
        timer = setTimeout(refresh, every);
      }
      return jobs;
    } catch {
      timer = setTimeout(refresh, 2 * every);
      return [];
    }
  };
  const show = (jobs) => {
    empty.hidden = jobs.length > 0;
    const known = new Set(jobs.map((job) => job.id));
    for (const [id, row] of rows) {
      if (!known.has(id)) {
        row.root.remove();
        rows.delete(id);
      }
    }
    jobs.forEach((job, place) => {
      const row = rows.get(job.id) ?? buildRow(job, on);
      rows.set(job.id, row);
      row.update(job, job.id === open);
      if (list.children[place] !== row.root) {
        list.insertBefore(row.root, list.children[place] ?? null);
      }
    });
  };
  document.addEventListener("visibilitychange", () => document.hidden || refresh());
  return {
    refresh,
    // mark says which job is looked at.
    mark(id) {
      open = id;
      for (const [one, row] of rows) {
        row.mark(one === id);
      }
    },
  };
}

// buildRow is one job: a button that opens it, and one that uses its settings again.
function buildRow(job, on) {
  let newest = job;
  const picture = element("div", { class: "job-picture", "aria-hidden": "true" });
  const title = element("span", { class: "job-title" });
  const line = element("span", { class: "job-line" });
  const state = element("span", { class: "job-state" });
  const show = element(
    "button",
    { type: "button", class: "job-open", onclick: () => on.open(newest) },
    picture,
    element("span", { class: "job-text" }, title, element("span", { class: "job-sub" }, state, line)),
  );
  const reuse = element(
    "button",
    { type: "button", class: "icon-button", title: "Use these settings", onclick: () => on.reuse(newest.input) },
    icon("settings"),
  );
  const root = element("li", { class: "job" }, show, reuse);
  return {
    root,
    mark: (isOpen) => show.setAttribute("aria-current", isOpen ? "true" : "false"),
    update(now, isOpen) {
      newest = now;
      title.textContent = now.input?.prompt ?? now.id;
      reuse.setAttribute("aria-label", `Use the settings of: ${title.textContent.slice(0, 60)}`);
      state.textContent = states[now.status] ?? now.status;
      state.dataset.state = now.status;
      line.textContent = describe(now);
      this.mark(isOpen);
      if (now.status === "COMPLETED" && !picture.firstChild && now.output?.video_url) {
        picture.append(
          element("video", {
            src: api.here(now.output.video_url) + "#t=0.1",
            muted: true,
            preload: "metadata",
            tabindex: "-1",
            playsinline: true,
          }),
        );
      }
    },
  };
}

function describe({ input, output, executionTime, created_at: created }) {
  const { width, height } = output?.width ? output : (input ?? {});
  const size = width && height ? `${width} × ${height}` : "";
  return [
    output?.variant ?? input?.variant,
    size,
    output?.duration_s > 0 ? length(output.duration_s) : "",
    output?.video_url && executionTime > 0 ? `made in ${duration(executionTime / 1000)}` : "",
    created ? ago(created) : "",
  ]
    .filter(Boolean)
    .join(" · ");
}
