// Talks to the server this page came from. Files go as they are, so the answer is the library's own.

const KEY = "braid-key";

export async function ask(path, fields) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value !== null && value !== undefined && value !== "") body.append(name, value);
  }
  const answer = await send(path, { method: "POST", body });
  return answer.results[0];
}

export const get = (path) => send(path, {});

async function send(path, options) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The server does not answer; is it still running?");
  }
  if (response.status === 401) {
    sessionStorage.setItem(KEY, await askForKey());
    return send(path, options);
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(sentence(answer.error?.message ?? `The server answers ${response.status}.`));
  return answer;
}

function askForKey() {
  const dialog = document.getElementById("key-dialog");
  const field = document.getElementById("key");
  field.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(field.value.trim()), { once: true });
  });
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
