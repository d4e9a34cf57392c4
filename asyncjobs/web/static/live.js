// Refreshes the page while it is looked at; without it, everything can be read and done all the same.
(() => {
  "use strict";
  const main = document.getElementById("main");
  const button = document.getElementById("pause");
  const state = document.getElementById("live");
  if (!main || !button || !main.hasAttribute("data-every")) return;
  const every = Number(main.getAttribute("data-every")) * 1000;
  let paused = false;
  let busy = false;
  let begun = 0;
  let notBefore = 0;
  try { paused = localStorage.getItem("asyncjobs.paused") === "1"; } catch { /* storage is off */ }

  function show(text) {
    if (state.textContent !== text) state.textContent = text;
  }

  function shown() {
    button.hidden = false;
    button.textContent = paused ? "Refresh again" : "Stop refresh";
    button.setAttribute("aria-pressed", String(paused));
    show(paused ? "paused" : "live");
  }

  button.addEventListener("click", () => {
    paused = !paused;
    try { localStorage.setItem("asyncjobs.paused", paused ? "1" : "0"); } catch { /* storage is off */ }
    shown();
    if (!paused) refresh();
  });

  // A field that somebody writes in, or boxes that somebody has checked, are left as they are.
  function isUsed() {
    const at = document.activeElement;
    if (at && main.contains(at) && at.matches("input:not([type=checkbox]), textarea, select")) return true;
    return main.querySelector("input[type=checkbox]:checked") !== null || String(getSelection()).length > 0;
  }

  function refresh() {
    if (paused || busy || document.hidden || Date.now() < notBefore) return;
    if (isUsed()) return show("holds still");
    htmx.trigger(main, "refresh");
  }

  document.addEventListener("htmx:before:request", () => { busy = true; begun = Date.now(); });
  // What takes long is asked for more rarely: to look on is to take a tenth of the time at most.
  document.addEventListener("htmx:finally:request", () => {
    busy = false;
    notBefore = Date.now() + 10 * (Date.now() - begun) - 2 * every;
  });
  document.addEventListener("htmx:error", () => show("no answer"));
  document.addEventListener("htmx:after:request", (event) => {
    const status = event.detail?.ctx?.response?.raw?.status;
    if (status !== undefined) show(status >= 400 ? "no answer" : paused ? "paused" : "live");
  });
  document.addEventListener("visibilitychange", refresh);

  // All boxes of a table at once.
  document.addEventListener("change", (event) => {
    const all = event.target;
    if (!all.matches || !all.matches("[data-all]")) return;
    for (const box of all.closest("table").querySelectorAll("input[type=checkbox]")) box.checked = all.checked;
  });
  shown();
  setInterval(refresh, every);
})();
