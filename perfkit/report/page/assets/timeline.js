// The timeline: rows on a canvas that is as large as what can be seen of it, moved and zoomed by d3.zoom.

const TIMELINE = (function () {
  if (!SCENE) return null;
  const { picture, groups } = SCENE;
  const scene = document.getElementById("scene");
  const canvas = scene.querySelector("canvas");
  const labels = scene.querySelector(".rows");
  const tip = document.getElementById("tip");
  const details = document.getElementById("details");
  const evidence = document.getElementById("evidence");
  const find = document.getElementById("find");
  const found = document.getElementById("found");
  const overview = d3.select("#overview");
  const HEIGHT = { head: 24, steps: 18, owners: 22, stream: 18, thread: 15, axis: 24 };
  const span = Math.max(picture.span, 1);
  const context = canvas.getContext("2d");

  let rows = [];
  let total = 0;
  let gutter = 190;
  let width = 600;
  let height = 560;
  let base = d3.scaleLinear([0, span], [0, 1]);
  let x = base;
  let waiting = 0;
  let selected = null;
  let current = null;
  let sought = { names: new Set(), places: [] };
  let marked = { causes: new Set(), names: new Set(), timeline: "", places: [] };
  let seek = -1;
  const closed = new Set();

  function layout() {
    rows = [];
    total = HEIGHT.axis;
    for (const group of groups) {
      rows.push({ head: group, top: total, height: HEIGHT.head });
      total += HEIGHT.head;
      if (closed.has(group)) continue;
      if (group.line && group.line.steps.length) {
        rows.push({ steps: group.line, top: total, height: HEIGHT.steps });
        total += HEIGHT.steps;
      }
      for (const track of group.tracks) {
        const tall = HEIGHT[track.role] * track.levels;
        rows.push({ track, top: total, height: tall });
        total += tall + 5;
      }
    }
    total += 8;
    gutter = scene.clientWidth < 620 ? 92 : 190;
    width = Math.max(scene.clientWidth - gutter, 120);
    scene.style.height = `${Math.min(total + 2, 620)}px`;
    height = scene.clientHeight;
    const ratio = devicePixelRatio || 1;
    canvas.width = (gutter + width) * ratio;
    canvas.height = height * ratio;
    canvas.style.width = `${gutter + width}px`;
    canvas.style.height = `${height}px`;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    labels.style.height = `${total}px`;
    labels.style.width = `${gutter}px`;
    labels.replaceChildren(...rows.filter((row) => !row.steps).map(label));
    base = d3.scaleLinear([0, span], [0, width]);
    zoom.scaleExtent([1, Math.max(2, span / 200)]).extent([[0, 0], [width, height]]).translateExtent([[0, 0], [width, height]]);
    drawOverview();
  }

  function label(row) {
    if (row.head) {
      const open = !closed.has(row.head);
      const button = make("button", { type: "button", class: "row head", title: row.head.label, "aria-expanded": String(open) }, `${open ? "▾" : "▸"} ${row.head.label}`);
      button.addEventListener("click", () => {
        if (open) closed.add(row.head);
        else closed.delete(row.head);
        layout();
        draw();
      });
      button.style.top = `${row.top}px`;
      button.style.maxWidth = `${gutter + width}px`;
      return button;
    }
    const found = make("div", { class: "row", title: row.track.label }, row.track.label);
    found.style.top = `${row.top}px`;
    found.style.width = `${gutter}px`;
    row.label = found;
    return found;
  }

  // ------------------------------------------------------------------------------------------------------- drawing

  function draw() {
    if (!waiting) waiting = requestAnimationFrame(paint);
  }

  function paint() {
    waiting = 0;
    const ink = { card: styled("--card"), line: styled("--line"), soft: styled("--soft"), ink: styled("--ink"), quiet: styled("--quiet"), band: styled("--band"), accent: styled("--accent") };
    const top = scene.scrollTop;
    context.clearRect(0, 0, gutter + width, height);
    context.save();
    context.beginPath();
    context.rect(gutter, 0, width, height);
    context.clip();
    context.translate(gutter, -top);
    const ticks = x.ticks(Math.max(2, Math.floor(width / 130)));
    context.fillStyle = ink.line;
    for (const tick of ticks) context.fillRect(Math.round(x(tick)), top, 1, height);
    for (const row of rows) {
      if (row.top + row.height < top || row.top > top + height) continue;
      if (row.head) {
        context.fillStyle = ink.soft;
        context.fillRect(0, row.top + 1, width, row.height - 3);
      } else if (row.steps) paintSteps(row, ink);
      else paintTrack(row, ink);
    }
    paintEvidence(ink);
    context.translate(0, top);
    paintAxis(ticks, ink);
    context.restore();
    for (const row of rows) if (row.label) row.label.classList.toggle("current", row.track === current);
    moveBrush();
  }

  function paintAxis(ticks, ink) {
    context.fillStyle = ink.card;
    context.fillRect(0, 0, width, HEIGHT.axis);
    context.fillStyle = ink.line;
    context.fillRect(0, HEIGHT.axis - 1, width, 1);
    context.fillStyle = ink.quiet;
    context.font = `11px ${styled("--sans")}`;
    context.textBaseline = "middle";
    const step = ticks.length > 1 ? ticks[1] - ticks[0] : span;
    for (const tick of ticks) context.fillText(moment(tick, step), x(tick) + 4, HEIGHT.axis / 2);
  }

  /** A time on the axis, with the digits that tell it from its neighbours. */
  function moment(ns, step) {
    const [scale, unit] = ns >= 1e9 ? [1e9, "s"] : ns >= 1e6 ? [1e6, "ms"] : ns >= 1e3 ? [1e3, "us"] : [1, "ns"];
    const digits = Math.min(9, Math.max(0, Math.ceil(-Math.log10(step / scale) - 1e-9)));
    return `${(ns / scale).toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${unit}`;
  }

  function paintSteps(row, ink) {
    context.font = `11px ${styled("--sans")}`;
    context.textBaseline = "middle";
    row.steps.steps.forEach((step, index) => {
      const left = x(step.start);
      const right = x(step.end);
      if (right < 0 || left > width) return;
      context.fillStyle = index % 2 ? ink.soft : ink.line;
      context.fillRect(left, row.top, Math.max(right - left - 1, 0.5), row.height - 3);
      write(step.name, left, right, row.top, row.height - 3, ink.ink);
    });
  }

  /** Write a text into a box, as much of it as can be seen and fits. */
  function write(text, left, right, top, tall, colour) {
    const from = Math.max(left, 0) + 4;
    const room = Math.min(right, width) - from - 3;
    if (room < 18) return;
    const letters = Math.floor(room / 6.1);
    context.fillStyle = colour;
    context.fillText(text.length > letters ? `${text.slice(0, Math.max(letters - 1, 1))}…` : text, from, top + tall / 2 + 0.5);
  }

  const shades = new Map();
  function shadeOf(track, i) {
    const key = track.kind[i] * 4194304 + track.name[i];
    if (!shades.has(key)) {
      const colour = colourOf(SCENE.kindOf(track, i));
      shades.set(key, track.role === "owners" ? colour : shade(colour, SCENE.nameOf(track, i)));
    }
    return shades.get(key);
  }

  function paintTrack(row, ink) {
    const { track } = row;
    const each = HEIGHT[track.role];
    const [from, to] = x.domain();
    const scale = width / (to - from);
    const singled = sought.names.size > 0;
    context.font = `${track.role === "thread" ? 10.5 : 11}px ${styled("--sans")}`;
    context.textBaseline = "middle";
    for (let i = 0; i < track.count; i++) {
      const start = track.start[i];
      const end = start + track.length[i];
      if (end < from || start > to) continue;
      const left = (start - from) * scale;
      const wide = Math.max((end - start) * scale, 0.7);
      const top = row.top + track.level[i] * each;
      const hit = singled && track.role !== "owners" && sought.names.has(track.name[i]);
      context.globalAlpha = singled && track.role !== "owners" && !hit ? 0.22 : track.merged[i] > 1 ? 0.62 : 1;
      context.fillStyle = shadeOf(track, i);
      const shownLeft = Math.max(left, -2);
      const shownWide = Math.min(left + wide, width + 2) - shownLeft;
      context.fillRect(shownLeft, top, shownWide > 3 ? shownWide - 0.6 : shownWide, each - 1.5);
      if (wide > 26) {
        const text = track.role === "owners" ? labelOf(SCENE.kindOf(track, i)) : track.merged[i] > 1 ? `${track.merged[i]} × … ${SCENE.nameOf(track, i)}` : SCENE.nameOf(track, i);
        write(text, left, left + wide, top, each - 1.5, "#10161d");
      }
      context.globalAlpha = 1;
      if (selected && selected.track === track && selected.i === i) {
        context.strokeStyle = ink.ink;
        context.lineWidth = 2;
        context.strokeRect(shownLeft, top + 0.5, Math.max(shownWide, 3), each - 2.5);
      } else if (marked.names.has(track.name[i]) && track.role !== "owners" && (!track.timeline || track.timeline === marked.timeline)) {
        context.strokeStyle = colourOf("synchronization");
        context.lineWidth = 1.5;
        context.strokeRect(shownLeft + 0.5, top + 0.5, Math.max(shownWide - 1.5, 1), each - 2.5);
      }
    }
  }

  /** What proves the chosen finding: a band over all rows of the timeline whose time it is. */
  function paintEvidence(ink) {
    if (!marked.causes.size) return;
    const own = rows.filter((row) => row.track && row.track.timeline === marked.timeline);
    if (!own.length) return;
    const top = own[0].top - 1;
    const tall = own[own.length - 1].top + own[own.length - 1].height - top + 1;
    const [from, to] = x.domain();
    const scale = width / (to - from);
    context.fillStyle = ink.band;
    let reach = -1;
    for (const { track, i } of marked.places) {
      const end = track.start[i] + track.length[i];
      if (end < from || track.start[i] > to) continue;
      const left = Math.max((track.start[i] - from) * scale, reach, -1);
      const right = Math.min(Math.max((end - from) * scale, left + 1), width + 1);
      if (right <= left) continue;
      context.fillRect(left, top, right - left, tall);
      reach = right;
    }
  }

  // ------------------------------------------------------------------------------------------------ moving and zooming

  const zoom = d3.zoom()
    .filter((event) => (event.type === "wheel" ? event.ctrlKey || event.metaKey || event.altKey : !event.button && event.type !== "dblclick"))
    .on("zoom", (event) => {
      x = event.transform.rescaleX(base);
      hideTip();
      draw();
    });

  function view(start, end) {
    const wide = Math.max(end - start, 200);
    const from = Math.max(0, Math.min(start, span - wide));
    const k = Math.min(span / wide, zoom.scaleExtent()[1]);
    d3.select(canvas).call(zoom.transform, d3.zoomIdentity.scale(k).translate(-base(from), 0));
  }

  function fit(place) {
    const start = place.track.start[place.i];
    const wide = Math.max(place.track.length[place.i], 500);
    view(start - wide * 0.6, start + wide * 1.6);
  }

  function show(place) {
    choose(place);
    fit(place);
    const row = rows.find((one) => one.track === place.track);
    if (!row) return;
    const top = row.top + place.track.level[place.i] * HEIGHT[place.track.role];
    if (top < scene.scrollTop + HEIGHT.axis || top > scene.scrollTop + height - 40) scene.scrollTop = Math.max(0, top - height / 2);
  }

  function step(direction) {
    const places = sought.places.length ? sought.places : marked.places;
    if (!places.length) return;
    if (seek < 0) {
      const longest = d3.maxIndex(places, (place) => place.track.length[place.i]);
      seek = direction > 0 ? longest : (longest + places.length - 1) % places.length;
    } else seek = (seek + direction + places.length) % places.length;
    show(places[seek]);
    found.textContent = `${(seek + 1).toLocaleString("en")} of ${places.length.toLocaleString("en")}`;
  }

  function pan(part) {
    d3.select(canvas).call(zoom.translateBy, (-part * width) / d3.zoomTransform(canvas).k, 0);
  }

  function zoomBy(factor) {
    const at = selected ? x(selected.track.start[selected.i] + selected.track.length[selected.i] / 2) : width / 2;
    d3.select(canvas).call(zoom.scaleBy, factor, [at < 0 || at > width ? width / 2 : at, 0]);
  }

  const actions = {
    in: () => zoomBy(1.8),
    out: () => zoomBy(1 / 1.8),
    all: () => view(0, span),
    step: () => focus && view(focus[0], focus[1]),
    next: () => step(1),
    previous: () => step(-1),
  };

  const steps = (DATA.timelines.find((line) => line.id === DATA.main) || { steps: [] }).steps;
  const middle = steps.length ? [...steps].sort((a, b) => a.end - a.start - (b.end - b.start))[steps.length >> 1] : null;
  const focus = picture.focus || (middle && steps.length > 1 ? [middle.start, middle.end] : null);

  // ------------------------------------------------------------------------------------------------------- choosing

  function at(event) {
    const box = canvas.getBoundingClientRect();
    const left = event.clientX - box.left - gutter;
    const top = event.clientY - box.top + scene.scrollTop;
    const row = rows.find((one) => one.track && top >= one.top && top < one.top + one.height);
    if (!row || left < 0 || event.clientY - box.top < HEIGHT.axis) return null;
    const level = Math.floor((top - row.top) / HEIGHT[row.track.role]);
    const time = x.invert(left);
    const reach = (x.invert(2) - x.invert(0));
    let best = null;
    let nearest = reach;
    const { track } = row;
    for (let i = 0; i < track.count; i++) {
      if (track.level[i] !== level) continue;
      const away = Math.max(track.start[i] - time, time - track.start[i] - track.length[i], 0);
      if (away < nearest || (away === 0 && nearest === 0)) {
        nearest = away;
        best = { track, i };
      }
    }
    return best;
  }

  function choose(place) {
    selected = place;
    current = place ? place.track : current;
    if (place) {
      const { title, facts } = SCENE.describe(place.track, place.i);
      details.replaceChildren(make("b", {}, title), facts.join(" · "));
    } else details.textContent = "Nothing selected.";
    draw();
  }

  function hideTip() {
    tip.hidden = true;
  }

  function showTip(event) {
    const place = event.buttons ? null : at(event);
    if (!place) return hideTip();
    const { title, facts } = SCENE.describe(place.track, place.i);
    tip.replaceChildren(make("b", {}, title), ...facts.map((fact) => make("div", {}, fact)));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${event.clientY + 18 + box.height > innerHeight ? event.clientY - box.height - 12 : event.clientY + 18}px`;
  }

  /** The neighbour of the selected element on its level, or the first that can be seen of the current row. */
  function neighbour(direction) {
    const track = current || SCENE.tracks[0];
    const [from, to] = x.domain();
    const level = selected && selected.track === track ? track.level[selected.i] : 0;
    let i = selected && selected.track === track ? selected.i + direction : -1;
    if (i < 0 && !(selected && selected.track === track)) {
      for (i = 0; i < track.count; i++) if (track.level[i] === level && track.start[i] + track.length[i] > from && track.start[i] < to) break;
    }
    if (i < 0 || i >= track.count || track.level[i] !== level) return;
    choose({ track, i });
    const start = track.start[i];
    if (start < from || start > to) {
      const half = (to - from) / 2;
      view(start - half, start + half);
    }
  }

  /** One level down or up at the same time, or else the next row. */
  function vertical(direction) {
    const shown = rows.filter((row) => row.track).map((row) => row.track);
    if (!shown.length) return;
    if (selected && selected.track === current) {
      const { track, i } = selected;
      const wanted = track.level[i] + direction;
      const start = track.start[i];
      for (let j = 0; j < track.count; j++) {
        const inside = direction > 0
          ? track.start[j] >= start && track.start[j] <= start + track.length[i]
          : track.start[j] <= start && track.start[j] + track.length[j] >= start;
        if (track.level[j] === wanted && inside) return choose({ track, i: j });
      }
    }
    const index = shown.indexOf(current);
    current = shown[Math.max(0, Math.min(shown.length - 1, index + direction))];
    selected = null;
    neighbour(1);
    if (!selected) choose(null);
    const row = rows.find((one) => one.track === current);
    if (row.top < scene.scrollTop + HEIGHT.axis || row.top + 20 > scene.scrollTop + height) scene.scrollTop = Math.max(0, row.top - 60);
  }

  const keys = {
    "+": actions.in, "=": actions.in, w: actions.in, "-": actions.out, s: actions.out,
    ArrowLeft: () => pan(-0.2), a: () => pan(-0.2), ArrowRight: () => pan(0.2), d: () => pan(0.2),
    0: actions.all, Home: actions.all, 1: actions.step, n: actions.next, p: actions.previous,
    "]": () => neighbour(1), "[": () => neighbour(-1), ArrowDown: () => vertical(1), ArrowUp: () => vertical(-1),
    Enter: () => selected && fit(selected), Escape: () => choose(null),
  };

  function mark(index) {
    const finding = DATA.findings[index];
    evidence.value = finding ? String(index) : "";
    seek = -1;
    found.textContent = "";
    marked = finding
      ? { causes: new Set(finding.causes), names: new Set(finding.names), timeline: finding.timeline, places: SCENE.placesOf(finding) }
      : { causes: new Set(), names: new Set(), timeline: "", places: [] };
    draw();
  }

  // -------------------------------------------------------------------------------------------------------- overview

  const brush = d3.brushX().on("brush end", (event) => {
    if (!event.sourceEvent || !event.selection) return;
    const [left, right] = event.selection.map(d3.scaleLinear([0, overviewWidth()], [0, span]));
    view(left, right);
  });

  function overviewWidth() {
    return overview.node().clientWidth || 600;
  }

  function drawOverview() {
    const wide = overviewWidth();
    const scale = d3.scaleLinear([0, span], [0, wide]);
    overview.attr("viewBox", `0 0 ${wide} 34`).selectAll("*").remove();
    const own = SCENE.tracks.find((track) => track.role === "owners" && track.timeline === DATA.main) || SCENE.tracks[0];
    // A column is a pixel or two wide: it has the colour of who owns most of it.
    const columns = Math.max(1, Math.floor(wide / 2));
    const cells = d3.range(columns).map(() => new Map());
    for (let i = 0; i < own.count; i++) {
      const end = own.start[i] + own.length[i];
      for (let c = Math.floor((own.start[i] / span) * columns); c <= Math.min(columns - 1, Math.floor((end / span) * columns)); c++) {
        const part = Math.min(end, ((c + 1) * span) / columns) - Math.max(own.start[i], (c * span) / columns);
        cells[c].set(own.kind[i], (cells[c].get(own.kind[i]) || 0) + Math.max(part, 0));
      }
    }
    const paths = new Map();
    cells.forEach((cell, c) => {
      if (!cell.size) return;
      const kind = d3.greatest(cell, (entry) => entry[1])[0];
      paths.set(kind, `${paths.get(kind) || ""}M${(c * wide) / columns},8h${wide / columns + 0.3}v20h${-wide / columns - 0.3}z`);
    });
    overview.selectAll("path").data([...paths]).join("path").attr("d", (d) => d[1]).attr("fill", (d) => colourOf(picture.kinds[d[0]]));
    brush.extent([[0, 1], [wide, 33]]);
    overview.append("g").attr("class", "brush").call(brush);
    overview.scale = scale;
    moveBrush();
  }

  function moveBrush() {
    const [from, to] = x.domain();
    const scale = d3.scaleLinear([0, span], [0, overviewWidth()]);
    const group = overview.select(".brush");
    if (!group.empty()) group.call(brush.move, [scale(Math.max(from, 0)), Math.max(scale(Math.min(to, span)), scale(Math.max(from, 0)) + 3)]);
  }

  function legend() {
    const kinds = new Set();
    for (const track of SCENE.tracks) for (let i = 0; i < track.count; i++) kinds.add(track.kind[i]);
    const seen = new Set();
    const items = [...kinds].sort((a, b) => a - b).map((kind) => picture.kinds[kind]).filter((kind) => {
      return !seen.has(colourOf(kind)) && seen.add(colourOf(kind));
    });
    document.getElementById("legend").replaceChildren(...items.map((kind) => make("li", {}, make("span", { class: `swatch k-${kind}`, "aria-hidden": "true" }), labelOf(kind))));
  }

  // ---------------------------------------------------------------------------------------------------------- wiring

  d3.select(canvas).call(zoom).on("dblclick.zoom", null);
  canvas.addEventListener("mousemove", showTip);
  canvas.addEventListener("mouseleave", hideTip);
  canvas.addEventListener("click", (event) => choose(at(event)));
  canvas.addEventListener("dblclick", (event) => { const place = at(event); if (place) fit(place); });
  scene.addEventListener("scroll", () => { hideTip(); draw(); });
  scene.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== scene || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
  document.querySelectorAll("#timeline [data-do]").forEach((button) => button.addEventListener("click", () => actions[button.dataset.do]()));
  document.querySelector('[data-do="step"]').hidden = !focus;
  evidence.addEventListener("change", () => mark(evidence.value === "" ? -1 : Number(evidence.value)));
  document.querySelectorAll("button.show").forEach((button) => button.addEventListener("click", () => {
    mark(Number(button.dataset.finding));
    document.getElementById("timeline").scrollIntoView();
    scene.focus({ preventScroll: true });
    actions.next();
  }));
  find.addEventListener("input", () => {
    sought = find.value.trim() ? SCENE.search(find.value.trim()) : { names: new Set(), places: [] };
    if (find.value.trim() && !sought.names.size) sought.names.add(-2); // nothing has that name, and nothing is singled out
    seek = -1;
    found.textContent = find.value.trim() ? `${sought.places.length.toLocaleString("en")} found` : "";
    draw();
  });
  find.addEventListener("keydown", (event) => {
    if (event.key === "Enter") step(event.shiftKey ? -1 : 1);
  });
  const count = d3.sum(SCENE.tracks, (track) => track.count);
  const kept = count < picture.elements ? `${picture.elements.toLocaleString("en")} elements are drawn as ${count.toLocaleString("en")}: short neighbours are one, paler${picture.focus ? "; “One step” shows one in more detail" : ""}. ` : "";
  document.getElementById("thinned").textContent = kept + (picture.threadsLeftOut ? `${picture.threadsLeftOut} host threads that do less are left out.` : "");
  new ResizeObserver(() => {
    const [from, to] = x.domain();
    const before = width;
    layout();
    if (before !== width) view(from, to);
    draw();
  }).observe(document.getElementById("timeline"));
  REDRAW.push(draw);
  legend();
  layout();
  view(0, span);
  mark(0);
  return { domain: () => x.domain(), view, selected: () => selected && SCENE.describe(selected.track, selected.i) };
})();
