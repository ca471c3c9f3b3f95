// The microphone. What comes out is what this browser records in (WebM or MP4); the server reads both.
import { announce, element, icon } from "./element.js";

// buildRecorder is the button that starts and ends a recording, with its time and loudness.
export function buildRecorder(onRecorded, onRefused) {
  const impossible = cannotRecord();
  const says = element("span", {}, "Record your voice");
  const level = element("meter", { min: 0, max: 1, value: 0, "aria-label": "Loudness", hidden: true });
  const button = element("button", { type: "button", class: "button", disabled: impossible !== "" }, icon("microphone"), says);
  const root = element(
    "div",
    { class: "panel record" },
    button,
    level,
    element("p", { class: "hint" }, impossible || "It is sent to this server when you stop."),
  );
  let running = null; // what startRecording returned
  let asked = null; // what for the microphone is being asked; the visitor may go elsewhere meanwhile
  const follow = (since) => {
    if (running) {
      level.value = running.level();
      says.textContent = `Stop (${((Date.now() - since) / 1000).toFixed(0)} s)`;
      requestAnimationFrame(() => follow(since));
    }
  };
  const idle = () => {
    running = null;
    level.hidden = true;
    button.classList.remove("live");
    button.replaceChildren(icon("microphone"), says);
    says.textContent = "Record your voice";
  };
  button.addEventListener("click", async () => {
    if (running) {
      const recorder = running;
      idle();
      onRecorded(await recorder.stop());
      return;
    }
    if (asked) {
      return;
    }
    const question = (asked = {}); // an answer to an older one is not wanted any more
    let recorder;
    try {
      recorder = await startRecording();
    } catch (cause) {
      onRefused(refusal(cause));
    }
    if (asked !== question || !recorder) {
      recorder?.cancel();
      asked = asked === question ? null : asked;
      return;
    }
    asked = null;
    running = recorder;
    level.hidden = false;
    button.classList.add("live");
    button.replaceChildren(icon("stop"), says);
    announce("Recording.");
    follow(Date.now());
  });
  return {
    root,
    focus: () => button.focus(),
    cancel: () => {
      asked = null;
      running?.cancel();
      idle();
    },
  };
}

// cannotRecord says why there is no recording here, or nothing.
function cannotRecord() {
  if (!window.isSecureContext) {
    return "Browsers give the microphone only to pages from https:// or localhost.";
  }
  return navigator.mediaDevices && window.MediaRecorder ? "" : "This browser cannot record.";
}

// startRecording asks for the microphone and returns {stop() → file, level() → 0…1, cancel()}.
async function startRecording() {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  const type = ["audio/webm;codecs=opus", "audio/mp4"].find((one) => MediaRecorder.isTypeSupported(one));
  const recorder = new MediaRecorder(stream, type ? { mimeType: type } : {});
  const parts = [];
  recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
  const ended = new Promise((resolve) => recorder.addEventListener("stop", resolve, { once: true }));

  const context = new AudioContext();
  const meter = context.createAnalyser();
  meter.fftSize = 1024;
  context.createMediaStreamSource(stream).connect(meter);
  const samples = new Float32Array(meter.fftSize);
  recorder.start(1000);

  const close = () => {
    if (recorder.state !== "inactive") {
      recorder.stop();
    }
    stream.getTracks().forEach((track) => track.stop());
    context.close();
  };
  return {
    level() {
      meter.getFloatTimeDomainData(samples);
      return Math.min(1, Math.max(...samples.map(Math.abs)));
    },
    cancel: close,
    async stop() {
      close();
      await ended;
      const kind = recorder.mimeType.split(";")[0] || "audio/webm";
      const suffix = kind.includes("mp4") ? "m4a" : kind.includes("ogg") ? "ogg" : "webm";
      return new File(parts, `recording.${suffix}`, { type: kind });
    },
  };
}

// refusal says why the microphone was not given.
function refusal(cause) {
  switch (cause.name) {
    case "NotAllowedError":
      return "The microphone was not allowed. Allow it in the browser's address bar, then try again.";
    case "NotFoundError":
      return "There is no microphone. Connect one, or choose a file.";
    default:
      return `The microphone cannot be used: ${cause.message}`;
  }
}
