// Asking the gateway. Addresses are relative to the page's, so that a proxy in front may add a prefix.

import { remembered, wanted } from "./token.js";

export const at = (path) => new URL(`../${path}`, document.baseURI);

/** The headers that show the token of `/stats` ("stats") or of `/admin` ("admin"). */
export function authorization(realm) {
  const token = remembered(realm);
  return token ? { authorization: `Bearer ${token}` } : {};
}

/** Raised with what the gateway said; `status` 0: it could not be reached, 401: nobody gave a token. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** An answer's JSON, or null when it has no body. Asks for a token as often as one is wanted, until somebody gives up.
 *  `quiet`: asks nobody. */
export async function call(method, path, { body = null, realm = "stats", quiet = false } = {}) {
  for (;;) {
    const headers = { ...authorization(realm), ...(body === null ? {} : { "content-type": "application/json" }) };
    let response;
    try {
      response = await fetch(at(path), { method, headers, cache: "no-store", body: body && JSON.stringify(body) });
    } catch {
      throw new Refused(0, "The gateway cannot be reached.");
    }
    if (response.ok) return response.status === 204 ? null : response.json();
    const message = await said(response);
    if (response.status !== 401 || quiet || !(await wanted(realm))) throw new Refused(response.status, message);
  }
}

/** The message of an error in any of the dialects, or the status. */
export async function said(response) {
  try {
    const document = await response.json();
    return String(document.error?.message ?? document.message ?? response.statusText);
  } catch {
    return `The gateway answered ${response.status}.`;
  }
}
