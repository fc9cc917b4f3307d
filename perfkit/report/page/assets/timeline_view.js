// What the timeline shows now: its rows, the stretch of time, what is selected. The files after this one paint it, move
// it and choose in it; they share nothing but this object.

const VIEW = SCENE && (function () {
  const scene = document.getElementById("scene");
  const canvas = scene.querySelector("canvas");
  const labels = scene.querySelector(".rows");
  const context = canvas.getContext("2d");
  const span = Math.max(SCENE.picture.span, 1);
  const HEIGHT = { head: 24, steps: 18, owners: 22, stream: 18, rank: 18, thread: 15, axis: 24 };
  const base = d3.scaleLinear([0, span], [0, 1]);
  const VIEW = {
    scene, canvas, context, span, HEIGHT, rows: [], total: 0, gutter: 190, width: 600, height: 560, base, x: base,
    selected: null, current: null, sought: { names: new Set(), places: [] }, marked: SCENE.evidenceOf(null), seek: -1,
  };
  const closed = new Set();

  VIEW.layout = function () {
    VIEW.rows = [];
    VIEW.total = HEIGHT.axis;
    for (const group of SCENE.groups) {
      VIEW.rows.push({ head: group, top: VIEW.total, height: HEIGHT.head });
      VIEW.total += HEIGHT.head;
      if (closed.has(group)) continue;
      if (group.line?.steps.length) {
        VIEW.rows.push({ steps: group.line, top: VIEW.total, height: HEIGHT.steps });
        VIEW.total += HEIGHT.steps;
      }
      for (const track of group.tracks) {
        const tall = HEIGHT[track.role] * track.levels;
        VIEW.rows.push({ track, top: VIEW.total, height: tall });
        VIEW.total += tall + 5;
      }
    }
    VIEW.total += 8;
    VIEW.gutter = scene.clientWidth < 620 ? 92 : 190;
    VIEW.width = Math.max(scene.clientWidth - VIEW.gutter, 120);
    scene.style.height = `${Math.min(VIEW.total + 2, 620)}px`;
    VIEW.height = scene.clientHeight;
    const ratio = devicePixelRatio || 1;
    canvas.width = (VIEW.gutter + VIEW.width) * ratio;
    canvas.height = VIEW.height * ratio;
    canvas.style.width = `${VIEW.gutter + VIEW.width}px`;
    canvas.style.height = `${VIEW.height}px`;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    labels.style.height = `${VIEW.total}px`;
    labels.style.width = `${VIEW.gutter}px`;
    labels.replaceChildren(...VIEW.rows.filter((row) => !row.steps).map(label));
    VIEW.base = d3.scaleLinear([0, span], [0, VIEW.width]);
    VIEW.zoom.scaleExtent([1, Math.max(2, span / 200)]).extent([[0, 0], [VIEW.width, VIEW.height]]).translateExtent([[0, 0], [VIEW.width, VIEW.height]]);
    VIEW.drawOverview();
  };

  function label(row) {
    if (row.head) {
      const open = !closed.has(row.head);
      const button = make("button", { type: "button", class: "row head", title: row.head.label, "aria-expanded": String(open) }, `${open ? "▾" : "▸"} ${row.head.label}`);
      button.addEventListener("click", () => {
        if (open) closed.add(row.head);
        else closed.delete(row.head);
        VIEW.layout();
        VIEW.draw();
      });
      button.style.top = `${row.top}px`;
      button.style.maxWidth = `${VIEW.gutter + VIEW.width}px`;
      return button;
    }
    const found = make("div", { class: "row", title: row.track.label }, row.track.label);
    found.style.top = `${row.top}px`;
    found.style.width = `${VIEW.gutter}px`;
    row.label = found;
    return found;
  }

  VIEW.at = function (event) {
    const box = canvas.getBoundingClientRect();
    const left = event.clientX - box.left - VIEW.gutter;
    const top = event.clientY - box.top + scene.scrollTop;
    const row = VIEW.rows.find((one) => one.track && top >= one.top && top < one.top + one.height);
    if (!row || left < 0 || event.clientY - box.top < HEIGHT.axis) return null;
    const level = Math.floor((top - row.top) / HEIGHT[row.track.role]);
    const time = VIEW.x.invert(left);
    const reach = (VIEW.x.invert(2) - VIEW.x.invert(0));
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
  };

  return VIEW;
})();
