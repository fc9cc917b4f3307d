// The timeline is moved and zoomed by d3.zoom; places of evidence, or of what was searched for, are gone through.

(function () {
  if (!VIEW) return;
  const { scene, canvas, span, HEIGHT } = VIEW;
  const found = document.getElementById("found");

  VIEW.zoom = d3.zoom()
    .filter((event) => (event.type === "wheel" ? event.ctrlKey || event.metaKey || event.altKey : !event.button && event.type !== "dblclick"))
    .on("zoom", (event) => {
      VIEW.x = event.transform.rescaleX(VIEW.base);
      VIEW.hideTip();
      VIEW.draw();
    });

  VIEW.view = function (start, end) {
    const wide = Math.max(end - start, 200);
    const from = Math.max(0, Math.min(start, span - wide));
    const k = Math.min(span / wide, VIEW.zoom.scaleExtent()[1]);
    d3.select(canvas).call(VIEW.zoom.transform, d3.zoomIdentity.scale(k).translate(-VIEW.base(from), 0));
  };

  VIEW.fit = function (place) {
    const start = place.track.start[place.i];
    const wide = Math.max(place.track.length[place.i], 500);
    VIEW.view(start - wide * 0.6, start + wide * 1.6);
  };

  VIEW.show = function (place) {
    VIEW.choose(place);
    VIEW.fit(place);
    const row = VIEW.rows.find((one) => one.track === place.track);
    if (!row) return;
    const top = row.top + place.track.level[place.i] * HEIGHT[place.track.role];
    if (top < scene.scrollTop + HEIGHT.axis || top > scene.scrollTop + VIEW.height - 40) scene.scrollTop = Math.max(0, top - VIEW.height / 2);
  };

  VIEW.go = function (direction) {
    const places = VIEW.sought.places.length ? VIEW.sought.places : VIEW.marked.places;
    if (!places.length) return;
    if (VIEW.seek < 0) {
      const longest = d3.maxIndex(places, (place) => place.track.length[place.i]);
      VIEW.seek = direction > 0 ? longest : (longest + places.length - 1) % places.length;
    } else VIEW.seek = (VIEW.seek + direction + places.length) % places.length;
    VIEW.show(places[VIEW.seek]);
    found.textContent = `${(VIEW.seek + 1).toLocaleString("en")} of ${places.length.toLocaleString("en")}`;
  };

  VIEW.pan = function (part) {
    d3.select(canvas).call(VIEW.zoom.translateBy, (-part * VIEW.width) / d3.zoomTransform(canvas).k, 0);
  };

  VIEW.zoomBy = function (factor) {
    const at = VIEW.selected ? VIEW.x(VIEW.selected.track.start[VIEW.selected.i] + VIEW.selected.track.length[VIEW.selected.i] / 2) : VIEW.width / 2;
    d3.select(canvas).call(VIEW.zoom.scaleBy, factor, [at < 0 || at > VIEW.width ? VIEW.width / 2 : at, 0]);
  };
})();
