// What needs a browser's script: the zone, live updates, menus, copying.  Every page works without it.
(() => {
  const cookie = (name) => document.cookie.split("; ").find((c) => c.startsWith(name + "="));
  document.documentElement.classList.add("scripted");

  // The first visit is shown in the browser's zone, not in UTC.
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (!cookie("zone") && here) {
    document.cookie = `zone=${here}; path=/; max-age=31536000; samesite=lax`;
    if (here !== document.documentElement.dataset.zone && cookie("zone")) location.reload();
  }

  const copied = ({ dataset }) =>
    dataset.copy ? new URL(dataset.copy, location).href : document.querySelector(dataset.copyText).textContent;
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]"))
      if (!menu.contains(event.target)) menu.open = false;
    const copy = event.target.closest("[data-copy], [data-copy-text]");
    if (copy)
      navigator.clipboard.writeText(copied(copy)).then(() => {
        copy.textContent = "Copied";
      });
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  const live = document.querySelector("[data-live]");
  if (!live) return;

  // A part that is replaced keeps its open menus, and what finished is said aloud.
  let open = [];
  let before = {};
  const states = () =>
    Object.fromEntries([...document.querySelectorAll("tr[data-state]")].map((row) => [row.id, row.dataset]));
  const remember = () => {
    open = [...document.querySelectorAll("details[id][open]")].map((menu) => menu.id);
    before = states();
  };
  document.addEventListener("htmx:beforeSwap", remember);
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of open) {
      const menu = document.getElementById(id);
      if (menu) menu.open = true;
    }
    const said = document.getElementById("announce");
    for (const [id, row] of Object.entries(states()))
      if (said && before[id] && before[id].state !== row.state) said.textContent = `${row.title}: ${row.state}`;
  });

  // Without the event stream the page asks by itself.
  const tell = (event) => () => htmx.trigger(document.body, event);
  const refresh = () => ["runs", "numbers"].forEach((event) => tell(event)());
  let polling = 0;
  const stream = new EventSource(live.dataset.live || "/events");
  stream.addEventListener("runs", tell("runs"));
  stream.addEventListener("overview", ({ data }) => {
    remember();
    htmx.swap(live, data, { swapStyle: "innerHTML" });
  });
  stream.addEventListener("progress", ({ data }) => {
    const { run, share, left_ms } = JSON.parse(data);
    const bar = document.querySelector(`[data-progress="${run}"]`);
    const left = document.querySelector(`[data-left="${run}"]`);
    if (bar) bar.value = 100 * share;
    if (left && left_ms) left.textContent = `about ${Math.ceil(left_ms / 1000)} s left`;
  });
  stream.onopen = () => {
    clearInterval(polling);
    polling = 0;
  };
  stream.onerror = () => {
    if (!polling) polling = setInterval(refresh, 5000);
  };
  addEventListener("pagehide", () => stream.close());
})();
