// Talks to the server. Every refusal is an Error whose message is the server's own sentence.

async function ask(method, path, body, headers = {}) {
  const raw = body instanceof Blob || body instanceof ArrayBuffer;
  const answer = await fetch(path, {
    method,
    headers: body === undefined || raw ? headers : { "Content-Type": "application/json", ...headers },
    body: body === undefined || raw ? body : JSON.stringify(body),
  }).catch(() => {
    throw new Error("The server does not answer. Is flowmusic studio still running?");
  });
  const kind = answer.headers.get("content-type") ?? "";
  const value = kind.includes("json") ? await answer.json() : await answer.text();
  if (!answer.ok) throw new Error(value?.error ?? `${method} ${path}: ${answer.status} ${answer.statusText}`);
  return value;
}

const id = encodeURIComponent;

export const about = () => ask("GET", "/api/about");
export const session = () => ask("GET", "/api/session");
export const saveSession = (patch) => ask("PATCH", "/api/session", patch);
export const upload = (name, bytes) => ask("POST", `/api/uploads?name=${id(name)}`, bytes);
export const readLane = (role, text) => ask("POST", "/api/lanes/read", { role, text });
export const jobs = () => ask("GET", "/api/jobs");
export const startJob = (job) => ask("POST", "/api/jobs", job);
export const cancelJob = (job) => ask("DELETE", `/api/jobs/${id(job)}`);
export const changeTake = (take, patch) => ask("PATCH", `/api/takes/${id(take)}`, patch);
export const deleteUpload = (upload) => ask("DELETE", `/api/uploads/${id(upload)}`);
export const restoreUpload = (upload) => ask("POST", `/api/uploads/${id(upload)}/restore`);
export const deleteTake = (take) => ask("DELETE", `/api/takes/${id(take)}`);
export const restoreTake = (take) => ask("POST", `/api/takes/${id(take)}/restore`);
export const peaks = (take, n = 2000) => ask("GET", `/api/takes/${id(take)}/peaks?n=${n}`);
export const heard = (take) => ask("GET", `/api/takes/${id(take)}/heard`);
export const asked = (take) => ask("GET", `/api/takes/${id(take)}/asked`);
export const curve = (upload) => ask("GET", `/api/uploads/${id(upload)}/curve`);
export const command = (take) => ask("GET", `/api/takes/${id(take)}/command`);

/** Address of something of a take: "audio?format=flac", "plot", "midi?of=asked". */
export const takeUrl = (take, what) => `/api/takes/${id(take)}/${what}`;

/** Follows the server's events; the browser connects again by itself. */
export function follow(handlers, onState) {
  const source = new EventSource("/api/events");
  for (const [kind, handle] of Object.entries(handlers)) {
    source.addEventListener(kind, (event) => handle(JSON.parse(event.data)));
  }
  source.addEventListener("open", () => onState(true));
  source.addEventListener("error", () => onState(false));
  return source;
}
