// A file on its way to the server. Each is sent once, when it is picked; jobs name it by the source that the server gives.
import { upload } from "./api.js";

// Upload is a picked file, or a source that needs none (a link, an upload of an earlier job).
export class Upload {
  #stop = new AbortController();

  constructor(file, source = "") {
    this.file = file;
    this.source = source;
    this.failure = null;
    this.done = Promise.resolve();
  }

  // send starts the way, unless the server has the file. done is resolved when it has ended, well or not: then there is a
  // source or a failure.
  send(onEnd) {
    if (this.source !== "") {
      return onEnd();
    }
    this.failure = null;
    this.#stop = new AbortController();
    this.done = upload(this.file, this.file.name, this.#stop.signal).then(
      (source) => {
        this.source = source;
        onEnd();
      },
      (failure) => {
        if (!this.#stop.signal.aborted) {
          this.failure = failure;
          onEnd();
        }
      },
    );
  }

  // sendAgain is for a file that the server has forgotten.
  sendAgain(onEnd) {
    this.source = "";
    this.send(onEnd);
  }

  cancel() {
    this.#stop.abort();
  }
}

// isLink tells a source that the server will fetch, and that this page may not: it loads nothing from elsewhere.
export function isLink(source) {
  return /^https?:/i.test(source);
}

// isKept tells a source that can be used again: of a file that was sent inside its job, a server keeps the beginning at most.
export function isKept(source) {
  return typeof source === "string" && !source.endsWith("…");
}

// nameOf is what to call a source.
export function nameOf(source) {
  if (isLink(source)) {
    try {
      const { host, pathname } = new URL(source);
      return `${host}/…/${decodeURIComponent(pathname.split("/").pop())}`.replace("/…//", "/");
    } catch {
      return source;
    }
  }
  return source.startsWith("data:") ? "embedded file" : source;
}

// dropTarget lets files be dropped on an element.
export function dropTarget(target, onFiles) {
  const isFile = (event) => event.dataTransfer?.types.includes("Files");
  target.addEventListener("dragover", (event) => {
    if (isFile(event)) {
      event.preventDefault();
      target.classList.add("over");
    }
  });
  target.addEventListener("dragleave", () => target.classList.remove("over"));
  target.addEventListener("drop", (event) => {
    target.classList.remove("over");
    if (isFile(event) && event.dataTransfer.files.length > 0) {
      event.preventDefault();
      onFiles([...event.dataTransfer.files]);
    }
  });
}
