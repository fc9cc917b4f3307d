// Flame graphs, outermost frames on top: by module or by line of Python, of device or host time.

(function flame() {
  const place = document.getElementById("flames");
  if (!place || !DATA.flames) return;
  const names = DATA.picture.names;
  const details = document.getElementById("flame-details");
  const find = document.getElementById("flame-find");
  const found = document.getElementById("flame-found");
  const ROW = 20;
  const WORDS = { module: "By module", line: "By line of Python", device: "GPU time", host: "Host time" };
  const HUES = { module: 212, line: 28 };
  let chosen = DATA.flames[0];
  let root = null;
  let zoomed = null;
  let current = null;

  function tree(graph) {
    const nodes = graph.name.map((name, index) => ({ name: names[name], own: graph.self[index], children: [] }));
    const top = { name: "all", own: 0, children: [] };
    for (const [index, parent] of graph.parent.entries()) (parent < 0 ? top : nodes[parent]).children.push(nodes[index]);
    return d3.hierarchy(top).sum((node) => node.own).sort((a, b) => b.value - a.value);
  }

  function buttons() {
    const choices = (key) => [...new Set(DATA.flames.map((graph) => graph[key]))];
    for (const [key, id] of [["by", "flame-by"], ["measure", "flame-measure"]]) {
      const values = choices(key);
      document.getElementById(id).replaceChildren(...(values.length < 2 ? [] : values.map((value) => {
        const button = make("button", { type: "button", "aria-pressed": String(chosen[key] === value) }, WORDS[value]);
        button.addEventListener("click", () => {
          const other = key === "by" ? "measure" : "by";
          const fitting = DATA.flames.filter((graph) => graph[key] === value);
          pick(fitting.find((graph) => graph[other] === chosen[other]) || fitting[0]);
        });
        return button;
      })));
    }
  }

  function pick(graph) {
    chosen = graph;
    root = tree(graph);
    zoomed = current = root;
    buttons();
    draw();
    details.textContent = `${WORDS[graph.measure]}, ${WORDS[graph.by].toLowerCase()}: ${duration(root.value)} in all.`;
  }

  function colour(node) {
    if (node.depth === 0) return "#c9d1db";
    let hash = 0;
    for (let i = 0; i < node.data.name.length; i++) hash = (hash * 31 + node.data.name.charCodeAt(i)) | 0;
    return d3.hsl(HUES[chosen.by] + ((hash >>> 4) % 40) - 20, 0.55, 0.66 + ((hash >>> 10) % 12) / 100).formatHex();
  }

  function describe(node) {
    return `${node.data.name}: ${duration(node.value)}, ${percent(node.value, root.value)} of all`;
  }

  function draw(focus = false) {
    const width = Math.max(place.clientWidth, 240);
    d3.partition().size([1, root.height + 1])(root);
    const scale = d3.scaleLinear([zoomed.x0, zoomed.x1], [0, width]);
    const shown = root.descendants().filter((node) => node.x1 > zoomed.x0 && node.x0 < zoomed.x1 && scale(node.x1) - scale(node.x0) >= 0.8);
    const deepest = d3.max(shown, (node) => node.depth);
    const wanted = find.value.trim().toLowerCase();
    const hits = wanted ? shown.filter((node) => node.depth && node.data.name.toLowerCase().includes(wanted)) : [];
    const hit = new Set(hits);
    const svg = d3.create("svg").attr("height", (deepest + 1) * ROW + 2).attr("viewBox", `0 0 ${width} ${(deepest + 1) * ROW + 2}`).attr("role", "presentation");
    const frames = svg.selectAll("g").data(shown).join("g")
      .attr("class", (node) => `frame${wanted && !hit.has(node) ? " dim" : ""}${node.depth < zoomed.depth ? " outer" : ""}`)
      .attr("role", "treeitem").attr("aria-level", (node) => node.depth + 1).attr("aria-label", describe)
      .attr("tabindex", (node) => (node === current ? 0 : -1))
      .on("click", (_, node) => enter(node)).on("focus", (_, node) => { current = node; details.textContent = describe(node); })
      .on("mouseenter", (_, node) => { details.textContent = describe(node); });
    const left = (node) => Math.max(0, scale(node.x0));
    const wide = (node) => Math.min(width, scale(node.x1)) - left(node);
    frames.append("rect").attr("x", left).attr("y", (node) => node.depth * ROW + 1).attr("width", (node) => Math.max(wide(node), 0.5)).attr("height", ROW - 1).attr("rx", 2).attr("fill", colour);
    frames.filter((node) => wide(node) > 30).append("text").attr("x", (node) => left(node) + 5).attr("y", (node) => node.depth * ROW + 15)
      .text((node) => {
        const letters = Math.floor((wide(node) - 8) / 6.3);
        const text = node.depth ? node.data.name : `all, ${duration(node.value)}`;
        return text.length > letters ? `${text.slice(0, Math.max(letters - 1, 1))}…` : text;
      });
    place.replaceChildren(svg.node());
    const covered = d3.sum(hits.filter((node) => !node.ancestors().slice(1).some((above) => hit.has(above))), (node) => node.value);
    found.textContent = wanted ? `${hits.length.toLocaleString("en")} frames, ${percent(covered, root.value)} of all` : "";
    if (focus) place.querySelector('[tabindex="0"]')?.focus();
  }

  function enter(node) {
    zoomed = node;
    current = node;
    draw(true);
    details.textContent = describe(node);
  }

  place.addEventListener("keydown", (event) => {
    const beside = (step) => current.parent?.children[current.parent.children.indexOf(current) + step];
    const moves = {
      ArrowDown: () => current.children?.[0], ArrowUp: () => current.parent,
      ArrowRight: () => beside(1), ArrowLeft: () => beside(-1), Home: () => root,
    };
    if (event.key === "Enter" || event.key === " ") enter(current);
    else if (event.key === "Escape") enter(zoomed.parent || root);
    else if (event.key in moves) {
      const node = moves[event.key]();
      if (node) {
        current = node;
        if (node.x0 < zoomed.x0 || node.x1 > zoomed.x1) zoomed = node.parent || root;
        draw(true);
      }
    } else return;
    event.preventDefault();
  });
  find.addEventListener("input", () => draw());
  pick(chosen);
  let before = place.clientWidth;
  new ResizeObserver(() => {
    if (place.clientWidth !== before) draw(place.contains(document.activeElement));
    before = place.clientWidth;
  }).observe(document.getElementById("flame"));
})();
