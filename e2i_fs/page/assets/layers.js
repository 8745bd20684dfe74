// Where the nodes of the lineage stand: four columns, each ordered so that edges cross little.
const LAYERS = ["source", "view", "on-demand", "service"];

function layered(ids) {
  const columns = LAYERS.map((kind) => [...ids].filter((id) => id.startsWith(`${kind}/`)).sort());
  const place = new Map();
  const number = () => columns.forEach((column) => column.forEach((id, i) => place.set(id, (i + 0.5) / column.length)));
  number();
  const mean = (id, next) => {
    const others = next.get(id).filter((other) => ids.has(other));
    return others.length ? others.reduce((sum, other) => sum + place.get(other), 0) / others.length : place.get(id);
  };
  for (let sweep = 0; sweep < 8; sweep += 1) {
    const next = sweep % 2 ? state.down : state.up;
    for (const column of columns) {
      const wanted = new Map(column.map((id) => [id, mean(id, next)]));
      column.sort((a, b) => wanted.get(a) - wanted.get(b) || a.localeCompare(b, "en"));
      column.forEach((id, i) => place.set(id, (i + 0.5) / column.length));
    }
  }
  return columns.filter((column, i) => column.length || LAYERS[i] === "view");
}
