/** The HTTP API of the studio; every failure is an Error whose message is meant for the user. */

const unreachable = "The studio does not answer. Is it still running?";

async function call(method, path) {
  let response;
  try {
    response = await fetch(`api/${path}`, { method });
  } catch {
    throw new Error(unreachable);
  }
  if (!response.ok) throw new Error(await problem(response));
  return response.status === 204 ? null : response.json();
}

async function problem(response) {
  try {
    return (await response.json()).detail;
  } catch {
    return `The studio answered ${response.status} ${response.statusText}`;
  }
}

const query = (values) =>
  new URLSearchParams(Object.entries(values).filter(([, value]) => value !== null && value !== undefined));

export const getModels = () => call("GET", "models");
export const getLimits = () => call("GET", "limits");
export const createExample = (model) => call("POST", `jobs/example?${query({ model })}`);
export const separateAgain = (id, model) => call("POST", `jobs/${id}/again?${query({ model })}`);
export const cancelJob = (id) => call("POST", `jobs/${id}/cancel`);
export const deleteJob = (id) => call("DELETE", `jobs/${id}`);
export const getPicture = (id, track) => call("GET", `jobs/${id}/pictures/${track}`);
export const getDifferencePicture = (id, other, stem) =>
  call("GET", `jobs/${id}/differences/${other}/${stem}/picture`);
export const stemUrl = (id, stem, format) => `api/jobs/${id}/stems/${stem}?${query({ format })}`;
export const mixUrl = (id, levels, format) => `api/jobs/${id}/mix?${query({ ...levels, format })}`;
export const differenceUrl = (id, other, stem, format) =>
  `api/jobs/${id}/differences/${other}/${stem}?${query({ format })}`;

/** Send a file as the body of a request; `onProgress` is called with the part sent, 0 to 1. */
function send(method, path, file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // fetch cannot tell how much was sent
    request.open(method, `api/${path}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (event) => onProgress(event.loaded / event.total);
    request.onerror = () => reject(new Error(unreachable));
    request.onload = () => {
      if (request.status < 300) resolve(request.response);
      else reject(new Error(request.response?.detail ?? `The studio answered ${request.status}`));
    };
    request.send(file);
  });
}

export const createJob = (file, model, onProgress) =>
  send("POST", `jobs?${query({ name: file.name.slice(-300), model })}`, file, onProgress);
export const putReference = (id, stem, file) => send("PUT", `jobs/${id}/references/${stem}`, file, () => {});

/** Have a download made, and then let the browser save it. Returns how many of its samples were clipped. */
export async function download(url) {
  let response;
  try {
    response = await fetch(url, { headers: { range: "bytes=0-0" } });
  } catch {
    throw new Error(unreachable);
  }
  if (!response.ok) throw new Error(await problem(response));
  const link = document.createElement("a");
  link.href = url;
  link.download = "";
  document.body.append(link);
  link.click();
  link.remove();
  return Number(response.headers.get("x-clipped-samples"));
}

/** Listen to what changes about jobs while the page is shown: a browser opens six connections, all tabs together. */
export function listen(handlers) {
  let source = null;
  const follow = () => {
    source?.close();
    source = document.hidden ? null : connect(handlers);
  };
  document.addEventListener("visibilitychange", follow);
  follow();
}

function connect({ onJob, onDeleted, onReady, onConnection }) {
  const source = new EventSource("api/events");
  source.addEventListener("job", (event) => onJob(JSON.parse(event.data)));
  source.addEventListener("deleted", (event) => onDeleted(JSON.parse(event.data).id));
  source.addEventListener("ready", onReady);
  source.onopen = () => onConnection(true);
  source.onerror = () => onConnection(false);
  return source;
}
