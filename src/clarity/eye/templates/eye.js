"use strict";
(() => {
  const deck = JSON.parse(document.getElementById("deck").textContent);
  const pairs = deck.pairs;
  const byId = (id) => document.getElementById(id);
  const store = "clarity-eye:" + deck.key;
  const choices = [...document.querySelectorAll("[data-choice]")];
  const sides = ["left", "middle", "right"].filter((side) => byId("picture-" + side));
  const fresh = () => ({ looker: "", answers: {} });
  let state = fresh();
  let at = 0;
  let kept = true; // whether this browser keeps what is answered
  let unsaved = false;

  function load() {
    try {
      const found = JSON.parse(localStorage.getItem(store));
      if (found && typeof found.answers === "object" && found.answers) state = found;
    } catch {
      kept = false;
    }
  }
  function keep() {
    try {
      localStorage.setItem(store, JSON.stringify(state));
    } catch {
      kept = false;
    }
    const warning = byId("warning");
    warning.hidden = kept;
    if (!kept) warning.textContent = "This browser keeps no answers: save them before you close the page.";
  }

  // A whole number of the screen's own pixels to a pixel, whatever the zoom and the density.
  function fit() {
    const density = window.devicePixelRatio || 1;
    const first = byId("picture-left");
    const [wide, high] = deck.size;
    const style = getComputedStyle(document.querySelector(".stage"));
    const columns = style.gridTemplateColumns.split(" ").length;
    const rows = sides.length > columns ? 2 : 1;
    const inner = document.querySelector(".stage").clientWidth - 2 * parseFloat(style.paddingLeft);
    const frame = first.parentElement;
    const edge = frame.offsetWidth - frame.clientWidth + 2 * parseFloat(getComputedStyle(frame).paddingLeft);
    const room = (inner - (columns - 1) * parseFloat(style.columnGap)) / columns - edge;
    // All in view without scrolling, but never smaller than twice, however tall a column is.
    const height = Math.max(2 * high, (window.innerHeight * 0.62) / rows);
    const most = Math.min((room * density) / wide, (height * density) / high, (320 * density) / wide);
    const times = Math.max(1, Math.floor(most + 1e-6));
    for (const side of sides) {
      byId("picture-" + side).style.width = (wide * times) / density + "px";
      byId("picture-" + side).style.height = (high * times) / density + "px";
    }
    document.documentElement.dataset.times = times;
  }
  function watchDensity() {
    matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`).addEventListener(
      "change", () => { fit(); watchDensity(); }, { once: true });
  }

  const answered = () => pairs.filter((_, place) => state.answers[place + 1]).length;
  function show(say) {
    const ended = at >= pairs.length;
    byId("look").hidden = ended;
    byId("end").hidden = !ended;
    byId("back").disabled = at === 0;
    byId("forward").disabled = ended || !state.answers[at + 1];
    byId("progress").max = pairs.length;
    byId("progress").value = answered();
    byId("place").textContent = ended
      ? `${answered()} of ${pairs.length} answered`
      : `Pair ${at + 1} of ${pairs.length}`;
    if (ended) {
      const of = (choice) => Object.values(state.answers).filter((value) => value === choice).length;
      byId("counts").textContent =
        `${of("left")} left, ${of("right")} right, ${of("cannot tell")} cannot tell.`;
      byId("end-title").focus();
    } else {
      for (const side of sides) byId("picture-" + side).src = deck.prefix + pairs[at][side];
      for (const button of choices)
        button.setAttribute("aria-pressed", String(state.answers[at + 1] === button.dataset.choice));
      fit();
    }
    byId("said").textContent = say || "";
  }
  function choose(choice) {
    if (at >= pairs.length) return;
    state.answers[at + 1] = choice;
    unsaved = true;
    keep();
    const last = at + 1;
    at = last;
    // After going back, on to what is still open; at the end back to a pair that was passed over.
    if (at === pairs.length && answered() < pairs.length)
      at = pairs.findIndex((_, place) => !state.answers[place + 1]);
    show(`Pair ${last}: ${choice}.` + (at < pairs.length ? ` Now pair ${at + 1} of ${pairs.length}.` : " That was the last."));
  }
  function back() {
    if (at > 0) { at -= 1; show(`Back at pair ${at + 1}: ${state.answers[at + 1] || "no answer yet"}.`); }
  }
  function forward() {
    if (at < pairs.length && state.answers[at + 1]) { at += 1; show(""); }
  }

  const cell = (text) => (/[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text);
  function save(event) {
    event.preventDefault();
    if (!answered()) { byId("said").textContent = "Nothing is answered yet."; return; }
    const lines = [deck.columns.join(",")];
    pairs.forEach((pair, place) => {
      const choice = state.answers[place + 1];
      if (choice) lines.push([state.looker.trim(), place + 1, pair.pair, choice, deck.deck].map(String).map(cell).join(","));
    });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
    const who = state.looker.trim().toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "");
    link.download = `eye-${deck.key}${who ? "-" + who : ""}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    unsaved = false;
    byId("said").textContent = `${answered()} answers saved as ${link.download}.`;
  }
  function anew() {
    if (answered() && !confirm("Forget every answer on this page? Save them first if they are wanted.")) return;
    state = fresh();
    unsaved = false;
    keep();
    byId("looker").value = "";
    at = 0;
    show("Everything is forgotten. Pair 1.");
  }

  const keys = {
    ArrowLeft: () => choose("left"), ArrowRight: () => choose("right"),
    ArrowDown: () => choose("cannot tell"), " ": () => choose("cannot tell"),
    ArrowUp: back, Backspace: back,
  };
  document.addEventListener("keydown", (event) => {
    const action = keys[event.key];
    const where = event.target;
    if (!action || event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    if (where.matches("input, textarea") || (event.key === " " && where.matches("button"))) return;
    event.preventDefault();
    // A key held down answers one pair, not all.
    if (!event.repeat) action();
  });
  for (const button of choices) button.addEventListener("click", () => choose(button.dataset.choice));
  byId("back").addEventListener("click", back);
  byId("forward").addEventListener("click", forward);
  byId("anew").addEventListener("click", anew);
  byId("keep").addEventListener("submit", save);
  byId("looker").addEventListener("input", (event) => { state.looker = event.target.value; keep(); });
  window.addEventListener("resize", fit);
  // The page may be open twice: what the other one answered counts here too.
  window.addEventListener("storage", (event) => { if (event.key === store) { load(); show(""); } });
  window.addEventListener("beforeunload", (event) => { if (unsaved && !kept) event.preventDefault(); });

  load();
  keep();
  byId("looker").value = state.looker;
  const open = pairs.findIndex((_, place) => !state.answers[place + 1]);
  at = open < 0 ? pairs.length : open;
  show("");
  watchDensity();
})();
