// How numbers are said. All words of the page are English, so are its numbers.

const whole = new Intl.NumberFormat("en");

export function count(n) {
  return whole.format(n);
}

// plural is "1 step" or "2 steps".
export function plural(n, word, words = word + "s") {
  return `${count(n)} ${n === 1 ? word : words}`;
}

// duration is a time that one waits: "8 s", "3 min 20 s", "2 h 5 min", "3 days".
export function duration(seconds) {
  if (!(seconds >= 0) || !Number.isFinite(seconds)) {
    return "–";
  }
  if (seconds < 1) {
    return "under 1 s";
  }
  const s = Math.round(seconds);
  if (s < 60) {
    return `${s} s`;
  }
  if (s < 3600) {
    return s % 60 === 0 || s >= 600 ? `${Math.round(s / 60)} min` : `${Math.floor(s / 60)} min ${s % 60} s`;
  }
  const minutes = Math.round(s / 60);
  if (minutes < 48 * 60) {
    return minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  }
  return `${count(Math.round(minutes / 1440))} days`;
}

// length is that of a clip or sound: "3.88 s", "1:05.2".
export function length(seconds) {
  if (!Number.isFinite(seconds)) {
    return "–";
  }
  if (seconds < 60) {
    return `${Number(seconds.toFixed(2))} s`;
  }
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - minutes * 60).toFixed(1).padStart(4, "0")}`;
}

// money is an amount of dollars to two digits that say something.
export function money(dollars) {
  if (!Number.isFinite(dollars)) {
    return "–";
  }
  if (dollars > 0 && dollars < 0.001) {
    return "Under $0.001";
  }
  return "$" + (dollars < 0.1 ? dollars.toFixed(3) : dollars < 100 ? dollars.toFixed(2) : whole.format(Math.round(dollars)));
}

export function bytes(n) {
  if (n < 1e3) {
    return `${n} B`;
  }
  return n < 1e6 ? `${Math.round(n / 1e3)} kB` : `${(n / 1e6).toFixed(n < 1e7 ? 1 : 0)} MB`;
}

// ago is a past time as one says it; older than a day it is a date.
export function ago(time, now = Date.now()) {
  const seconds = (now - new Date(time).getTime()) / 1000;
  if (!Number.isFinite(seconds)) {
    return "";
  }
  if (seconds < 45) {
    return "just now";
  }
  if (seconds < 86400) {
    const minutes = Math.max(1, Math.round(seconds / 60));
    return minutes < 60 ? `${minutes} min ago` : `${Math.round(minutes / 60)} h ago`;
  }
  return new Date(time).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
}
