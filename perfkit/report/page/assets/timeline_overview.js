// The overview of the whole recording, with a brush over what is shown, and the legend.

(function () {
  if (!VIEW) return;
  const { span } = VIEW;
  const overview = d3.select("#overview");

  const brush = d3.brushX().on("brush end", (event) => {
    if (!event.sourceEvent || !event.selection) return;
    const [left, right] = event.selection.map(d3.scaleLinear([0, overviewWidth()], [0, span]));
    VIEW.view(left, right);
  });

  function overviewWidth() {
    return overview.node().clientWidth || 600;
  }

  VIEW.drawOverview = function () {
    const wide = overviewWidth();
    overview.attr("viewBox", `0 0 ${wide} 34`).selectAll("*").remove();
    const own = SCENE.tracks.find((track) => ["owners", "rank"].includes(track.role) && track.timeline === DATA.main) || SCENE.tracks[0];
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
    overview.selectAll("path").data([...paths]).join("path").attr("d", (d) => d[1]).attr("fill", (d) => colourOf(SCENE.picture.kinds[d[0]]));
    brush.extent([[0, 1], [wide, 33]]);
    overview.append("g").attr("class", "brush").call(brush);
    VIEW.moveBrush();
  };

  VIEW.moveBrush = function () {
    const [from, to] = VIEW.x.domain();
    const scale = d3.scaleLinear([0, span], [0, overviewWidth()]);
    const group = overview.select(".brush");
    if (!group.empty()) group.call(brush.move, [scale(Math.max(from, 0)), Math.max(scale(Math.min(to, span)), scale(Math.max(from, 0)) + 3)]);
  };

  function legend() {
    const kinds = new Set();
    for (const track of SCENE.tracks) for (let i = 0; i < track.count; i++) kinds.add(track.kind[i]);
    const seen = new Set();
    const items = [...kinds].sort((a, b) => a - b).map((kind) => SCENE.picture.kinds[kind]).filter((kind) => {
      return !seen.has(colourOf(kind)) && seen.add(colourOf(kind));
    });
    document.getElementById("legend").replaceChildren(...items.map((kind) => make("li", {}, make("span", { class: `swatch k-${kind}`, "aria-hidden": "true" }), labelOf(kind))));
  }

  legend();
})();
