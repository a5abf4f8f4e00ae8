// The token that an operator shows: asked for when the gateway says 401, kept for this tab only.

import { byId, text } from "./dom.js";

const WHY = {
  stats: "The state of the gateway is for its operators. Give the admin token, or a client token where there is no governance.",
  admin: "Faults are for operators. Give the admin token of this gateway.",
};

let asking = null;

const place = (realm) => `busbar-token-${realm}`;

/** The token to show there, or null. What opens /admin opens /stats, and often the other way round. */
export function remembered(realm) {
  const other = realm === "admin" ? "stats" : "admin";
  return sessionStorage.getItem(place(realm)) ?? sessionStorage.getItem(place(other));
}

/** Asks for another token than the one that was refused. False: nobody gave one. Whoever else wants one meanwhile
 *  waits for the same dialog. */
export function wanted(realm) {
  asking ??= ask(realm).finally(() => (asking = null));
  return asking;
}

function ask(realm) {
  const [dialog, input, error] = [byId("token"), byId("token-input"), byId("token-error")];
  const refused = remembered(realm) !== null;
  text(byId("token-why"), WHY[realm]);
  text(error, refused ? "The token that was given is not accepted here." : "");
  input.value = "";
  dialog.showModal();
  input.focus();
  return new Promise((done) => {
    byId("token-form").onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem(place(realm), input.value.trim());
      dialog.close("given");
    };
    byId("token-cancel").onclick = () => dialog.close("");
    dialog.onclose = () => {
      const given = dialog.returnValue === "given";
      dialog.returnValue = input.value = "";
      done(given);
    };
  });
}
