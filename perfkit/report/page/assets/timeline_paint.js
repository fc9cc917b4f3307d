// The timeline is painted on a canvas that is as large as what can be seen of it.

(function () {
  if (!VIEW) return;
  const { scene, context, span, HEIGHT } = VIEW;
  const shades = new Map();
  let waiting = 0;

  VIEW.draw = function () {
    if (!waiting) waiting = requestAnimationFrame(paint);
  };

  function paint() {
    waiting = 0;
    const ink = { card: styled("--card"), line: styled("--line"), soft: styled("--soft"), ink: styled("--ink"), quiet: styled("--quiet"), band: styled("--band"), accent: styled("--accent") };
    const top = scene.scrollTop;
    context.clearRect(0, 0, VIEW.gutter + VIEW.width, VIEW.height);
    context.save();
    context.beginPath();
    context.rect(VIEW.gutter, 0, VIEW.width, VIEW.height);
    context.clip();
    context.translate(VIEW.gutter, -top);
    const ticks = VIEW.x.ticks(Math.max(2, Math.floor(VIEW.width / 130)));
    context.fillStyle = ink.line;
    for (const tick of ticks) context.fillRect(Math.round(VIEW.x(tick)), top, 1, VIEW.height);
    for (const row of VIEW.rows) {
      if (row.top + row.height < top || row.top > top + VIEW.height) continue;
      if (row.head) {
        context.fillStyle = ink.soft;
        context.fillRect(0, row.top + 1, VIEW.width, row.height - 3);
      } else if (row.steps) paintSteps(row, ink);
      else paintTrack(row, ink);
    }
    paintEvidence(ink);
    context.translate(0, top);
    paintAxis(ticks, ink);
    context.restore();
    for (const row of VIEW.rows) if (row.label) row.label.classList.toggle("current", row.track === VIEW.current);
    VIEW.moveBrush();
  }

  function paintAxis(ticks, ink) {
    context.fillStyle = ink.card;
    context.fillRect(0, 0, VIEW.width, HEIGHT.axis);
    context.fillStyle = ink.line;
    context.fillRect(0, HEIGHT.axis - 1, VIEW.width, 1);
    context.fillStyle = ink.quiet;
    context.font = `11px ${styled("--sans")}`;
    context.textBaseline = "middle";
    const step = ticks.length > 1 ? ticks[1] - ticks[0] : span;
    for (const tick of ticks) context.fillText(moment(tick, step), VIEW.x(tick) + 4, HEIGHT.axis / 2);
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
      const left = VIEW.x(step.start);
      const right = VIEW.x(step.end);
      if (right < 0 || left > VIEW.width) return;
      context.fillStyle = index % 2 ? ink.soft : ink.line;
      context.fillRect(left, row.top, Math.max(right - left - 1, 0.5), row.height - 3);
      write(step.name, left, right, row.top, row.height - 3, ink.ink);
    });
  }

  /** Write a text into a box, as much of it as can be seen and fits. */
  function write(text, left, right, top, tall, colour) {
    const from = Math.max(left, 0) + 4;
    const room = Math.min(right, VIEW.width) - from - 3;
    if (room < 18) return;
    const letters = Math.floor(room / 6.1);
    context.fillStyle = colour;
    context.fillText(text.length > letters ? `${text.slice(0, Math.max(letters - 1, 1))}…` : text, from, top + tall / 2 + 0.5);
  }

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
    const [from, to] = VIEW.x.domain();
    const scale = VIEW.width / (to - from);
    const singled = VIEW.sought.names.size > 0;
    context.font = `${track.role === "thread" ? 10.5 : 11}px ${styled("--sans")}`;
    context.textBaseline = "middle";
    for (let i = 0; i < track.count; i++) {
      const start = track.start[i];
      const end = start + track.length[i];
      if (end < from || start > to) continue;
      const left = (start - from) * scale;
      const wide = Math.max((end - start) * scale, 0.7);
      const top = row.top + track.level[i] * each;
      const hit = singled && track.role !== "owners" && VIEW.sought.names.has(track.name[i]);
      context.globalAlpha = singled && track.role !== "owners" && !hit ? 0.22 : track.merged[i] > 1 ? 0.62 : 1;
      context.fillStyle = shadeOf(track, i);
      const shownLeft = Math.max(left, -2);
      const shownWide = Math.min(left + wide, VIEW.width + 2) - shownLeft;
      context.fillRect(shownLeft, top, shownWide > 3 ? shownWide - 0.6 : shownWide, each - 1.5);
      if (wide > 26) {
        const text = track.role === "owners" ? labelOf(SCENE.kindOf(track, i)) : track.merged[i] > 1 ? `${track.merged[i]} × … ${SCENE.nameOf(track, i)}` : SCENE.nameOf(track, i);
        write(text, left, left + wide, top, each - 1.5, d3.lab(context.fillStyle).l < 45 ? "#ffffff" : "#10161d");
      }
      context.globalAlpha = 1;
      if (VIEW.selected && VIEW.selected.track === track && VIEW.selected.i === i) {
        context.strokeStyle = ink.ink;
        context.lineWidth = 2;
        context.strokeRect(shownLeft, top + 0.5, Math.max(shownWide, 3), each - 2.5);
      } else if (isMarked(track, i)) {
        context.strokeStyle = colourOf("synchronization");
        context.lineWidth = 1.5;
        context.strokeRect(shownLeft + 0.5, top + 0.5, Math.max(shownWide - 1.5, 1), each - 2.5);
      }
    }
  }

  /** Whether an element proves the chosen finding: it is one of those that do, or has a name that the finding names. */
  function isMarked(track, i) {
    const { marks, names, timeline } = VIEW.marked;
    if (marks.has(track) && marks.get(track).has(i)) return true;
    if (marks.size && track.role !== "thread") return false;
    return names.has(track.name[i]) && track.role !== "owners" && (!track.timeline || track.timeline === timeline);
  }

  /** What proves the chosen finding: a band over all rows of the timeline whose time it is. */
  function paintEvidence(ink) {
    if (!VIEW.marked.causes.size) return;
    const own = VIEW.rows.filter((row) => row.track && row.track.timeline === VIEW.marked.timeline);
    if (!own.length) return;
    const top = own[0].top - 1;
    const tall = own[own.length - 1].top + own[own.length - 1].height - top + 1;
    const [from, to] = VIEW.x.domain();
    const scale = VIEW.width / (to - from);
    context.fillStyle = ink.band;
    let reach = -1;
    for (const { track, i } of VIEW.marked.places) {
      const end = track.start[i] + track.length[i];
      if (end < from || track.start[i] > to) continue;
      const left = Math.max((track.start[i] - from) * scale, reach, -1);
      const right = Math.min(Math.max((end - from) * scale, left + 1), VIEW.width + 1);
      if (right <= left) continue;
      context.fillRect(left, top, right - left, tall);
      reach = right;
    }
  }
})();
