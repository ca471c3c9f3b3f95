// The page: the form on one side; on the other the clip, the same job for programs, and the history.
import * as api from "./api.js";
import { buildClip } from "./clip.js";
import { announce } from "./element.js";
import { buildEquivalent } from "./equivalent.js";
import { buildEstimate } from "./estimate.js";
import { buildForm } from "./form.js";
import { buildHistory } from "./history.js";
import { focusFirst, showProblems } from "./problems.js";
import { readSchema } from "./schema.js";
import { isKept } from "./upload.js";

const at = (id) => document.getElementById(id);

// everyStep: this page asks for a preview after each step, unless the visitor changes that; the contract's default is none.
const everyStep = 1;

async function open() {
  let schema, info;
  try {
    [schema, info] = await Promise.all([api.schema(), api.info()]);
  } catch (problem) {
    at("loading").textContent = problem.message;
    at("loading").classList.add("bad");
    return;
  }
  const facts = info.endpoint ?? {}; // variant, models, device, loras, negative_prompt: what the server chooses to say
  at("server").textContent = [`Version ${info.version}`, facts.device].filter(Boolean).join(" · ");

  let tried = false; // whether the visitor has tried to send: then what is missing is said, too
  const estimate = buildEstimate(at("bar"), (result, problems, filledIn) => {
    if (renew(problems)) {
      return;
    }
    const said = tried ? problems : problems.filter((problem) => !filledIn.some((name) => problem.field?.startsWith(name)));
    showSummary(showProblems(form, said));
    form.get("frames").saysLength(result?.frames, result?.duration_s);
  });
  // renew sends files again that the server has forgotten; once in a while, because one that keeps nothing would be sent them for
  // ever.
  let renewed = 0;
  const renew = (problems) => {
    if (!problems.some((problem) => problem.code === "upload_not_found") || Date.now() - renewed < 60_000) {
      return false;
    }
    renewed = Date.now();
    return form.renew();
  };
  const update = () => {
    const { input } = form.read();
    showSame(input, form.fileNames());
    estimate.refresh(form.read);
  };
  const form = buildForm(at("form"), readSchema(schema), facts, update);
  form.get("preview")?.write(everyStep);
  const showSame = buildEquivalent(at("same"));
  const history = buildHistory(at("history"), { open: (job) => look(job), reuse: (input) => reuse(input) });
  const clip = buildClip(at("clip"), {
    change: (job) => {
      if (api.isOver(job)) {
        history.refresh();
        showLate(job);
      }
    },
    again: (input) => again(input),
  });

  const look = (job) => {
    history.mark(job.id);
    clip.show(job.id, job);
    at("t-clip").focus({ preventScroll: true });
    at("clip").scrollIntoView({ block: "nearest" });
  };
  const submit = async (input) => {
    const id = await api.submit(input);
    await history.refresh();
    look({ id, status: "IN_QUEUE", input });
    return id;
  };
  // again makes another like one that was made: the same job without its seed.
  const again = async (made) => {
    const input = { ...made };
    delete input.seed;
    try {
      if (![input.audio, input.images ?? []].flat().every(isKept)) {
        throw new api.Failure(
          "The files of this job were sent inside it, and the server has not kept them: choose them in the form.",
        );
      }
      await submit(input);
    } catch (problem) {
      showSummary([problem.message]);
      at("summary").focus();
    }
  };
  const reuse = async (input) => {
    await form.write(input);
    announce("The settings are in the form.");
    at("form").querySelector("textarea").focus();
  };
  // showLate puts the error of a job that failed after it had begun at its field, if that job is still what the form shows.
  const showLate = (job) => {
    const details = job.output?.error?.detail ?? [];
    if (job.status === "FAILED" && details.length > 0 && job.id === sent.id && JSON.stringify(form.read().input) === sent.input) {
      showProblems(form, details);
    }
  };

  // checked is the job on screen, if nothing is wrong with it: a dry run says at once what the job would fail with later.
  const checked = async () => {
    await form.settled();
    const { input, problems } = form.read();
    if (problems.length > 0) {
      throw new api.Failure("Correct the marked fields.", 0, problems);
    }
    try {
      await api.estimate(input);
      return input;
    } catch (problem) {
      if (renew(problem.details ?? [])) {
        return checked();
      }
      throw problem;
    }
  };

  let sent = {}; // the job that the form sent last
  let sending = false;
  at("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (sending) {
      return;
    }
    sending = true;
    tried = true;
    estimate.submit.setAttribute("aria-disabled", "true");
    showSummary([]);
    try {
      const input = await checked();
      sent = { id: await submit(input), input: JSON.stringify(input) };
      tried = false;
    } catch (problem) {
      const rest = showProblems(form, problem.details ?? []);
      showSummary(problem.details?.length > 0 ? rest : [problem.message]);
      if (!focusFirst(form)) {
        at("summary").focus();
      }
    } finally {
      sending = false;
      estimate.submit.removeAttribute("aria-disabled");
    }
  });

  at("loading").hidden = true;
  at("form").hidden = false;
  at("side").hidden = false;
  update();
  // What was going on before the page was loaded again, or else the newest clip, is looked at.
  const jobs = await history.refresh();
  const first = jobs.findLast((job) => job.status === "IN_PROGRESS") ?? jobs[0];
  if (first && !clip.shown()) {
    history.mark(first.id);
    clip.show(first.id, first);
  }
}

function showSummary(sentences) {
  at("summary").textContent = sentences.join(" ");
  at("summary").hidden = sentences.length === 0;
}

open();
