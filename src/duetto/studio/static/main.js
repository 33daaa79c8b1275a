/** The page: songs in, the list of songs, and the one that is open. */

import { createExample, createJob, getLimits, getModels, listen } from "./api.js";
import { Desk } from "./desk.js";
import { h, remembered } from "./dom.js";
import { ModelChoice } from "./models.js";
import { Songs } from "./songs.js";
import { Waiting } from "./waiting.js";

const $ = (id) => document.getElementById(id);
const jobs = new Map();
const choice = new ModelChoice();
const songs = new Songs($("songs"), attempt);
const theme = remembered("theme", document.documentElement.dataset.theme);
let open = null; // {key, view}

function say(text) {
  $("message").textContent = text;
  $("message").hidden = !text;
  if (text) $("message").scrollIntoView({ block: "nearest" });
}

async function attempt(action) {
  say("");
  try {
    return await action();
  } catch (error) {
    say(error.message);
    return null;
  }
}

/** Upload files one after the other; the first one is opened. */
async function upload(files) {
  say("");
  for (const [index, file] of [...files].entries()) {
    const bar = h("progress", { max: 1, value: 0, "aria-label": "Upload" });
    const row = h("p", { class: "upload" }, `Sending ${file.name}`, bar);
    $("start").append(row);
    try {
      const job = await createJob(file, choice.value, (part) => {
        bar.value = part;
      });
      if (index === 0) location.hash = job.id;
    } catch (error) {
      say(error.message);
    }
    row.remove();
  }
}

/** Show what the address names: nothing, a job, or two that are compared. */
function show() {
  const [job, other] = location.hash
    .slice(1)
    .split("+")
    .map((id) => jobs.get(id) ?? null);
  const waiting = [job, other].find((each) => each && each.state !== "done");
  const shown = job ? (waiting ? [waiting] : [job, other].filter(Boolean)) : [];
  const key = [...shown.map(({ id }) => id), Boolean(waiting)].join();
  if (open?.key !== key) {
    open?.view?.close();
    const view = viewOf(job, other ?? null, waiting);
    $("desk").replaceChildren(...(view ? [view.element] : []));
    open = { key, view };
    window.studio = view; // for the tests, and for those who look inside
  }
  document.body.classList.toggle("has-song", Boolean(job));
  document.title = job ? `${job.name} – Duetto studio` : "Duetto studio";
  songs.markOpen(job?.id);
}

function viewOf(job, other, waiting) {
  if (!job) return null;
  if (waiting) return new Waiting(waiting, say);
  return new Desk(job, other, { jobs, models: choice.models, say });
}

function forget(id) {
  jobs.delete(id);
  songs.remove(id);
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  $("theme").textContent = name === "dark" ? "Light" : "Dark";
  $("theme").setAttribute("aria-label", `Switch to the ${name === "dark" ? "light" : "dark"} colours`);
  open?.view?.tracks?.draw();
}

function listenToDrops() {
  let depth = 0; // of entered elements
  const drag = (event, change) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    depth = Math.max(0, depth + change);
    document.body.classList.toggle("dragging", depth > 0);
  };
  addEventListener("dragenter", (event) => drag(event, 1));
  addEventListener("dragleave", (event) => drag(event, -1));
  addEventListener("dragover", (event) => drag(event, 0));
  addEventListener("drop", (event) => {
    drag(event, -depth);
    if (event.dataTransfer.files.length) upload(event.dataTransfer.files);
  });
}

function listenToKeys() {
  addEventListener("keydown", (event) => {
    const { target, key, ctrlKey, metaKey, altKey } = event;
    if (
      ctrlKey ||
      metaKey ||
      altKey ||
      target.closest("select, input:not([type=range]):not([type=radio]), textarea")
    )
      return;
    const isOwn = target.matches("input")
      ? key.startsWith("Arrow") || key === "Home" || key === "End"
      : target.matches("button, summary, a") && key === " ";
    if (!isOwn && open?.view?.press(key)) event.preventDefault();
  });
}

function start() {
  setTheme(theme.get());
  $("theme").onclick = () => {
    theme.set(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    setTheme(theme.get());
  };
  $("model").replaceWith(choice.element);
  $("choose").onclick = () => $("file").click();
  $("file").onchange = async () => {
    await upload($("file").files);
    $("file").value = "";
  };
  $("example").onclick = () =>
    attempt(async () => {
      location.hash = (await createExample(choice.value)).id;
    });
  addEventListener("hashchange", () => {
    say("");
    show();
  });
  listenToDrops();
  listenToKeys();
  let told = new Set(); // jobs that this connection told of; after a restart some may be gone
  listen({
    onJob: (job) => {
      told.add(job.id);
      jobs.set(job.id, job);
      songs.update(job);
      show();
      open?.view?.update?.(job);
    },
    onDeleted: (id) => {
      forget(id);
      show();
    },
    onReady: () => {
      for (const id of [...jobs.keys()]) if (!told.has(id)) forget(id);
      show();
    },
    onConnection: (isOpen) => {
      told = new Set();
      document.body.classList.toggle("offline", !isOpen);
    },
  });
  attempt(async () => {
    choice.models = await getModels();
    show();
  });
  attempt(async () => {
    const { max_upload_bytes: bytes, max_seconds: seconds } = await getLimits();
    $("limits").textContent =
      `WAV, FLAC, MP3, Ogg, Opus, AIFF and, with FFmpeg, M4A and films; up to ${Math.round(bytes / 2 ** 20)} MiB and ${Math.round(seconds / 60)} minutes.`;
  });
}

start();
