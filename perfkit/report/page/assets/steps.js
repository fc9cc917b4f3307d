// Steps of the main timeline as columns: who owns the time of each, so that an odd one is seen.

(function steps() {
  const place = document.getElementById("step-chart");
  const line = DATA.timelines.find((one) => one.id === DATA.main);
  if (!place || !line || line.steps.length < 2) return;
  const total = {};
  for (const step of line.steps) for (const [owner, ns] of Object.entries(step.owners)) total[owner] = (total[owner] || 0) + ns;
  const owners = Object.keys(total).sort((a, b) => total[b] - total[a]);

  function draw() {
    const width = Math.max(place.clientWidth, 260);
    const height = 230;
    const edge = { left: 62, right: 8, top: 8, bottom: 26 };
    const x = d3.scaleBand(d3.range(line.steps.length), [edge.left, width - edge.right]).paddingInner(line.steps.length > 120 ? 0 : 0.14);
    const y = d3.scaleLinear([0, d3.max(line.steps, (step) => step.end - step.start)], [height - edge.bottom, edge.top]).nice();
    const svg = d3.create("svg").attr("viewBox", `0 0 ${width} ${height}`).attr("height", height).attr("role", "img")
      .attr("aria-label", `${line.steps.length} steps, from ${duration(d3.min(line.steps, (s) => s.end - s.start))} to ${duration(d3.max(line.steps, (s) => s.end - s.start))}`);
    svg.append("g").selectAll("line").data(y.ticks(5)).join("line").attr("x1", edge.left).attr("x2", width - edge.right).attr("y1", y).attr("y2", y);
    svg.append("g").selectAll("text").data(y.ticks(5)).join("text").attr("x", edge.left - 8).attr("y", y).attr("dy", "0.32em").attr("text-anchor", "end").text((ns) => ns ? duration(ns) : "0");
    const stacked = d3.stack().keys(owners).value((step, owner) => step.owners[owner] || 0)(line.steps);
    svg.append("g").selectAll("g").data(stacked).join("g").attr("class", (d) => `k-${d.key}`).selectAll("rect")
      .data((d) => d.map((cell) => Object.assign(cell, { key: d.key }))).join("rect")
      .attr("x", (_, i) => x(i)).attr("width", x.bandwidth()).attr("y", (d) => y(d[1])).attr("height", (d) => Math.max(0, y(d[0]) - y(d[1])))
      .append("title").text((d) => `${d.data.name}, ${duration(d.data.end - d.data.start)}: ${labelOf(d.key)} ${duration(d[1] - d[0])}`);
    const every = Math.ceil(line.steps.length / Math.max(1, Math.floor((width - edge.left) / 110)));
    svg.append("g").selectAll("text").data(d3.range(0, line.steps.length, every)).join("text")
      .attr("x", (i) => x(i) + x.bandwidth() / 2).attr("y", height - 8).attr("text-anchor", "middle")
      .text((i) => { const name = line.steps[i].name; return name.length > 16 ? `${name.slice(0, 15)}…` : name; });
    place.replaceChildren(svg.node());
  }
  draw();
  addEventListener("resize", draw);
})();
