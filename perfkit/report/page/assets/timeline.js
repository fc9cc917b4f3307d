// The timeline by mouse and keyboard: choosing elements, search, evidence, and the buttons.

// biome-ignore lint/correctness/noUnusedVariables: for who looks at the page from outside, such as its tests
const TIMELINE = VIEW && (function () {
  const { picture } = SCENE;
  const { scene, canvas, span, HEIGHT } = VIEW;
  const tip = document.getElementById("tip");
  const details = document.getElementById("details");
  const evidence = document.getElementById("evidence");
  const find = document.getElementById("find");
  const found = document.getElementById("found");

  const steps = (DATA.timelines.find((line) => line.id === DATA.main) || { steps: [] }).steps;
  const middle = steps.length ? [...steps].sort((a, b) => a.end - a.start - (b.end - b.start))[steps.length >> 1] : null;
  const focus = picture.focus || (middle && steps.length > 1 ? [middle.start, middle.end] : null);

  const actions = {
    in: () => VIEW.zoomBy(1.8),
    out: () => VIEW.zoomBy(1 / 1.8),
    all: () => VIEW.view(0, span),
    step: () => focus && VIEW.view(focus[0], focus[1]),
    next: () => VIEW.go(1),
    previous: () => VIEW.go(-1),
  };

  VIEW.choose = function (place) {
    VIEW.selected = place;
    VIEW.current = place ? place.track : VIEW.current;
    if (place) {
      const { title, facts } = SCENE.describe(place.track, place.i);
      details.replaceChildren(make("b", {}, title), facts.join(" · "));
    } else details.textContent = "Nothing selected.";
    VIEW.draw();
  };

  VIEW.hideTip = function () {
    tip.hidden = true;
  };

  function showTip(event) {
    const place = event.buttons ? null : VIEW.at(event);
    if (!place) return VIEW.hideTip();
    const { title, facts } = SCENE.describe(place.track, place.i);
    tip.replaceChildren(make("b", {}, title), ...facts.map((fact) => make("div", {}, fact)));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 12 : event.clientY + 18}px`;
  }

  /** The neighbour of the selected element on its level, or the first that can be seen of the current row. */
  function neighbour(direction) {
    const track = VIEW.current || SCENE.tracks[0];
    const [from, to] = VIEW.x.domain();
    const level = VIEW.selected && VIEW.selected.track === track ? track.level[VIEW.selected.i] : 0;
    let i = VIEW.selected && VIEW.selected.track === track ? VIEW.selected.i + direction : -1;
    if (i < 0 && !(VIEW.selected && VIEW.selected.track === track)) {
      for (i = 0; i < track.count; i++) if (track.level[i] === level && track.start[i] + track.length[i] > from && track.start[i] < to) break;
    }
    if (i < 0 || i >= track.count || track.level[i] !== level) return;
    VIEW.choose({ track, i });
    const start = track.start[i];
    if (start < from || start > to) {
      const half = (to - from) / 2;
      VIEW.view(start - half, start + half);
    }
  }

  /** One level down or up at the same time, or else the next row. */
  function vertical(direction) {
    const shown = VIEW.rows.filter((row) => row.track).map((row) => row.track);
    if (!shown.length) return;
    if (VIEW.selected && VIEW.selected.track === VIEW.current) {
      const { track, i } = VIEW.selected;
      const wanted = track.level[i] + direction;
      const start = track.start[i];
      for (let j = 0; j < track.count; j++) {
        const inside = direction > 0
          ? track.start[j] >= start && track.start[j] <= start + track.length[i]
          : track.start[j] <= start && track.start[j] + track.length[j] >= start;
        if (track.level[j] === wanted && inside) return VIEW.choose({ track, i: j });
      }
    }
    const index = shown.indexOf(VIEW.current);
    VIEW.current = shown[Math.max(0, Math.min(shown.length - 1, index + direction))];
    VIEW.selected = null;
    neighbour(1);
    if (!VIEW.selected) VIEW.choose(null);
    const row = VIEW.rows.find((one) => one.track === VIEW.current);
    if (row.top < scene.scrollTop + HEIGHT.axis || row.top + 20 > scene.scrollTop + VIEW.height) scene.scrollTop = Math.max(0, row.top - 60);
  }

  const keys = {
    "+": actions.in, "=": actions.in, w: actions.in, "-": actions.out, s: actions.out,
    ArrowLeft: () => VIEW.pan(-0.2), a: () => VIEW.pan(-0.2), ArrowRight: () => VIEW.pan(0.2), d: () => VIEW.pan(0.2),
    0: actions.all, Home: actions.all, 1: actions.step, n: actions.next, p: actions.previous,
    "]": () => neighbour(1), "[": () => neighbour(-1), ArrowDown: () => vertical(1), ArrowUp: () => vertical(-1),
    Enter: () => VIEW.selected && VIEW.fit(VIEW.selected), Escape: () => VIEW.choose(null),
  };

  function mark(index) {
    const finding = DATA.findings[index];
    evidence.value = finding ? String(index) : "";
    VIEW.seek = -1;
    found.textContent = "";
    VIEW.marked = SCENE.evidenceOf(finding);
    VIEW.draw();
  }

  d3.select(canvas).call(VIEW.zoom).on("dblclick.zoom", null);
  canvas.addEventListener("mousemove", showTip);
  canvas.addEventListener("mouseleave", VIEW.hideTip);
  canvas.addEventListener("click", (event) => VIEW.choose(VIEW.at(event)));
  canvas.addEventListener("dblclick", (event) => { const place = VIEW.at(event); if (place) VIEW.fit(place); });
  scene.addEventListener("scroll", () => { VIEW.hideTip(); VIEW.draw(); });
  scene.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== scene || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  for (const button of document.querySelectorAll("#timeline [data-do]")) {
    button.addEventListener("click", () => actions[button.dataset.do]());
  }
  document.querySelector('[data-do="step"]').hidden = !focus;
  evidence.addEventListener("change", () => mark(evidence.value === "" ? -1 : Number(evidence.value)));
  for (const button of document.querySelectorAll("button.show")) {
    button.addEventListener("click", () => {
      mark(Number(button.dataset.finding));
      document.getElementById("timeline").scrollIntoView();
      scene.focus({ preventScroll: true });
      actions.next();
    });
  }
  find.addEventListener("input", () => {
    VIEW.sought = find.value.trim() ? SCENE.search(find.value.trim()) : { names: new Set(), places: [] };
    if (find.value.trim() && !VIEW.sought.names.size) VIEW.sought.names.add(-2); // nothing has that name, and nothing is singled out
    VIEW.seek = -1;
    found.textContent = find.value.trim() ? `${VIEW.sought.places.length.toLocaleString("en")} found` : "";
    VIEW.draw();
  });
  find.addEventListener("keydown", (event) => {
    if (event.key === "Enter") VIEW.go(event.shiftKey ? -1 : 1);
  });
  const count = d3.sum(SCENE.tracks, (track) => track.count);
  const kept = count < picture.elements ? `${picture.elements.toLocaleString("en")} elements are drawn as ${count.toLocaleString("en")}: short neighbours are one, paler${picture.focus ? "; “One step” shows one in more detail" : ""}. ` : "";
  document.getElementById("thinned").textContent = kept + (picture.threadsLeftOut ? `${picture.threadsLeftOut} ${SCENE.tracks[0].role === "rank" ? "ranks" : "host threads that do less"} are left out.` : "");
  new ResizeObserver(() => {
    const [from, to] = VIEW.x.domain();
    const before = VIEW.width;
    VIEW.layout();
    if (before !== VIEW.width) VIEW.view(from, to);
    VIEW.draw();
  }).observe(document.getElementById("timeline"));
  REDRAW.push(VIEW.draw);
  VIEW.layout();
  VIEW.view(0, span);
  mark(0);
  return { domain: () => VIEW.x.domain(), selected: () => VIEW.selected && SCENE.describe(VIEW.selected.track, VIEW.selected.i) };
})();
