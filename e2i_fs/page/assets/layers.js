// Where the nodes of the lineage stand: in columns, ordered so that edges cross little. An edge that passes over a column has a
// place of its own there (`~FROM@COLUMN`), so that it never seems to end at what it only passes.
const LAYERS = ["source", "view", "on-demand", "service"];
const GAP = 38;
const PASS = 13;

/** Return the columns of ids, top to bottom, and for each edge the places that it passes. */
function layered(ids) {
  const kinds = LAYERS.filter((kind) => kind === "view" || [...ids].some((id) => id.startsWith(`${kind}/`)));
  const columns = kinds.map((kind) => [...ids].filter((id) => id.startsWith(`${kind}/`)).sort());
  const column = new Map(columns.flatMap((found, c) => found.map((id) => [id, c])));
  const up = new Map();
  const down = new Map();
  const joined = (from, to) => {
    down.set(from, [...(down.get(from) || []), to]);
    up.set(to, [...(up.get(to) || []), from]);
  };
  const ways = state.doc.lineage.edges.filter(([from, to]) => column.has(from) && column.has(to)).map(([from, to]) => {
    const way = [from];
    for (let c = column.get(from) + 1; c < column.get(to); c += 1) {
      const pass = `~${from}@${c}`;
      if (!column.has(pass)) {
        column.set(pass, c);
        columns[c].push(pass);
        joined(way.at(-1), pass);
      }
      way.push(pass);
    }
    joined(way.at(-1), to);
    return { from, to, way: [...way, to] };
  });
  order(columns, up, down);
  return { kinds, columns, ways };
}

/** Sweep to and fro, and let each node go to the mean of those beside it. */
function order(columns, up, down) {
  const place = new Map();
  const note = (column) => column.forEach((id, i) => place.set(id, (i + 0.5) / column.length));
  columns.forEach(note);
  for (let sweep = 0; sweep < 10; sweep += 1) {
    const next = sweep % 2 ? down : up;
    for (const column of sweep % 2 ? [...columns].reverse() : columns) {
      const wanted = new Map(column.map((id) => {
        const others = next.get(id) || [];
        return [id, others.length ? others.reduce((sum, other) => sum + place.get(other), 0) / others.length : place.get(id)];
      }));
      column.sort((a, b) => wanted.get(a) - wanted.get(b) || a.localeCompare(b, "en"));
      note(column);
    }
  }
}

/** Return where each id stands (`y` is its middle), and how high the whole is. The longest column is even; the others follow it. */
function standing({ columns, ways }) {
  const tall = (id) => (id.startsWith("~") ? PASS : GAP);
  const heights = columns.map((column) => column.reduce((sum, id) => sum + tall(id), 0));
  const most = Math.max(...heights, GAP);
  const beside = new Map();
  for (const { way } of ways) {
    way.slice(1).forEach((id, i) => {
      beside.set(id, [...(beside.get(id) || []), way[i]]);
      beside.set(way[i], [...(beside.get(way[i]) || []), id]);
    });
  }
  const at = new Map();
  const longest = heights.indexOf(most);
  const outwards = columns.map((_, c) => c).sort((a, b) => Math.abs(a - longest) - Math.abs(b - longest));
  for (const c of outwards) {
    const column = columns[c];
    let top = 30;
    const middles = column.map((id) => {
      const placed = (beside.get(id) || []).filter((other) => at.has(other)).map((other) => at.get(other).y);
      const wanted = placed.length ? placed.reduce((sum, y) => sum + y, 0) / placed.length : 0;
      const y = Math.max(top + tall(id) / 2, c === longest ? 0 : wanted);
      top = y + tall(id) / 2;
      return y;
    });
    let bottom = 30 + most;
    for (let i = column.length - 1; i >= 0; i -= 1) {
      middles[i] = Math.min(middles[i], bottom - tall(column[i]) / 2);
      bottom = middles[i] - tall(column[i]) / 2;
    }
    let number = 0;
    column.forEach((id, i) => at.set(id, { c, y: middles[i], i: id.startsWith("~") ? -1 : number++ }));
  }
  return { at, height: most + 40 };
}
