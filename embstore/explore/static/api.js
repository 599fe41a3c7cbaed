// Requests to the server. An aborted request stops the computation there.

export class ApiError extends Error {}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer: embstore explore has ended. Start it again, and open the URL that it prints.");
  }
  if (response.ok) return response;
  const text = await response.text();
  let message = text;
  try { message = JSON.parse(text).error; } catch { /* a plain text says it */ }
  throw new ApiError(message || `The server answers ${response.status}.`);
}

export async function get(path, parameters = {}, signal = undefined) {
  const query = new URLSearchParams(parameters).toString();
  return (await request(query ? `${path}?${query}` : path, { signal })).json();
}

export async function getBytes(path, parameters, signal) {
  return (await request(`${path}?${new URLSearchParams(parameters)}`, { signal })).arrayBuffer();
}

export async function post(path, body, signal) {
  const headers = { "content-type": "application/json" };
  return (await request(path, { method: "POST", headers, body: JSON.stringify(body), signal })).json();
}
