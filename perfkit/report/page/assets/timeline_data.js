// The rows of the timeline as typed arrays, and what a search or a finding singles out in them.

const SCENE = (function () {
  const picture = DATA.picture;
  if (!picture?.tracks.length) return null;

  function spread(value, count) {
    return typeof value === "number" ? new Int32Array(count).fill(value) : Int32Array.from(value);
  }

  function unpack(track) {
    const count = track.start.length;
    const start = new Float64Array(count);
    let at = 0;
    for (let i = 0; i < count; i++) start[i] = at += track.start[i];
    const level = spread(track.level, count);
    return {
      role: track.role, timeline: track.timeline, group: track.group, label: track.label, count, start,
      length: Float64Array.from(track.length), level, levels: d3.max(level) + 1 || 1,
      kind: spread(track.kind, count), name: spread(track.name, count), merged: spread(track.merged, count),
    };
  }

  const tracks = picture.tracks.map(unpack);
  const lines = new Map(DATA.timelines.map((line) => [line.id, line]));

  /** The rows as they are drawn: a heading for each group, the steps of a timeline, then its tracks. Ranks are one group. */
  function groups() {
    const found = new Map();
    for (const track of tracks) {
      const line = lines.get(track.timeline);
      const label = line && track.role !== "rank" ? line.label : track.group;
      if (!found.has(track.group)) found.set(track.group, { label, tracks: [], line });
      found.get(track.group).tracks.push(track);
    }
    return [...found.values()];
  }

  /** What proves a finding: the elements that are known to, by track, else owners and names; and all such places. */
  function evidenceOf(finding) {
    if (!finding) return { causes: new Set(), names: new Set(), timeline: "", marks: new Map(), places: [] };
    const marks = new Map(finding.marks.map(([track, some]) => [tracks[track], new Set(some)]));
    return { causes: new Set(finding.causes), names: new Set(finding.names), timeline: finding.timeline, marks, places: placesOf(finding, marks) };
  }

  /** The places, in order of time, that prove a finding: time owned by its causes, else marked elements, or its names. */
  function placesOf(finding, marks) {
    const causes = new Set(finding.causes.map((cause) => picture.kinds.indexOf(cause)));
    const names = new Set(finding.names);
    const owned = [];
    const named = [];
    const known = [...marks].flatMap(([track, some]) => [...some].map((i) => ({ track, i })));
    for (const track of tracks) {
      if (track.timeline && track.timeline !== finding.timeline) continue;
      for (let i = 0; i < track.count; i++) {
        if (track.role === "owners") {
          if (causes.has(track.kind[i])) owned.push({ track, i });
        } else if (names.has(track.name[i])) named.push({ track, i });
      }
    }
    const places = owned.length ? owned : known.length ? known : named;
    return places.sort((a, b) => a.track.start[a.i] - b.track.start[b.i]);
  }

  function search(text) {
    const wanted = text.toLowerCase();
    const names = new Set();
    picture.names.forEach((name, index) => { if (name.toLowerCase().includes(wanted)) names.add(index); });
    const places = [];
    for (const track of tracks) {
      if (track.role === "owners") continue;
      for (let i = 0; i < track.count; i++) if (names.has(track.name[i])) places.push({ track, i });
    }
    places.sort((a, b) => a.track.start[a.i] - b.track.start[b.i]);
    return { names, places };
  }

  function kindOf(track, i) {
    return picture.kinds[track.kind[i]];
  }

  function nameOf(track, i) {
    return track.name[i] >= 0 ? picture.names[track.name[i]] : "";
  }

  /** What to say of an element: a title, then facts. */
  function describe(track, i) {
    const kind = labelOf(kindOf(track, i));
    const name = nameOf(track, i);
    const facts = [`${duration(track.length[i])}, from ${duration(track.start[i])}`];
    let title = name || kind;
    if (track.role === "owners") {
      title = kind;
      if (name) facts.push(`host in ${name}`);
    } else facts.push(kind);
    if (track.merged[i] > 1) facts.push(`${track.merged[i].toLocaleString("en")} neighbours too short to keep apart; the longest names them`);
    facts.push(track.label);
    return { title, facts };
  }

  return { picture, tracks, groups: groups(), evidenceOf, search, kindOf, nameOf, describe };
})();
