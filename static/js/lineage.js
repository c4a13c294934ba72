// Walks a lineage with the arrow keys: left and right along its curves, up and down in a layer; what is near is marked.

for (const graph of document.querySelectorAll("[data-lineage]")) {
  const nodes = [...graph.querySelectorAll("[data-node]")];
  const curves = [...graph.querySelectorAll("path")];
  const named = (key) => nodes.find((node) => node.dataset.node === key);
  const layer = (node) => [...node.closest("ul").querySelectorAll("[data-node]")];

  /** The nodes that a curve leads to from `node`, in one direction. */
  function along(node, forwards) {
    const [near, far] = forwards ? ["from", "to"] : ["to", "from"];
    const found = curves.filter((curve) => curve.dataset[near] === node.dataset.node);
    return found.map((curve) => named(curve.dataset[far])).filter(Boolean);
  }

  /** Where a curve ends, or else the nearest row of the layer beside. */
  function beside(node, forwards) {
    const [first] = along(node, forwards);
    if (first) return first;
    const section = node.closest("section");
    const next = forwards ? section.nextElementSibling : section.previousElementSibling;
    const others = next?.matches("section") ? [...next.querySelectorAll("[data-node]")] : [];
    return others[Math.min(layer(node).indexOf(node), others.length - 1)];
  }

  function goal(node, key) {
    const forwards = getComputedStyle(graph).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
    if (key === "ArrowLeft" || key === "ArrowRight") return beside(node, key === forwards);
    const row = layer(node);
    if (key === "ArrowUp" || key === "ArrowDown") return row[row.indexOf(node) + (key === "ArrowDown" ? 1 : -1)];
    if (key === "Home") return nodes[0];
    return key === "End" ? nodes.at(-1) : undefined;
  }

  function mark(node) {
    for (const one of [...nodes, ...curves]) one.classList.remove("is-near");
    if (!node) return;
    for (const other of [...along(node, true), ...along(node, false)]) other.classList.add("is-near");
    for (const curve of curves) {
      const touches = curve.dataset.from === node.dataset.node || curve.dataset.to === node.dataset.node;
      curve.classList.toggle("is-near", touches);
    }
  }

  graph.addEventListener("keydown", (event) => {
    const node = event.target.closest("[data-node]");
    if (!node || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const next = goal(node, event.key);
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
  graph.addEventListener("focusin", (event) => mark(event.target.closest("[data-node]")));
  graph.addEventListener("focusout", () => mark());
  graph.addEventListener("pointerover", (event) => mark(event.target.closest("[data-node]")));
  graph.addEventListener("pointerleave", () => mark(document.activeElement?.closest("[data-node]")));
}
